/**
 * Calls through Google's SDK that really stop: `client.predict()` cannot be cancelled, the `innerApiCalls` below it
 * can (found by trying versions 6.11 and 7.4 against local servers). Neither method is retried: the SDK's list of
 * codes to retry is empty for both.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { decodeBase64 } from '../core/base64.js';
import type { EndEvent, GenerateCall, GenerateEvent } from '../core/provider.js';
import { preparationFailure } from './imagen-errors.js';
import {
  type AnswerReading,
  createMarkedPictures,
  type PicturePlaces,
  type ReadPicture,
  readAnswer,
} from './imagen-rest-answer.js';

/** What is used of the SDK's credentials. */
export interface SdkAuth {
  /** Gets a token where there is none yet. */
  getRequestHeaders(url?: string | URL): Promise<Iterable<[string, string]>>;
}

/** What is used of the SDK's client. */
export interface SdkClient {
  /** Where its tokens come from. */
  readonly auth: SdkAuth;
  /** The methods of the service. */
  readonly innerApiCalls: Readonly<Record<string, unknown>>;
  /** Prepares the methods. */
  initialize(): Promise<unknown>;
  /** Ends its connections. */
  close(): Promise<void>;
}

/** What a read answer says beside its pictures. */
export type Ending = Pick<EndEvent, 'usage' | 'upstreamId'>;

/** One call of the service, and how to read what comes back. */
export interface ServiceCall {
  /** The method. */
  readonly rpc: 'predict' | 'generateContent';
  /** The field of the request that holds the resource, and the resource: Google routes by it. */
  readonly routing: readonly [field: string, resource: string];
  /** The request, as the SDK takes it. */
  readonly request: object;
  /** Where an answer has its pictures if it is JSON. */
  readonly places: PicturePlaces;
  /** Reads the pictures of an answer, which is not believed. */
  readonly read: (answer: Answer) => Generator<GenerateEvent, Ending, undefined>;
}

/** What comes back. */
export interface Answer {
  /** The answer, as the SDK has it. */
  readonly message: unknown;
  /** The picture for which the message has this text or these bytes; `undefined` for one that cannot be read. */
  readonly picture: (found: string | Uint8Array) => ReadPicture | undefined;
}

/** Sends calls. */
export interface Transport {
  /** Sends one and resolves with the answer. Rejects with the signal's reason once it aborts. */
  send(call: ServiceCall, parts: SendParts): Promise<Answer>;
  /** Loads and connects what the first call would load and connect. */
  warmup(): Promise<void>;
  /** Ends the connections. */
  close(): Promise<void>;
}

/** What sending needs beside the call. */
export interface SendParts {
  /** Whose `fetch` REST is spoken by. */
  readonly call: GenerateCall;
  /** Stops it. */
  readonly signal: AbortSignal;
}

/** Makes a client of the SDK; `auth` replaces its own. */
export type CreateClient = (auth?: SdkAuth) => SdkClient;

/**
 * The call's signal is the deadline; the SDK's own, 60 seconds, is put out of the way. gRPC takes no endless one.
 * Over REST version 6 knows none, and version 7 sets a timer that keeps the request in memory until it goes off,
 * whenever the call ends; unless there is no end to it.
 */
const TIMEOUT_MS = { grpc: 24 * 60 * 60 * 1000, rest: Number.POSITIVE_INFINITY } as const;

interface OngoingCall extends Promise<readonly unknown[]> {
  cancel(): void;
}

type InnerCall = (request: object, options: object) => OngoingCall;

/** Speaks gRPC. */
export function grpcTransport(createClient: CreateClient): Transport {
  const { ready, close } = lazyClient(() => createClient());
  return {
    close,
    warmup: async () => void (await ready()),
    async send(call, { signal }) {
      const client = await abortable(ready(), signal);
      const message = await invoke(client, call, { signal, timeout: TIMEOUT_MS.grpc });
      return { message, picture: pictureOf };
    },
  };
}

function pictureOf(found: string | Uint8Array): ReadPicture | undefined {
  const bytes = typeof found === 'string' ? decodeBase64(found) : found;
  return bytes && { bytes };
}

/**
 * Speaks REST by the router's `fetch`, so that the bounds on what goes in and out are the router's. The SDK sends
 * by its credentials' `fetch`; in their place stands one that knows, by the asynchronous context, whose call it is.
 */
export function restTransport(createClient: CreateClient): Transport {
  const calls = new AsyncLocalStorage<Sending>();
  const { ready, close } = lazyClient(() => {
    const { auth } = createClient();
    return createClient(guardedAuth(auth, calls));
  });
  return {
    close,
    warmup: async () => void (await ready()),
    async send(call, parts) {
      const client = await abortable(ready(), parts.signal);
      const pictures = createMarkedPictures();
      const sending = { call: parts.call, places: call.places, pictures };
      const message = await calls.run(sending, () =>
        invoke(client, call, { signal: parts.signal, timeout: TIMEOUT_MS.rest }),
      );
      return { message, picture: pictures.at };
    },
  };
}

/** One client, made when first needed, and made again when making it failed. */
function lazyClient(create: () => SdkClient) {
  let pending: Promise<SdkClient> | undefined;

  async function make(): Promise<SdkClient> {
    try {
      const client = create();
      await client.initialize();
      return client;
    } catch (error) {
      pending = undefined;
      throw preparationFailure(error);
    }
  }

  return {
    ready(): Promise<SdkClient> {
      pending ??= make();
      return pending;
    },
    async close(): Promise<void> {
      const client = await pending?.catch(() => undefined);
      await client?.close();
    },
  };
}

interface InvokeParts {
  readonly signal: AbortSignal;
  readonly timeout: number;
}

async function invoke(client: SdkClient, call: ServiceCall, parts: InvokeParts): Promise<unknown> {
  const { signal, timeout } = parts;
  signal.throwIfAborted();
  const [field, resource] = call.routing;
  // The part of `client.predict()` that is not done below it.
  const headers = { 'x-goog-request-params': `${field}=${encodeURIComponent(resource)}` };
  const method = client.innerApiCalls[call.rpc] as InnerCall;
  const ongoing = method(call.request, { timeout, otherArgs: { headers } });
  const [answer] = await abortable(ongoing, signal, () => ongoing.cancel());
  return answer;
}

/** The result of some work, or the signal's reason as soon as it aborts: a cancelled REST call never settles. */
async function abortable<T>(work: Promise<T>, signal: AbortSignal, stop = () => {}): Promise<T> {
  let giveUp = () => {};
  const aborted = new Promise<never>((_resolve, reject) => {
    giveUp = () => {
      stop();
      reject(signal.reason);
    };
    if (signal.aborted) giveUp();
    else signal.addEventListener('abort', giveUp, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

/** What the SDK hands to its credentials' `fetch`. */
interface SdkFetchInit {
  readonly method: string;
  readonly headers: Headers;
  readonly body: string;
  readonly signal: AbortSignal;
}

interface Sending extends AnswerReading {
  readonly call: GenerateCall;
}

function guardedAuth(auth: SdkAuth, calls: AsyncLocalStorage<Sending>): SdkAuth & { fetch: unknown } {
  return {
    getRequestHeaders: (url) => auth.getRequestHeaders(url),
    async fetch(url: string, { method, headers, body, signal }: SdkFetchInit): Promise<object> {
      const sending = calls.getStore();
      if (sending === undefined) throw new Error('only calls of this provider are sent');
      const sent = new Headers(headers);
      for (const [name, value] of await tokenHeaders(auth, url)) sent.set(name, value);
      const response = await sending.call.fetch(url, { method, headers: sent, body, signal });
      return await readAnswer(response, sending);
    },
  };
}

async function tokenHeaders(auth: SdkAuth, url: string): Promise<Iterable<[string, string]>> {
  try {
    return await auth.getRequestHeaders(url);
  } catch (error) {
    throw preparationFailure(error);
  }
}
