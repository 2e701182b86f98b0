import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PricedCall } from '../../src/core/prices.js';
import type { EndEvent, Price, TokenPrice, TokenUsage } from '../../src/core/provider.js';
import { type Booking, type CallOutcome, type SettledCall, settle } from '../../src/core/spend.js';
import { usd } from '../../src/core/windows.js';
import { type Billed, ProviderError } from '../../src/errors.js';
import { runs } from '../support/runs.js';

const TOKENS: TokenPrice = {
  tokens: { textIn: usd(5), imageIn: usd(10), imageOut: usd(40) },
  ceiling: usd(0.1),
};

const CALL: PricedCall = {
  prompt: '',
  negativePrompt: undefined,
  n: 3,
  size: 'auto',
  quality: undefined,
  inputs: 0,
  previews: 0,
};

/** Three pictures at 40,000 each, or held at 100,001 a piece by token. */
function settled(outcome: CallOutcome, changes: Partial<SettledCall> = {}): Booking {
  const price: Price = changes.price ?? usd(0.04);
  const share = typeof price === 'number' ? price * 3 : 300_001;
  return settle({
    ...{ call: CALL, price, hostPriced: false, share, delivered: 3, outcome, unknownCost: 'charge' },
    ...changes,
  });
}

const ended = (end: Omit<EndEvent, 'type'> = {}): CallOutcome => ({
  type: 'ended',
  end: { type: 'end', ...end },
});
const failed = (billed: Billed): CallOutcome => ({
  type: 'failed',
  error: new ProviderError('timeout', 'Slow.', { billed }),
});
const usage = (imageOut: number): TokenUsage => ({ textIn: 0, imageIn: 0, imageOut });

type Row = readonly [title: string, booking: Booking, microUsd: number, images: number, oddity?: string];

const TABLE: readonly Row[] = [
  ['never sent', settled({ type: 'unsent' }), 0, 0],
  ['threw unbilled, nothing yielded', settled(failed('no'), { delivered: 0 }), 0, 0],
  ['threw unbilled, two yielded', settled(failed('no'), { delivered: 2 }), 80_000, 2],
  [
    'threw unbilled by token, two yielded',
    settled(failed('no'), { delivered: 2, price: TOKENS }),
    200_001,
    2,
  ],
  ['threw, billed or not', settled(failed('unknown'), { delivered: 1 }), 120_000, 3],
  ['threw, billed', settled(failed('yes'), { delivered: 0 }), 120_000, 3],
  ['threw, billed, by token', settled(failed('yes'), { price: TOKENS, delivered: 0 }), 300_001, 3],
  ['threw what nobody classified', settled({ type: 'failed', error: 'x' }, { delivered: 0 }), 120_000, 3],
  [
    'threw, billed or not, waived',
    settled(failed('unknown'), { delivered: 1, unknownCost: 'waive' }),
    ...([40_000, 1] as const),
  ],
  ['ended', settled(ended()), 120_000, 3],
  ['ended, one withheld', settled(ended(), { delivered: 2 }), 80_000, 2],
  ['ended, all withheld', settled(ended(), { delivered: 0 }), 0, 0],
  ['ended, usage only reported', settled(ended({ usage: usage(1) })), 120_000, 3],
  ['ended with its cost', settled(ended({ cost: 7 })), 7, 3],
  ['ended with its cost, all withheld', settled(ended({ cost: 7 }), { delivered: 0 }), 7, 0],
  ['ended with its cost, priced by the host', settled(ended({ cost: 7 }), { hostPriced: true }), 120_000, 3],
  ['ended at the share', settled(ended({ cost: 120_000 })), 120_000, 3],
  ['ended above the share', settled(ended({ cost: 120_001 })), 120_001, 3, 'ceiling_exceeded'],
  ['ended at four shares', settled(ended({ cost: 480_000 })), 480_000, 3, 'ceiling_exceeded'],
  ['ended above four shares', settled(ended({ cost: 480_001 })), 120_000, 3, 'usage_implausible'],
  ['ended by token', settled(ended({ usage: usage(1000) }), { price: TOKENS }), 40_000, 3],
  [
    'ended by token, all withheld',
    settled(ended({ usage: usage(1000) }), { price: TOKENS, delivered: 0 }),
    ...([40_000, 0] as const),
  ],
  [
    'ended by token above the share',
    settled(ended({ usage: usage(7501) }), { price: TOKENS }),
    ...([300_040, 3, 'ceiling_exceeded'] as const),
  ],
  [
    'ended by token above four shares',
    settled(ended({ usage: usage(30_001) }), { price: TOKENS }),
    ...([300_001, 3, 'usage_implausible'] as const),
  ],
  [
    'ended by token without usage',
    settled(ended(), { price: TOKENS }),
    ...([300_001, 3, 'usage_implausible'] as const),
  ],
  [
    'ended by token of the host, its cost not looked at',
    settled(ended({ cost: 1, usage: usage(1000) }), { price: TOKENS, hostPriced: true }),
    ...([40_000, 3] as const),
  ],
  [
    'ended by token with a cost that is none beside its usage',
    settled(ended({ cost: -1, usage: usage(1000) }), { price: TOKENS }),
    ...([40_000, 3] as const),
  ],
  ['a free model', settled(ended(), { price: 0, share: 0 }), 0, 3],
];

for (const [title, booking, microUsd, images, oddity] of TABLE) {
  test(`settlement, ${title}: ${microUsd} micro-dollars, ${images} pictures`, () => {
    assert.deepEqual(
      { ...booking, oddity: booking.oddity },
      { microUsd, images, oddity: oddity as Booking['oddity'] },
    );
  });
}

const anyNumber = fc.oneof(fc.integer(), fc.double(), fc.constant(undefined), fc.maxSafeInteger());
const anyUsage = fc.record({
  textIn: anyNumber,
  imageIn: anyNumber,
  imageOut: anyNumber,
  textOut: anyNumber,
});
const anyOutcome: fc.Arbitrary<CallOutcome> = fc.oneof(
  fc.constant<CallOutcome>({ type: 'unsent' }),
  fc.constantFrom<Billed>('no', 'yes', 'unknown').map(failed),
  fc.record({ cost: anyNumber, usage: fc.option(anyUsage, { nil: undefined }) }).map((end) => {
    return ended(end as Omit<EndEvent, 'type'>);
  }),
);

test('whatever a vendor reports, a booking is whole, not negative and at most four shares', () => {
  fc.assert(
    fc.property(
      ...([anyOutcome, fc.constantFrom<Price>(usd(0.04), TOKENS), fc.nat(3), fc.boolean()] as const),
      (outcome, price, delivered, hostPriced) => {
        const share = typeof price === 'number' ? 120_000 : 300_001;
        const { microUsd, images } = settled(outcome, { price, share, delivered, hostPriced });
        assert.ok(Number.isSafeInteger(microUsd) && microUsd >= 0 && microUsd <= 4 * share, `${microUsd}`);
        assert.ok(images === delivered || images === 3 || (outcome.type === 'unsent' && images === 0));
      },
    ),
    runs(500),
  );
});
