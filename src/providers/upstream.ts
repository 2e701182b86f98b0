/**
 * The one way out: a `fetch` that follows no redirect, cuts answers at a size, obeys the call's signal, and fails
 * with our own words. Adapters hand it to their vendor's SDK.
 */
import type { IncomingMessage } from 'node:http';
import { giveBack, isOfNode } from '../core/memory.js';
import { takeTurn } from '../core/wait.js';
import { isProviderError, ProviderError } from '../errors.js';
import type { ReadingLine } from './reading-line.js';
import { readRest } from './rest-of-body.js';
import { networkFailure } from './upstream-failure.js';
import { decodedBody, plainRequest, sendRequest, type UpstreamAgents } from './upstream-request.js';

/** The bounds of one call. */
export interface UpstreamFetchOptions {
  /** Most bytes of one answer's body, counted after decompression. */
  readonly maxBytes: number;
  /** Ends requests and bodies still being read; its reason is what they fail with. */
  readonly signal: AbortSignal;
  /**
   * Connections to use.
   * @defaultValue those of the process
   */
  readonly agents?: UpstreamAgents | undefined;
  /**
   * Where bodies wait to be read while there is more to read than time for it.
   * @defaultValue they are read side by side
   */
  readonly line?: ReadingLine | undefined;
}

/**
 * Makes the guarded `fetch` of one call. Beside what `fetch` documents, it throws a `ProviderError`: `shape` for a
 * redirect, a body over `maxBytes`, a malformed answer or a URL that is not plain http(s) without credentials;
 * `unavailable` or `timeout` for a network that fails. Aborted, it throws the signal's reason.
 */
export function createUpstreamFetch(options: UpstreamFetchOptions): typeof globalThis.fetch {
  const { maxBytes, agents, line } = options;
  return async (input, init) => {
    const target = plainTarget(input);
    const own = init?.signal ?? (input instanceof Request ? input.signal : undefined);
    const signals = own ? [options.signal, own] : [options.signal];
    throwIfAborted(signals);
    const plain = plainRequest(target, init);
    const sent = plain
      ? sendRequest({ ...plain, signals }, agents).then(plainAnswer)
      : fetch(input, { ...init, redirect: 'manual', signal: AbortSignal.any(signals) }).then(fetchedAnswer);
    const answer = await sent.catch((error: unknown) => fail(error, signals));
    // What `fetch` hides of a redirect has the status 0.
    if (answer.status < 200 || answer.status > 599 || (answer.status >= 300 && answer.status < 400)) {
      answer.discard();
      throw brokenAnswer('The provider answered with a redirect or a status nobody knows.', answer.status);
    }
    return toResponse(
      answer,
      answer.body && capped(answer.body, { maxBytes, signals, answer, turn: line?.join() ?? takeTurn }),
    );
  };
}

/**
 * The body of an answer as it arrives: where it is one of ours, without the detour by web streams. A chunk is there
 * until the next one is asked for; then its memory is given back, unless the chunk was made elsewhere.
 */
export async function* bodyOf(response: Response): AsyncGenerator<Uint8Array, void> {
  const isOurs = answers.get(response)?.isOurs === true;
  for await (const chunk of bodies.get(response) ?? response.body ?? []) {
    yield chunk;
    if (isOurs) giveBack(chunk);
  }
}

const bodies = new WeakMap<Response, AsyncIterable<Uint8Array>>();

/**
 * Says that all that matters of a body was read. Leaving it then does not close its connection: what little follows is
 * read in the background, and the connection serves the next request. More than 64 KiB, or 250 ms, closes it after all.
 */
export function keepConnection(response: Response): void {
  answers.get(response)?.keep();
}

const answers = new WeakMap<Response, Answer>();

/** An answer whose body nobody has read yet. */
interface Answer extends Pick<Response, 'status' | 'statusText' | 'headers'> {
  readonly body: AsyncIterable<Uint8Array> | null;
  /** Whether nobody else has its chunks. */
  readonly isOurs: boolean;
  /** Gives the body up and closes its socket. */
  discard(): void;
  /** From now on leaving the body does not close its socket, where there is one to keep. */
  keep(): void;
  /** Whether that was said. */
  readonly isKept: boolean;
}

// Answers that have no body, whatever their sender thinks. A `Response` refuses to have one for them.
const BODILESS: ReadonlySet<number | undefined> = new Set([204, 205]);

function plainAnswer(incoming: IncomingMessage): Answer {
  const { statusCode: status = 0, statusMessage: statusText = '', headersDistinct } = incoming;
  const headers = new Headers();
  for (const [name, values] of Object.entries(headersDistinct)) {
    for (const value of values ?? []) headers.append(name, value);
  }
  const isBodiless = BODILESS.has(status);
  if (isBodiless) incoming.resume();
  const body = isBodiless ? null : decodedBody(incoming);
  let isKept = false;
  return {
    status,
    statusText,
    headers,
    body,
    isOurs: isOfNode(incoming.socket),
    discard: () => void incoming.destroy(),
    keep: () => {
      isKept = true;
    },
    get isKept() {
      return isKept;
    },
  };
}

function fetchedAnswer({ status, statusText, headers, body }: Response): Answer {
  const discard = () => void body?.cancel().catch(() => undefined);
  // While it is read, nobody but its reader can cut it off.
  return { status, statusText, headers, body, isOurs: false, discard, keep: () => undefined, isKept: false };
}

function toResponse(answer: Answer, body: AsyncGenerator<Uint8Array, void> | null): Response {
  const { status, statusText, headers, discard } = answer;
  if (body === null) return new Response(null, { status, statusText, headers });
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await body.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      },
      cancel: discard,
    },
    { highWaterMark: 0 },
  );
  const response = new Response(stream, { status, statusText, headers });
  bodies.set(response, body);
  answers.set(response, answer);
  return response;
}

/** Where to, unless that is odd. */
function plainTarget(input: string | URL | Request): URL | Request {
  const text = input instanceof Request ? input.url : String(input);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain = url !== undefined && (url.protocol === 'https:' || url.protocol === 'http:');
  if (plain && url.username === '' && url.password === '') return input instanceof Request ? input : url;
  throw new ProviderError('shape', 'The provider is only spoken to by http(s) URLs without credentials.', {
    billed: 'no',
  });
}

interface Bounds {
  readonly maxBytes: number;
  readonly signals: readonly AbortSignal[];
  readonly answer: Answer;
  readonly turn: (byteLength: number) => Promise<void>;
}

/**
 * Leaving it early, as an error does, closes the socket, unless that is to be kept: an endless body must not go on
 * arriving.
 */
async function* capped(
  body: AsyncIterable<Uint8Array>,
  { maxBytes, signals, answer, turn }: Bounds,
): AsyncGenerator<Uint8Array, void> {
  const chunks = body[Symbol.asyncIterator]();
  let bytesRead = 0;
  try {
    for (;;) {
      const { done, value: chunk } = await chunks.next();
      if (done === true) return;
      // The chunk's memory is gone once its reader asks for the next.
      const { byteLength } = chunk;
      bytesRead += byteLength;
      if (bytesRead > maxBytes) {
        throw brokenAnswer('The provider sent more than an answer may hold.', answer.status);
      }
      yield chunk;
      // Node reads on from one connection, as long as there is more, before it looks at the next.
      await turn(byteLength);
    }
  } catch (error) {
    fail(error, signals);
  } finally {
    if (answer.isKept) void readRest(chunks, answer.discard);
    else await chunks.return?.();
  }
}

function throwIfAborted(signals: readonly AbortSignal[]): void {
  for (const signal of signals) signal.throwIfAborted();
}

/** Throws the reason of an abort, or our own words. */
function fail(error: unknown, signals: readonly AbortSignal[]): never {
  throwIfAborted(signals);
  throw isProviderError(error) ? error : networkFailure(error);
}

function brokenAnswer(message: string, status: number): ProviderError {
  return new ProviderError('shape', message, { billed: 'unknown', status });
}
