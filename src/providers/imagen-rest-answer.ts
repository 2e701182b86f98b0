/** Answers over REST: read as they arrive, past Google's SDK, which parses a body whole. */
import { giveBack } from '../core/memory.js';
import { ProviderError } from '../errors.js';
import type { Answer, ServiceCall } from './imagen-call.js';
import { isObject, type JsonObject } from './json-value.js';
import { readPictureAnswer } from './picture-answer.js';

/**
 * What a successful response holds. An empty object is what Google sends when it withholds every picture; what is no
 * object, and what has something else for a list, fails with `shape`, if need be behind its pictures.
 */
export function readAnswer(response: Response, { places, count }: ServiceCall): Answer {
  const malformed = () => shapeError(response);
  const { elements, rest } = readPictureAnswer(response, { ...places, count, malformed });

  function checked(): JsonObject {
    const value = rest();
    if (!isObject(value)) throw malformed();
    const list = value[places.list] ?? [];
    if (!Array.isArray(list)) throw malformed();
    return value;
  }
  return { elements, rest: checked, releaseOf: (bytes) => () => giveBack(bytes) };
}

function shapeError({ status }: Response): ProviderError {
  return new ProviderError('shape', "The provider's answer is not what Google's are.", {
    billed: 'unknown',
    status,
  });
}
