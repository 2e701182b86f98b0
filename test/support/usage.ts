/** Rows of usage for tests. */
import { randomUUID } from 'node:crypto';
import type { UsageRow } from '../../src/core/usage.js';

/** A row of the test caller, one picture at 4 cents, unless told. */
export function usageRow(parts: Partial<UsageRow> = {}): UsageRow {
  return {
    ...{ id: `usage_${randomUUID()}`, at: Date.now(), requestId: `req_${randomUUID()}` },
    ...{ tenant: 'acme', user: 'ann', operation: 'generate' },
    ...{ model: 'placeholder/sketch', servedBy: 'placeholder/sketch', backend: 'placeholder' },
    ...{ imagesAsked: 1, images: 1, tokensIn: 0, tokensOut: 0 },
    ...{ costMicroUsd: 40_000, backendCostMicroUsd: 40_000, latencyMs: 10, error: undefined, labels: {} },
    ...parts,
  };
}
