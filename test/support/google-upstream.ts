/** What the two servers in Google's place share: requests and answers in the JSON of REST, whatever carries them. */

/** A request as it arrived. Fields of the other method are absent. */
export interface GoogleBody {
  readonly instances?: readonly { readonly prompt: string }[];
  readonly parameters?: Readonly<Record<string, unknown>>;
  readonly labels?: Readonly<Record<string, string>>;
  readonly contents?: readonly { readonly role: string; readonly parts: readonly GooglePart[] }[];
  readonly generationConfig?: Readonly<Record<string, unknown>>;
  readonly safetySettings?: readonly Readonly<Record<string, unknown>>[];
}

/** A part of a request's contents. */
export interface GooglePart {
  readonly text?: string;
  readonly inlineData?: { readonly mimeType: string; readonly data: string };
}

/** One request. */
export interface GoogleRequest {
  readonly rpc: 'predict' | 'generateContent';
  /** The resource it is for. */
  readonly resource: string;
  readonly body: GoogleBody;
  readonly headers: Readonly<Record<string, unknown>>;
  /** Resolves when it is over: `true` when the client went before the answer was out. */
  readonly left: Promise<boolean>;
}

/** A failure as Google reports it. */
export interface GoogleFailure {
  /** The number gRPC knows it by. */
  readonly code: number;
  /** The name REST knows it by, and REST's own number. */
  readonly status: string;
  readonly httpStatus: number;
  readonly message: string;
  readonly retrySeconds?: number | undefined;
}

/** An answer: JSON, a failure, a cut connection, or nothing ever. */
export type GoogleAnswer =
  | { readonly json: object }
  | { readonly failure: GoogleFailure }
  | { readonly cut: true }
  | { readonly silence: true };

/** Answers one request. */
export type GoogleHandler = (request: GoogleRequest) => GoogleAnswer | Promise<GoogleAnswer>;

/** A server in Google's place. */
export interface GoogleUpstream {
  readonly port: number;
  /** All requests, in order of arrival. */
  readonly requests: readonly GoogleRequest[];
  /** Resolves when there are so many of them. */
  arrived(count: number): Promise<void>;
  /** Answers every request from now on by this handler. At first it is `pictures()`. */
  respondWith(handler: GoogleHandler): void;
  /** Ends it and every connection. */
  close(): Promise<void>;
}

/** Keeps requests and the handler for a server. */
export function createRecorder() {
  const requests: GoogleRequest[] = [];
  const waiting = new Set<() => void>();
  let handler: GoogleHandler = pictures();
  return {
    requests,
    async arrived(count: number): Promise<void> {
      while (requests.length < count) await new Promise<void>((resolve) => waiting.add(resolve));
    },
    respondWith(next: GoogleHandler): void {
      handler = next;
    },
    async answer(request: GoogleRequest): Promise<GoogleAnswer> {
      requests.push(request);
      for (const resolve of waiting) resolve();
      waiting.clear();
      return handler(request);
    },
  };
}

/** The prompt of a request of either method. */
export function promptOf({ body }: GoogleRequest): string {
  const [content] = body.contents ?? [];
  return body.instances?.[0]?.prompt ?? content?.parts.find(({ text }) => text !== undefined)?.text ?? '';
}

/** The smallest honest PNG: one transparent pixel. */
export const PIXEL_PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

/** The tokens of a picture at 1K with some thinking, as Gemini 3 reports them. */
export const USAGE = {
  promptTokenCount: 270,
  candidatesTokenCount: 1_130,
  totalTokenCount: 2_200,
  thoughtsTokenCount: 800,
  promptTokensDetails: [
    { modality: 1, tokenCount: 12 },
    { modality: 2, tokenCount: 258 },
  ],
  candidatesTokensDetails: [{ modality: 2, tokenCount: 1_120 }],
} as const;

/** Imagen's answer with these predictions. */
export function predictions(...found: readonly object[]): GoogleAnswer {
  return { json: { predictions: found, deployedModelId: '4711' } };
}

/** One of Imagen's pictures. */
export function prediction(data: string = PIXEL_PNG, more: object = {}): object {
  return { bytesBase64Encoded: data, mimeType: 'image/png', ...more };
}

/** Gemini's answer with one candidate. */
export function content(parts: readonly object[], more: object = {}, usage: object = USAGE): GoogleAnswer {
  const candidate = { content: { role: 'model', parts }, finishReason: 1, ...more };
  return { json: { candidates: [candidate], usageMetadata: usage, responseId: 'resp-1' } };
}

/** One of Gemini's pictures. */
export function inlineData(data: string = PIXEL_PNG, mimeType = 'image/png'): object {
  return { inlineData: { mimeType, data } };
}

/** As many pictures as are asked for, by either method. */
export function pictures(data?: string): GoogleHandler {
  return ({ rpc, body }) => {
    if (rpc === 'generateContent') return content([inlineData(data)]);
    const count = Number(body.parameters?.sampleCount);
    return predictions(...Array.from({ length: count }, () => prediction(data)));
  };
}

/** Failures by name. */
export const failures = {
  invalidArgument: (message = 'Request contains an invalid argument.') =>
    failure({ code: 3, status: 'INVALID_ARGUMENT', httpStatus: 400, message }),
  deadline: () => failure({ code: 4, status: 'DEADLINE_EXCEEDED', httpStatus: 504 }),
  notFound: () => failure({ code: 5, status: 'NOT_FOUND', httpStatus: 404 }),
  permission: () => failure({ code: 7, status: 'PERMISSION_DENIED', httpStatus: 403 }),
  quota: (retrySeconds?: number) =>
    failure({ code: 8, status: 'RESOURCE_EXHAUSTED', httpStatus: 429, retrySeconds }),
  internal: () => failure({ code: 13, status: 'INTERNAL', httpStatus: 500 }),
  unavailable: () => failure({ code: 14, status: 'UNAVAILABLE', httpStatus: 503 }),
  unauthenticated: () => failure({ code: 16, status: 'UNAUTHENTICATED', httpStatus: 401 }),
} as const;

function failure(parts: Omit<GoogleFailure, 'message'> & { readonly message?: string }): GoogleAnswer {
  return { failure: { message: 'Something is wrong.', ...parts } };
}
