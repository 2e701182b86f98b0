/** Checks of what the host says of models, but for amounts of money, which are the catalog's to check. */
import { isAlias, type ModelAlias, type ModelLimits, type ModelSettings } from './core/model-settings.js';
import type { Provider } from './core/provider.js';
import { ConfigError } from './errors.js';
import { checkNames, checkObject, checkWhole, hint } from './option-checks.js';

const MAX_IMAGES = 10;

function checkModelLimits(limits: ModelLimits, path: string): void {
  checkNames(limits, path, ['maxImages', 'maxPromptLength']);
  const { maxImages = 1, maxPromptLength = 1 } = limits;
  checkWhole(maxPromptLength, `${path}.maxPromptLength`);
  checkWhole(maxImages, `${path}.maxImages`, MAX_IMAGES);
}

/** The shape of a price; whether its amounts are money is the catalog's to check. */
function checkPrice(price: unknown, path: string): void {
  if (typeof price === 'number') return;
  checkObject(price, path);
  if ('tokens' in price) {
    checkObject(price.tokens, `${path}.tokens`);
    if ('ceiling' in price) checkPrice(price.ceiling, `${path}.ceiling`);
    return;
  }
  for (const [size, row] of Object.entries(price)) checkObject(row, `${path}['${size}']`);
}

function checkBackends(backends: unknown, path: string): void {
  if (!Array.isArray(backends))
    throw new ConfigError(path, 'expected a list such as [{ provider: "openai" }]');
  backends.forEach((backend, place) => {
    checkNames(backend, `${path}[${place}]`, ['provider', 'priority', 'weight']);
  });
}

/** Expects aliases and settings of models that providers offer. */
export function checkModels(
  models: Readonly<Record<string, ModelAlias | ModelSettings>>,
  providers: readonly Provider[],
): void {
  const known = providers.flatMap((provider) => provider.models.map(({ slug }) => slug));
  const check = (path: string, slug: string) => {
    if (!known.includes(slug))
      throw new ConfigError(path, `no provider offers a model ${slug}${hint(slug, known)}`);
  };
  checkObject(models, 'models');
  for (const [slug, settings] of Object.entries(models)) {
    const path = `models['${slug}']`;
    checkObject(settings, path);
    if (isAlias(settings)) {
      checkNames(settings, path, ['aliasOf']);
      check(`${path}.aliasOf`, settings.aliasOf);
      continue;
    }
    checkNames(settings, path, ['servedBy', 'qualities', 'price', 'limits', 'backends']);
    check(path, slug);
    if (settings.servedBy !== undefined) check(`${path}.servedBy`, settings.servedBy);
    if (settings.limits !== undefined) checkModelLimits(settings.limits, `${path}.limits`);
    if (settings.qualities !== undefined) checkObject(settings.qualities, `${path}.qualities`);
    if (settings.price !== undefined) checkPrice(settings.price, `${path}.price`);
    if (settings.backends !== undefined) checkBackends(settings.backends, `${path}.backends`);
  }
}
