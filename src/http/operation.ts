/** Generating and editing: how each is read from a body. Types only. */
import type { ImageRequest, Warning } from '../core/request.js';
import type { Exchange } from './exchange.js';
import type { Fields } from './fields.js';

/** What a body was read as. */
export interface ReadRequest {
  /** The body. */
  readonly fields: Fields;
  /** The request it stands for. */
  readonly request: ImageRequest;
  /** What was ignored. */
  readonly warnings: readonly Warning[];
}

/** How an operation is read, and what its events are called. */
export interface OperationReader {
  /** First half of the names of streamed events. */
  readonly eventPrefix: 'image_generation' | 'image_edit';
  /** Reads a body. */
  read(exchange: Exchange): Promise<ReadRequest>;
}
