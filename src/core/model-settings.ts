/** What the host says of models: aliases, prices, bounds and the order of backends. */
import type { Price } from './provider.js';

/** What the host says of a slug of its own that stands for another. */
export interface ModelAlias {
  /** The slug it stands for: a provider's model, not another alias. */
  readonly aliasOf: string;
}

/** What the host says of a provider's model. */
export interface ModelSettings {
  /**
   * Another slug that draws in its place, whatever its life at the vendor.
   * @defaultValue the vendor's successor once it is retired
   */
  readonly servedBy?: string | undefined;
  /** How qualities translate when another slug draws. @defaultValue the vendor's table */
  readonly qualities?: Readonly<Record<string, string>> | undefined;
  /** Price per picture or by token; trumps the table and what the vendor reports. @defaultValue the model's own */
  readonly price?: Price | undefined;
  /** Bounds below the vendor's. @defaultValue the vendor's */
  readonly limits?: ModelLimits | undefined;
  /** Order or weights of the providers that offer it. @defaultValue the order of `providers` */
  readonly backends?: readonly BackendSettings[] | undefined;
}

/** Bounds a host sets for one model. */
export interface ModelLimits {
  /** Pictures per request, 1 to 10. @defaultValue 10 */
  readonly maxImages?: number | undefined;
  /** Code points of a prompt. @defaultValue the model's own */
  readonly maxPromptLength?: number | undefined;
}

/** Where a provider stands among those that offer a model. */
export interface BackendSettings {
  /** The provider's name. */
  readonly provider: string;
  /** Lower goes first. @defaultValue its place in the list */
  readonly priority?: number | undefined;
  /** Share of the requests among backends of the same priority. @defaultValue 1 */
  readonly weight?: number | undefined;
}

/** True for a slug of the host's own. */
export function isAlias(settings: ModelAlias | ModelSettings): settings is ModelAlias {
  return 'aliasOf' in settings;
}
