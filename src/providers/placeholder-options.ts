/** The options of the placeholder and its model as data. */
import type { EncodedImage } from '../core/image.js';
import type { BlockedEvent, GenerateCall, Model, TokenUsage } from '../core/provider.js';

/** Options of `placeholder()`. All are optional; the rest beyond `name` and `models` is there for tests. */
export interface PlaceholderOptions {
  /**
   * Unique among the providers of a router.
   * @defaultValue `'placeholder'`
   */
  readonly name?: string | undefined;
  /**
   * The models on offer, each as what differs from the built-in one: sizes, price, lifecycle, `maxImages` and so on.
   * @defaultValue one model, `placeholder/sketch`, at price 0
   */
  readonly models?: readonly PlaceholderModel[] | undefined;
  /**
   * Whether it claims to sign its pictures. It does not; pictures with a manifest come from `tamper`.
   * @defaultValue `false`
   */
  readonly contentCredentials?: boolean | undefined;
  /**
   * Milliseconds a call waits before it draws or fails. Ends at once when the call is aborted.
   * @defaultValue `0`
   */
  readonly delayMs?: number | ((call: GenerateCall) => number) | undefined;
  /**
   * Sees every call as it starts, for counting what reaches the provider.
   * @defaultValue nobody looks
   */
  readonly onCall?: ((call: GenerateCall) => void) | undefined;
  /**
   * Decides whether a call fails before anything is drawn, and with what. Calls are counted from 1.
   * @defaultValue a call fails when its prompt contains `[fail:<kind>]`
   */
  readonly fail?: ((call: GenerateCall, callNumber: number) => Error | undefined) | undefined;
  /**
   * Decides whether a picture is withheld.
   * @defaultValue all are, when the prompt contains `[blocked]`
   */
  readonly blocked?:
    | ((call: GenerateCall, index: number) => Pick<BlockedEvent, 'reason' | 'stage'> | undefined)
    | undefined;
  /**
   * Replaces a finished picture: broken bytes, another size, a false type.
   * @defaultValue pictures are sent as drawn
   */
  readonly tamper?: ((image: EncodedImage, call: GenerateCall, index: number) => EncodedImage) | undefined;
  /**
   * Tokens to report; `delivered` is how many pictures were sent.
   * @defaultValue none are reported
   */
  readonly usage?: ((call: GenerateCall, delivered: number) => TokenUsage | undefined) | undefined;
  /**
   * Cost to report, in micro-dollars; `delivered` is how many pictures were sent.
   * @defaultValue none is reported
   */
  readonly cost?: ((call: GenerateCall, delivered: number) => number | undefined) | undefined;
}

/** What differs from the built-in model. */
export type PlaceholderModel = Readonly<Partial<Model>>;

/**
 * The built-in model. It can do all that the contract knows, so that any client feature can be tried without paying.
 */
export const SKETCH: Model = {
  slug: 'placeholder/sketch',
  upstreamId: 'sketch',
  displayName: 'Placeholder sketch (drawn by code, not by a model)',
  operations: ['generate', 'edit'],
  sizes: {
    kind: 'range',
    multiple: 1,
    minEdge: 16,
    maxEdge: 4096,
    minPixels: 16 * 16,
    maxPixels: 4096 * 4096,
    maxRatio: 256,
    default: { width: 1024, height: 1024 },
  },
  formats: ['png', 'jpeg', 'webp', 'avif'],
  qualities: ['standard', 'hd'],
  styles: ['vivid', 'natural'],
  backgrounds: ['auto', 'opaque', 'transparent'],
  maxImages: 10,
  maxPromptLength: 4_000,
  maxInputs: 16,
  maxPreviews: 3,
  features: ['seed', 'negative_prompt', 'mask', 'streaming', 'end_user'],
  metadataKeys: [],
  defaultResponseFormat: 'url',
  price: 0,
};
