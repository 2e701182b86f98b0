import assert from 'node:assert/strict';
import { performance } from 'node:perf_hooks';
import { describe, it } from 'node:test';
import sharp from 'sharp';
import type { ImageFormat } from '../../src/core/image.js';
import type { GenerateCall, GenerateEvent, ImageEvent, Provider } from '../../src/core/provider.js';
import { ConfigError, isProviderError } from '../../src/errors.js';
import { placeholder } from '../../src/providers/placeholder.js';
import { generateCall } from '../support/generate-call.js';

function callOf(provider: Provider, changes: Partial<GenerateCall> = {}): GenerateCall {
  const [model] = provider.models;
  assert.ok(model);
  return generateCall(model, {
    prompt: 'A lighthouse on a cliff',
    size: { width: 128, height: 96 },
    fetch: () => assert.fail('the placeholder needs no network'),
    ...changes,
  });
}

async function events(provider: Provider, parts: Partial<GenerateCall> = {}): Promise<GenerateEvent[]> {
  const all: GenerateEvent[] = [];
  for await (const event of provider.generate(callOf(provider, parts))) all.push(event);
  return all;
}

async function images(provider: Provider, parts: Partial<GenerateCall> = {}): Promise<ImageEvent[]> {
  return (await events(provider, parts)).filter((event) => event.type === 'image');
}

async function first(parts: Partial<GenerateCall> = {}, provider = placeholder()): Promise<ImageEvent> {
  const [image] = await images(provider, parts);
  assert.ok(image);
  return image;
}

async function pixels(image: ImageEvent): Promise<Buffer> {
  return sharp(image.image.bytes).ensureAlpha().raw().toBuffer();
}

async function plainPicture(background: string, size = { width: 128, height: 96 }): Promise<Buffer> {
  return sharp({ create: { ...size, channels: 4, background } })
    .png()
    .toBuffer();
}

async function failure(provider: Provider, parts: Partial<GenerateCall> = {}): Promise<unknown> {
  try {
    await events(provider, parts);
  } catch (error) {
    return error;
  }
  return assert.fail('the call did not fail');
}

describe('placeholder: pictures', () => {
  const FORMATS: Record<ImageFormat, string> = { png: 'png', jpeg: 'jpeg', webp: 'webp', avif: 'heif' };
  for (const [format, decoder] of Object.entries(FORMATS)) {
    it(`draws ${format} in the pixels asked for`, async () => {
      const { image } = await first({ outputFormat: format as ImageFormat });
      const found = await sharp(image.bytes).metadata();
      assert.deepEqual([found.format, found.width, found.height], [decoder, 128, 96]);
      assert.equal(image.type, `image/${format}`);
    });

    it(`draws the same bytes of ${format} for the same call`, async () => {
      const parts: Partial<GenerateCall> = { outputFormat: format as ImageFormat, seed: 7 };
      assert.deepEqual((await first(parts)).image.bytes, (await first(parts)).image.bytes);
    });
  }

  it('draws the smallest, the longest and odd sizes', async () => {
    for (const [width, height] of [
      [16, 16],
      [4096, 16],
      [16, 4096],
      [257, 131],
    ] as const) {
      const found = await sharp((await first({ size: { width, height } })).image.bytes).metadata();
      assert.deepEqual([found.width, found.height], [width, height]);
    }
  });

  it('draws its default size when the size is left to it', async () => {
    const found = await sharp((await first({ size: 'auto' })).image.bytes).metadata();
    assert.deepEqual([found.width, found.height], [1024, 1024]);
  });

  it('numbers seeds from the one given, and draws another picture for each', async () => {
    const drawn = await images(placeholder(), { n: 4, seed: 2 ** 32 - 2 });
    assert.deepEqual(
      drawn.map((image) => image.seed),
      [2 ** 32 - 2, 2 ** 32 - 1, 0, 1],
    );
    assert.equal(new Set(drawn.map(({ image }) => Buffer.from(image.bytes).toString('base64'))).size, 4);
  });

  it('repeats itself without a seed, and by the seed it reports', async () => {
    const drawn = await first();
    assert.deepEqual((await first()).image.bytes, drawn.image.bytes);
    assert.deepEqual((await first({ seed: drawn.seed })).image.bytes, drawn.image.bytes);
  });

  it('follows prompt, seed, style, quality and compression', async () => {
    const base: Partial<GenerateCall> = { outputFormat: 'webp', seed: 1 };
    const others: readonly Partial<GenerateCall>[] = [
      { prompt: 'Another' },
      { seed: 2 },
      { style: 'natural' },
      { quality: 'hd' },
      { outputCompression: 5 },
    ];
    const drawn = await first(base);
    for (const other of others) {
      const changed = await first({ ...base, ...other });
      assert.notDeepEqual(changed.image.bytes, drawn.image.bytes, JSON.stringify(other));
    }
  });

  it('is transparent only where asked', async () => {
    const corner = async (background: string | undefined, outputFormat: ImageFormat) =>
      (await pixels(await first({ background, outputFormat })))[3];
    for (const format of ['png', 'webp', 'avif'] as const)
      assert.ok(((await corner('transparent', format)) ?? 255) < 250);
    assert.equal(await corner('transparent', 'jpeg'), 255);
    assert.equal(await corner(undefined, 'png'), 255);
  });

  it('writes the prompt in letters, with a box for what has none, and takes any length', async () => {
    const size = { width: 256, height: 256 };
    const drawn: Buffer[] = [];
    for (const prompt of [
      'x',
      'y',
      '🌸',
      '',
      ' \n ',
      'é'.repeat(4_000),
      '👨‍👩‍👧 '.repeat(800),
      '<svg>&"\'</svg>',
    ]) {
      drawn.push(await pixels(await first({ prompt, size, seed: 1 })));
    }
    assert.ok(drawn.every((each, index) => drawn.findIndex((other) => other.equals(each)) === index));
  });
});

describe('placeholder: previews and edits', () => {
  it('sends the previews asked for, in order, each before its picture', async () => {
    const order = (await events(placeholder(), { n: 2, previews: 3 })).map((event) =>
      event.type === 'preview'
        ? `${event.index}.${event.step}`
        : event.type === 'image'
          ? `${event.index}`
          : event.type,
    );
    assert.deepEqual(order, ['0.0', '0.1', '0.2', '0', '1.0', '1.1', '1.2', '1', 'end']);
  });

  it('sends previews in the size of the picture, closer to it with each step', async () => {
    const all = await events(placeholder(), { previews: 3, size: { width: 256, height: 256 } });
    const target = all.find((event) => event.type === 'image');
    assert.ok(target);
    const goal = await pixels(target);
    const distances: number[] = [];
    for (const event of all) {
      if (event.type !== 'preview') continue;
      const shown = await sharp(event.image.bytes).ensureAlpha().raw().toBuffer();
      assert.equal(shown.length, goal.length);
      distances.push(shown.reduce((sum, value, at) => sum + Math.abs(value - (goal[at] ?? 0)), 0));
    }
    assert.deepEqual(
      distances,
      distances.toSorted((a, b) => b - a),
    );
    assert.equal(new Set(distances).size, 3);
  });

  it('lets the edited picture shine through, whatever its kind and size', async () => {
    const red = { bytes: await plainPicture('#f00', { width: 40, height: 70 }), type: 'image/png' };
    const grey = { bytes: await sharp(red.bytes).greyscale().jpeg().toBuffer(), type: 'image/jpeg' };
    const drawn = await first({ seed: 1 });
    const onRed = await first({ operation: 'edit', inputs: [red], seed: 1 });
    const onGrey = await first({ operation: 'edit', inputs: [grey], seed: 1 });
    const redness = async (image: ImageEvent) =>
      ((await pixels(image))[0] ?? 0) - ((await pixels(image))[1] ?? 0);
    assert.ok((await redness(onRed)) > (await redness(drawn)) + 50);
    assert.notDeepEqual(onGrey.image.bytes, onRed.image.bytes);
  });

  it('changes only what the mask leaves transparent', async () => {
    const input = { bytes: await plainPicture('#0f0'), type: 'image/png' };
    const left = { input: await plainPicture('#000', { width: 64, height: 96 }), left: 0, top: 0 };
    const mask = await sharp(await plainPicture('#0000'))
      .composite([left])
      .png()
      .toBuffer();
    const drawn = await pixels(
      await first({ operation: 'edit', inputs: [input], mask: { bytes: mask, type: 'image/png' } }),
    );
    const at = (x: number, y: number) => [...drawn.subarray((y * 128 + x) * 4, (y * 128 + x) * 4 + 4)];
    assert.deepEqual(at(10, 40), [0, 255, 0, 255]);
    assert.notDeepEqual(at(100, 40), [0, 255, 0, 255]);
  });

  it('rejects an input that is no picture, unbilled', async () => {
    const inputs = [{ bytes: Buffer.from('no picture'), type: 'image/png' }];
    const error = await failure(placeholder(), { operation: 'edit', inputs });
    assert.ok(isProviderError(error));
    assert.deepEqual([error.kind, error.billed], ['rejected', 'no']);
  });
});

describe('placeholder: failing on purpose', () => {
  const KINDS = {
    content_filtered: 'no',
    rejected: 'no',
    rate_limited: 'no',
    account: 'no',
    unavailable: 'no',
    timeout: 'unknown',
    shape: 'yes',
  };
  for (const [kind, billed] of Object.entries(KINDS)) {
    it(`fails with ${kind} when the prompt says so`, async () => {
      const error = await failure(placeholder(), { prompt: `A cat [fail:${kind}]` });
      assert.ok(isProviderError(error));
      assert.deepEqual([error.kind, error.billed], [kind, billed]);
    });
  }

  it('draws when the prompt asks for a failure nobody knows', async () => {
    assert.equal((await images(placeholder(), { prompt: '[fail:constructor] [fail:nothing]' })).length, 1);
  });

  it('fails by the option, which counts calls from 1', async () => {
    const planned = new Error('planned');
    const provider = placeholder({ fail: (_call, callNumber) => (callNumber === 2 ? planned : undefined) });
    assert.equal((await images(provider)).length, 1);
    assert.equal(await failure(provider), planned);
    assert.equal((await images(provider)).length, 1);
  });

  it('withholds every picture when the prompt says so', async () => {
    const [event, end] = await events(placeholder(), { prompt: '[blocked]' });
    assert.deepEqual(event, { type: 'blocked', index: 0, reason: 'demonstration', stage: 'output' });
    assert.equal(end?.type, 'end');
  });

  it('withholds single pictures by the option and reports what was delivered', async () => {
    const provider = placeholder({
      blocked: (_call, index) => (index === 1 ? { reason: 'violence', stage: 'unknown' } : undefined),
      cost: (_call, delivered) => delivered * 40_000,
      usage: (call, delivered) => ({ textIn: call.prompt.length, imageIn: 0, imageOut: delivered }),
    });
    const all = await events(provider, { n: 3, prompt: 'Three' });
    assert.deepEqual(
      all.map((event) => event.type),
      ['image', 'blocked', 'image', 'end'],
    );
    const end = all.at(-1);
    assert.ok(end?.type === 'end');
    assert.equal(end.cost, 80_000);
    assert.deepEqual(end.usage, { textIn: 5, imageIn: 0, imageOut: 2 });
  });

  it('sends what `tamper` makes of a picture', async () => {
    const broken = { bytes: Buffer.from('<html>'), type: 'image/png' };
    const provider = placeholder({ tamper: (image, _call, index) => (index === 1 ? broken : image) });
    const drawn = await images(provider, { n: 2 });
    assert.equal(drawn[1]?.image, broken);
    assert.notEqual(drawn[0]?.image, broken);
  });
});

describe('placeholder: calls', () => {
  it('starts at the first next(), not before', async () => {
    const seen: string[] = [];
    const provider = placeholder({ onCall: (call) => seen.push(call.prompt) });
    const iterator = provider.generate(callOf(provider))[Symbol.asyncIterator]();
    assert.deepEqual(seen, []);
    await iterator.next();
    assert.deepEqual(seen, ['A lighthouse on a cliff']);
  });

  it('waits as long as told before it draws', async () => {
    const delays: string[] = [];
    const provider = placeholder({
      delayMs: (call) => {
        delays.push(call.prompt);
        return 50;
      },
    });
    const started = performance.now();
    await first({}, provider);
    assert.ok(performance.now() - started >= 45);
    assert.deepEqual(delays, ['A lighthouse on a cliff']);
  });

  it('gives up a wait at once when aborted, with the reason of the signal', async () => {
    const provider = placeholder({ delayMs: 60_000 });
    const reason = { the: 'reason' };
    const controller = new AbortController();
    const failed = failure(provider, { signal: controller.signal });
    setImmediate(() => controller.abort(reason));
    assert.equal(await failed, reason);
    assert.equal(await failure(provider, { signal: AbortSignal.abort(reason) }), reason);
  });

  it('draws nothing more after an abort between pictures', async () => {
    const provider = placeholder();
    const controller = new AbortController();
    const iterator = provider
      .generate(callOf(provider, { n: 4, signal: controller.signal }))
      [Symbol.asyncIterator]();
    assert.equal((await iterator.next()).value?.type, 'image');
    controller.abort('enough');
    await assert.rejects(
      async () => iterator.next(),
      (error) => error === 'enough',
    );
  });
});

describe('placeholder: options', () => {
  it('offers one free model that says it is none', () => {
    const [model, ...more] = placeholder().models;
    assert.deepEqual(more, []);
    assert.deepEqual([model?.slug, model?.price], ['placeholder/sketch', 0]);
    assert.match(model?.displayName ?? '', /not by a model/);
  });

  it('takes models as what differs from the built-in one', async () => {
    const provider = placeholder({
      name: 'second',
      contentCredentials: true,
      models: [
        {},
        {
          slug: 'openai/dall-e-3',
          sizes: { kind: 'list', values: [{ width: 40, height: 20 }], default: 'auto' },
          formats: ['webp'],
          price: undefined,
        },
      ],
    });
    const [sketch, other] = provider.models;
    assert.equal(sketch?.slug, 'placeholder/sketch');
    assert.ok(other);
    assert.deepEqual([other.maxImages, other.price], [10, undefined]);
    assert.deepEqual([provider.name, provider.contentCredentials], ['second', true]);
    const found = await sharp((await first({ model: other, size: 'auto' }, provider)).image.bytes).metadata();
    assert.deepEqual([found.format, found.width, found.height], ['webp', 40, 20]);
  });

  it('refuses wrong options by name', () => {
    const at = (path: string) => (error: unknown) => error instanceof ConfigError && error.path === path;
    assert.throws(() => placeholder({ name: '' }), at('name'));
    assert.throws(() => placeholder({ models: [] }), at('models'));
    assert.throws(() => placeholder({ models: [{}, { slug: 'a/b' }, {}] }), at('models[2].slug'));
  });
});
