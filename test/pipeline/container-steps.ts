/**
 * A process of its own, since counting takes V8's coverage away from whoever else wants it: reads hostile containers of
 * two sizes and says how much was done for each, in blocks of code run and bytes that Node's functions went over.
 */

import type { Profiler } from 'node:inspector';
import { Session } from 'node:inspector';
import { readContainer } from '../../src/pipeline/container.js';
import { putTogether, takeApart } from '../support/container-parts.js';
import { picture, pngChunk, withPngChunks } from '../support/pictures.js';

const [png, webp] = [await picture('png'), await picture('webp')];
const jpeg = takeApart('jpeg', await picture('jpeg'));
const avif = await picture('avif');
const empty = (length: number) => Buffer.alloc(length);

/** What is read, of about so many parts or a hundred times as many bytes. */
const HOSTILE: Readonly<Record<string, (count: number) => Buffer>> = {
  'a JPEG of escapes': (count) =>
    putTogether(
      'jpeg',
      jpeg.map(({ type, body }) =>
        type === '\xda'
          ? { type, body: Buffer.concat([body, Buffer.alloc(100 * count, '\xff\0', 'latin1')]) }
          : { type, body },
      ),
    ),
  'a JPEG of fill bytes': (count) =>
    Buffer.concat([Buffer.from([0xff, 0xd8]), Buffer.alloc(100 * count, 0xff)]),
  'a JPEG of comments': (count) =>
    putTogether('jpeg', [...Array(count).fill({ type: '\xfe', body: empty(100) }), ...jpeg]),
  'a JPEG of tables': (count) =>
    putTogether('jpeg', [...Array(count).fill(jpeg.find(({ type }) => type === '\xdb')), ...jpeg]),
  'a PNG of unknown chunks': (count) =>
    withPngChunks(png, [Buffer.alloc(112 * count, pngChunk('emPt', empty(100)))]),
  'a PNG of compressed texts': (count) =>
    withPngChunks(png, Array(count).fill(pngChunk('zTXt', Buffer.alloc(100, 'Comment\0\0', 'latin1')))),
  'a PNG of chunks that show': (count) => withPngChunks(png, Array(count).fill(pngChunk('gAMA', empty(4)))),
  'a WebP of unknown chunks': (count) =>
    putTogether('webp', [
      ...takeApart('webp', webp),
      ...Array(count).fill({ type: 'what', body: empty(100) }),
    ]),
  'an AVIF with boxes behind it': (count) =>
    Buffer.concat([avif, Buffer.alloc(8 * count, Buffer.from('\0\0\0\x08free', 'latin1'))]),
};

let bytes = 0;

/** Adds up what these functions go over. */
function watch(
  owner: object,
  name: string,
  length: (given: readonly never[], result: never, self: never) => number,
) {
  const method: (...args: unknown[]) => unknown = Reflect.get(owner, name);
  Reflect.set(owner, name, function (this: never, ...args: never[]) {
    const result = Reflect.apply(method, this, args) as never;
    bytes += length(args, result, this);
    return result;
  });
}
watch(Buffer, 'concat', (_, result: Buffer) => result.length);
watch(Buffer.prototype, 'toString', (_, result: string) => result.length);
for (const name of ['indexOf', 'includes', 'lastIndexOf']) {
  watch(
    Buffer.prototype,
    name,
    ([, from = 0], found: number | boolean, self: Buffer) =>
      (typeof found === 'number' && found >= 0 ? found : self.length) - from,
  );
}
watch(String.prototype, 'match', (_given, _found, self: string) => self.length);
watch(RegExp.prototype, 'test', ([text]: readonly string[]) => String(text).length);

const session = new Session();
session.connect();
session.post('Profiler.enable');
session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });

/** How often the blocks of the pipeline's code have run since they were counted last. */
function blocksRun(): number {
  let taken: readonly Profiler.ScriptCoverage[] = [];
  session.post('Profiler.takePreciseCoverage', (error, { result }) => {
    if (error !== null) throw error;
    taken = result;
  });
  const ours = taken.filter(({ url }) => url.includes('/src/pipeline/'));
  const counts = ours.flatMap(({ functions }) =>
    functions.flatMap(({ ranges }) => ranges.map(({ count }) => count)),
  );
  return counts.reduce((sum, count) => sum + count, 0);
}

/** What was done for a container, counted. */
interface Work {
  /** Blocks of code that ran. */
  readonly blocks: number;
  /** Bytes that Node's functions went over. */
  readonly bytes: number;
}

/** What was done for containers of fewer and of more parts, by what they are. */
export type Steps = Readonly<Record<string, readonly [few: Work, many: Work]>>;

const [few = 0, many = 0] = process.argv.slice(2).map(Number);
const done = Object.entries(HOSTILE).map(([name, make]) => {
  const steps = [few, many].map((count) => {
    const container = make(count);
    bytes = 0;
    blocksRun();
    readContainer(container);
    return { blocks: blocksRun(), bytes };
  });
  return [name, steps];
});
process.stdout.write(JSON.stringify(Object.fromEntries(done)));
