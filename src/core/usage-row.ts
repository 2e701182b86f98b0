/** The row of usage of a request that is over. */
import { isImagesError } from '../errors.js';
import type { CallRecord } from './call-record.js';
import type { Caller } from './caller.js';
import { CLIENT_LEFT } from './deadline.js';
import type { RunContext } from './generate.js';
import { randomHex } from './random.js';
import type { ImageRequest } from './request.js';
import { booked, endOf, sum, tokensOf } from './summary.js';
import type { UsageRow } from './usage.js';

/** A request that is over. */
export interface EndedRequest {
  /** Who asked. */
  readonly caller: Caller;
  /** What was asked. */
  readonly request: ImageRequest;
  /** How it ran. */
  readonly context: RunContext;
  /** Its calls. */
  readonly records: readonly CallRecord[];
  /** From its arrival to its end. */
  readonly latencyMs: number;
}

/** Makes the row of a request that is over, now, under an id of its own: clients may choose those of requests. */
export function usageRow({ caller, request, context, records, latencyMs }: EndedRequest): UsageRow {
  const { requestId, head, deadline } = context;
  const { textIn, imageIn, imageOut, textOut } = tokensOf(records);
  const ended = endOf(records, head);
  const left = deadline.signal.reason === CLIENT_LEFT;
  return {
    id: `usage_${randomHex()}`,
    at: Date.now(),
    requestId,
    tenant: caller.tenant,
    user: caller.user,
    operation: request.operation,
    model: head.model,
    servedBy: head.servedBy,
    backend: backendOf(records),
    imagesAsked: request.n,
    images: isImagesError(ended) ? 0 : ended.pictures.length,
    tokensIn: textIn + imageIn,
    tokensOut: imageOut + textOut,
    costMicroUsd: booked(records).microUsd,
    backendCostMicroUsd: sum(records.map(({ backendCostMicroUsd }) => backendCostMicroUsd)),
    latencyMs: Math.round(latencyMs),
    error: isImagesError(ended) ? (left ? 'CLIENT_LEFT' : ended.code) : undefined,
    labels: { ...request.metadata },
  };
}

/** The provider that drew most, of several the first; where none drew, the first that was called. */
function backendOf(records: readonly CallRecord[]): string | undefined {
  const arrived = new Map<string, number>();
  for (const record of records) {
    if (record.backend === undefined) continue;
    arrived.set(record.backend, (arrived.get(record.backend) ?? 0) + record.arrived);
  }
  const [most] = [...arrived].sort(([, a], [, b]) => b - a);
  return most?.[0];
}
