/**
 * Answers over REST. Google's SDK parses a body whole, so it is read before: pictures are decoded as they arrive, and
 * the SDK is given the rest with short marks in their places.
 */
import { giveBack } from '../core/memory.js';
import type { ImageEvent } from '../core/provider.js';
import { ProviderError } from '../errors.js';
import { failedAnswer } from './imagen-errors.js';
import { isObject } from './json-value.js';
import { createPictureJson } from './picture-json.js';
import { bodyOf } from './upstream.js';

/** A picture's bytes, and what frees them. */
export type ReadPicture = Pick<ImageEvent, 'release'> & { readonly bytes: Uint8Array };

/** The pictures of one answer. */
export interface MarkedPictures {
  /** What the SDK is given in place of a picture: base64, as it decodes what it takes for bytes. */
  mark(picture: Buffer | null): string;
  /** The picture in whose place the SDK has a mark, as text or as bytes; `undefined` for one that is unreadable. */
  at(mark: string | Uint8Array): ReadPicture | undefined;
}

/** Makes an empty list of pictures. */
export function createMarkedPictures(): MarkedPictures {
  const pictures = new Map<string, Buffer | null>();
  return {
    mark(picture) {
      const mark = Buffer.from(String(pictures.size)).toString('base64');
      pictures.set(mark, picture);
      return mark;
    },
    at(mark) {
      const bytes = pictures.get(typeof mark === 'string' ? mark : Buffer.from(mark).toString('base64'));
      return bytes ? { bytes, release: () => giveBack(bytes) } : undefined;
    },
  };
}

/** Where an answer has its pictures. */
export interface PicturePlaces {
  /** The property whose text is a picture in base64. */
  readonly picture: string;
  /** The list they are in. */
  readonly list: string;
  /** Whether their base64 is that of ProtoJSON. */
  readonly isProtoJson: boolean;
}

/** How to read an answer. */
export interface AnswerReading {
  /** Where to look. */
  readonly places: PicturePlaces;
  /** Takes the pictures. */
  readonly pictures: MarkedPictures;
}

/**
 * What the SDK reads of a response. It takes any JSON that is no object for an empty answer, and an empty answer is
 * what Google sends when it withholds every picture; and it throws what a proxy says away.
 */
export async function readAnswer(response: Response, { places, pictures }: AnswerReading): Promise<object> {
  if (response.status !== 200) throw failedAnswer(response, await response.text());
  const value = await parsed(response, () => readWhole(response, places));
  if (!isObject(value)) throw shapeError(response);

  function marked(inner: unknown, name?: string): unknown {
    if (name === places.picture && (Buffer.isBuffer(inner) || inner === null)) return pictures.mark(inner);
    if (Array.isArray(inner)) return inner.map((each) => marked(each, name));
    if (!isObject(inner)) return inner;
    return Object.fromEntries(Object.entries(inner).map(([key, each]) => [key, marked(each, key)]));
  }
  const bytes = Buffer.from(JSON.stringify(marked(value)));
  return { ok: true, status: 200, arrayBuffer: async () => bytes };
}

/** The value of an answer. Its list is taken apart on the way, which has a bound that JSON has not. */
async function readWhole(response: Response, places: PicturePlaces): Promise<unknown> {
  const json = createPictureJson(places);
  const elements: unknown[] = [];
  for await (const chunk of bodyOf(response)) elements.push(...json.write(chunk));
  const value = json.end();
  return elements.length > 0 && isObject(value) ? { ...value, [places.list]: elements } : value;
}

/** What reading resolves with. A `SyntaxError` tells of the answer's text: it becomes our own words. */
async function parsed<T>(response: Response, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw error instanceof SyntaxError ? shapeError(response) : error;
  }
}

function shapeError({ status }: Response): ProviderError {
  return new ProviderError('shape', "The provider's answer is no JSON object.", {
    billed: 'unknown',
    status,
  });
}
