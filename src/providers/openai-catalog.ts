/** Which models one `openai()` offers: the table, what the host adds to it, and how long they live where it points. */
import type { Lifecycle, Model } from '../core/provider.js';
import { ConfigError } from '../errors.js';
import type { OpenAIModel } from './openai-model-row.js';
import { OPENAI_MODELS } from './openai-models.js';

/**
 * A model the table does not have: one it is `like`, whose request fields it takes; the vendor's own `id` of it,
 * which with `openai/` in front is also the slug, in lower case; and whatever differs. It has no end of life unless
 * that is said, and an `id` of the table replaces its row.
 */
export type ModelAddition = {
  /** The vendor's id of the model it is like. */
  readonly like: string;
  /** The vendor's id of the new one. */
  readonly id: string;
} & {
  readonly [Field in Exclude<keyof Model, 'slug' | 'upstreamId' | 'metadataKeys'>]?: Model[Field] | undefined;
};

/** What decides on the models. */
export interface CatalogOptions {
  /** The host's additions. */
  readonly additions: readonly ModelAddition[];
  /** The `metadata` keys that steer. */
  readonly allowed: readonly string[];
  /** Whether requests go to OpenAI itself. Its retirements mean nothing to other servers. */
  readonly atOpenAI: boolean;
  /** Whether successors draw for retired models. */
  readonly successorServes: boolean;
  /** The ids of the only models there are; `undefined` means all of them. */
  readonly only: readonly string[] | undefined;
}

/** Makes the rows by slug. Throws a `ConfigError` for an addition that cannot be one. */
export function openaiCatalog(options: CatalogOptions): ReadonlyMap<string, OpenAIModel> {
  const rows = new Map<string, OpenAIModel>();
  for (const { model, takes } of OPENAI_MODELS) {
    const lifecycle = options.atOpenAI ? lifecycleOf(model, options.successorServes) : undefined;
    rows.set(model.slug, { model: { ...model, lifecycle }, takes });
  }
  for (const [index, addition] of options.additions.entries()) {
    const row = added(addition, `openai.models[${index}]`);
    rows.set(row.model.slug, row);
  }
  for (const [slug, { model, takes }] of rows) {
    const metadataKeys = model.metadataKeys.filter((key) => options.allowed.includes(key));
    rows.set(slug, { model: { ...model, metadataKeys }, takes });
  }
  return options.only === undefined ? rows : pick(rows, options.only);
}

function pick(rows: ReadonlyMap<string, OpenAIModel>, ids: readonly string[]): Map<string, OpenAIModel> {
  const known = new Map([...rows.values()].map((row) => [row.model.upstreamId, row]));
  const picked = new Map<string, OpenAIModel>();
  for (const id of ids) {
    const row = known.get(id);
    if (row === undefined) {
      const path = `openai.azure.deployment['${id}']`;
      throw new ConfigError(path, `is no model; there are ${[...known.keys()].join(', ')}`);
    }
    picked.set(row.model.slug, row);
  }
  return picked;
}

function lifecycleOf({ lifecycle }: Model, serves: boolean): Lifecycle | undefined {
  if (lifecycle?.successor === undefined) return lifecycle;
  return { ...lifecycle, successor: { ...lifecycle.successor, serves } };
}

function added({ like, id, ...changes }: ModelAddition, path: string): OpenAIModel {
  const base = OPENAI_MODELS.find(({ model }) => model.upstreamId === like);
  if (base === undefined) {
    const known = OPENAI_MODELS.map(({ model }) => model.upstreamId).join(', ');
    throw new ConfigError(`${path}.like`, `must be one of ${known}`);
  }
  if (typeof id !== 'string' || !/^[A-Za-z0-9][\w.:-]{0,127}$/.test(id)) {
    throw new ConfigError(`${path}.id`, 'must be a model id of letters, digits and . _ : -');
  }
  const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
  const slug = `openai/${id.toLowerCase()}`;
  const model = { ...base.model, displayName: id, lifecycle: undefined, ...given, slug, upstreamId: id };
  return { model, takes: base.takes };
}
