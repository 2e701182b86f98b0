/** Edits: forms and JSON on both surfaces are one and the same request. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { usd } from '../../src/core/windows.js';
import { createTestApp, TEST_KEY, type TestApp, testModel } from '../support/app.js';
import { asked, dataUrl, EDIT_PATHS, type FormFields, formOf, postEdit } from '../support/forms.js';
import { picture } from '../support/pictures.js';
import { streamed } from '../support/sse.js';

const [NATIVE, OPENAI] = EDIT_PATHS;
const MODEL = 'placeholder/sketch';
const TEXTS: FormFields = [
  ['model', MODEL],
  ['prompt', 'Make it night'],
];
const BODY = { model: MODEL, prompt: 'Make it night' };

const one = await picture('png');
const two = await picture('jpeg', { width: 80, height: 40 });
const mask = await sharp({ create: { width: 64, height: 64, channels: 4, background: '#0000' } })
  .png()
  .toBuffer();

async function callOf(app: TestApp, path: string, body: FormData | object): Promise<object> {
  const before = app.calls.length;
  const answer = await postEdit(app, path, body);
  assert.equal(answer.status, 200, answer.text);
  assert.equal(app.calls.length, before + 1);
  return asked(app.calls.at(-1));
}

test('a form and JSON, with files and data URLs in every spelling, are the same call on both surfaces', async (t) => {
  const app = await createTestApp(t);
  const fields: FormFields = [...TEXTS, ['size', '96x96'], ['n', '2'], ['seed', '7'], ['user', 'u']];
  const json = { ...BODY, size: '96x96', n: 2, seed: 7, user: 'u' };
  const [first, second, over] = [dataUrl(one), dataUrl(two, 'image/jpeg'), dataUrl(mask)];
  const bodies: Readonly<Record<string, FormData | object>> = {
    'image, image, mask': formOf([...fields, ['image', one], ['image', two], ['mask', mask]]),
    'image[], image[], mask': formOf([...fields, ['image[]', one], ['image[]', two], ['mask', mask]]),
    'files before fields': formOf([['mask', mask], ['image[]', one], ['image[]', two], ...fields]),
    strings: { ...json, images: [first, second], mask: over },
    objects: {
      ...json,
      images: [{ image_url: first }, { image_url: second }],
      mask: { image_url: over },
    },
    both: { ...json, images: [first, { image_url: second }], mask: over },
    nulls: { ...json, images: [first, second], mask: over, style: null, background: null },
  };
  const reference = await callOf(app, NATIVE, { ...json, images: [first, second], mask: over });
  for (const path of EDIT_PATHS) {
    for (const [name, body] of Object.entries(bodies)) {
      assert.deepEqual(await callOf(app, path, body), reference, `${name} at ${path}`);
    }
  }
});

test('the provider gets the checked pictures in order, with their true types, and the mask apart', async (t) => {
  const app = await createTestApp(t);
  // What the client says of a file is not believed: every one of these is said to be a PNG.
  await callOf(app, NATIVE, formOf([...TEXTS, ['image[]', two], ['image[]', one], ['mask', await masked()]]));
  const [call] = app.calls;
  assert.equal(call?.operation, 'edit');
  assert.deepEqual(
    call?.inputs.map(({ type, bytes }) => ({ type, bytes: Buffer.from(bytes) })),
    [
      { type: 'image/jpeg', bytes: two },
      { type: 'image/png', bytes: one },
    ],
  );
  assert.deepEqual(Object.keys(call?.inputs[0] ?? {}).sort(), ['bytes', 'type'].sort());
  assert.equal(call?.mask?.type, 'image/png');
});

async function masked(): Promise<Buffer> {
  return sharp(mask).resize(80, 40).png().toBuffer();
}

for (const format of ['png', 'jpeg', 'webp', 'avif'] as const) {
  test(`a ${format} can be edited, sent either way`, async (t) => {
    const app = await createTestApp(t);
    const bytes = await picture(format);
    await callOf(app, NATIVE, formOf([...TEXTS, ['image', bytes]]));
    await callOf(app, NATIVE, { ...BODY, images: [dataUrl(bytes, `image/${format}`)] });
    for (const call of app.calls) assert.equal(call.inputs[0]?.type, `image/${format}`);
  });
}

test('sixteen pictures are taken, in the order they came', async (t) => {
  const app = await createTestApp(t);
  const pictures = await Promise.all(
    Array.from({ length: 16 }, (_, index) => picture('png', { width: 16 + index, height: 16 })),
  );
  await callOf(app, OPENAI, formOf([...TEXTS, ...pictures.map((bytes) => ['image[]', bytes] as const)]));
  assert.deepEqual(
    app.calls[0]?.inputs.map(({ bytes }) => Buffer.from(bytes)),
    pictures,
  );
});

test('on the OpenAI surface edits answer b64_json, on the native one a URL; what is asked for wins', async (t) => {
  const app = await createTestApp(t);
  const first = async (path: string, extra: object = {}) => {
    const { body } = await postEdit(app, path, { ...BODY, images: [dataUrl(one)], ...extra });
    const [item] = path === OPENAI ? body.data : body.data.data;
    return [item.url !== undefined, item.b64_json !== undefined];
  };
  assert.deepEqual(await first(OPENAI), [false, true]);
  assert.deepEqual(await first(NATIVE), [true, false]);
  assert.deepEqual(await first(OPENAI, { response_format: 'url' }), [true, false]);
  assert.deepEqual(await first(NATIVE, { response_format: 'b64_json' }), [false, true]);
});

test('an edit answers the picture, with the pixels asked for, stored and linked', async (t) => {
  const app = await createTestApp(t);
  const answer = await postEdit(app, NATIVE, formOf([...TEXTS, ['size', '96x48'], ['image', one]]));
  const [item] = answer.body.data.data;
  assert.deepEqual([item.width, item.height], [96, 48]);
  const media = await fetch(item.url);
  assert.equal(media.status, 200);
  const { width, height } = await sharp(Buffer.from(await media.arrayBuffer())).metadata();
  assert.deepEqual({ width, height }, { width: 96, height: 48 });
});

test('form fields are typed as the schema says', async (t) => {
  const app = await createTestApp(t);
  const fields: FormFields = [
    ...TEXTS,
    ['n', '2'],
    ['seed', '0'],
    ['output_format', 'jpeg'],
    ['output_compression', '40'],
    ['stream', 'false'],
    ['partial_images', '2'],
    ['metadata', '{"team":"red","steps":5,"hires":true}'],
    ['negative_prompt', 'fog'],
    ['user', '12345'],
    ['image', one],
  ];
  await callOf(app, OPENAI, formOf(fields));
  const [call] = app.calls;
  assert.equal(call?.n, 2);
  assert.equal(call?.seed, 0);
  assert.equal(call?.outputFormat, 'jpeg');
  assert.equal(call?.outputCompression, 40);
  assert.equal(call?.previews, 0, 'nothing is streamed');
  assert.deepEqual({ ...call?.metadata }, { team: 'red', steps: 5, hires: true });
  assert.equal(call?.endUser, '12345', 'text stays text');
  assert.equal(call?.negativePrompt, 'fog');
});

const MISTYPED: FormFields = [
  ['n', '2.5'],
  ['n', 'two'],
  ['n', '0x2'],
  ['n', ' 2'],
  ['n', '1e1'],
  ['n', '11'],
  ['seed', '-1'],
  ['seed', '99999999999999999999'],
  ['stream', 'yes'],
  ['stream', '1'],
  ['metadata', '{"broken"'],
  ['metadata', '[1]'],
  ['metadata', '{"deep":{"er":1}}'],
  ['output_compression', '101'],
  ['size', 'huge'],
  ['prompt', ''],
];
for (const [field, value] of MISTYPED) {
  test(`a form with ${field} = ${JSON.stringify(value)} is refused by name`, async (t) => {
    const app = await createTestApp(t);
    const fields = [
      ...TEXTS.filter(([name]) => name !== field),
      [field, value] as const,
      ['image', one] as const,
    ];
    const answer = await postEdit(app, NATIVE, formOf(fields));
    assert.equal(answer.status, 422, answer.text);
    assert.deepEqual(
      answer.body.error.details.map((detail: { readonly field: string }) => detail.field.split('.')[0]),
      [field],
    );
    assert.equal(app.calls.length, 0);
  });
}

test('a key of metadata that is the name of a prototype is a label like any other', async (t) => {
  const app = await createTestApp(t);
  const metadata = '{"__proto__":"x","constructor":"y"}';
  await callOf(app, NATIVE, formOf([...TEXTS, ['metadata', metadata], ['image', one]]));
  assert.deepEqual(Object.entries(app.calls[0]?.metadata ?? {}), [
    ['__proto__', 'x'],
    ['constructor', 'y'],
  ]);
  assert.equal(({} as Record<string, unknown>).x, undefined);
});

test('of two fields with one name the last counts', async (t) => {
  const app = await createTestApp(t);
  await callOf(app, NATIVE, formOf([...TEXTS, ['seed', '1'], ['seed', '2'], ['image', one]]));
  assert.equal(app.calls[0]?.seed, 2);
});

test('fields and files nobody knows are named in warnings', async (t) => {
  const app = await createTestApp(t);
  const form = formOf([...TEXTS, ['image', one], ['frobnicate', '1'], ['sketch', two]]);
  const fields = ({
    body,
  }: {
    readonly body: { readonly warnings?: readonly { readonly field: string }[] };
  }) => body.warnings?.map(({ field }) => field);
  assert.deepEqual(fields(await postEdit(app, OPENAI, form)), ['frobnicate', 'sketch']);
  const json = { ...BODY, images: [dataUrl(one)], frobnicate: 1 };
  assert.deepEqual(fields(await postEdit(app, OPENAI, json)), ['frobnicate']);
  assert.equal(app.calls[1]?.inputs.length, 1);
});

for (const field of ['image', 'image[]', 'mask']) {
  test(`${field} as text is refused: an edit without it would be another edit`, async (t) => {
    const app = await createTestApp(t);
    const answer = await postEdit(app, NATIVE, formOf([...TEXTS, ['image', one], [field, dataUrl(mask)]]));
    assert.equal(answer.status, 422, answer.text);
    assert.deepEqual(answer.body.error.details, [{ field, message: 'expected a file' }]);
    assert.equal(app.calls.length, 0);
  });
}

const NO_PICTURES: Readonly<Record<string, FormData | object>> = {
  'a form without files': formOf(TEXTS),
  'a form with a mask alone': formOf([...TEXTS, ['mask', mask]]),
  'JSON without images': BODY,
  'JSON with an empty list': { ...BODY, images: [] },
  'JSON with one picture outside a list': { ...BODY, images: dataUrl(one) },
  'JSON with seventeen pictures': { ...BODY, images: Array(17).fill(dataUrl(one)) },
};
for (const [what, body] of Object.entries(NO_PICTURES)) {
  test(`${what} is refused`, async (t) => {
    const app = await createTestApp(t);
    const answer = await postEdit(app, NATIVE, body);
    assert.equal(answer.status, 422, answer.text);
    assert.match(answer.body.error.details[0].field, /^images?$/);
    assert.match(answer.body.error.message, /1 to 16|is required/);
    assert.equal(app.calls.length, 0);
  });
}

const BAD_URLS = [
  'https://example.com/a.png',
  'http://169.254.169.254/latest/meta-data',
  'file:///etc/passwd',
  'data:image/svg+xml;base64,PHN2Zy8+',
  'data:text/html;base64,PGI+',
  'data:image/png,rawbytes',
  'data:image/png;base64,not base64!',
  'data:image/png;base64,',
  dataUrl(one).slice('data:image/png;base64,'.length),
  '',
];
for (const url of BAD_URLS) {
  test(`a picture at ${JSON.stringify(url.slice(0, 40))} is refused and not fetched`, async (t) => {
    const app = await createTestApp(t);
    for (const value of [url, { image_url: url }]) {
      const answer = await postEdit(app, NATIVE, { ...BODY, images: [dataUrl(one), value] });
      assert.equal(answer.status, 422, answer.text);
      assert.equal(answer.body.error.details[0].field, 'images[1]');
      const over = await postEdit(app, NATIVE, { ...BODY, images: [dataUrl(one)], mask: value });
      assert.equal(over.body.error.details[0].field, 'mask');
    }
  });
}

test('odd things in place of data URLs are refused', async (t) => {
  const app = await createTestApp(t);
  for (const value of [
    1,
    null,
    [],
    {},
    { image_url: 1 },
    { image_url: { url: dataUrl(one) } },
    { file_id: 'f' },
  ]) {
    const answer = await postEdit(app, NATIVE, { ...BODY, images: [value] });
    assert.equal(answer.status, 422, JSON.stringify(value));
    assert.match(answer.body.error.details[0].field, /^images(\[0\])?$/);
  }
});

test('a mask needs the pixels of the first picture', async (t) => {
  const app = await createTestApp(t);
  const answer = await postEdit(
    app,
    NATIVE,
    formOf([...TEXTS, ['image', two], ['image', one], ['mask', mask]]),
  );
  assert.equal(answer.status, 422, answer.text);
  assert.deepEqual(answer.body.error.details, [
    { field: 'mask', message: 'expected the pixels of the first picture, 80x40' },
  ]);
  const twice = await postEdit(
    app,
    NATIVE,
    formOf([...TEXTS, ['image', one], ['mask', mask], ['mask', mask]]),
  );
  assert.deepEqual(twice.body.error.details, [{ field: 'mask', message: 'expected one mask' }]);
});

test('pictures that are none are all named, at the field they came in', async (t) => {
  const app = await createTestApp(t);
  const bad = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>');
  const cut = one.subarray(0, one.length - 20);
  const form = formOf([...TEXTS, ['image[]', one], ['image[]', bad], ['image[]', cut], ['mask', bad]]);
  const answer = await postEdit(app, OPENAI, form);
  assert.equal(answer.status, 400, answer.text);
  assert.equal(answer.body.error.param, 'image[1]');
  const native = await postEdit(app, NATIVE, form);
  assert.deepEqual(native.body.error.details, [
    { field: 'image[1]', message: 'expected a PNG, JPEG, WebP or AVIF picture' },
    { field: 'image[2]', message: 'expected a whole picture; this one is damaged or cut short' },
    { field: 'mask', message: 'expected a PNG, JPEG, WebP or AVIF picture' },
  ]);
  const json = await postEdit(app, NATIVE, { ...BODY, images: [dataUrl(one), dataUrl(bad)] });
  assert.equal(json.body.error.details[0].field, 'images[1]');
  const single = await postEdit(app, NATIVE, formOf([...TEXTS, ['image', bad]]));
  assert.equal(single.body.error.details[0].field, 'image');
  assert.equal(app.calls.length, 0);
});

test('a picture of more pixels than the limit is refused', async (t) => {
  const app = await createTestApp(t, { limits: { inputPixels: 64 * 64 } });
  await callOf(app, NATIVE, formOf([...TEXTS, ['image', one]]));
  const larger = await picture('png', { width: 65, height: 64 });
  const answer = await postEdit(app, NATIVE, formOf([...TEXTS, ['image', larger]]));
  assert.equal(answer.status, 422);
  assert.deepEqual(answer.body.error.details, [{ field: 'image', message: 'expected at most 4096 pixels' }]);
});

test('what follows a picture in its file does not reach the provider', async (t) => {
  const app = await createTestApp(t);
  await callOf(
    app,
    NATIVE,
    formOf([...TEXTS, ['image', Buffer.concat([one, Buffer.from('PK\x03\x04canary')])]]),
  );
  assert.deepEqual(Buffer.from(app.calls[0]?.inputs[0]?.bytes ?? []), one);
});

test('a model that cannot edit says so', async (t) => {
  const app = await createTestApp(t, {
    placeholder: { models: [testModel({ operations: ['generate'], maxInputs: 0 })] },
  });
  for (const [path, status] of [
    [NATIVE, 422],
    [OPENAI, 400],
  ] as const) {
    const answer = await postEdit(app, path, formOf([...TEXTS, ['image', one]]));
    assert.equal(answer.status, status, answer.text);
    assert.match(answer.body.error.message, /placeholder\/sketch cannot edit; it can generate/);
  }
  assert.equal(app.calls.length, 0);
});

test('a model that takes two pictures and no mask says so', async (t) => {
  const app = await createTestApp(t, {
    placeholder: { models: [testModel({ maxInputs: 2, features: [] })] },
  });
  const form = formOf([...TEXTS, ['image', one], ['image', one], ['image', one], ['mask', mask]]);
  const answer = await postEdit(app, NATIVE, form);
  assert.deepEqual(answer.body.error.details, [
    { field: 'image', message: 'expected at most 2 pictures for placeholder/sketch' },
    { field: 'mask', message: 'placeholder/sketch takes no mask; leave it out' },
  ]);
});

test('generate knows no pictures: they are named in warnings', async (t) => {
  const app = await createTestApp(t);
  const answer = await app.native({ ...BODY, images: [dataUrl(one)], mask: dataUrl(mask) });
  assert.equal(answer.status, 200);
  assert.deepEqual(
    answer.body.data.warnings.map(({ field }: { readonly field: string }) => field),
    ['images', 'mask'],
  );
  assert.deepEqual(app.calls[0]?.inputs, []);
});

test('an edit streams with events of its own, from a form and from JSON', async (t) => {
  const app = await createTestApp(t);
  const json = { ...BODY, images: [dataUrl(one)], stream: true, partial_images: 1 };
  const frames = await streamed(app, json, '/edits');
  assert.deepEqual(
    frames.map(({ event, data }) => [event, data.type]),
    [
      ['image_edit.partial_image', 'image_edit.partial_image'],
      ['image_edit.completed', 'image_edit.completed'],
    ],
  );
  const form = formOf([...TEXTS, ['image', one], ['stream', 'true'], ['partial_images', '1']]);
  const answer = await postEdit(app, OPENAI, form);
  assert.match(String(answer.headers['content-type']), /^text\/event-stream/);
  assert.deepEqual(answer.text.match(/^event: .*$/gm), [
    'event: image_edit.partial_image',
    'event: image_edit.completed',
  ]);
  const native = await postEdit(app, NATIVE, form);
  assert.equal(native.status, 422);
  assert.equal(native.body.error.details[0].field, 'stream');
});

test('what is held for an edit counts its pictures and its mask', async (t) => {
  const tokens = { textIn: usd(1), imageIn: usd(1), imageOut: usd(1) };
  const price = { tokens, ceiling: usd(0.01), inputImageTokens: 1_000 };
  const app = await createTestApp(t, { placeholder: { models: [testModel({ price })] } });
  await callOf(app, NATIVE, formOf([...TEXTS, ['image', one], ['image', two], ['mask', mask]]));
  // No usage came, so all of it is booked: a cent, 3,000 tokens of pictures, and the prompt's 13 bytes.
  assert.equal((await app.balances())['monthly-usd-tenant']?.spent, 10_000 + 3_000 + 13);
});

const WITHOUT_KEY: readonly (readonly [string, Readonly<Record<string, string>>, number])[] = [
  ['a page of another site', { 'Sec-Fetch-Site': 'cross-site' }, 403],
  ['a page of another site in an old browser', { Origin: 'https://evil.test' }, 403],
  ['a page of its own site', { 'Sec-Fetch-Site': 'same-origin' }, 200],
  ['a trusted page', { Origin: 'https://trusted.test', 'Sec-Fetch-Site': 'cross-site' }, 200],
];
for (const [who, headers, status] of WITHOUT_KEY) {
  test(`a form posted by ${who} with a person's cookies is answered ${status}`, async (t) => {
    const app = await createTestApp(t, {
      identify: () => ({ tenant: 'acme', models: 'all', budgets: 'unlimited' }),
      trustedOrigins: ['https://trusted.test'],
    });
    const request = app.http.post(NATIVE).set(headers).field('model', MODEL).field('prompt', 'Night');
    const answer = await request.attach('image', one, 'a.png');
    assert.equal(answer.status, status, answer.text);
    assert.equal(app.calls.length, status === 200 ? 1 : 0);
  });
}

test('with a key a form may come from anywhere', async (t) => {
  const app = await createTestApp(t);
  const request = app.http
    .post(NATIVE)
    .set('Sec-Fetch-Site', 'cross-site')
    .set('Authorization', `Bearer ${TEST_KEY}`);
  const answer = await request.field('model', MODEL).field('prompt', 'Night').attach('image', one, 'a.png');
  assert.equal(answer.status, 200);
});

test('other kinds of bodies are refused', async (t) => {
  const app = await createTestApp(t);
  for (const type of [
    'text/plain',
    'application/x-www-form-urlencoded',
    'multipart/mixed; boundary=x',
    'image/png',
  ]) {
    const answer = await app.http
      .post(NATIVE)
      .set({ Authorization: `Bearer ${TEST_KEY}`, 'Content-Type': type })
      .send(JSON.stringify(BODY));
    assert.equal(answer.status, 422, type);
    assert.equal(answer.body.error.details[0].field, 'body');
  }
});
