/**
 * Every provider × every feature, through HTTP on both surfaces. Who does not have a feature is named in the table and
 * must refuse it by its field; everybody else must do it. So a hole is one that anybody can see.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import sharp from 'sharp';
import type { ImageFormat } from '../../src/core/image.js';
import { makePng } from '../../src/testing/provider/pictures.js';
import { createTestApp, TEST_KEY, type TestApp } from '../support/app.js';
import { type FeatureSubject, SUBJECTS } from '../support/feature-providers.js';
import { framesOf, openAnswer } from '../support/sse.js';

type Column = keyof typeof SUBJECTS;

/** What is asked, and how a picture shows that it was done. */
interface Feature {
  /** The fields of the request beside model and prompt. */
  body(subject: FeatureSubject): Readonly<Record<string, unknown>>;
  /** Who refuses it, and the field they name, by one of these names. @defaultValue nobody */
  readonly refused?: { readonly by: readonly Column[]; readonly field: readonly string[] };
  /** Edits go elsewhere. */
  readonly edit?: true;
  /** Pictures expected. @defaultValue 1 */
  readonly count?: number;
  /** What every picture is. */
  readonly shows?: (subject: FeatureSubject) => { readonly format?: ImageFormat; readonly size?: string };
}

const COLUMNS = Object.keys(SUBJECTS) as readonly Column[];
const DIFFUSION: readonly Column[] = ['sdapi', 'openai-shaped', 'stability', 'stability sd3'];

const dataUrls = new Map<string, string>();

function dataUrl(size: string, kind: 'picture' | 'mask'): string {
  const name = `${kind} ${size}`;
  const [width = 0, height = 0] = size.split('x').map(Number);
  const url =
    dataUrls.get(name) ??
    `data:image/png;base64,${Buffer.from(makePng({ width, height }, kind).bytes).toString('base64')}`;
  dataUrls.set(name, url);
  return url;
}

function formatFeature(format: ImageFormat): Feature {
  return { body: () => ({ output_format: format }), shows: () => ({ format }) };
}

const FEATURES: Readonly<Record<string, Feature>> = {
  'a picture': { body: () => ({}) },
  'a square picture': {
    body: ({ square }) => ({ size: square }),
    shows: ({ square }) => ({ size: square }),
  },
  'an oblong picture': {
    body: ({ oblong }) => ({ size: oblong }),
    shows: ({ oblong }) => ({ size: oblong }),
  },
  'a size nobody draws': {
    body: () => ({ size: '7x9' }),
    refused: { by: COLUMNS, field: ['size'] },
  },
  'three pictures': { body: () => ({ n: 3 }), count: 3 },
  png: formatFeature('png'),
  jpeg: formatFeature('jpeg'),
  webp: formatFeature('webp'),
  avif: formatFeature('avif'),
  compression: {
    body: () => ({ output_format: 'jpeg', output_compression: 30 }),
    shows: () => ({ format: 'jpeg' }),
  },
  'the usual defaults of clients': {
    body: () => ({ quality: 'auto', style: 'vivid', background: 'auto' }),
  },
  quality: {
    body: () => ({ quality: 'high' }),
    refused: { by: ['placeholder', 'google', ...DIFFUSION], field: ['quality'] },
  },
  style: {
    body: () => ({ style: 'anime' }),
    refused: { by: ['placeholder', 'openai', 'google', 'sdapi', 'openai-shaped'], field: ['style'] },
  },
  'a transparent background': {
    body: () => ({ background: 'transparent' }),
    refused: { by: ['openai', 'google', ...DIFFUSION], field: ['background'] },
  },
  'a seed': {
    body: () => ({ seed: 4_294_967_295 }),
    refused: { by: ['openai', 'google'], field: ['seed'] },
  },
  'a negative prompt': {
    body: () => ({ negative_prompt: 'rain' }),
    refused: { by: ['openai', 'google'], field: ['negative_prompt'] },
  },
  'labels in metadata': { body: () => ({ metadata: { team: 'blue', campaign: 7 } }) },
  'the person who asks': { body: () => ({ user: 'user-4711' }) },
  'an edit': {
    body: ({ square }) => ({ images: [dataUrl(square, 'picture')], size: square }),
    edit: true,
    shows: ({ square }) => ({ size: square }),
    refused: { by: ['stability'], field: ['model'] },
  },
  'an edit under a mask': {
    body: ({ square }) => ({
      images: [dataUrl(square, 'picture')],
      mask: dataUrl(square, 'mask'),
      size: square,
    }),
    edit: true,
    refused: { by: ['google', 'stability', 'stability sd3'], field: ['mask', 'model'] },
  },
  'an edit of two pictures': {
    body: ({ square }) => ({
      images: [dataUrl(square, 'picture'), dataUrl(square, 'picture')],
      size: square,
    }),
    edit: true,
    refused: { by: DIFFUSION, field: ['image', 'model'] },
  },
};

/** A surface: where to post, and where in its answers things are. */
interface Surface {
  readonly generate: string;
  readonly edit: string;
  pictures(body: unknown): readonly { readonly b64_json?: string }[];
  /** Fields a refusal names. */
  faults(body: unknown): readonly unknown[];
  readonly refusedWith: number;
}

interface NativeAnswer {
  readonly data: { readonly data: readonly { readonly b64_json?: string }[] };
  readonly error: { readonly details?: readonly { readonly field: string }[] };
}

interface OpenAIAnswer {
  readonly data: readonly { readonly b64_json?: string }[];
  readonly error: { readonly param: string | null };
}

const SURFACES: Readonly<Record<'native' | 'openai', Surface>> = {
  native: {
    generate: '/v1/inference/images/generate',
    edit: '/v1/inference/images/edit',
    pictures: (body) => (body as NativeAnswer).data.data,
    faults: (body) => ((body as NativeAnswer).error.details ?? []).map(({ field }) => field),
    refusedWith: 422,
  },
  openai: {
    generate: '/oai/v1/images/generations',
    edit: '/oai/v1/images/edits',
    pictures: (body) => (body as OpenAIAnswer).data,
    faults: (body) => [(body as OpenAIAnswer).error.param],
    refusedWith: 400,
  },
};

async function expectPictures(
  encoded: readonly (string | undefined)[],
  { shows, count = 1 }: Feature,
  subject: FeatureSubject,
) {
  assert.equal(encoded.length, count);
  const expected = shows?.(subject);
  for (const text of encoded) {
    const { format, width, height } = await sharp(Buffer.from(text ?? '', 'base64')).metadata();
    if (expected?.format) assert.equal(format === 'heif' ? 'avif' : format, expected.format);
    if (expected?.size) assert.equal(`${width}x${height}`, expected.size);
  }
}

/** The app of one provider, and how tests post to it. */
interface Bench {
  readonly subject: FeatureSubject;
  readonly app: TestApp;
  post(
    path: string,
    body: object,
  ): Promise<{ readonly status: number; readonly body: unknown; readonly text: string }>;
}

/** Starts a provider's app before the tests of a group, and ends it after them. */
function benchOf(column: Column): () => Bench {
  const cleaning: (() => Promise<void>)[] = [];
  let bench: Bench | undefined;
  before(async () => {
    const subject = await SUBJECTS[column]();
    const app = await createTestApp(
      { after: (clean) => void cleaning.push(clean) },
      { providers: [subject.provider] },
    );
    cleaning.push(subject.close);
    const post = async (path: string, body: object) =>
      await app.http
        .post(path)
        .set('Authorization', `Bearer ${TEST_KEY}`)
        .send({ model: subject.slug, prompt: 'A lighthouse at dusk', ...body });
    bench = { subject, app, post };
  });
  after(async () => {
    for (const clean of cleaning) await clean();
  });
  return () => bench ?? assert.fail('the app has not started');
}

async function tryFeature(feature: Feature, surface: Surface, column: Column, bench: Bench): Promise<void> {
  const path = feature.edit === true ? surface.edit : surface.generate;
  const body = { ...feature.body(bench.subject), response_format: 'b64_json' };
  const before = bench.app.eventsOf('upstream.call').length;
  const answer = await bench.post(path, body);
  if (feature.refused?.by.includes(column) === true) {
    assert.equal(answer.status, surface.refusedWith, answer.text);
    const { field } = feature.refused;
    assert.ok(
      surface.faults(answer.body).some((fault) => field.some((name) => name === fault)),
      answer.text,
    );
    assert.equal(bench.app.eventsOf('upstream.call').length, before, 'a refusal reaches no vendor');
    return;
  }
  assert.equal(answer.status, 200, answer.text);
  const encoded = surface.pictures(answer.body).map((picture) => picture.b64_json);
  await expectPictures(encoded, feature, bench.subject);
}

for (const column of COLUMNS) {
  describe(column, () => {
    const bench = benchOf(column);

    for (const [name, feature] of Object.entries(FEATURES)) {
      const refused = feature.refused?.by.includes(column) === true;
      for (const [at, surface] of Object.entries(SURFACES)) {
        test(`${column}, ${at}: ${name} is ${refused ? 'refused' : 'drawn'}`, async () => {
          await tryFeature(feature, surface, column, bench());
        });
      }
    }

    test(`${column}: a picture by URL can be fetched`, async () => {
      const { app, post } = bench();
      const answer = await post(SURFACES.native.generate, { response_format: 'url' });
      assert.equal(answer.status, 200, answer.text);
      const [{ url = '' } = {}] = SURFACES.native.pictures(answer.body) as readonly {
        readonly url?: string;
      }[];
      const picture = await app.http.get(url.slice(app.url.length));
      assert.equal(picture.status, 200);
      assert.match(picture.type, /^image\//);
    });

    test(`${column}: streams end with a completed picture, after previews where there are some`, async () => {
      const { app, subject } = bench();
      const body = { model: subject.slug, prompt: 'A lighthouse at dusk', stream: true, partial_images: 2 };
      const { response } = await openAnswer(app, body);
      const types: unknown[] = [];
      for await (const { data } of framesOf(response)) types.push(data.type);
      assert.deepEqual(types, [
        ...Array.from({ length: subject.previews }, () => 'image_generation.partial_image'),
        'image_generation.completed',
      ]);
    });

    test(`${column}: a stream of several pictures has the previews of each before it`, async () => {
      const { app, subject } = bench();
      const body = { model: subject.slug, prompt: 'A lighthouse', n: 3, stream: true, partial_images: 2 };
      const { response } = await openAnswer(app, body);
      const steps = new Map<unknown, unknown[]>([0, 1, 2].map((index) => [index, []]));
      for await (const { data } of framesOf(response)) {
        steps.get(data.index)?.push(data.partial_image_index ?? 'completed');
      }
      const expected = [...Array(subject.previews).keys(), 'completed'];
      assert.deepEqual([...steps.values()], [expected, expected, expected]);
    });

    test(`${column}: a vendor that fails is a failure of the backend`, async () => {
      const { subject, post } = bench();
      const answer = await post(SURFACES.native.generate, { prompt: subject.failingPrompt });
      assert.equal(answer.status, 502, answer.text);
      assert.equal((answer.body as { error: { code: string } }).error.code, 'BACKEND_ERROR');
      assert.ok(!answer.text.includes(subject.failingPrompt));
    });

    test(`${column}: what its vendor finds unsafe is refused as such`, async (t) => {
      const { subject, post } = bench();
      if (subject.unsafePrompt === undefined) return t.skip('its vendor has no such filter');
      const answer = await post(SURFACES.native.generate, { prompt: subject.unsafePrompt });
      assert.equal(answer.status, 400, answer.text);
      assert.equal((answer.body as { error: { reason: string } }).error.reason, 'content_filtered');
    });

    test(`${column}: pictures cost what the model says`, async () => {
      const { subject, post } = bench();
      const answer = await post(SURFACES.native.generate, { response_format: 'b64_json' });
      const { usage } = (answer.body as { data: { usage: { images: number; cost: string } } }).data;
      assert.deepEqual(usage, { images: 1, cost: subject.cost, currency: 'USD' });
    });
  });
}
