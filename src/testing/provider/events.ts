/** Checks of what a call yields: order, numbers, and the pictures themselves. */
import assert from 'node:assert/strict';
import type { Size } from '../../core/image.js';
import type { EndEvent, GenerateCall, GenerateEvent, Model } from '../../core/provider.js';
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
  smallestSize,
} from './subject.js';

/** A check of what the largest possible call of each model yields. */
function ofLargestCall(
  parts: Omit<Check<CreateProvider>, 'level' | 'run'> & {
    look(events: readonly GenerateEvent[], model: Model): void;
  },
): Check<CreateProvider> {
  return check({
    id: parts.id,
    title: parts.title,
    run: (bench) =>
      forEach(bench.models, async (model) => {
        parts.look(await collect(bench, bench.call(model, { n: model.maxImages })), model);
      }),
  });
}

function endsOf(events: readonly GenerateEvent[]): EndEvent[] {
  return events.filter((event) => event.type === 'end');
}

/** Events come in the right numbers, and `end` is the last of them. */
export const eventChecks: readonly Check<CreateProvider>[] = [
  ofLargestCall({
    id: 'events.one-end',
    title: 'A call that does not throw ends with exactly one `end`, and nothing comes after it.',
    look(events, { slug }) {
      assert.equal(endsOf(events).length, 1, `${slug} yields ${endsOf(events).length} ends`);
      assert.equal(events.at(-1)?.type, 'end', `${slug} yields something after its end`);
    },
  }),
  ofLargestCall({
    id: 'events.index',
    title: 'Every `index` is whole, from 0 to n - 1.',
    look(events, { slug, maxImages }) {
      for (const event of events) {
        if (event.type === 'end') continue;
        const inside = Number.isInteger(event.index) && event.index >= 0 && event.index < maxImages;
        assert.ok(inside, `${slug} yields index ${event.index} of ${maxImages}`);
      }
    },
  }),
  ofLargestCall({
    id: 'events.once-per-index',
    title: 'Each index gets at most one `image` or `blocked`.',
    look(events, { slug }) {
      const settled = events.filter((event) => event.type === 'image' || event.type === 'blocked');
      assert.equal(settledCount(events), settled.length, `${slug} settles an index twice`);
    },
  }),
  ofLargestCall({
    id: 'events.no-unasked-previews',
    title: 'Without being asked, a provider sends no previews.',
    look(events, { slug }) {
      assert.ok(
        !events.some((event) => event.type === 'preview'),
        `${slug} sends a preview nobody asked for`,
      );
    },
  }),
  ofLargestCall({
    id: 'events.all-pictures',
    title: 'A call for as many pictures as the model allows yields as many, drawn or blocked.',
    look(events, { slug, maxImages }) {
      assert.equal(settledCount(events), maxImages, `${slug} was asked for ${maxImages} pictures`);
    },
  }),
  ofLargestCall({
    id: 'events.cost',
    title: 'A reported cost is whole micro-dollars of 0 or more.',
    look(events, { slug }) {
      for (const { cost } of endsOf(events)) {
        assert.ok(
          cost === undefined || (Number.isSafeInteger(cost) && cost >= 0),
          `${slug} reports cost ${cost}`,
        );
      }
    },
  }),
  ofLargestCall({
    id: 'events.usage',
    title: 'Reported tokens are finite numbers of 0 or more.',
    look(events, { slug }) {
      for (const { usage } of endsOf(events)) {
        if (usage === undefined) continue;
        for (const [kind, count] of Object.entries({ ...usage, textOut: usage.textOut ?? 0 })) {
          assert.ok(Number.isFinite(count) && count >= 0, `${slug} reports ${count} tokens of ${kind}`);
        }
      }
    },
  }),
  ofLargestCall({
    id: 'pictures.bytes',
    title: 'Every picture is bytes that begin as PNG, JPEG, WebP or AVIF do.',
    look(events, { slug }) {
      for (const { image } of imagesOf(events)) {
        assert.ok(image.bytes instanceof Uint8Array, `${slug} yields a picture that is no Uint8Array`);
        assert.ok(pictureFacts(image.bytes), `${slug} yields bytes that are no picture`);
      }
    },
  }),
];

/** Draws one picture and looks at it. */
async function drawnFacts(bench: Bench, model: Model, parts: Partial<GenerateCall>) {
  const [event] = imagesOf(await collect(bench, bench.call(model, parts)));
  return event && { claimed: event.image.type, facts: pictureFacts(event.image.bytes) };
}

function sizesToTry({ sizes }: Model): readonly Size[] {
  if (sizes.kind === 'list') return sizes.values;
  return sizes.default === 'auto' ? [smallestSize(sizes)] : [smallestSize(sizes), sizes.default];
}

/** Pictures are what was ordered; where they are not, the router repairs or refuses them. */
export const pictureChecks: readonly Check<CreateProvider>[] = [
  check({
    id: 'pictures.type',
    title: 'The type a picture claims is its true one.',
    level: 'SHOULD',
    run: (bench) =>
      forEach(bench.models, async (model) => {
        const drawn = await drawnFacts(bench, model, {});
        if (drawn?.facts) assert.equal(drawn.claimed, `image/${drawn.facts.format}`, model.slug);
      }),
  }),
  check({
    id: 'pictures.size',
    title: 'A picture has the pixels that were asked for.',
    level: 'SHOULD',
    run: (bench) =>
      forEach(bench.models, async (model) => {
        for (const size of sizesToTry(model)) {
          const drawn = await drawnFacts(bench, model, { size });
          if (drawn?.facts?.size) assert.deepEqual(drawn.facts.size, { ...size }, model.slug);
        }
      }),
  }),
  check({
    id: 'pictures.format',
    title: 'A picture comes in the format asked for, when the model declares it.',
    level: 'SHOULD',
    run: (bench) =>
      forEach(bench.models, async (model) => {
        for (const outputFormat of model.formats) {
          const drawn = await drawnFacts(bench, model, { outputFormat });
          if (drawn?.facts) assert.equal(drawn.facts.format, outputFormat, model.slug);
        }
      }),
  }),
];
