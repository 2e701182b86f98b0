/** However many requests there are at once, no more image jobs run than the gate has places. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { createInflate, type Inflate } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';
import { imageJobs } from '../../src/pipeline/gate.js';
import { createTestApp, onlySize, testModel } from '../support/app.js';
import { picture } from '../support/pictures.js';

const REQUESTS = 12;
const EDGE = 512;

/** Sees what sharp is told to do and what is inflated, and counts what there is at once. */
function watchJobs(t: TestContext): { readonly most: () => number } {
  let most = 0;
  const running = new Set<object>();
  const begin = (job: object) => {
    running.add(job);
    most = Math.max(most, running.size);
  };
  const pictures: Sharp = sharp.prototype;
  const { toBuffer, metadata } = pictures;
  for (const [name, method] of Object.entries({ toBuffer, metadata })) {
    Object.assign(pictures, {
      [name](this: Sharp, ...args: readonly never[]) {
        begin(this);
        const done: Promise<unknown> = Reflect.apply(method, this, args);
        // Before whoever waits for it: that may begin the next.
        const end = () => running.delete(this);
        done.then(end, end);
        return done;
      },
    });
  }
  const inflates: Inflate = Object.getPrototypeOf(createInflate());
  const { _transform: transform } = inflates;
  inflates._transform = function (this: Inflate, ...args) {
    if (!running.has(this)) {
      const end = () => running.delete(this);
      for (const event of ['end', 'error', 'close']) this.prependListener(event, end);
    }
    begin(this);
    transform.apply(this, args);
  };
  t.after(() => {
    Object.assign(pictures, { toBuffer, metadata });
    inflates._transform = transform;
  });
  return { most: () => most };
}

const WAYS = {
  'whose pictures are decoded': {},
  'whose pictures are encoded anew': { output_format: 'webp' },
} as const;

for (const [which, fields] of Object.entries(WAYS)) {
  test(`a burst of requests ${which} runs as many image jobs at once as there are places`, async (t) => {
    const bytes = await picture('png', { width: EDGE, height: EDGE });
    const app = await createTestApp(t, {
      placeholder: {
        models: [testModel({ sizes: onlySize(EDGE), maxImages: 2 })],
        tamper: () => ({ bytes, type: 'image/png' }),
      },
    });
    const jobs = watchJobs(t);
    const body = { model: 'placeholder/sketch', prompt: 'A lighthouse', n: 2, ...fields };
    const answers = await Promise.all(Array.from({ length: REQUESTS }, () => app.native(body)));
    for (const { status, text } of answers) assert.equal(status, 200, text.slice(0, 300));
    assert.equal(jobs.most(), imageJobs.limit);
  });
}
