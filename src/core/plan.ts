/** What was agreed about a request: what to send, what to deliver, what to tell the client. Types only. */
import type { ImageFormat, Size } from './image.js';
import type { GenerateCall } from './provider.js';
import type { Warning } from './request.js';

/** The part of a provider call that a request decides, before it is split and sent. */
export type CallSettings = Pick<
  GenerateCall,
  | 'operation'
  | 'prompt'
  | 'size'
  | 'quality'
  | 'style'
  | 'background'
  | 'seed'
  | 'negativePrompt'
  | 'inputs'
  | 'mask'
  | 'previews'
  | 'endUser'
  | 'metadata'
>;

/** A request that may be sent: what to ask of the provider, what to deliver, what to tell the client. */
export interface Plan {
  /** For the provider. */
  readonly settings: CallSettings;
  /** Exact pixels to deliver; `undefined` takes what comes. */
  readonly size: Size | undefined;
  /** Format to deliver; `undefined` takes what comes. */
  readonly format: ImageFormat | undefined;
  /** 0 to 100, with a format that has it. */
  readonly compression: number | undefined;
  /** Settings that change because another model draws. */
  readonly adapted: readonly Adaptation[];
  /** Things done other than asked, for the client to know. */
  readonly warnings: readonly Warning[];
}

/** A setting that changes because another model draws. */
export interface Adaptation {
  /** The field as clients write it. */
  readonly field: string;
  /** What was asked, or the asked model's default. */
  readonly from: string;
  /** What is sent; `null` for nothing. */
  readonly to: string | null;
}
