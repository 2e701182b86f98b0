/**
 * A process of its own that finishes the pictures in the files it is given: one after the other, then all at once.
 * Prints what each cost as JSON, which a process that also made the pictures could not tell.
 */
import { readFileSync } from 'node:fs';
import { isImagesError } from '../../src/errors.js';
import { orderOf, testFinisher } from './orders.js';

/** What one picture cost, or all of them at once. */
export interface FinishCost {
  /** The error's code, or `none`. */
  readonly code: string;
  /** How long it took. */
  readonly milliseconds: number;
  /** How much the process grew beyond the largest it ever was. */
  readonly grownMegabytes: number;
}

const finish = testFinisher();
const pictures = process.argv.slice(2).map((file) => readFileSync(file));

async function codeOf(bytes: Uint8Array): Promise<string> {
  try {
    await finish(orderOf(bytes));
    return 'none';
  } catch (error) {
    return isImagesError(error) ? error.code : String(error);
  }
}

async function costOf(job: () => Promise<string>): Promise<FinishCost> {
  const start = performance.now();
  const before = process.resourceUsage().maxRSS;
  const code = await job();
  const grownMegabytes = (process.resourceUsage().maxRSS - before) / 1024;
  return { code, milliseconds: performance.now() - start, grownMegabytes };
}

const costs: FinishCost[] = [];
for (const bytes of pictures) costs.push(await costOf(() => codeOf(bytes)));
const fifty = Array.from({ length: 50 }, (_, index) => pictures[index % pictures.length] ?? Buffer.alloc(0));
costs.push(await costOf(async () => [...new Set(await Promise.all(fifty.map(codeOf)))].join()));
process.stdout.write(JSON.stringify(costs));
