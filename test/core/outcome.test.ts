import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NO_TOKENS, type RequestOutcome, readOutcome, writeOutcome } from '../../src/core/outcome.js';
import { ImagesError } from '../../src/errors.js';

function outcome(revisedPrompt: string): RequestOutcome {
  const head: RequestOutcome['head'] = {
    ...{ created: 1, model: 'a/b', servedBy: 'a/b', quality: undefined, background: undefined },
    ...{ format: 'url' as const, lifecycle: undefined, warnings: [] },
  };
  const pictures = Array.from({ length: 10 }, (_, index) => ({
    ...{ index, stored: { id: 'img_1', file: 'img_1.png', expiresAt: 2 }, byteLength: 3, seed: undefined },
    ...{ contentType: 'image/png', size: { width: 1, height: 1 }, revisedPrompt },
  })) satisfies RequestOutcome['pictures'];
  return { head, pictures, failures: [], costMicroUsd: 4, tokens: NO_TOKENS };
}

/** As JSON has it: without fields that are undefined. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

test('an outcome is read as it was written', () => {
  const written = outcome('näher 🦦');
  assert.deepEqual(readOutcome(writeOutcome(written)), plain(written));
});

test('an outcome too large to keep loses its rewritten prompts and nothing else', () => {
  const text = writeOutcome(outcome('é'.repeat(32_000)));
  assert.ok(Buffer.byteLength(text) <= 64 * 1024, 'it fits');
  const { revisedPrompt: _, ...kept } = outcome('').pictures[3] ?? {};
  assert.deepEqual(readOutcome(text).pictures[3], plain(kept));
});

test('failures a plugin tells of at any length are cut where they would not fit', () => {
  const message = 'é'.repeat(40_000);
  const failures = [7, 8].map((index) => ({ index, code: 'BACKEND_ERROR' as const, reason: 'odd', message }));
  const text = writeOutcome({ ...outcome(''), failures });
  assert.ok(Buffer.byteLength(text) <= 64 * 1024, 'it fits');
  const [kept] = readOutcome(text).failures;
  assert.deepEqual({ ...kept, message: kept?.message.length }, { ...failures[0], message: 1_000 });
  const error = writeOutcome(new ImagesError('BACKEND_ERROR', message, { billed: 'yes' }));
  assert.ok(Buffer.byteLength(error) <= 64 * 1024, 'an error fits');
  assert.throws(() => readOutcome(error), { code: 'BACKEND_ERROR', billed: 'yes' });
});

test('a request that ended in an error throws it again', () => {
  const details = [{ field: 'size', message: 'odd' }];
  const error = new ImagesError('BACKEND_ERROR', 'It failed.', {
    details,
    billed: 'yes',
    reason: 'odd',
    retryAfter: 3,
  });
  assert.throws(() => readOutcome(writeOutcome(error)), {
    code: 'BACKEND_ERROR',
    message: 'It failed.',
    details,
    billed: 'yes',
    reason: 'odd',
    retryAfter: 3,
  });
});
