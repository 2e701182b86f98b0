/** The `Idempotency-Key` header: which requests are the same request. */
import { hash } from 'node:crypto';
import type { Request } from 'express';
import type { Once } from '../core/budget.js';
import type { Caller } from '../core/caller.js';
import type { EncodedImage } from '../core/image.js';
import { invalid } from '../core/validation.js';
import type { Surface } from './errors.js';
import type { ReadRequest } from './operation.js';

const KEY = /^[\x21-\x7e]{1,255}$/;

/** What a request is, beside its body. */
export interface Endpoint {
  /** Which API it speaks. */
  readonly surface: Surface;
  /** What it does. */
  readonly operation: string;
}

function sha256(data: string | Uint8Array): string {
  return hash('sha256', data);
}

/** JSON whose keys are in order, so that equal values are equal text. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, node: unknown) => {
    if (typeof node !== 'object' || node === null || Array.isArray(node)) return node;
    return Object.fromEntries(Object.entries(node).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

function digest({ bytes }: EncodedImage): string {
  return sha256(bytes);
}

/**
 * The key and fingerprint of a request with an `Idempotency-Key`, scoped to the tenant; `undefined` without one.
 * The fingerprint is over what was parsed, pictures by their digest, so the bytes of the body do not matter. Throws
 * `VALIDATION_ERROR` for a key nobody should use.
 */
export function onceOf(req: Request, caller: Caller, read: ReadRequest & Endpoint): Once | undefined {
  const key = req.get('idempotency-key');
  if (key === undefined) return undefined;
  if (!KEY.test(key)) {
    throw invalid([{ field: 'Idempotency-Key', message: 'expected 1 to 255 printable ASCII characters' }]);
  }
  const { images: _, mask: __, ...fields } = read.fields;
  const { inputs, mask } = read.request;
  const meaning = {
    surface: read.surface,
    operation: read.operation,
    fields,
    inputs: inputs.map(digest),
    mask: mask && digest(mask),
  };
  return { key: sha256(JSON.stringify([caller.tenant, key])), fingerprint: sha256(canonical(meaning)) };
}
