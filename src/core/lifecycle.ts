/** Where a model stands in its life at its vendor. */
import type { Model } from './provider.js';

/** A model's status at its vendor. */
export type ModelStatus = 'active' | 'deprecated' | 'retired';

/** A model's status at a moment, in epoch milliseconds: dates pass without a release of ours, at midnight UTC. */
export function modelStatus({ lifecycle }: Model, at: number): ModelStatus {
  const hasPassed = (date: string | undefined) => date !== undefined && Date.parse(date) <= at;
  if (hasPassed(lifecycle?.shutdownAt)) return 'retired';
  return hasPassed(lifecycle?.deprecatedAt) ? 'deprecated' : 'active';
}
