/** Sampler settings as data: the host's defaults, and what clients may choose by `metadata`. */
import type { Metadata } from '../core/image.js';
import { ConfigError, ProviderError } from '../errors.js';

/** The least and the greatest value a client may choose, both inclusive. */
export interface SettingRange {
  /** The least. */
  readonly min: number;
  /** The greatest. */
  readonly max: number;
}

/** Settings clients may choose by the `metadata` key of the same name. */
export interface AllowedSettings {
  /** Steps of the sampler. @defaultValue clients cannot choose */
  readonly steps?: SettingRange | undefined;
  /** How closely the prompt is followed. @defaultValue clients cannot choose */
  readonly cfg_scale?: SettingRange | undefined;
  /** How far an edit may depart from its input. @defaultValue clients cannot choose */
  readonly denoising_strength?: SettingRange | undefined;
  /** Samplers, as the server names them. @defaultValue clients cannot choose */
  readonly sampler_name?: readonly string[] | undefined;
  /** Schedulers, as the server names them. @defaultValue clients cannot choose */
  readonly scheduler?: readonly string[] | undefined;
}

type SettingKey = keyof AllowedSettings;

/** Chosen settings by `metadata` key. */
export type Settings = Readonly<Partial<Record<SettingKey, number | string>>>;

/** The host's defaults among the options of `stableDiffusion()`. */
interface SettingOptions {
  readonly steps?: number | undefined;
  readonly cfgScale?: number | undefined;
  readonly denoisingStrength?: number | undefined;
  readonly sampler?: string | undefined;
  readonly scheduler?: string | undefined;
  readonly allow?: AllowedSettings | undefined;
}

/** What is known of one setting. */
interface SettingRow {
  /** The option that holds the host's default. */
  readonly option: Exclude<keyof SettingOptions, 'allow'>;
  /** The legal values; absent for a word. */
  readonly bounds?: SettingRange & { readonly whole: boolean };
  /** What OpenAI-shaped servers call it: vLLM-Omni and SGLang first, then LocalAI. */
  readonly openai: readonly string[];
  /** Whether Stability has it. */
  readonly hosted?: true;
}

const ROWS: Readonly<Record<SettingKey, SettingRow>> = {
  steps: {
    option: 'steps',
    bounds: { min: 1, max: 1000, whole: true },
    openai: ['num_inference_steps', 'step'],
  },
  cfg_scale: { option: 'cfgScale', bounds: { min: 0, max: 100, whole: false }, openai: ['guidance_scale'] },
  denoising_strength: {
    option: 'denoisingStrength',
    bounds: { min: 0, max: 1, whole: false },
    openai: [],
    hosted: true,
  },
  sampler_name: { option: 'sampler', openai: [] },
  scheduler: { option: 'scheduler', openai: [] },
};

const KEYS = Object.keys(ROWS) as readonly SettingKey[];

/** Checks the host's defaults and bounds. Throws a `ConfigError`, also for one that Stability does not have. */
export function checkSettings(options: SettingOptions, hosted: boolean): void {
  const { allow } = options;
  if (allow !== undefined && (typeof allow !== 'object' || allow === null)) {
    throw wrong('allow', 'must be an object');
  }
  for (const key of Object.keys(allow ?? {})) {
    if (!Object.hasOwn(ROWS, key)) throw wrong(`allow.${key}`, `is no setting; there are ${KEYS.join(', ')}`);
  }
  for (const key of KEYS) {
    const { option } = ROWS[key];
    const value = options[option];
    if (value !== undefined && !isLegal(key, value)) throw wrong(option, `must be ${legalValues(key)}`);
    if (allow?.[key] !== undefined) checkAllowed(key, allow[key]);
    if (!hosted || ROWS[key].hosted === true) continue;
    const given = value !== undefined ? option : allow?.[key] !== undefined ? `allow.${key}` : undefined;
    if (given !== undefined) throw wrong(given, 'is for servers of your own, not for Stability');
  }
}

function checkAllowed(key: SettingKey, allowed: SettingRange | readonly string[]): void {
  if (ROWS[key].bounds === undefined) {
    const fine = Array.isArray(allowed) && allowed.length > 0 && allowed.every((each) => isLegal(key, each));
    if (!fine) throw wrong(`allow.${key}`, 'must list what clients may choose');
    return;
  }
  const { min, max } = allowed as SettingRange;
  if (!isLegal(key, min) || !isLegal(key, max) || min > max) {
    throw wrong(`allow.${key}`, `must have a min and a max, each ${legalValues(key)}`);
  }
}

function isLegal(key: SettingKey, value: unknown): boolean {
  const { bounds } = ROWS[key];
  if (bounds === undefined) return typeof value === 'string' && /^[\w +.()-]{1,64}$/.test(value);
  if (typeof value !== 'number' || !(value >= bounds.min && value <= bounds.max)) return false;
  return !bounds.whole || Number.isInteger(value);
}

function legalValues(key: SettingKey): string {
  const { bounds } = ROWS[key];
  if (bounds === undefined) return 'a name of the server';
  return `a ${bounds.whole ? 'whole ' : ''}number from ${bounds.min} to ${bounds.max}`;
}

function wrong(name: string, message: string): ConfigError {
  return new ConfigError(`stableDiffusion.${name}`, message);
}

/** The `metadata` keys that steer, once the host allowed them. */
export function allowedKeys({ allow = {} }: SettingOptions): readonly string[] {
  return KEYS.filter((key) => allow[key] !== undefined);
}

/**
 * The settings of one call: what the client chose where it may, else the host's. Throws `rejected` beyond the bounds.
 */
export function settingsOf(options: SettingOptions, metadata: Metadata): Settings {
  const chosen = KEYS.map((key) => {
    const allowed = options.allow?.[key];
    const value = metadata[key];
    if (allowed === undefined || value === undefined) return [key, options[ROWS[key].option]] as const;
    const message = objection(key, value, allowed);
    if (message === undefined) return [key, value] as const;
    const field = `metadata.${key}`;
    throw new ProviderError('rejected', `${field} ${message}.`, {
      billed: 'no',
      details: [{ field, message }],
    });
  });
  return Object.fromEntries(chosen.filter(([, value]) => value !== undefined));
}

function objection(
  key: SettingKey,
  value: number | string | boolean,
  allowed: SettingRange | readonly string[],
): string | undefined {
  if ('min' in allowed) {
    const fine = isLegal(key, value) && Number(value) >= allowed.min && Number(value) <= allowed.max;
    const whole = ROWS[key].bounds?.whole === true ? 'whole ' : '';
    return fine ? undefined : `must be a ${whole}number from ${allowed.min} to ${allowed.max}`;
  }
  return allowed.includes(String(value)) ? undefined : `must be one of ${allowed.join(', ')}`;
}

/** Settings by the names OpenAI-shaped servers know; those they have no name for are left out. */
export function openaiSettings(settings: Settings): Readonly<Record<string, number | string>> {
  return Object.fromEntries(
    KEYS.flatMap((key) => {
      const value = settings[key];
      return value === undefined ? [] : ROWS[key].openai.map((name) => [name, value] as const);
    }),
  );
}
