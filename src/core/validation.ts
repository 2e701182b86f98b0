/** The error for requests that are not valid. */
import { type ErrorDetail, ImagesError } from '../errors.js';

/** The error for a request with faults: the first one as the sentence, all of them as details. */
export function invalid(details: readonly ErrorDetail[]): ImagesError {
  const [first] = details;
  const message = first === undefined ? 'The request is not valid.' : `${first.field}: ${first.message}`;
  return new ImagesError('VALIDATION_ERROR', message, { details });
}
