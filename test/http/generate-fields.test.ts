import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import type { SizeRule } from '../../src/core/provider.js';
import { createTestApp, type TestApp, type TestAppOptions, testModel } from '../support/app.js';
import { picture } from '../support/pictures.js';

const BODY = { model: 'placeholder/sketch', prompt: 'A lighthouse' };
const RAW = (field: string, json: string) => `{"model":"placeholder/sketch","prompt":"A","${field}":${json}}`;

interface Case {
  readonly field: string;
  readonly title: string;
  readonly json: string;
}

const of = (field: string, ...values: readonly string[]): readonly Case[] =>
  values.map((json) => ({ field, json, title: `${field}: ${json.slice(0, 40)}` }));

const WRONG: readonly Case[] = [
  ...of(
    'model',
    '""',
    '7',
    '[]',
    '{}',
    'true',
    '"a\\u0000b"',
    '"a\\nb"',
    '"\\ud800"',
    `"${'m'.repeat(257)}"`,
  ),
  ...of('prompt', '""', '7', '["A"]', '{}', '"a\\u0000b"', '"\\ud83d"', '"\\udc00a"'),
  ...of('n', '0', '-1', '11', '1.5', '"2"', '1e9', '1e999', '-0', 'true', '[1]', '{}'),
  ...of('size', '"64"', '"64X64"', '" 64x64"', '"064x64"', '"64x"', '"-64x64"', '"64x64x64"', '64'),
  ...of('size', '"100000x1"', '"6.4e1x64"', '"６４x64"', '""', '[64,64]', '{}', '"0x64"', '"64x64\\n"'),
  ...of('quality', '7', '""', '[]', '"a\\u0000"', `"${'q'.repeat(65)}"`),
  ...of('style', '7', '""', '{}', '"a\\r\\nb"'),
  ...of('response_format', '"URL"', '"b64"', '""', '1', '["url"]'),
  ...of('metadata', '[]', '"a"', '7', '{"a":{}}', '{"a":[]}', '{"a":null}', `{"a":"${'x'.repeat(513)}"}`),
  ...of(
    'metadata',
    '{"a":"b\\u0000"}',
    '{"a":"b\\r\\nc"}',
    '{"a":"\\ud800"}',
    '{"a\\u0000":1}',
    '{"a":1e999}',
  ),
  ...of('metadata', `{${Array.from({ length: 17 }, (_, key) => `"k${key}":1`).join()}}`),
  ...of('metadata', `{"${'k'.repeat(65)}":1}`, '{"__proto__":{"polluted":true}}'),
  ...of('output_format', '"gif"', '"PNG"', '"svg"', '7', '""'),
  ...of('output_compression', '-1', '101', '50.5', '"50"', '1e9'),
  ...of('background', '"white"', '7', '"Transparent"'),
  ...of('seed', '-1', '4294967296', '0.5', '"7"', '1e999', 'true'),
  ...of('negative_prompt', '""', '7', '"\\u0000"', '"\\udfff"', `"${'x'.repeat(32_001)}"`),
  ...of('user', '""', '7', '"a\\nb"', `"${'u'.repeat(513)}"`, '"\\ud800"'),
  ...of('safety_identifier', '""', '7', '"a\\u0000b"', `"${'u'.repeat(513)}"`),
  ...of('stream', '"true"', '1', '"yes"'),
  ...of('partial_images', '4', '-1', '1.5', '"1"'),
];

const shared: { app?: TestApp } = {};
const release: (() => Promise<void>)[] = [];
test.before(async () => {
  shared.app = await createTestApp({ after: (clean) => void release.push(clean) });
});
test.after(() => Promise.all(release.map((clean) => clean())));

function sharedApp(): TestApp {
  if (shared.app === undefined) throw new Error('the shared app has not been started');
  return shared.app;
}

for (const { field, title, json } of WRONG) {
  test(`refused by name on both surfaces, before anything is spent: ${title}`, async () => {
    const app = sharedApp();
    const native = await app.native(RAW(field, json));
    assert.equal(native.status, 422, native.text);
    assert.equal(native.body.error.code, 'VALIDATION_ERROR');
    assert.deepEqual(
      native.body.error.details.map((detail: { field: string }) => detail.field.split('.')[0]),
      [field],
    );
    const [{ field: path, message }] = native.body.error.details;
    assert.match(message, /expected/, 'the message says what would be right');
    assert.equal(native.body.error.message, `${path}: ${message}`);
    const openai = await app.openai(RAW(field, json));
    assert.equal(openai.status, 400, openai.text);
    assert.deepEqual(openai.body.error, {
      ...{ message: native.body.error.message, type: 'invalid_request_error' },
      ...{ param: path, code: 'validation_error' },
    });
    assert.equal(app.calls.length, 0);
    assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 0, held: 0 });
  });
}

test('a fault inside of a field is told by its path, as far as that is no odd text of the client', async () => {
  const fieldOf = async (metadata: string) => {
    const { body } = await sharedApp().native(RAW('metadata', metadata));
    return body.error.details.map(({ field }: { field: string }) => field);
  };
  assert.deepEqual(await fieldOf('{"steps":{}}'), ['metadata.steps']);
  assert.deepEqual(await fieldOf('{"steps":[],"cfg_scale":[]}'), ['metadata.steps', 'metadata.cfg_scale']);
  for (const odd of ['a b', '<b>', 'x'.repeat(65), '__proto__', '']) {
    assert.deepEqual(await fieldOf(JSON.stringify({ [odd]: {} }).replace('{}}', '[]}')), ['metadata'], odd);
  }
});

test('model and prompt are required, and every fault of the body is told at once', async () => {
  const answer = await sharedApp().native({ n: 0, size: 'big', seed: 'x' });
  const { details } = answer.body.error;
  assert.deepEqual(
    details.map(({ field, message }: { field: string; message: string }) => [field, message]),
    [
      ['model', 'is required'],
      ['prompt', 'is required'],
      ['n', 'expected a whole number of pictures from 1 to 10'],
      ['size', 'expected a size as WxH in pixels such as 1024x1024, or auto'],
      ['seed', 'expected a whole number from 0 to 4294967295'],
    ],
  );
});

for (const json of ['[]', '"text"', '7', 'true', 'null']) {
  test(`a body that is no object is refused: ${json}`, async () => {
    const answer = await sharedApp().native(json);
    assert.equal(answer.status, 422, answer.text);
    assert.equal(answer.body.error.details[0].field, 'body');
    assert.match(answer.body.error.message, /expected an object/);
  });
}

test('numbers that are whole are taken however they are written', async (t) => {
  const app = await createTestApp(t);
  const body = '{"model":"placeholder/sketch","prompt":"A","n":2.0,"seed":-0,"output_compression":1e1}';
  const answer = await app.native(body);
  assert.equal(answer.status, 200, answer.text);
  assert.equal(app.calls[0]?.n, 2);
  assert.ok(Object.is(app.calls[0]?.seed, 0), 'an ordinary zero');
});

test('keys that mean something to JavaScript are data like any other, and pollute nothing', async (t) => {
  const app = await createTestApp(t);
  const metadata = '{"__proto__":"a","constructor":"b","toString":1}';
  const body = `{"model":"placeholder/sketch","prompt":"A","__proto__":{"n":3},"metadata":${metadata}}`;
  const answer = await app.native(body);
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.data.data.length, 1, '__proto__ of the body gives no fields');
  const received = app.calls[0]?.metadata ?? {};
  assert.equal(Object.getPrototypeOf(received), null);
  assert.deepEqual(Object.entries(received), [
    ...[['__proto__', 'a'] as const, ['constructor', 'b'] as const, ['toString', 1] as const],
  ]);
  assert.equal(Object.hasOwn(Object.prototype, 'polluted'), false);
  assert.deepEqual(Object.keys(Object.prototype), []);
});

test('of a key written twice the last one counts', async (t) => {
  const app = await createTestApp(t);
  await app.native('{"model":"placeholder/sketch","prompt":"first","prompt":"last"}');
  assert.equal(app.calls[0]?.prompt, 'last');
});

for (const model of ['__proto__', 'constructor', 'toString', '../../etc/passwd', 'placeholder/sketch ']) {
  test(`a model name that is no model is not found, and not repeated: ${model}`, async () => {
    const answer = await sharedApp().openai({ ...BODY, model });
    assert.equal(answer.status, 404, answer.text);
    assert.equal(answer.body.error.code, 'model_not_found');
    assert.ok(!answer.text.includes('passwd'));
  });
}

test('a prompt is counted in code points: an emoji is one', async (t) => {
  const app = await createTestApp(t, { placeholder: { models: [testModel({ maxPromptLength: 5 })] } });
  assert.equal((await app.native({ ...BODY, prompt: '🏝🏝🏝🏝🏝' })).status, 200);
  const answer = await app.native({ ...BODY, prompt: '🏝🏝🏝🏝🏝🏝' });
  assert.equal(answer.status, 422);
  assert.deepEqual(answer.body.error.details, [
    { field: 'prompt', message: 'expected at most 5 characters, got 6' },
  ]);
});

test('a host can bound prompts and pictures below the model’s own', async (t) => {
  const limits = { maxPromptLength: 3, maxImages: 2 };
  const app = await createTestApp(t, { models: { 'placeholder/sketch': { limits } } });
  const answer = await app.native({ ...BODY, prompt: 'four', n: 3 });
  assert.deepEqual(
    answer.body.error.details.map(({ field }: { field: string }) => field),
    ['prompt', 'n'],
  );
  assert.equal((await app.native({ ...BODY, prompt: 'yes', n: 2 })).status, 200);
});

/** A model that has none of the optional settings, and three sizes. */
const PLAIN = testModel({
  sizes: {
    kind: 'list',
    values: [
      { width: 64, height: 64 },
      { width: 96, height: 64 },
    ],
    default: { width: 64, height: 64 },
  },
  ...{ qualities: [], styles: [], backgrounds: [], features: [], formats: ['png'] },
});

async function plainApp(t: Parameters<typeof createTestApp>[0], options: TestAppOptions = {}) {
  return createTestApp(t, { placeholder: { models: [PLAIN] }, ...options });
}

test('what a model cannot do is refused by name, all of it at once, with what would be right', async (t) => {
  const app = await plainApp(t);
  const answer = await app.native({
    ...{ ...BODY, size: '64x96', quality: 'hd', style: 'natural', background: 'transparent' },
    ...{ seed: 1, negative_prompt: 'fog' },
  });
  assert.equal(answer.status, 422, answer.text);
  const details: readonly { field: string; message: string }[] = answer.body.error.details;
  assert.deepEqual(
    details.map(({ field, message }) => `${field}: ${message}`),
    [
      'seed: placeholder/sketch takes no seed; leave it out',
      'negative_prompt: placeholder/sketch takes no negative prompt; leave it out',
      'size: expected one of 64x64, 96x64',
      'quality: placeholder/sketch has no quality; leave it out',
      'style: placeholder/sketch has no style; leave it out',
      'background: placeholder/sketch has no background; leave it out',
    ],
  );
  assert.equal(app.calls.length, 0);
});

test('a setting the model has is refused with the list of its values', async (t) => {
  const app = await createTestApp(t);
  const answer = await app.native({ ...BODY, quality: 'low', style: 'sepia' });
  assert.deepEqual(
    answer.body.error.details.map(({ message }: { message: string }) => message),
    ['expected one of standard, hd', 'expected one of vivid, natural'],
  );
});

for (const habitual of [
  { style: 'vivid' },
  { quality: 'standard' },
  { quality: 'auto' },
  { background: 'auto' },
  { size: 'auto' },
]) {
  const [[field, value]] = Object.entries(habitual) as [[string, string]];
  test(`the default real clients always send is dropped where it means nothing: ${field} ${value}`, async (t) => {
    const app = await plainApp(t);
    const answer = await app.native({ ...BODY, ...habitual });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.body.data.warnings, undefined);
    const { quality, style, background, size } = app.calls[0] ?? {};
    assert.deepEqual([quality, style, background], [undefined, undefined, undefined]);
    assert.deepEqual(size, { width: 64, height: 64 });
  });
}

test('a default that is a value of the model is passed on, not dropped', async (t) => {
  const app = await createTestApp(t);
  await app.native({ ...BODY, style: 'vivid', quality: 'standard', background: 'auto' });
  const { quality, style, background } = app.calls[0] ?? {};
  assert.deepEqual([quality, style, background], ['standard', 'vivid', 'auto']);
});

const RANGE: SizeRule = {
  kind: 'range',
  multiple: 16,
  minEdge: 32,
  maxEdge: 256,
  minPixels: 4096,
  maxPixels: 32_768,
  maxRatio: 3,
  default: { width: 64, height: 64 },
};

for (const [size, legal] of [
  ['64x64', true],
  ['128x256', true],
  ['48x96', true],
  ['32x128', false],
  ['65x64', false],
  ['64x72', false],
  ['16x256', false],
  ['272x96', false],
  ['48x64', false],
  ['256x256', false],
] as const) {
  test(`a range of sizes ${legal ? 'has' : 'does not have'} ${size}`, async (t) => {
    const app = await createTestApp(t, { placeholder: { models: [testModel({ sizes: RANGE })] } });
    const answer = await app.native({ ...BODY, size });
    if (legal) {
      assert.equal(answer.status, 200, answer.text);
      assert.equal(
        `${answer.body.data.data[0].width}x${answer.body.data.data[0].height}`,
        size,
        'exactly these pixels',
      );
      return;
    }
    assert.equal(answer.status, 422);
    assert.match(answer.body.error.message, /multiples of 16 from 32 to 256/);
  });
}

test('a picture with other pixels of the same shape is fitted to exactly those asked for', async (t) => {
  const larger = await picture('png', { width: 128, height: 126 });
  const app = await createTestApp(t, {
    placeholder: { models: [testModel()], tamper: () => ({ bytes: larger, type: 'image/png' }) },
  });
  const answer = await app.native({ ...BODY, size: '64x64', response_format: 'b64_json' });
  assert.equal(answer.status, 200, answer.text);
  const bytes = Buffer.from(answer.body.data.data[0].b64_json, 'base64');
  const { width, height } = await sharp(bytes).metadata();
  assert.deepEqual([width, height], [64, 64]);
});

for (const format of ['png', 'jpeg', 'webp', 'avif'] as const) {
  test(`output_format ${format} is made here where the provider has only png`, async (t) => {
    const app = await plainApp(t);
    const answer = await app.openai({ ...BODY, output_format: format, response_format: 'b64_json' });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.body.output_format, format);
    const drawn = await sharp(Buffer.from(answer.body.data[0].b64_json, 'base64')).metadata();
    assert.equal(
      drawn.format === 'heif' ? drawn.compression : drawn.format,
      format === 'avif' ? 'av1' : format,
    );
    assert.equal(app.calls[0]?.outputFormat, format === 'png' ? 'png' : undefined);
  });
}

test('output_format of a provider that has it is asked of the provider', async (t) => {
  const app = await createTestApp(t);
  const answer = await app.native({ ...BODY, output_format: 'webp', output_compression: 40 });
  assert.equal(answer.body.data.data[0].content_type, 'image/webp');
  assert.match(answer.body.data.data[0].url, /\.webp\?token=/);
  assert.deepEqual([app.calls[0]?.outputFormat, app.calls[0]?.outputCompression], ['webp', 40]);
});

test('output_compression decides how small a lossy picture becomes', async (t) => {
  const app = await plainApp(t);
  const bytesAt = async (output_compression: number) => {
    const answer = await app.native({ ...BODY, output_format: 'jpeg', output_compression });
    return answer.body.data.data[0].bytes;
  };
  assert.ok((await bytesAt(5)) < (await bytesAt(95)));
});

test('output_compression of a format without loss is ignored with a warning', async (t) => {
  const app = await plainApp(t);
  for (const body of [{ output_compression: 10 }, { output_compression: 10, output_format: 'png' }]) {
    const answer = await app.native({ ...BODY, ...body });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.body.data.warnings[0].field, 'output_compression');
  }
});

test('a transparent JPEG is refused by name', async () => {
  const answer = await sharedApp().openai({ ...BODY, background: 'transparent', output_format: 'jpeg' });
  assert.equal(answer.status, 400);
  assert.equal(answer.body.error.param, 'output_format');
  assert.match(answer.body.error.message, /use png, webp or avif/);
});

test('seeds count up over the pictures of a request, and over the end of their range', async (t) => {
  const app = await createTestApp(t, { placeholder: { models: [testModel({ maxImages: 1 })] } });
  const answer = await app.native({ ...BODY, n: 3, seed: 4294967294 });
  assert.deepEqual(
    answer.body.data.data.map(({ seed }: { seed: number }) => seed),
    [4294967294, 4294967295, 0],
  );
});

test('an edit-only model is refused for generating', async (t) => {
  const models = [testModel({ operations: ['edit'] })];
  const app = await createTestApp(t, { placeholder: { models } });
  const answer = await app.native(BODY);
  assert.equal(answer.body.error.details[0].field, 'model');
  assert.match(answer.body.error.message, /cannot generate; it can edit/);
});
