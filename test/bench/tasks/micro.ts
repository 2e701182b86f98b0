/** What the small steps of every request cost, in CPU microseconds. */
import { memoryBudget } from '../../../src/budgets/memory.js';
import { createValidator, generateSchema } from '../../../src/http/schema.js';
import { createLinkSigner } from '../../../src/media/link.js';
import { answer, readInput } from './input.js';

/** CPU of each, in microseconds. */
export interface MicroCosts {
  /** Signing a link and verifying it. */
  readonly token: number;
  /** Reserving in the memory store and booking. */
  readonly budget: number;
  /** Validating a body. */
  readonly ajv: number;
}

type Step = (time: number) => Promise<void> | void;

const { quick } = readInput<{ quick: boolean }>();
const TIMES = quick ? 10_000 : 50_000;
// The first two are for the compiler, which works beside them.
const ROUNDS = 7;
const WARM_UP_ROUNDS = 2;

/** The median of several rounds: of one alone, the garbage collector decides. */
async function costOf(step: Step): Promise<number> {
  const costs: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = process.cpuUsage();
    for (let time = round * TIMES; time < (round + 1) * TIMES; time += 1) {
      // What is done at once has nothing to wait for.
      const done = step(time);
      if (done !== undefined) await done;
    }
    const { user, system } = process.cpuUsage(before);
    costs.push((user + system) / TIMES);
  }
  const ascending = costs.slice(WARM_UP_ROUNDS).sort((one, other) => one - other);
  return ascending[Math.floor(ascending.length / 2)] ?? Number.NaN;
}

const signer = createLinkSigner({ secrets: ['a secret of the benchmark, and of nobody else'] });
const file = 'img_20260131_0123456789abcdef0123456789abcdef_0123456789abcdef0123456789abcdef.png';
const nowMs = Date.now();

function useToken(): void {
  const token = signer.sign(file, nowMs + 60_000);
  if (signer.verify({ file, token, nowMs }).state !== 'valid')
    throw new Error('a token of our own is not valid');
}

const budget = memoryBudget();
const key = 'tenant/hash/micro_usd/monthly/1';

async function useBudget(time: number): Promise<void> {
  const line = { key, limit: 1e12, amount: 40_000, expiresAt: nowMs + 86_400_000 };
  const reserved = await budget.reserve({ id: `hold-${time}`, lines: [line], leaseMs: 60_000 });
  if (!('hold' in reserved)) throw new Error('there is room');
  await budget.commit(reserved.hold, [{ key, amount: 30_000 }]);
}

const validate: (body: unknown) => void = createValidator(generateSchema);
const body = {
  model: 'openai/gpt-image-2',
  prompt: 'A lighthouse on a cliff at dusk, in oil, with a small boat far out',
  ...{ n: 1, size: '1024x1024', quality: 'high', response_format: 'b64_json' },
};

answer<MicroCosts>({
  token: await costOf(useToken),
  budget: await costOf(useBudget),
  ajv: await costOf(() => validate(body)),
});
