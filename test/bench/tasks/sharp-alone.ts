/** What sharp costs by itself for one photograph: what no gateway that decodes or encodes can do without. */
import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { encodePicture } from '../../../src/pipeline/encode.js';
import { openPicture } from '../../../src/pipeline/inspect.js';
import { answer, readInput } from './input.js';

/** CPU of each, in milliseconds. */
export interface SharpCosts {
  /** Decoding every pixel. */
  readonly decodeMs: number;
  /** Encoding to WebP as the router does. */
  readonly webpMs: number;
}

const MAX_PIXELS = 20_000_000;

async function costOf(job: () => Promise<unknown>, times: number): Promise<number> {
  for (let warm = 0; warm < 3; warm += 1) await job();
  const before = process.cpuUsage();
  for (let time = 0; time < times; time += 1) await job();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / times;
}

const { photographs, quick } = readInput<{ photographs: string; quick: boolean }>();
const photo = readFileSync(`${photographs}/photo.png`);
sharp.concurrency(1);
sharp.cache(false);

const times = quick ? 10 : 40;
const open = () => openPicture(photo, MAX_PIXELS);
const webp = { format: 'webp', compression: undefined } as const;
answer<SharpCosts>({
  decodeMs: await costOf(() => open().raw().toBuffer(), times),
  webpMs: await costOf(() => encodePicture(open(), webp), times),
});
