/** What the three protocols have in common: an order goes in, a drawing comes out. Types only. */
import type { BlockedEvent, GenerateCall, ImageEvent } from '../core/provider.js';
import type { DiffusionServer } from './stable-diffusion-server.js';
import type { Settings } from './stable-diffusion-settings.js';

/** What to draw, and where. */
export interface DrawingOrder {
  /** What is wanted. */
  readonly call: GenerateCall;
  /** The seed of the first picture; never left to the server, some of which always take the same. */
  readonly seed: number;
  /** Settings of the sampler. */
  readonly settings: Settings;
  /** The checkpoint or model to name, if any. */
  readonly checkpoint: string | undefined;
  /** Stability's endpoint, with that protocol. */
  readonly endpoint: string | undefined;
  /** Who draws. */
  readonly server: DiffusionServer;
}

/**
 * Pictures drawn and withheld, each as soon as it can be told. Throws a `ProviderError` where an answer is not what it
 * should be; for a picture that cannot be read, only after the others were yielded.
 */
export type Drawing = AsyncIterable<ImageEvent | BlockedEvent>;

/**
 * Draws by one protocol. Resolves when the answer begins: then the server is done, and may be given the next order.
 * Throws a `ProviderError` where nothing was drawn.
 */
export type Draw = (order: DrawingOrder) => Promise<Drawing>;
