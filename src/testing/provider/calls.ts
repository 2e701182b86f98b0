/** Checks of how calls begin, end, and keep out of each other's way. */
import assert from 'node:assert/strict';
import { setTimeout } from 'node:timers/promises';
import type { GenerateCall, GenerateEvent } from '../../core/provider.js';
import { isProviderError } from '../../errors.js';
import type { Check } from '../check.js';
import {
  type Bench,
  type CreateProvider,
  check,
  collect,
  forEach,
  outcomeOf,
  settledCount,
  withinASecond,
} from './subject.js';

/** Long enough for a call that begins by itself to show. */
const SETTLE_MS = 30;

/** Throws unless a call that was aborted throws the very reason, or says that it was not billed. */
async function expectReason(work: Promise<unknown>, reason: unknown): Promise<void> {
  const outcome = await withinASecond(
    outcomeOf(() => work),
    'giving up after an abort',
  );
  assert.ok('error' in outcome, 'an aborted call ended as if nothing had happened');
  if (isProviderError(outcome.error) && outcome.error.billed === 'no') return;
  assert.equal(outcome.error, reason, 'an aborted call threw something else than the reason of its signal');
}

/** A `fetch` whose vendor never answers. */
function hangingFetch(signal: AbortSignal): typeof globalThis.fetch {
  return (_input, init) =>
    new Promise((_resolve, reject) => {
      for (const each of [signal, init?.signal]) {
        each?.addEventListener('abort', () => reject(each.reason), { once: true });
        if (each?.aborted) reject(each.reason);
      }
    });
}

/** What of a call is data, as it is now. */
function dataOf(call: GenerateCall): unknown {
  const { signal: _signal, fetch: _fetch, ...data } = call;
  return structuredClone(data);
}

/** Calls begin when read, stop when told, and touch nothing. */
export const callChecks: readonly Check<CreateProvider>[] = [
  check({
    id: 'calls.begin-when-read',
    title: 'Nothing starts before the first `next()`.',
    async run(bench) {
      if (bench.upstreamCalls() === undefined) return { notApplicable: 'nobody counts its upstream calls' };
      return forEach(bench.models, async (model) => {
        const before = bench.upstreamCalls();
        bench.provider.generate(bench.call(model));
        await setTimeout(SETTLE_MS);
        assert.equal(bench.upstreamCalls(), before, `${model.slug} calls its vendor before anybody reads`);
      });
    },
  }),
  check({
    id: 'calls.abort-before',
    title: 'A call whose signal is aborted already throws its reason and asks nothing of the vendor.',
    run: (bench) =>
      forEach(bench.models, async (model) => {
        const before = bench.upstreamCalls();
        const reason = new Error('aborted before the call');
        await expectReason(collect(bench, bench.call(model, { signal: AbortSignal.abort(reason) })), reason);
        assert.equal(bench.upstreamCalls(), before, `${model.slug} calls its vendor after an abort`);
      }),
  }),
  check({
    id: 'calls.abort-during',
    title:
      'An abort ends a running call within a second, and the reason of the signal comes out untouched, or that nothing was billed.',
    run: (bench) =>
      forEach(bench.models, async (model) => {
        const controller = new AbortController();
        const { signal } = controller;
        const work = collect(bench, bench.call(model, { signal, fetch: hangingFetch(signal) }));
        // Handled below; an abort this early must not look like a rejection nobody waits for.
        work.catch(() => undefined);
        const reason = { reason: 'aborted during the call' };
        controller.abort(reason);
        await expectReason(work, reason);
      }),
  }),
  check({
    id: 'calls.abort-apart',
    title: 'Aborting one call leaves another alone.',
    run: (bench) =>
      forEach(bench.models, async (model) => {
        const controller = new AbortController();
        const { signal } = controller;
        const aborted = outcomeOf(() =>
          collect(bench, bench.call(model, { signal, fetch: hangingFetch(signal) })),
        );
        const other = outcomeOf(() => collect(bench, bench.call(model)));
        controller.abort(new Error('aborted'));
        const [outcome] = await Promise.all([other, aborted]);
        assert.ok('value' in outcome, `${model.slug}: a call failed because another was aborted`);
      }),
  }),
  check({
    id: 'calls.apart',
    title: 'Two calls at once each get their own pictures, as many as asked.',
    run: (bench) =>
      forEach(bench.models, async (model) => {
        const counts = async (parts: Partial<GenerateCall>) => {
          const call = bench.call(model, parts);
          return settledCount(await collect(bench, call));
        };
        const orders = [
          { n: model.maxImages, prompt: 'A' },
          { n: 1, prompt: 'B' },
        ];
        const alone = [await counts(orders[0] ?? {}), await counts(orders[1] ?? {})];
        const together = await Promise.all(orders.map(counts));
        assert.deepEqual(together, alone, `${model.slug} mixes up calls that run at once`);
      }),
  }),
  check({
    id: 'calls.return',
    title: 'A reader that leaves early ends the call by `return()`.',
    run: (bench) =>
      forEach(bench.models, async (model) => {
        const call = bench.call(model, { n: model.maxImages });
        const iterator: AsyncIterator<GenerateEvent> = bench.provider.generate(call)[Symbol.asyncIterator]();
        await iterator.next();
        assert.ok(iterator.return, `${model.slug}: the iterator has no return()`);
        await withinASecond(iterator.return(), 'leaving a call');
        const after = await withinASecond(iterator.next(), 'reading after leaving');
        assert.equal(after.done, true, `${model.slug} goes on after return()`);
      }),
  }),
  check({
    id: 'calls.untouched',
    title: 'The call is read and never written.',
    run: (bench) =>
      forEach(bench.models, async (model) => {
        const metadata = Object.assign(Object.create(null), { label: 'conformance' });
        const edits = model.operations.includes('edit') ? [bench.edit(model)] : [];
        for (const parts of [{}, ...edits]) {
          const call = bench.call(model, { ...parts, metadata });
          const before = dataOf(call);
          await outcomeOf(() => collect(bench, call));
          assert.deepEqual(dataOf(call), before, `${model.slug} changes the call it was given`);
        }
      }),
  }),
];

async function runAll(bench: Bench): Promise<void> {
  await outcomeOf(async () => bench.provider.warmup?.());
  for (const model of bench.models) await outcomeOf(() => collect(bench, bench.call(model)));
}

const givenFetch: Check<CreateProvider> = {
  id: 'transport.given-fetch',
  title: 'Everything is sent by `call.fetch`, unless the provider says `ownTransport`.',
  level: 'MUST',
  async run(create) {
    const real = globalThis.fetch;
    let strays = 0;
    // In place before the provider is made, because an SDK may keep the `fetch` it finds then.
    globalThis.fetch = async () => {
      strays += 1;
      throw new TypeError('a provider must use call.fetch');
    };
    try {
      const inner = check({
        id: givenFetch.id,
        title: givenFetch.title,
        async run(bench) {
          if (bench.provider.ownTransport === true) return { notApplicable: 'it has its own transport' };
          await runAll(bench);
          assert.equal(strays, 0, `the global fetch was used ${strays} times`);
          return undefined;
        },
      });
      return await inner.run(async () => {
        const subject = await create();
        return { ...subject, fetch: subject.fetch ?? real };
      });
    } finally {
      globalThis.fetch = real;
    }
  },
};

/** The provider itself, beside its calls. */
export const transportChecks: readonly Check<CreateProvider>[] = [
  givenFetch,
  check({
    id: 'provider.warmup',
    title: 'Warming up works, also twice.',
    async run({ provider }) {
      if (provider.warmup === undefined) return { notApplicable: 'nothing to warm up' };
      await provider.warmup();
      await provider.warmup();
      return undefined;
    },
  }),
];
