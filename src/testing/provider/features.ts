/** Checks of prompts, failures, and of what only some models can do. */
import assert from 'node:assert/strict';
import type { GenerateCall, GenerateEvent, Model, PreviewEvent } from '../../core/provider.js';
import { isProviderError, type ProviderError } from '../../errors.js';
import type { Check } from '../check.js';
import { makePng, pictureFacts } from './pictures.js';
import {
  type Bench,
  type CreateProvider,
  check,
  collect,
  forEach,
  imagesOf,
  outcomeOf,
  settledCount,
  smallestSize,
} from './subject.js';

const UNUSUAL_PROMPTS: readonly string[] = [
  '🦊 and 👨‍👩‍👧‍👦 under 🏳️‍🌈',
  '山の上の小さな家、水彩画',
  'منارة على جرف عند الفجر',
  '"Quotes", \\ backslashes, {"json": [1]}, <b>tags</b> & 100% $HOME',
  'two\nlines\r\n\tand a tab',
  'e\u0301 composed and decomposed \u00e9, right-to-left mark \u200f',
];
const KINDS: readonly string[] = [
  'content_filtered',
  'rejected',
  'rate_limited',
  'account',
  'unavailable',
  'timeout',
  'shape',
];
const A_SEED = 1_234_567;

/** Throws unless the call settles every picture it was asked for. */
async function expectDrawn(bench: Bench, model: Model, parts: Partial<GenerateCall>): Promise<void> {
  const call = bench.call(model, parts);
  const shown = `${model.slug}, ${call.operation}, ${JSON.stringify(call.prompt.slice(0, 60))}`;
  assert.equal(settledCount(await collect(bench, call)), call.n, shown);
}

/** Any prompt the contract allows is drawn. */
export const promptChecks: readonly Check<CreateProvider>[] = [
  check({
    id: 'prompts.unicode',
    title: 'Prompts in any script, with emoji, quotes and line ends, are drawn like others.',
    run: (bench) =>
      forEach(bench.models, async (model) => {
        for (const prompt of UNUSUAL_PROMPTS) {
          if ([...prompt].length <= model.maxPromptLength) await expectDrawn(bench, model, { prompt });
        }
      }),
  }),
  check({
    id: 'prompts.longest',
    title: 'A prompt as long as the model allows is drawn; its length is in code points.',
    run: (bench) =>
      forEach(bench.models, async (model) => {
        await expectDrawn(bench, model, { prompt: 'a'.repeat(model.maxPromptLength) });
        await expectDrawn(bench, model, { prompt: '🦊'.repeat(model.maxPromptLength) });
      }),
  }),
];

/** What calls with the failing prompt throw. */
async function failures(bench: Bench, look: (error: unknown, prompt: string) => void) {
  const { failingPrompt: prompt } = bench.subject;
  if (prompt === undefined) return { notApplicable: 'no prompt that fails is known' };
  return forEach(bench.models, async (model) => {
    const outcome = await outcomeOf(() => collect(bench, bench.call(model, { prompt })));
    assert.ok('error' in outcome, `${model.slug} does not fail on the failing prompt`);
    look(outcome.error, prompt);
  });
}

function expectBlocked(events: readonly GenerateEvent[], slug: string): void {
  const blocked = events.filter((event) => event.type === 'blocked');
  assert.ok(blocked.length > 0, `${slug} blocks nothing on the blocked prompt`);
  for (const { reason, stage } of blocked) {
    assert.ok(
      typeof reason === 'string' && reason !== '' && reason.length <= 100,
      `${slug}: the reason "${reason}"`,
    );
    assert.ok(['input', 'output', 'unknown'].includes(stage), `${slug}: the stage "${stage}"`);
  }
}

/** Failures and refusals say what they are. */
export const failureChecks: readonly Check<CreateProvider>[] = [
  check({
    id: 'failures.provider-error',
    title: 'A failed call throws a `ProviderError` that says what kind it is and whether it was billed.',
    run: (bench) =>
      failures(bench, (error) => {
        assert.ok(isProviderError(error), `a failed call threw ${String(error)}`);
        const { kind, billed, retryAfter }: ProviderError = error;
        assert.ok(KINDS.includes(kind), `the kind "${kind}"`);
        assert.ok(['no', 'yes', 'unknown'].includes(billed), `billed "${billed}"`);
        const honest = retryAfter === undefined || (Number.isSafeInteger(retryAfter) && retryAfter >= 1);
        assert.ok(honest, `retryAfter ${retryAfter} is not whole seconds of at least 1`);
      }),
  }),
  check({
    id: 'failures.own-words',
    title: 'The message of a failure does not repeat the prompt.',
    run: (bench) =>
      failures(bench, (error, prompt) => {
        assert.ok(!String((error as Error).message).includes(prompt), 'the message repeats the prompt');
      }),
  }),
  check({
    id: 'failures.blocked',
    title: 'A withheld picture is a `blocked` event with a reason and a stage.',
    async run(bench) {
      const { blockedPrompt: prompt } = bench.subject;
      if (prompt === undefined) return { notApplicable: 'no prompt that is blocked is known' };
      return forEach(bench.models, async (model) => {
        expectBlocked(await collect(bench, bench.call(model, { prompt })), model.slug);
      });
    },
  }),
];

function expectPreviews(events: readonly GenerateEvent[], { slug, maxPreviews }: Model): void {
  const steps = new Map<number, number>();
  const settled = new Set<number>();
  const expectNext = ({ index, step, image }: PreviewEvent) => {
    const next = steps.get(index) ?? 0;
    assert.ok(!settled.has(index), `${slug} sends a preview after the picture`);
    assert.equal(step, next, `${slug} sends previews out of order`);
    assert.ok(step < maxPreviews, `${slug} sends more previews than were asked for`);
    assert.ok(pictureFacts(image.bytes), `${slug} sends a preview that is no picture`);
    steps.set(index, next + 1);
  };
  for (const event of events) {
    if (event.type === 'preview') expectNext(event);
    else if (event.type !== 'end') settled.add(event.index);
  }
}

/** What models declare, they do. */
export const featureChecks: readonly Check<CreateProvider>[] = [
  check({
    id: 'previews.in-order',
    title: 'Previews are pictures, at most as many as asked, counted from 0, each before its picture.',
    run: (bench) =>
      forEach(
        bench.models.filter((model) => model.maxPreviews > 0),
        async (model) => {
          const { maxPreviews: previews, maxImages, maxImagesWithPreviews = maxImages } = model;
          // A provider may send previews of a lone picture in another way than those of several.
          for (const n of new Set([1, maxImagesWithPreviews])) {
            const events = await collect(bench, bench.call(model, { previews, n }));
            expectPreviews(events, model);
            assert.equal(settledCount(events), n, `${model.slug} was asked for ${n} pictures with previews`);
          }
        },
      ),
  }),
  check({
    id: 'seeds.repeat',
    title: 'The same seed draws the same picture.',
    level: 'SHOULD',
    run: (bench) =>
      forEach(
        bench.models.filter((model) => model.features.includes('seed')),
        async (model) => {
          const draw = async () =>
            imagesOf(await collect(bench, bench.call(model, { seed: A_SEED })))[0]?.image.bytes;
          const [first, second] = [await draw(), await draw()];
          assert.ok(
            first && second && Buffer.compare(first, second) === 0,
            `${model.slug} does not repeat itself`,
          );
        },
      ),
  }),
  check({
    id: 'seeds.reported',
    title: 'Picture `index` of a call is drawn with seed + index and says so.',
    level: 'SHOULD',
    run: (bench) =>
      forEach(
        bench.models.filter((model) => model.features.includes('seed')),
        async (model) => {
          const call = bench.call(model, { seed: A_SEED, n: model.maxImages });
          for (const { index, seed } of imagesOf(await collect(bench, call))) {
            assert.equal(seed, A_SEED + index, `${model.slug}: the seed of picture ${index}`);
          }
        },
      ),
  }),
  check({
    id: 'edits.drawn',
    title: 'A model that edits draws from one input, and from as many as it takes.',
    run: (bench) =>
      forEach(
        bench.models.filter((model) => model.operations.includes('edit')),
        async (model) => {
          const parts = bench.edit(model);
          await expectDrawn(bench, model, parts);
          const inputs = Array.from({ length: model.maxInputs }, () => parts.inputs?.[0] ?? []).flat();
          await expectDrawn(bench, model, { ...parts, inputs });
        },
      ),
  }),
  check({
    id: 'edits.masked',
    title: 'A model that takes masks draws with one.',
    run: (bench) =>
      forEach(
        bench.models.filter((model) => model.features.includes('mask')),
        async (model) => {
          const mask = makePng(smallestSize(model.sizes), 'mask');
          await expectDrawn(bench, model, { ...bench.edit(model), mask });
        },
      ),
  }),
];
