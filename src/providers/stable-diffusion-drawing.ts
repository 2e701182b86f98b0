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

/** What came back. */
export interface Drawing {
  /** Pictures drawn and withheld. */
  readonly events: readonly (ImageEvent | BlockedEvent)[];
  /** How many pictures could not be read. */
  readonly unreadable: number;
}

/** Draws by one protocol. Throws a `ProviderError` where nothing was drawn. */
export type Draw = (order: DrawingOrder) => Promise<Drawing>;
