/**
 * The provider contract. A provider turns one {@link GenerateCall} into a stream of {@link GenerateEvent}s and
 * describes its models as data. Retries, splitting of `n`, failover, storage and image processing are never its
 * business. Types only.
 */
import type { EncodedImage, ImageFormat, Metadata, MicroUsd, Operation, Size } from './image.js';

/** A source of pictures: one vendor account, or one server. */
export interface Provider {
  /** Unique among the providers of a router. Appears in events and usage rows, not in slugs. */
  readonly name: string;
  /** What it offers. Read once, at construction. */
  readonly models: readonly Model[];
  /**
   * Draws. Yields events in any order, then exactly one `end` and nothing after it; or throws a `ProviderError`,
   * in which case pictures already yielded count. Must not start before the first `next()`, must stop its
   * upstream work when `call.signal` aborts, and must not retry.
   */
  generate(call: GenerateCall): AsyncIterable<GenerateEvent>;
  /** True when the vendor's SDK cannot take `call.fetch`: the adapter then keeps the same caps and deadlines itself. */
  readonly ownTransport?: boolean;
  /**
   * True when its pictures carry C2PA manifests worth keeping, because it is known to sign what it makes. Bytes of
   * other providers are always cleaned.
   */
  readonly contentCredentials?: boolean;
  /** Pays one-time costs (loading, connecting, probing) ahead of the first request. May be called more than once. */
  warmup?(): Promise<void>;
  /** Frees what it holds. No call follows. */
  close?(): Promise<void>;
}

/** One call of a provider. Every field is present, possibly `undefined`, so that ignoring one is done on purpose. */
export interface GenerateCall {
  /** The request this call serves; safe to send to the vendor. */
  readonly requestId: string;
  /** What to do. */
  readonly operation: Operation;
  /** One of the provider's own models. */
  readonly model: Model;
  /** Well-formed Unicode without NUL, within the model's limit. To be sent byte for byte. */
  readonly prompt: string;
  /** How many pictures: 1 to the model's `maxImages`, or to its `maxImagesWithPreviews` when `previews` > 0. */
  readonly n: number;
  /** Exact pixels the model declares, or `auto` to let the vendor choose. */
  readonly size: Size | 'auto';
  /** One of the model's qualities. */
  readonly quality: string | undefined;
  /** One of the model's styles. */
  readonly style: string | undefined;
  /** One of the model's backgrounds. */
  readonly background: string | undefined;
  /** One of the model's formats; `undefined` lets the vendor choose, and the router re-encodes where needed. */
  readonly outputFormat: ImageFormat | undefined;
  /** 0 (smallest) to 100 (best), with `outputFormat` only. */
  readonly outputCompression: number | undefined;
  /**
   * Whole, 0 to 2^32 − 1. Picture `index` of the whole request should use `seed + index`; the router adds the offset of
   * this call.
   */
  readonly seed: number | undefined;
  /** What should not be in the picture. */
  readonly negativePrompt: string | undefined;
  /** Pictures to edit, already checked, in formats the model reads; empty for `generate`. */
  readonly inputs: readonly EncodedImage[];
  /** Where to edit: transparent pixels change. */
  readonly mask: EncodedImage | undefined;
  /** How many previews per picture the client wants: 0 to the model's `maxPreviews`. */
  readonly previews: number;
  /** Opaque id of the person who asked, for the vendor's abuse tracking. */
  readonly endUser: string | undefined;
  /** A null-prototype object: keys the model declares in `metadataKeys` steer it, the rest are labels. */
  readonly metadata: Metadata;
  /**
   * Aborts on deadline, disconnect and shutdown. Must reach the upstream; `signal.reason` is rethrown untouched, but a
   * call that was not sent yet may throw a `ProviderError` with `billed: 'no'`, and is then not booked.
   */
  readonly signal: AbortSignal;
  /**
   * Epoch milliseconds after which too little time is left for a picture to come. A provider with a line of its own
   * does not send a call then, and throws a `ProviderError` with `billed: 'no'`.
   */
  readonly sendBy: number;
  /** The router's outbound `fetch`: no redirects, a cap on decoded bytes, bound to `signal`. */
  readonly fetch: typeof globalThis.fetch;
}

/** What a provider yields. `index` is 0-based within the call. */
export type GenerateEvent = PreviewEvent | ImageEvent | BlockedEvent | EndEvent;

/** A picture in the making; only when `call.previews` > 0. */
export interface PreviewEvent {
  /** Discriminates. */
  readonly type: 'preview';
  /** Which picture of the call. */
  readonly index: number;
  /** Which preview of that picture, from 0. */
  readonly step: number;
  /** The unfinished picture. */
  readonly image: EncodedImage;
  /** As that of a finished one. */
  readonly release?: (() => void) | undefined;
}

/** A finished picture. At most one per index. */
export interface ImageEvent {
  /** Discriminates. */
  readonly type: 'image';
  /** Which picture of the call. */
  readonly index: number;
  /** The finished picture. */
  readonly image: EncodedImage;
  /** The prompt as the vendor rewrote it, untouched. */
  readonly revisedPrompt?: string | undefined;
  /** The seed that was used. */
  readonly seed?: number | undefined;
  /**
   * Called once at most, when the router needs the bytes no longer: their memory may be reused or freed. Left out
   * where garbage collection does.
   */
  readonly release?: (() => void) | undefined;
}

/** A picture the vendor withheld. At most one per index, instead of its `image`. */
export interface BlockedEvent {
  /** Discriminates. */
  readonly type: 'blocked';
  /** Which picture of the call. */
  readonly index: number;
  /** The vendor's category in a word or two, such as `violence`; reaches the client. */
  readonly reason: string;
  /** What was refused: the prompt or inputs, the drawn picture, or nobody knows. */
  readonly stage: 'input' | 'output' | 'unknown';
}

/** The end of a call that did not fail. */
export interface EndEvent {
  /** Discriminates. */
  readonly type: 'end';
  /** What the vendor counted. */
  readonly usage?: TokenUsage | undefined;
  /** What the vendor says it charges, whole micro-dollars ≥ 0. Trumps the price table, not the host's price. */
  readonly cost?: number | undefined;
  /** The vendor's own id of the call. */
  readonly upstreamId?: string | undefined;
}

/** Tokens as vendors report them; checked for plausibility before they become money. */
export interface TokenUsage {
  /** Prompt tokens that are text. */
  readonly textIn: number;
  /** Prompt tokens that are pictures. */
  readonly imageIn: number;
  /** Output tokens that are pictures. */
  readonly imageOut: number;
  /** Output tokens that are text (a model that thinks aloud); priced as `imageOut` where no rate is given. */
  readonly textOut?: number | undefined;
}

/** A model as data: validation, listings, prices and the conformance checks all read this one source. */
export interface Model {
  /** `vendor/name`, lower case: what clients ask for. */
  readonly slug: string;
  /** The vendor's own id. */
  readonly upstreamId: string;
  /** For people. */
  readonly displayName: string;
  /** What it can do. */
  readonly operations: readonly Operation[];
  /** The sizes it draws. */
  readonly sizes: SizeRule;
  /** Formats the vendor can deliver when asked, its default first. */
  readonly formats: readonly ImageFormat[];
  /** Values of `quality`, the default first: what a request without one gets; empty when it has no such setting. */
  readonly qualities: readonly string[];
  /** Values of `style`; empty when it has no such setting. */
  readonly styles: readonly string[];
  /** Values of `background`; empty when it has no such setting. */
  readonly backgrounds: readonly string[];
  /** Pictures per upstream call, at least 1. */
  readonly maxImages: number;
  /** Pictures per upstream call with previews, at least 1; `undefined` means `maxImages`. */
  readonly maxImagesWithPreviews?: number | undefined;
  /** Code points, at least 1. */
  readonly maxPromptLength: number;
  /** Input pictures an edit may have; 0 without edits. */
  readonly maxInputs: number;
  /** Formats of input pictures it reads: those in another reach it as PNG. `undefined` means that it reads all. */
  readonly inputFormats?: readonly ImageFormat[] | undefined;
  /** The same of masks; `undefined` means the `inputFormats`. */
  readonly maskFormats?: readonly ImageFormat[] | undefined;
  /** Previews per picture; 0 without previews. */
  readonly maxPreviews: number;
  /** What else it understands. */
  readonly features: readonly ModelFeature[];
  /** Metadata keys that steer it, once the host allows them; all others are labels. */
  readonly metadataKeys: readonly string[];
  /** What OpenAI clients get when they do not say. */
  readonly defaultResponseFormat: 'url' | 'b64_json';
  /** What it costs; `undefined` means unknown, and the router then refuses to start without the host's price. */
  readonly price: Price | undefined;
  /** Its life at the vendor; `undefined` means active with no known end. */
  readonly lifecycle?: Lifecycle | undefined;
  /** Where the facts above come from. */
  readonly sources?: Readonly<Record<string, Source>> | undefined;
}

/** What a model may understand beside the common fields. */
export type ModelFeature = 'seed' | 'negative_prompt' | 'mask' | 'streaming' | 'end_user';

/** Where a fact comes from and when it was read. */
export interface Source {
  /** A document, a package or a measurement. */
  readonly from: string;
  /** `YYYY-MM-DD`. */
  readonly date: string;
}

/** Which sizes a model draws. `default` is what a request without a size gets. */
export type SizeRule = SizeList | SizeRange;

/** Sizes as a closed list. */
export interface SizeList {
  /** Discriminates. */
  readonly kind: 'list';
  /** The legal sizes. */
  readonly values: readonly Size[];
  /** What a request without a size gets; `auto` lets the vendor choose. */
  readonly default: Size | 'auto';
}

/** Sizes as bounds, all inclusive. */
export interface SizeRange {
  /** Discriminates. */
  readonly kind: 'range';
  /** Both edges are multiples of this. */
  readonly multiple: number;
  /** Shortest edge. */
  readonly minEdge: number;
  /** Longest edge. */
  readonly maxEdge: number;
  /** Fewest pixels in all. */
  readonly minPixels: number;
  /** Most pixels in all. */
  readonly maxPixels: number;
  /** Longest edge divided by shortest edge, at most. */
  readonly maxRatio: number;
  /** What a request without a size gets; `auto` lets the vendor choose. */
  readonly default: Size | 'auto';
}

/** A price per picture: free, one amount, by size and quality, or by token under a ceiling. */
export type Price = 0 | MicroUsd | PriceTable | TokenPrice;

/**
 * Price per picture by size (`1024x1024`) and then quality. `*` stands for any other size or quality; of what a
 * table leaves out, nothing is sold.
 */
export type PriceTable = { readonly [size: string]: { readonly [quality: string]: MicroUsd } };

/** A price by token, with a bound that is held before the call. */
export interface TokenPrice {
  /** What a million tokens cost. */
  readonly tokens: TokenRates;
  /** Bounds the output of one picture; prompt, inputs and previews are bounded from the request. */
  readonly ceiling: MicroUsd | PriceTable;
  /** Bounds the tokens of one input picture; needed by models that edit. */
  readonly inputImageTokens?: number | undefined;
  /** Tokens of one preview. */
  readonly previewTokens?: number | undefined;
}

/** Prices per million tokens. */
export interface TokenRates {
  /** Prompt text. */
  readonly textIn: MicroUsd;
  /** Input pictures. */
  readonly imageIn: MicroUsd;
  /** Drawn pictures. */
  readonly imageOut: MicroUsd;
  /** Written text; `imageOut` when absent. */
  readonly textOut?: MicroUsd | undefined;
}

/** A model's life at its vendor. Its status follows from the dates: they pass without a release of ours. */
export interface Lifecycle {
  /** `YYYY-MM-DD` from which the vendor discourages it. */
  readonly deprecatedAt?: string | undefined;
  /** `YYYY-MM-DD` from which the vendor no longer serves it. */
  readonly shutdownAt?: string | undefined;
  /** Who takes over. */
  readonly successor?: Successor | undefined;
}

/** Who draws for a retired model, and how its settings translate. */
export interface Successor {
  /** The successor's slug. */
  readonly slug: string;
  /** False only names it: requests for the retired model are refused. */
  readonly serves: boolean;
  /** Sizes that change, `WxH` to `WxH`; the result is reduced to the size asked for. Others pass unchanged. */
  readonly sizes?: Readonly<Record<string, string>> | undefined;
  /** Qualities that change. Others pass unchanged. */
  readonly qualities?: Readonly<Record<string, string>> | undefined;
}
