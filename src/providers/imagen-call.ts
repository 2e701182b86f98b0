/** One call of Google's service and what comes back, whatever carries them. */
import type { EndEvent, GenerateEvent, ImageEvent } from '../core/provider.js';
import type { JsonObject } from './json-value.js';

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
  /** How many pictures it asks for. */
  readonly count: number;
  /** Where an answer has its pictures. */
  readonly places: PicturePlaces;
  /** What an element of the list is in JSON that is one as the SDK has it; what is unreadable becomes `undefined`. */
  readonly elementOf: (value: unknown) => unknown;
  /** Reads the pictures of an answer, which is not believed. */
  readonly read: (answer: Answer) => AsyncGenerator<GenerateEvent, Ending, undefined>;
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

/** What comes back: JSON, but a picture is its bytes, or `null` where its base64 cannot be read. */
export interface Answer {
  /** The elements of its list, each when it is there. */
  readonly elements: AsyncIterable<unknown>;
  /** All else, once they were read to their end. Throws `shape` for what is no answer. */
  readonly rest: () => JsonObject;
  /** What frees a picture's memory; nothing where there is more in it. */
  readonly releaseOf: (picture: Uint8Array) => ImageEvent['release'];
}
