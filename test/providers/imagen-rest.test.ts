/** Answers of Google over REST are read as they arrive. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { GenerateCall, GenerateEvent } from '../../src/core/provider.js';
import { isProviderError } from '../../src/errors.js';
import { generateCall, outcomeOf } from '../support/generate-call.js';
import { type GoogleTest, only, startFor } from '../support/google-tests.js';
import { inlineData, PIXEL_PNG, prediction, USAGE } from '../support/google-upstream.js';

const COUNT = 4;
const PICTURE = JSON.stringify(prediction());
const CANDIDATE = JSON.stringify({ content: { role: 'model', parts: [inlineData()] }, finishReason: 1 });

/** A provider in front of a server that answers in pieces. */
async function answering(t: TestContext, text: AsyncIterable<string>): Promise<GoogleTest> {
  const google = await startFor(t, 'rest');
  google.upstream.respondWith(only({ json: { httpStatus: 200, text } }));
  return google;
}

/** Says of each event that it is there, and what it is. */
function said(event: GenerateEvent): unknown {
  return event.type === 'end' ? 'end' : [event.type, event.index];
}

/** A server that sends one picture more for each that was taken. */
function onePerPicture(pieces: readonly string[]) {
  let goOn: () => void = () => undefined;
  async function* text() {
    for (const piece of pieces) {
      const taken = new Promise<void>((resolve) => {
        goOn = resolve;
      });
      yield piece;
      if (piece.includes(PIXEL_PNG)) await taken;
    }
  }
  return { text: text(), take: () => goOn() };
}

for (const [what, name, pieces] of [
  ['each picture of Imagen', 'imagen-4', ['{"predictions":[', ...Array(COUNT).fill(`${PICTURE},`)]],
  ['a picture of Gemini', 'gemini-3-pro-image', [`{"candidates":[${CANDIDATE}],`]],
] as const) {
  test(`${what} is there while the answer still arrives`, async (t) => {
    const isImagen = name === 'imagen-4';
    const rest = isImagen ? '{}],"deployedModelId":"4711"}' : `"usageMetadata":${JSON.stringify(USAGE)}}`;
    const { text, take } = onePerPicture([...pieces, rest]);
    const { provider, model } = await answering(t, text);
    const n = isImagen ? COUNT : 1;
    const signal = AbortSignal.timeout(20_000);
    const events: unknown[] = [];
    for await (const event of provider.generate(generateCall(model(name), { n, signal }))) {
      events.push(said(event));
      take();
    }
    assert.deepEqual(events, [...Array.from({ length: n }, (_, index) => ['image', index]), 'end']);
  });
}

for (const [what, name, text, pictures] of [
  ['Imagen', 'imagen-4', `{"predictions":[${PICTURE},${PICTURE},${PICTURE.slice(0, 60)}`, 2],
  ['Gemini', 'gemini-3-pro-image', `{"candidates":[${CANDIDATE}],"usageMetadata":{`, 1],
] as const) {
  const call = (google: GoogleTest): GenerateCall =>
    generateCall(google.model(name), { n: name === 'imagen-4' ? COUNT : 1 });
  const images = Array.from({ length: pictures }, (_, index) => ['image', index]);

  test(`of an answer of ${what} whose connection breaks, the pictures that came are delivered`, async (t) => {
    let cut: () => void = () => undefined;
    const pieces = async function* () {
      yield text;
      await new Promise<void>((resolve) => {
        cut = resolve;
      });
      throw new Error('the line is cut');
    };
    const google = await answering(t, pieces());
    const signal = AbortSignal.timeout(20_000);
    const events: unknown[] = [];
    const read = async () => {
      for await (const event of google.provider.generate({ ...call(google), signal })) {
        events.push(said(event));
        if (events.length === pictures) cut();
      }
    };
    const thrown: unknown = await read().catch((error: unknown) => error);
    assert.deepEqual(events, images);
    assert.ok(isProviderError(thrown), String(thrown));
    assert.deepEqual([thrown.kind, thrown.billed], ['unavailable', 'unknown']);
  });

  test(`of an answer of ${what} that ends too early, the pictures that came are delivered`, async (t) => {
    const google = await startFor(t, 'rest');
    google.upstream.respondWith(only({ json: { httpStatus: 200, text } }));
    const { events, thrown } = await outcomeOf(google.provider, call(google));
    assert.deepEqual(events.map(said), images);
    assert.ok(isProviderError(thrown), String(thrown));
    assert.deepEqual([thrown.kind, thrown.billed], ['shape', 'unknown']);
  });

  test(`whoever leaves an answer of ${what} that still arrives ends its request`, async (t) => {
    const google = await answering(
      t,
      (async function* () {
        yield text;
        await new Promise(() => undefined);
      })(),
    );
    const controller = new AbortController();
    const signal = AbortSignal.any([controller.signal, AbortSignal.timeout(20_000)]);
    for await (const event of google.provider.generate({ ...call(google), signal })) {
      assert.equal(event.type, 'image');
      break;
    }
    assert.equal(await google.upstream.requests[0]?.left, true);
    const reason = new Error('no time left');
    const running = outcomeOf(google.provider, { ...call(google), signal });
    await google.upstream.arrived(2);
    controller.abort(reason);
    assert.equal((await running).thrown, reason);
  });
}
