/**
 * Calls through Google's SDK that really stop: `client.predict()` cannot be cancelled, the `innerApiCalls` below it
 * can (found by trying versions 6.11 and 7.4 against local servers). Neither method is retried: the SDK's list of
 * codes to retry is empty for both.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { GenerateCall } from '../core/provider.js';
import type { Answer, ServiceCall } from './imagen-call.js';
import { failedAnswer, preparationFailure } from './imagen-errors.js';
import { readAnswer } from './imagen-rest-answer.js';
import { fieldsOf } from './json-value.js';

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

/** Sends calls. */
export interface Transport {
  /**
   * Sends one and resolves with the answer, over REST when it begins. Rejects with the signal's reason once it aborts;
   * so do the elements of the answer.
   */
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
      return {
        elements: elementsOf(message, call),
        rest: () => fieldsOf(message),
        releaseOf: () => undefined,
      };
    },
  };
}

async function* elementsOf(message: unknown, { places, elementOf }: ServiceCall): AsyncGenerator<unknown> {
  const { [places.list]: found } = fieldsOf(message);
  const list: unknown[] = Array.isArray(found) ? found : [];
  // Each is let go before the next one: the base64 text is the larger half of a picture.
  while (list.length > 0) yield elementOf(list.shift());
}

/**
 * Speaks REST by the router's `fetch`, so that the bounds on what goes in and out are the router's. The SDK sends
 * by its credentials' `fetch`; in their place stands one that knows, by the asynchronous context, whose call it is.
 * It keeps the answer and gives the SDK an empty one.
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
      const { signal } = parts;
      const client = await abortable(ready(), signal);
      const sending: Sending = { ...parts, response: undefined };
      await calls.run(sending, () => invoke(client, call, { signal, timeout: TIMEOUT_MS.rest }));
      if (sending.response === undefined) throw new Error('the SDK sent nothing');
      return readAnswer(sending.response, call);
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
}

interface Sending extends SendParts {
  response: Response | undefined;
}

function guardedAuth(auth: SdkAuth, calls: AsyncLocalStorage<Sending>): SdkAuth & { fetch: unknown } {
  return {
    getRequestHeaders: (url) => auth.getRequestHeaders(url),
    async fetch(url: string, { method, headers, body }: SdkFetchInit): Promise<object> {
      const sending = calls.getStore();
      if (sending === undefined) throw new Error('only calls of this provider are sent');
      const sent = new Headers(headers);
      for (const [name, value] of await tokenHeaders(auth, url)) sent.set(name, value);
      const { call, signal } = sending;
      // The SDK's own signal ends with its part, which is the smaller one.
      const response = await call.fetch(url, { method, headers: sent, body, signal });
      if (response.status !== 200) throw failedAnswer(response, await response.text());
      sending.response = response;
      return { ok: true, status: 200, arrayBuffer: async () => Buffer.from('{}') };
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
