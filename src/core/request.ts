/**
 * A request as both surfaces hand it to the use case: parsed, of the right types, nothing about a model checked yet.
 * Types only.
 */
import type { Size } from './image.js';
import type { GenerateCall } from './provider.js';

/** What of a request reaches the provider as it was written. */
type Unchanged = Pick<
  GenerateCall,
  | 'operation'
  | 'prompt'
  | 'outputFormat'
  | 'outputCompression'
  | 'seed'
  | 'negativePrompt'
  | 'inputs'
  | 'mask'
  | 'previews'
  | 'endUser'
  | 'metadata'
>;

/** What a client asked for. Fields it did not send are `undefined`. */
export interface ImageRequest extends Unchanged {
  /** The slug as written. */
  readonly model: string;
  /** Pictures, 1 to 10. */
  readonly n: number;
  /** Pixels, or the vendor's choice. */
  readonly size: Size | 'auto' | undefined;
  /** As written. */
  readonly quality: string | undefined;
  /** As written. */
  readonly style: string | undefined;
  /** As written. */
  readonly background: string | undefined;
}

/** Something the router did other than asked, told to the client. */
export interface Warning {
  /** The field it is about. */
  readonly field: string;
  /** What was done, and why. */
  readonly message: string;
}
