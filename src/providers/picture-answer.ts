/** Answers over HTTP that are JSON with pictures in it, read as they arrive. */
import { createPictureJson, type PictureJsonOptions } from './picture-json.js';
import { bodyOf } from './upstream.js';

/** What is known of an answer. */
export interface PictureAnswerOptions extends Omit<PictureJsonOptions, 'expectedBytes'> {
  /**
   * How many pictures it is to have, where they are all there is to it.
   * @defaultValue not known
   */
  readonly count?: number | undefined;
  /** The failure of an answer that is no JSON. What a `SyntaxError` says tells of the answer's text. */
  readonly malformed: () => Error;
}

/** An answer, with pictures as `createPictureJson` has them. */
export interface PictureAnswer {
  /** The elements of its list, each when it is whole. */
  readonly elements: AsyncIterable<unknown>;
  /** The value without them, once they were read to their end. */
  readonly rest: () => unknown;
}

/** Reads an answer as far as its elements are asked for. */
export function readPictureAnswer(
  response: Response,
  { count, malformed, ...places }: PictureAnswerOptions,
): PictureAnswer {
  let value: unknown;

  function parsed<T>(step: () => T): T {
    try {
      return step();
    } catch {
      throw malformed();
    }
  }

  async function* elements(): AsyncGenerator<unknown, void, undefined> {
    const json = createPictureJson({ ...places, expectedBytes: count && shareOf(response, count) });
    for await (const chunk of bodyOf(response)) yield* parsed(() => json.write(chunk));
    value = parsed(json.end);
  }

  return { elements: elements(), rest: () => value };
}

/** About how many bytes each of `count` pictures has, where the answer says how long it is. */
function shareOf({ headers }: Response, count: number): number | undefined {
  const length = Number(headers.get('content-length') ?? Number.NaN);
  return length > 0 && !headers.has('content-encoding') ? Math.ceil((length / count) * 0.75) : undefined;
}
