/** Which models one `imagen()` offers: the table, what the host adds to it, and how long they live where it points. */
import type { Lifecycle, Model } from '../core/provider.js';
import { ConfigError } from '../errors.js';
import { GOOGLE_MODELS, type GoogleModel } from './imagen-models.js';
import { frameFor, sizeName } from './imagen-sizes.js';

/**
 * A model the table does not have: one it is `like`, which is asked the same way and draws the same shapes; Google's
 * own `id` of it; and whatever differs. Its slug is the `id` in lower case with `google/` in front, unless the table
 * has the `id`, whose row it then replaces. It has no end of life unless that is said.
 */
export type ModelAddition = {
  /** Google's id of the model it is like. */
  readonly like: string;
  /** Google's id of the new one. */
  readonly id: string;
} & { readonly [Field in Exclude<keyof Model, 'slug' | 'upstreamId'>]?: Model[Field] | undefined };

/** What decides on the models. */
export interface CatalogOptions {
  /** The host's additions. */
  readonly additions: readonly ModelAddition[];
  /** Whether requests go to Google itself. Its retirements mean nothing to other servers. */
  readonly atGoogle: boolean;
  /** Whether successors draw for retired models. */
  readonly successorServes: boolean;
}

/** Makes the rows by slug. Throws a `ConfigError` for an addition that cannot be one. */
export function googleCatalog(options: CatalogOptions): ReadonlyMap<string, GoogleModel> {
  const rows = new Map<string, GoogleModel>();
  for (const row of GOOGLE_MODELS) {
    const lifecycle = options.atGoogle ? lifecycleOf(row.model, options.successorServes) : undefined;
    rows.set(row.model.slug, { ...row, model: { ...row.model, lifecycle } });
  }
  for (const [index, addition] of options.additions.entries()) {
    const row = added(addition, `imagen.models[${index}]`);
    rows.set(row.model.slug, row);
  }
  return rows;
}

function lifecycleOf({ lifecycle }: Model, serves: boolean): Lifecycle | undefined {
  if (lifecycle?.successor === undefined) return lifecycle;
  return { ...lifecycle, successor: { ...lifecycle.successor, serves } };
}

function rowOf(id: string): GoogleModel | undefined {
  return GOOGLE_MODELS.find(({ model }) => model.upstreamId === id);
}

function added({ like, id, ...changes }: ModelAddition, path: string): GoogleModel {
  const base = rowOf(like);
  if (base === undefined) {
    const known = GOOGLE_MODELS.map(({ model }) => model.upstreamId).join(', ');
    throw new ConfigError(`${path}.like`, `must be one of ${known}`);
  }
  if (typeof id !== 'string' || !/^[A-Za-z0-9][\w.@-]{0,127}$/.test(id)) {
    throw new ConfigError(`${path}.id`, 'must be a model id of letters, digits and . _ @ -');
  }
  const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
  const slug = rowOf(id)?.model.slug ?? `google/${id.toLowerCase().replaceAll('@', '-')}`;
  const model: Model = {
    ...base.model,
    displayName: id,
    lifecycle: undefined,
    ...given,
    slug,
    upstreamId: id,
  };
  checkSizes({ ...base, model }, path);
  return { ...base, model };
}

function checkSizes({ model, frames }: GoogleModel, path: string): void {
  const { sizes } = model;
  if (sizes.kind === 'range') throw new ConfigError(`${path}.sizes`, 'must be a list: Google takes shapes');
  const odd = sizes.values.find((size) => frameFor(size, frames) === undefined);
  if (odd === undefined) return;
  throw new ConfigError(`${path}.sizes`, `${sizeName(odd)} is no shape of the model it is like, or larger`);
}
