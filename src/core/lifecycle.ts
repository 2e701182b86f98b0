/** Where a model stands in its life at its vendor. */
import type { Model } from './provider.js';

/** A model's status at its vendor. */
export type ModelStatus = 'active' | 'deprecated' | 'retired';

/** A model's status on a day: dates pass without a release of ours. */
export function modelStatus(model: Model, at: number): ModelStatus {
  if (model.lifecycle === undefined) return 'active';
  const today = new Date(at).toISOString().slice(0, 10);
  const { shutdownAt, deprecatedAt } = model.lifecycle;
  if (shutdownAt !== undefined && shutdownAt <= today) return 'retired';
  return deprecatedAt !== undefined && deprecatedAt <= today ? 'deprecated' : 'active';
}
