/** Providers with one fault each, made out of the placeholder, and the checks that must catch it. */
import { setTimeout } from 'node:timers/promises';
import type {
  GenerateCall,
  GenerateEvent,
  ImageEvent,
  Model,
  Price,
  Provider,
} from '../../src/core/provider.js';
import { usd } from '../../src/core/windows.js';
import { ProviderError } from '../../src/errors.js';
import { placeholder } from '../../src/providers/placeholder.js';
import type { PlaceholderModel, PlaceholderOptions } from '../../src/providers/placeholder-options.js';
import type { ProviderSubject } from '../../src/testing/provider-checks.js';

/** A fault, and the ids of exactly the checks that fail on it, in the kit's order. */
export interface FlawedProvider {
  readonly fault: string;
  readonly create: () => ProviderSubject;
  readonly fails: readonly string[];
}

const FAILING_PROMPT = 'A cat [fail:unavailable]';

/** Keeps a run of the whole kit short. */
const SMALL: PlaceholderModel = {
  maxImages: 2,
  formats: ['png', 'webp'],
  maxInputs: 2,
  maxPromptLength: 400,
  sizes: {
    kind: 'list',
    values: [
      { width: 32, height: 32 },
      { width: 48, height: 32 },
    ],
    default: { width: 48, height: 32 },
  },
};

const TOKENS: Price = {
  tokens: { textIn: usd(5), imageIn: usd(8), imageOut: usd(30) },
  ceiling: usd(0.03),
  inputImageTokens: 100,
};

type Generate = Provider['generate'];

/** A sound subject on the placeholder. */
export function soundSubject(options: PlaceholderOptions = {}): ProviderSubject {
  let calls = 0;
  const onCall = () => {
    calls += 1;
  };
  return {
    provider: placeholder({ models: [SMALL], onCall, ...options }),
    failingPrompt: FAILING_PROMPT,
    blockedPrompt: 'A cat [blocked]',
    upstreamCalls: () => calls,
  };
}

function options(changed: PlaceholderOptions): () => ProviderSubject {
  return () => soundSubject(changed);
}

function model(changed: PlaceholderModel): () => ProviderSubject {
  return options({ models: [{ ...SMALL, ...changed }] });
}

/** Replaces parts of a sound provider. */
function wrapped(change: (sound: Provider) => Partial<Provider>): () => ProviderSubject {
  return () => {
    const subject = soundSubject();
    return { ...subject, provider: { ...subject.provider, ...change(subject.provider) } };
  };
}

function generating(change: (generate: Generate) => Generate): () => ProviderSubject {
  return wrapped((sound) => ({ generate: change(sound.generate) }));
}

/** Replaces single events, or drops or multiplies them. */
function events(change: (event: GenerateEvent, call: GenerateCall) => readonly GenerateEvent[]) {
  return generating(
    (generate) =>
      async function* (call) {
        for await (const event of generate(call)) yield* change(event, call);
      },
  );
}

function images(change: (event: ImageEvent, call: GenerateCall) => readonly GenerateEvent[]) {
  return events((event, call) => (event.type === 'image' ? change(event, call) : [event]));
}

/** Throws where the call is one the provider cannot do. */
function failingOn(cannot: (call: GenerateCall) => boolean) {
  return options({
    fail: (call) =>
      cannot(call) ? new ProviderError('rejected', 'Not this one.', { billed: 'no' }) : undefined,
  });
}

/** Replaces what the call throws. */
function throwing(change: (error: unknown, call: GenerateCall) => unknown) {
  return generating(
    (generate) =>
      async function* (call) {
        try {
          yield* generate(call);
        } catch (error) {
          throw change(error, call);
        }
      },
  );
}

/** Sends something before it draws. */
function sending(body: (call: GenerateCall) => string | FormData) {
  return generating(
    (generate) =>
      async function* (call) {
        call.signal.throwIfAborted();
        await call.fetch('data:text/plain,drawn', { method: 'POST', body: body(call) });
        yield* generate(call);
      },
  );
}

function formOf(fields: Readonly<Record<string, unknown>>): FormData {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.set(name, String(value));
  return form;
}

const onlyFailures = (change: (error: unknown, call: GenerateCall) => unknown) =>
  throwing((error, call) => (call.signal.aborted ? error : change(error, call)));

const ONE_SIZE: Model['sizes'] = {
  kind: 'list',
  values: [{ width: 32, height: 32 }],
  default: { width: 64, height: 64 },
};

const ofModels: readonly FlawedProvider[] = [
  { fault: 'no name', create: wrapped(() => ({ name: '' })), fails: ['models.some'] },
  { fault: 'no models', create: wrapped(() => ({ models: [] })), fails: ['models.some'] },
  { fault: 'a slug in capitals', create: model({ slug: 'Vendor/Name' }), fails: ['models.slugs'] },
  { fault: 'a slug without a vendor', create: model({ slug: 'name' }), fails: ['models.slugs'] },
  {
    fault: 'a slug twice',
    create: wrapped(({ models }) => ({ models: [...models, ...models] })),
    fails: ['models.slugs'],
  },
  { fault: 'a quality twice', create: model({ qualities: ['hd', 'hd'] }), fails: ['models.lists'] },
  { fault: 'an unknown feature', create: model({ features: ['magic' as 'mask'] }), fails: ['models.lists'] },
  { fault: 'no formats', create: model({ formats: [] }), fails: ['models.lists'] },
  {
    fault: 'more pictures with previews than without',
    create: model({ maxImagesWithPreviews: 3 }),
    fails: ['models.counts'],
  },
  { fault: 'half a picture per call', create: model({ maxPromptLength: 99.5 }), fails: ['models.counts'] },
  {
    fault: 'inputs without edits',
    create: model({ operations: ['generate'], features: [] }),
    fails: ['models.counts'],
  },
  { fault: 'a default size it does not draw', create: model({ sizes: ONE_SIZE }), fails: ['models.sizes'] },
  { fault: 'a negative price', create: model({ price: -1 as 0 }), fails: ['models.prices'] },
  { fault: 'a price in dollars', create: model({ price: 0.04 as 0 }), fails: ['models.prices'] },
  { fault: 'an empty price table', create: model({ price: {} }), fails: ['models.prices'] },
  {
    fault: 'a token price that bounds no input picture',
    create: model({ price: { tokens: { textIn: 0, imageIn: 0, imageOut: 0 }, ceiling: {} } as never }),
    fails: ['models.prices'],
  },
  {
    fault: 'a day that is none',
    create: model({ lifecycle: { deprecatedAt: '2020-02-30' } }),
    fails: ['models.lifecycle'],
  },
  {
    fault: 'a successor of itself',
    create: model({ lifecycle: { successor: { slug: 'placeholder/sketch', serves: true } } }),
    fails: ['models.lifecycle'],
  },
];

const ofEvents: readonly FlawedProvider[] = [
  {
    fault: 'no end',
    create: events((event) => (event.type === 'end' ? [] : [event])),
    fails: ['events.one-end'],
  },
  {
    fault: 'two ends',
    create: events((event) => (event.type === 'end' ? [event, event] : [event])),
    fails: ['events.one-end'],
  },
  {
    fault: 'a picture after the end',
    create: generating(
      (generate) =>
        async function* (call) {
          let late: ImageEvent | undefined;
          for await (const event of generate(call)) {
            if (event.type === 'image' && event.index === call.n - 1) late = event;
            else yield event;
          }
          if (late !== undefined) yield late;
        },
    ),
    fails: ['events.one-end'],
  },
  {
    fault: 'an index out of bounds',
    create: images((event, { n }) => [{ ...event, index: event.index === 0 ? n : event.index }]),
    fails: ['events.index', 'seeds.reported'],
  },
  {
    fault: 'a picture twice',
    create: images((event) => (event.index === 0 ? [event, event] : [event])),
    fails: ['events.once-per-index'],
  },
  {
    fault: 'previews nobody asked for',
    create: images((event) => [{ type: 'preview', index: event.index, step: 0, image: event.image }, event]),
    fails: ['events.no-unasked-previews', 'previews.in-order'],
  },
  {
    fault: 'a picture fewer than asked',
    create: images((event) => (event.index === 1 ? [] : [event])),
    fails: ['events.all-pictures', 'previews.in-order'],
  },
  { fault: 'a negative cost', create: options({ cost: () => -1 }), fails: ['events.cost'] },
  {
    fault: 'a cost in dollars',
    create: options({ cost: () => 0.04 }),
    fails: ['events.cost', 'costs.ceiling'],
  },
  {
    fault: 'a cost above its price',
    create: options({ models: [{ ...SMALL, price: usd(0.04) }], cost: ({ n }) => n * 40_001 }),
    fails: ['costs.ceiling'],
  },
  {
    fault: 'a cost above the price of its size',
    create: options({
      models: [{ ...SMALL, price: { '32x32': { '*': usd(0.01) }, '*': { '*': usd(0.05) } } }],
      cost: ({ n }) => n * 50_000,
    }),
    fails: ['costs.ceiling'],
  },
  {
    fault: 'more tokens for an edit than its ceiling holds',
    create: options({
      models: [{ ...SMALL, price: TOKENS }],
      usage: ({ inputs }) => ({ textIn: 1, imageIn: inputs.length * 200, imageOut: 1000 }),
    }),
    fails: ['costs.ceiling'],
  },
  {
    fault: 'tokens that are no number',
    create: options({ usage: () => ({ textIn: Number.NaN, imageIn: 0, imageOut: 0 }) }),
    fails: ['events.usage'],
  },
  {
    fault: 'a web page instead of a picture',
    create: options({ tamper: (image) => ({ ...image, bytes: Buffer.from('<html>not found</html>') }) }),
    fails: ['pictures.bytes'],
  },
  {
    fault: 'base64 instead of bytes',
    create: options({ tamper: (image) => ({ ...image, bytes: 'iVBORw0KGgo' as never }) }),
    fails: ['pictures.bytes', 'pictures.type', 'pictures.size', 'pictures.format', 'seeds.repeat'],
  },
  {
    fault: 'a type that is not true',
    create: options({ tamper: (image) => ({ ...image, type: 'image/gif' }) }),
    fails: ['pictures.type'],
  },
  {
    fault: 'larger pictures than asked',
    create: generating((generate) => (call) => {
      const size = call.size === 'auto' ? call.size : { ...call.size, width: call.size.width + 8 };
      return generate({ ...call, size });
    }),
    fails: ['pictures.size'],
  },
  {
    fault: 'always PNG',
    create: generating((generate) => (call) => generate({ ...call, outputFormat: 'png' })),
    fails: ['pictures.format'],
  },
];

const UNHEARD = new AbortController().signal;

const ofCalls: readonly FlawedProvider[] = [
  {
    fault: 'beginning before anybody reads',
    create: generating((generate) => (call) => {
      const iterator = generate(call)[Symbol.asyncIterator]();
      const begun = iterator.next();
      begun.catch(() => undefined);
      return (async function* () {
        const first = await begun;
        if (!first.done) yield first.value;
        yield* { [Symbol.asyncIterator]: () => iterator };
      })();
    }),
    fails: ['calls.begin-when-read'],
  },
  {
    fault: 'not hearing the signal',
    create: generating((generate) => (call) => generate({ ...call, signal: UNHEARD })),
    fails: ['calls.abort-before', 'calls.abort-during'],
  },
  {
    fault: 'errors of its own for an abort',
    create: throwing((error, call) =>
      call.signal.aborted ? new ProviderError('timeout', 'Aborted.', { billed: 'unknown' }) : error,
    ),
    fails: ['calls.abort-before', 'calls.abort-during'],
  },
  {
    fault: 'taking its time to stop',
    create: generating(
      (generate) =>
        async function* (call) {
          call.signal.throwIfAborted();
          try {
            yield* generate(call);
          } finally {
            if (call.signal.aborted) await setTimeout(1_500);
          }
        },
    ),
    fails: ['calls.abort-during'],
  },
  {
    fault: 'one signal for all calls',
    create: generating((generate) => {
      let shared = new AbortController();
      return async function* (call) {
        if (shared.signal.aborted) shared = new AbortController();
        call.signal.throwIfAborted();
        const { signal } = shared;
        call.signal.addEventListener('abort', () => shared.abort(call.signal.reason));
        yield* generate({ ...call, signal });
      };
    }),
    fails: ['calls.abort-apart'],
  },
  {
    fault: 'one count for all calls',
    create: generating((generate) => {
      let n = 0;
      return async function* (call) {
        n = call.n;
        await setTimeout(5, undefined, { signal: call.signal }).catch(() => call.signal.throwIfAborted());
        yield* generate({ ...call, n });
      };
    }),
    fails: ['calls.apart'],
  },
  {
    fault: 'an iterator without return()',
    create: generating((generate) => (call) => {
      const iterator = generate(call)[Symbol.asyncIterator]();
      return { [Symbol.asyncIterator]: () => ({ next: () => iterator.next() }) };
    }),
    fails: ['calls.return'],
  },
  {
    fault: 'writing into the metadata',
    create: options({ fail: ({ metadata }) => void Object.assign(metadata, { steps: 20 }) }),
    fails: ['calls.untouched'],
  },
  {
    fault: 'writing into the inputs',
    create: options({ fail: ({ inputs }) => void inputs[0]?.bytes.fill(0, -4) }),
    fails: ['calls.untouched'],
  },
  {
    fault: 'the global fetch',
    create: options({ fail: () => void globalThis.fetch('data:,').catch(() => undefined) }),
    fails: ['transport.given-fetch'],
  },
  {
    fault: 'a warm-up that works once',
    create: wrapped(() => {
      let warm = false;
      return {
        async warmup() {
          if (warm) throw new Error('already warm');
          warm = true;
        },
      };
    }),
    fails: ['provider.warmup'],
  },
];

const ofFeatures: readonly FlawedProvider[] = [
  {
    fault: 'prompts in ASCII only',
    create: failingOn(({ prompt }) => /[^\p{ASCII}]/u.test(prompt) && prompt.length < 400),
    fails: ['prompts.unicode'],
  },
  {
    fault: 'lengths in UTF-16 units',
    create: failingOn(({ prompt }) => prompt.length > 400),
    fails: ['prompts.longest'],
  },
  {
    fault: 'plain errors',
    create: onlyFailures((error) => new Error('fetch failed', { cause: error })),
    fails: ['failures.provider-error'],
  },
  {
    fault: 'errors that do not say whether it was billed',
    create: onlyFailures(() => new ProviderError('unavailable', 'Down.', {} as { billed: 'no' })),
    fails: ['failures.provider-error'],
  },
  {
    fault: 'a wait of 0 seconds',
    create: onlyFailures(() => new ProviderError('rate_limited', 'Wait.', { billed: 'no', retryAfter: 0 })),
    fails: ['failures.provider-error'],
  },
  {
    fault: 'the prompt in the message',
    create: onlyFailures((_, { prompt }) => new ProviderError('rejected', `No: ${prompt}`, { billed: 'no' })),
    fails: ['failures.own-words'],
  },
  {
    fault: 'blocked pictures without a reason',
    create: events((event) => [event.type === 'blocked' ? { ...event, reason: '' } : event]),
    fails: ['failures.blocked'],
  },
  {
    fault: 'previews counted from 1',
    create: events((event) => [event.type === 'preview' ? { ...event, step: event.step + 1 } : event]),
    fails: ['previews.in-order'],
  },
  {
    fault: 'no picture after the previews of a lone one',
    create: events((event, { n, previews }) =>
      event.type === 'image' && n === 1 && previews > 0 ? [] : [event],
    ),
    fails: ['previews.in-order'],
  },
  {
    fault: 'the preview of a lone picture after it',
    create: generating(
      (generate) =>
        async function* (call) {
          const late: GenerateEvent[] = [];
          for await (const event of generate(call)) {
            if (event.type === 'preview' && call.n === 1) late.push(event);
            else if (event.type === 'end') yield* [...late, event];
            else yield event;
          }
        },
    ),
    fails: ['previews.in-order'],
  },
  {
    fault: 'another picture for the same seed',
    create: generating((generate) => {
      let seed = 0;
      return async function* (call) {
        seed += 1;
        for await (const event of generate({ ...call, seed })) {
          yield event.type === 'image' ? { ...event, seed: (call.seed ?? 0) + event.index } : event;
        }
      };
    }),
    fails: ['seeds.repeat'],
  },
  {
    fault: 'the same seed reported for all pictures',
    create: images((event, { seed }) => [{ ...event, seed }]),
    fails: ['seeds.reported'],
  },
  {
    fault: 'one input where it declares more',
    create: failingOn(({ inputs }) => inputs.length > 1),
    fails: ['edits.drawn'],
  },
  { fault: 'no masks', create: failingOn(({ mask }) => mask !== undefined), fails: ['edits.masked'] },
];

const ofLabels: readonly FlawedProvider[] = [
  {
    fault: 'seeds by a metadata key it does not declare',
    create: generating((generate) => (call) => {
      const { seed } = call.metadata;
      return generate({ ...call, seed: typeof seed === 'number' ? seed : call.seed });
    }),
    fails: ['metadata.labels'],
  },
  {
    fault: 'sizes by a metadata key it does not declare',
    create: generating((generate) => (call) => {
      return generate({ ...call, size: 'size' in call.metadata ? { width: 48, height: 32 } : call.size });
    }),
    fails: ['metadata.labels'],
  },
  {
    fault: 'refusing metadata keys it does not declare',
    create: failingOn(({ metadata }) => 'moderation' in metadata),
    fails: ['metadata.labels'],
  },
  ...[
    ['JSON', (call: GenerateCall) => JSON.stringify({ prompt: call.prompt, ...call.metadata })],
    ['a form', (call: GenerateCall) => formOf({ prompt: call.prompt, ...call.metadata })],
  ].map(
    ([shape, body]): FlawedProvider => ({
      fault: `metadata keys it does not declare among the fields of ${shape}`,
      create: sending(body as (call: GenerateCall) => string | FormData),
      fails: ['metadata.labels'],
    }),
  ),
];

/** Every fault the kit must catch. */
export const flawedProviders: readonly FlawedProvider[] = [
  ...ofModels,
  ...ofEvents,
  ...ofCalls,
  ...ofFeatures,
  ...ofLabels,
];
