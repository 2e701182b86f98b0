/** What the provider checks share: how they get providers, build calls and read answers. */
import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import type { EncodedImage, Size } from '../../core/image.js';
import type {
  GenerateCall,
  GenerateEvent,
  ImageEvent,
  Model,
  Provider,
  SizeRule,
} from '../../core/provider.js';
import type { Check, CheckLevel, NotApplicable } from '../check.js';
import { makePng } from './pictures.js';

/** A provider under test, in front of a vendor (a local one, so that a run costs nothing) that behaves well. */
export interface ProviderSubject {
  /** The provider. */
  readonly provider: Provider;
  /**
   * Carries what the provider sends by `call.fetch`. The checks count its calls and bind it to the call's signal.
   * @defaultValue `globalThis.fetch`
   */
  readonly fetch?: typeof globalThis.fetch | undefined;
  /**
   * A prompt on which a call fails; at least 8 characters.
   * @defaultValue the checks of failures do not apply
   */
  readonly failingPrompt?: string | undefined;
  /**
   * A prompt on which at least one picture is withheld.
   * @defaultValue the check of blocked pictures does not apply
   */
  readonly blockedPrompt?: string | undefined;
  /**
   * What edits start from.
   * @defaultValue a PNG of the size asked for
   */
  readonly editInput?: EncodedImage | undefined;
  /**
   * How many calls reached the vendor so far.
   * @defaultValue the uses of `call.fetch`
   */
  readonly upstreamCalls?: (() => number) | undefined;
  /** Frees what the subject holds beside the provider, after the provider was closed. */
  close?(): Promise<void>;
}

/** Makes a fresh subject for one check. */
export type CreateProvider = () => ProviderSubject | Promise<ProviderSubject>;

/** A provider under test and the means to call it. */
export interface Bench {
  /** What the plugin's author handed in. */
  readonly subject: ProviderSubject;
  /** The provider under test. */
  readonly provider: Provider;
  /** Its models that the vendor still serves. */
  readonly models: readonly Model[];
  /** How many calls reached the vendor so far; `undefined` when nobody can know. */
  upstreamCalls(): number | undefined;
  /** A valid call of a model: one picture in its smallest size, unless told. */
  call(model: Model, parts?: Partial<GenerateCall>): GenerateCall;
  /** The parts of a valid edit. */
  edit(model: Model): Partial<GenerateCall>;
}

/** A check before it knows how to get and free its subject. */
export interface BenchCheck extends Omit<Check<CreateProvider>, 'level' | 'run'> {
  /** @defaultValue `'MUST'` */
  readonly level?: CheckLevel | undefined;
  /** Throws when the promise is broken. */
  readonly run: (bench: Bench) => Promise<undefined | NotApplicable> | Promise<void>;
}

/** Makes a check that creates its subject and closes it. */
export function check({ id, title, level = 'MUST', run }: BenchCheck): Check<CreateProvider> {
  return {
    id,
    title,
    level,
    async run(create) {
      const subject = await create();
      try {
        return (await run(benchOf(subject))) ?? undefined;
      } finally {
        await subject.provider.close?.();
        await subject.close?.();
      }
    },
  };
}

/** Runs `run` for each of the models, one after the other, or says that there is none. */
export async function forEach(
  models: readonly Model[],
  run: (model: Model) => Promise<void>,
): Promise<undefined | NotApplicable> {
  if (models.length === 0) return { notApplicable: 'no model of this kind' };
  for (const model of models) await run(model);
  return undefined;
}

function isServed({ lifecycle }: Model): boolean {
  const today = new Date().toISOString().slice(0, 10);
  return lifecycle?.shutdownAt === undefined || lifecycle.shutdownAt > today;
}

function benchOf(subject: ProviderSubject): Bench {
  const { provider, fetch = globalThis.fetch } = subject;
  let fetches = 0;
  const edit = (model: Model): Partial<GenerateCall> => ({
    operation: 'edit',
    inputs: [subject.editInput ?? makePng(smallestSize(model.sizes), 'picture')],
  });
  return {
    subject,
    provider,
    models: provider.models.filter(isServed),
    edit,
    upstreamCalls: () => subject.upstreamCalls?.() ?? (provider.ownTransport === true ? undefined : fetches),
    call(model, parts = {}) {
      const { signal = new AbortController().signal } = parts;
      const counted: typeof fetch = (input, init) => {
        const bound = AbortSignal.any(init?.signal == null ? [signal] : [signal, init.signal]);
        // What is aborted already never leaves the house.
        if (!bound.aborted) fetches += 1;
        return fetch(input, { ...init, redirect: 'manual', signal: bound });
      };
      const drawn = model.operations.includes('generate') ? {} : edit(model);
      return { ...blankCall(model), signal, fetch: counted, ...drawn, ...parts };
    },
  };
}

function blankCall(model: Model): Omit<GenerateCall, 'signal' | 'fetch'> {
  return {
    requestId: 'req_conformance',
    operation: 'generate',
    model,
    prompt: 'A lighthouse on a cliff at dawn'.slice(0, model.maxPromptLength),
    n: 1,
    size: smallestSize(model.sizes),
    quality: undefined,
    style: undefined,
    background: undefined,
    outputFormat: undefined,
    outputCompression: undefined,
    seed: undefined,
    negativePrompt: undefined,
    inputs: [],
    mask: undefined,
    previews: 0,
    endUser: undefined,
    metadata: Object.create(null),
    sendBy: Date.now() + 3_600_000,
  };
}

/** The cheapest legal size. */
export function smallestSize(sizes: SizeRule): Size {
  if (sizes.kind === 'list') {
    const [smallest] = sizes.values.toSorted((a, b) => a.width * a.height - b.width * b.height);
    assert.ok(smallest, 'a model lists no sizes');
    return smallest;
  }
  const edge = Math.max(sizes.minEdge, Math.ceil(Math.sqrt(sizes.minPixels)));
  const whole = Math.ceil(edge / sizes.multiple) * sizes.multiple;
  return { width: whole, height: whole };
}

/** Makes the call and reads it to its end. */
export async function collect(bench: Bench, call: GenerateCall): Promise<GenerateEvent[]> {
  const events: GenerateEvent[] = [];
  for await (const event of bench.provider.generate(call)) events.push(event);
  return events;
}

/** Only the finished pictures. */
export function imagesOf(events: readonly GenerateEvent[]): ImageEvent[] {
  return events.filter((event) => event.type === 'image');
}

/** How many pictures were drawn or withheld; one that came twice counts once. */
export function settledCount(events: readonly GenerateEvent[]): number {
  const settled = events.filter((event) => event.type === 'image' || event.type === 'blocked');
  return new Set(settled.map((event) => event.index)).size;
}

/** What a promise came to; a failure is a value. */
export async function outcomeOf(
  work: () => Promise<unknown>,
): Promise<{ value: unknown } | { error: unknown }> {
  try {
    return { value: await work() };
  } catch (error) {
    return { error };
  }
}

/** Waits for work that must be over within a second. */
export async function withinASecond<T>(work: Promise<T>, what: string): Promise<T> {
  const timer = new AbortController();
  const late = setTimeout(1_000, undefined, { signal: timer.signal }).then(() =>
    assert.fail(`${what} took over a second`),
  );
  // The loser of the race is nobody's any more.
  late.catch(() => undefined);
  try {
    return await Promise.race([work, late]);
  } finally {
    timer.abort();
  }
}
