/** A check that metadata a model does not declare is a label and nothing more. */
import assert from 'node:assert/strict';
import type { Metadata } from '../../core/image.js';
import type { GenerateCall, Model } from '../../core/provider.js';
import type { Check } from '../check.js';
import { pictureFacts } from './pictures.js';
import {
  type Bench,
  type CreateProvider,
  check,
  collect,
  forEach,
  imagesOf,
  settledCount,
} from './subject.js';

/** Words by which vendors are steered, as many as a client may send. */
const STEERING_WORDS: readonly string[] = [
  ...['n', 'size', 'seed', 'model', 'prompt', 'quality', 'style', 'background', 'output_format', 'user'],
  ...['steps', 'cfg_scale', 'sampler_name', 'moderation', 'aspect_ratio', 'temperature'],
];

/** Values no request has by itself: once as numbers and once as text, because adapters look at types. */
const VALUES: readonly ((place: number) => string | number)[] = [
  (place) => 7_654_300 + place,
  (place) => `label-7654300-${place}`,
];

function isLabel(value: unknown): boolean {
  return /^(label-7654300-\d+|76543\d\d)$/.test(String(value));
}

function labelsFor({ metadataKeys }: Model, value: (place: number) => string | number): Metadata {
  const labels: Record<string, string | number> = Object.create(null);
  for (const [place, key] of STEERING_WORDS.entries()) {
    if (!metadataKeys.includes(key)) labels[key] = value(place);
  }
  return labels;
}

/** Labels of a vendor's lie deep down in an object of their own; any other is a field of the request. */
function hasLabelAmongFields(value: unknown, isWhole = true): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const members = Object.values(value);
  const labels = members.filter(isLabel).length;
  if (labels > 0 && (isWhole || labels < members.length)) return true;
  return members.some((member) => hasLabelAmongFields(member, false));
}

function hasLabelAsField(url: string, body: string): boolean {
  const values = [...new URL(url).searchParams.values(), ...new URLSearchParams(body).values()];
  if (values.some(isLabel)) return true;
  try {
    return hasLabelAmongFields(JSON.parse(body));
  } catch {
    // A form of parts: each value stands on a line of its own.
    return body.split('\r\n').some(isLabel);
  }
}

/** What a request says, as far as it can be read without taking it from the vendor. */
async function sentBody(input: Parameters<typeof fetch>[0], init: RequestInit | undefined): Promise<string> {
  if (input instanceof Request) return await input.clone().text();
  const body = init?.body ?? null;
  return body instanceof ReadableStream ? '' : await new Response(body).text();
}

interface Labelled {
  readonly picture: Uint8Array | undefined;
  readonly sentAsField: boolean;
}

async function draw(bench: Bench, model: Model, metadata: Metadata): Promise<Labelled> {
  const seed = model.features.includes('seed') ? 1_234_567 : undefined;
  const call = bench.call(model, { seed, metadata });
  let sentAsField = false;
  const fetch: GenerateCall['fetch'] = async (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    sentAsField ||= hasLabelAsField(url, await sentBody(input, init));
    return await call.fetch(input, init);
  };
  const events = await collect(bench, { ...call, fetch });
  assert.equal(settledCount(events), 1, `${model.slug} was asked for one picture, with labels`);
  const bytes: unknown = imagesOf(events)[0]?.image.bytes;
  return { picture: bytes instanceof Uint8Array ? bytes : undefined, sentAsField };
}

function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a !== undefined && b !== undefined && Buffer.compare(a, b) === 0;
}

/** What clients attach to a request does not become part of it. */
export const labelChecks: readonly Check<CreateProvider>[] = [
  check({
    id: 'metadata.labels',
    title:
      'Metadata keys a model does not declare are labels: no field of a request, no change of a picture.',
    run: (bench) =>
      forEach(bench.models, async (model) => {
        const plain = await draw(bench, model, Object.create(null));
        const again = await draw(bench, model, Object.create(null));
        for (const value of VALUES) {
          const labelled = await draw(bench, model, labelsFor(model, value));
          assert.ok(!labelled.sentAsField, `${model.slug} sends a label as a field of the request`);
          const sizes = [plain, labelled].map(({ picture }) => picture && pictureFacts(picture));
          assert.deepEqual(
            sizes[1],
            sizes[0],
            `${model.slug}: labels change the size or format of a picture`,
          );
          // Only where the model repeats itself can a difference be told.
          if (!isSame(plain.picture, again.picture)) continue;
          assert.ok(isSame(labelled.picture, plain.picture), `${model.slug}: labels change the picture`);
        }
      }),
  }),
];
