import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isProviderError } from '../../src/errors.js';
import { generateCall, outcomeOf } from '../support/generate-call.js';
import { only, overBoth, startFor } from '../support/google-tests.js';
import {
  content,
  failures,
  inlineData,
  PIXEL_PNG,
  pictures,
  prediction,
  predictions,
} from '../support/google-upstream.js';

const PIXEL = Buffer.from(PIXEL_PNG, 'base64');

overBoth('Imagen is asked by predict, for a shape and an image size', async (t, transport) => {
  const options = { personGeneration: 'dont_allow', safetySetting: 'block_only_high' } as const;
  const { provider, upstream, model } = await startFor(t, transport, options);
  const call = generateCall(model('imagen-4'), {
    n: 3,
    size: { width: 2816, height: 1536 },
    outputFormat: 'jpeg',
    outputCompression: 70,
    metadata: { team: 'blue', Campaign: 'x', note: 'two words', year: 2026 },
  });
  const { events, thrown } = await outcomeOf(provider, call);
  assert.equal(thrown, undefined);
  assert.equal(events.length, 4);
  const [request] = upstream.requests;
  assert.equal(
    request?.resource,
    'projects/easel/locations/global/publishers/google/models/imagen-4.0-generate-001',
  );
  assert.deepEqual(request.body, {
    instances: [{ prompt: 'A lighthouse at dusk' }],
    parameters: {
      sampleCount: 3,
      aspectRatio: '16:9',
      sampleImageSize: '2K',
      personGeneration: 'dont_allow',
      safetySetting: 'block_only_high',
      includeRaiReason: true,
      outputOptions: { mimeType: 'image/jpeg', compressionQuality: 70 },
    },
    labels: { team: 'blue', year: '2026' },
  });
  assert.equal(request.headers['x-goog-request-params'], `endpoint=${encodeURIComponent(request.resource)}`);
});

overBoth('pictures of Imagen come with their prompts as rewritten', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  const rewritten = prediction(PIXEL_PNG, { prompt: 'A lighthouse at dusk, in oil' });
  upstream.respondWith(only(predictions(prediction(), rewritten)));
  const { events } = await outcomeOf(provider, generateCall(model('imagen-4'), { n: 2 }));
  const image = { bytes: PIXEL, type: 'image/png' };
  const revisedPrompt = 'A lighthouse at dusk, in oil';
  assert.deepEqual(events, [
    { type: 'image', index: 0, image, revisedPrompt: undefined, seed: undefined },
    { type: 'image', index: 1, image, revisedPrompt, seed: undefined },
    { type: 'end' },
  ]);
});

overBoth('a model without image sizes is not asked for one', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  for (const name of ['imagen-4-fast', 'gemini-2.5-flash-image', 'gemini-3.1-flash-lite-image']) {
    await outcomeOf(provider, generateCall(model(name), { size: { width: 1024, height: 1024 } }));
  }
  const [fast, ...geminis] = upstream.requests;
  assert.equal(fast?.body.parameters?.aspectRatio, '1:1');
  assert.equal(fast.body.parameters.sampleImageSize, undefined);
  for (const { body } of geminis) {
    assert.deepEqual(body.generationConfig?.imageConfig, { aspectRatio: '1:1' });
  }
  assert.equal(geminis.length, 2);
});

overBoth(
  'a negative prompt is sent to a model the host adds with it; none of the table has it',
  async (t, transport) => {
    const first = {
      like: 'imagen-3.0-generate-002',
      id: 'imagen-3.0-generate-001',
      features: ['seed', 'negative_prompt'],
    } as const;
    const { provider, upstream, model } = await startFor(t, transport, { models: [first] });
    await outcomeOf(provider, generateCall(model('imagen-3.0-generate-001'), { negativePrompt: 'fog' }));
    assert.equal(upstream.requests[0]?.body.parameters?.negativePrompt, 'fog');
    const having = provider.models.filter(({ features }) => features.includes('negative_prompt'));
    assert.deepEqual(
      having.map(({ upstreamId }) => upstreamId),
      ['imagen-3.0-generate-001'],
    );
  },
);

overBoth('with a seed every picture is asked for by itself, without a watermark', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  const { events } = await outcomeOf(provider, generateCall(model('imagen-4'), { n: 3, seed: 2 ** 31 - 1 }));
  const sent = upstream.requests.map(({ body }) => body.parameters);
  assert.deepEqual(
    sent.map((parameters) => parameters?.seed).sort(),
    // The seeds after Imagen's last one begin again at its first.
    [1, 2 ** 31 - 1, 2 ** 31 - 1],
  );
  for (const parameters of sent) {
    assert.equal(parameters?.sampleCount, 1);
    assert.equal(parameters.addWatermark, false);
    assert.equal(parameters.enhancePrompt, false);
  }
  const seeds = events.map((event) => (event.type === 'image' ? [event.index, event.seed] : event.type));
  assert.deepEqual(seeds.slice(0, -1).sort(), [
    [0, 2 ** 31 - 1],
    [1, 2 ** 31],
    [2, 2 ** 31 + 1],
  ]);
  assert.equal(seeds.at(-1), 'end');
});

overBoth('with a seed no picture waits for another', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  let isThere: () => void = () => undefined;
  const second = new Promise<void>((resolve) => {
    isThere = resolve;
  });
  upstream.respondWith(async (request) => {
    if (request.body.parameters?.seed === 1) await second;
    return pictures()(request);
  });
  const signal = AbortSignal.timeout(20_000);
  const order: unknown[] = [];
  for await (const event of provider.generate(generateCall(model('imagen-4'), { n: 2, seed: 1, signal }))) {
    order.push(event.type === 'image' ? event.index : event.type);
    isThere();
  }
  assert.deepEqual(order, [1, 0, 'end']);
});

overBoth(
  'when one of several requests fails, the pictures of the others arrive first',
  async (t, transport) => {
    const { provider, upstream, model } = await startFor(t, transport);
    upstream.respondWith((request) =>
      request.body.parameters?.seed === 8 ? failures.internal() : pictures()(request),
    );
    const { events, thrown } = await outcomeOf(provider, generateCall(model('imagen-4'), { n: 3, seed: 7 }));
    assert.deepEqual(events.map((event) => event.type === 'image' && event.index).sort(), [0, 2]);
    assert.ok(isProviderError(thrown));
    assert.equal(thrown.kind, 'unavailable');
  },
);

overBoth('what Imagen withholds is blocked with its reason and stage', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  const blockedBy = async (...found: readonly object[]) => {
    upstream.respondWith(only(predictions(...found)));
    const { events } = await outcomeOf(provider, generateCall(model('imagen-4'), { n: 2 }));
    return events.flatMap((event) =>
      event.type === 'blocked' ? [[event.index, event.reason, event.stage]] : [],
    );
  };
  const rai = (text: string) => ({ raiFilteredReason: text });
  assert.deepEqual(await blockedBy(prediction()), [[1, 'safety', 'output']]);
  assert.deepEqual(await blockedBy(), [
    [0, 'safety', 'unknown'],
    [1, 'safety', 'unknown'],
  ]);
  assert.deepEqual(await blockedBy(rai('Filtered. Support codes: 63429089'), prediction()), [
    [0, 'sexual', 'output'],
  ]);
  assert.deepEqual(await blockedBy(rai('Filtered. Support codes: 11111111, 57734940'), rai('?')), [
    [0, 'hate', 'input'],
    [1, 'safety', 'unknown'],
  ]);
});

overBoth('an unreadable picture fails the call after the good ones', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  for (const bad of [prediction('not base64!'), prediction('-_-_'), { gcsUri: 'gs://a/b' }, {}]) {
    upstream.respondWith(only(predictions(bad, prediction())));
    const { events, thrown } = await outcomeOf(provider, generateCall(model('imagen-4'), { n: 2 }));
    assert.deepEqual(
      events.map((event) => event.type === 'image' && event.index),
      [1],
    );
    assert.ok(isProviderError(thrown));
    assert.equal(thrown.kind, 'shape');
  }
});

overBoth('Gemini is asked by generateContent, for a shape and an image size', async (t, transport) => {
  const options = { personGeneration: 'dont_allow', safetySetting: 'block_only_high' } as const;
  const { provider, upstream, model } = await startFor(t, transport, options);
  const call = generateCall(model('nano-banana-2.1'), {
    operation: 'edit',
    inputs: [{ bytes: PIXEL, type: 'image/png' }],
    size: { width: 1536, height: 1024 },
    outputFormat: 'jpeg',
    metadata: { team: 'blue' },
  });
  await outcomeOf(provider, call);
  const [request] = upstream.requests;
  assert.equal(request?.rpc, 'generateContent');
  const { generationConfig, safetySettings, contents, labels } = request.body;
  assert.deepEqual(contents, [
    {
      role: 'user',
      parts: [{ inlineData: { mimeType: 'image/png', data: PIXEL_PNG } }, { text: 'A lighthouse at dusk' }],
    },
  ]);
  assert.deepEqual(generationConfig, {
    responseModalities: [2],
    imageConfig: {
      aspectRatio: '3:2',
      imageSize: '2K',
      personGeneration: 3,
      imageOutputOptions: { mimeType: 'image/jpeg' },
    },
  });
  assert.deepEqual(
    safetySettings?.map(({ category, threshold }) => [category, threshold]),
    [1, 2, 3, 4].map((category) => [category, 3]),
  );
  assert.deepEqual(labels, { team: 'blue' });
  assert.equal(request.headers['x-goog-request-params'], `model=${encodeURIComponent(request.resource)}`);
});

overBoth('where the size is left to Gemini, nothing is said of it', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  await outcomeOf(provider, generateCall(model('nano-banana-2.1')));
  assert.deepEqual(upstream.requests[0]?.body.generationConfig, { responseModalities: [2], imageConfig: {} });
});

overBoth('a picture of Gemini comes with its tokens, and drafts of it are left out', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  const draft = { ...inlineData('AAAA'), thought: true };
  upstream.respondWith(only(content([{ text: 'Here it is.' }, draft, inlineData()])));
  const { events } = await outcomeOf(provider, generateCall(model('gemini-3-pro-image')));
  const [image, end] = events;
  assert.ok(image?.type === 'image');
  assert.deepEqual(Buffer.from(image.image.bytes), PIXEL);
  assert.deepEqual(end, {
    type: 'end',
    usage: { textIn: 12, imageIn: 258, imageOut: 1_120, textOut: 810 },
    upstreamId: 'resp-1',
  });
});

overBoth('every face of a refusal by Gemini is blocked with its reason and stage', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  const cases = [
    [{ candidates: [{ finishReason: 3 }] }, 'safety', 'output'],
    // Numbers the SDK has no names for.
    [{ candidates: [{ finishReason: 11 }] }, 'safety', 'output'],
    [{ candidates: [{ finishReason: 12 }] }, 'prohibited content', 'output'],
    [{ candidates: [{ finishReason: 13 }] }, 'recitation', 'output'],
    [{ candidates: [{ finishReason: 16 }] }, 'no picture', 'output'],
    [{ promptFeedback: { blockReason: 4 } }, 'prohibited content', 'input'],
    [{ promptFeedback: { blockReason: 99 } }, 'safety', 'input'],
    [
      { candidates: [{ finishReason: 1, content: { parts: [{ text: 'I cannot.' }] } }] },
      'no picture',
      'unknown',
    ],
  ] as const;
  for (const [json, reason, stage] of cases) {
    upstream.respondWith(only({ json }));
    const { events, thrown } = await outcomeOf(provider, generateCall(model('nano-banana-2.1')));
    assert.equal(thrown, undefined);
    assert.deepEqual(events[0], { type: 'blocked', index: 0, reason, stage }, JSON.stringify(json));
    assert.equal(events[1]?.type, 'end');
  }
});

test('over REST Gemini may say in ProtoJSON what it refuses and counts, with and without what is 0', async (t) => {
  const { provider, upstream, model } = await startFor(t, 'rest');
  const outcome = (json: object) => {
    upstream.respondWith(only({ json }));
    return outcomeOf(provider, generateCall(model('nano-banana-2.1')));
  };
  for (const [json, reason, stage] of [
    [{ candidates: [{ finishReason: 'IMAGE_SAFETY' }] }, 'safety', 'output'],
    [{ candidates: [{}] }, 'no picture', 'unknown'],
    [{ promptFeedback: { blockReason: 'BLOCKLIST' } }, 'blocklist', 'input'],
  ] as const) {
    const { events } = await outcome(json);
    assert.deepEqual(events[0], { type: 'blocked', index: 0, reason, stage }, JSON.stringify(json));
  }
  const usageMetadata = {
    promptTokenCount: '12',
    candidatesTokenCount: 1_130,
    promptTokensDetails: [{ modality: 'IMAGE' }],
    candidatesTokensDetails: [{ modality: 'IMAGE', tokenCount: '1120' }],
  };
  const { events } = await outcome({ candidates: [{ content: { parts: [inlineData()] } }], usageMetadata });
  const usage = { textIn: 12, imageIn: 0, imageOut: 1_120, textOut: 10 };
  assert.deepEqual(events.at(-1), { type: 'end', usage, upstreamId: undefined });
});

test('a picture of Gemini that cannot be read over REST fails the call', async (t) => {
  const { provider, upstream, model } = await startFor(t, 'rest');
  for (const data of ['not base64!', 'A', 'A===', 'AA=A', null]) {
    const candidates = [{ content: { parts: [{ inlineData: { mimeType: 'image/png', data } }] } }];
    upstream.respondWith(only({ json: { candidates } }));
    const { events, thrown } = await outcomeOf(provider, generateCall(model('nano-banana-2.1')));
    assert.deepEqual(events, []);
    assert.ok(isProviderError(thrown), `${data} is an error`);
    assert.deepEqual([thrown.kind, thrown.billed], ['shape', 'unknown']);
  }
});

test('a picture of Gemini arrives over REST in any spelling that ProtoJSON allows', async (t) => {
  const { provider, upstream, model } = await startFor(t, 'rest');
  for (const length of [30, 31, 32]) {
    const bytes = Buffer.alloc(length, '\xfb\xff\xfe', 'latin1');
    for (const data of [bytes.toString('base64'), bytes.toString('base64url')]) {
      upstream.respondWith(only(content([inlineData(data)])));
      const { events, thrown } = await outcomeOf(provider, generateCall(model('nano-banana-2.1')));
      assert.equal(thrown, undefined, data);
      const [image] = events;
      assert.ok(image?.type === 'image' && Buffer.from(image.image.bytes).equals(bytes), data);
    }
  }
});

test('an answer of Gemini over REST whose picture is empty has none', async (t) => {
  const { provider, upstream, model } = await startFor(t, 'rest');
  upstream.respondWith(only(content([inlineData('')], { finishReason: 3 })));
  const { events } = await outcomeOf(provider, generateCall(model('nano-banana-2.1')));
  assert.deepEqual(
    events.map(({ type }) => type),
    ['blocked', 'end'],
  );
});

for (const [name, body] of [
  ['imagen-4', { predictions: Array(200).fill({}) }],
  ['nano-banana-2.1', { candidates: Array(200).fill({}) }],
] as const) {
  test(`an answer of ${name} over REST with more elements than any has is none`, async (t) => {
    const { provider, upstream, model } = await startFor(t, 'rest');
    upstream.respondWith(only({ json: body }));
    const { thrown } = await outcomeOf(provider, generateCall(model(name)));
    assert.ok(isProviderError(thrown));
    assert.deepEqual([thrown.kind, thrown.billed], ['shape', 'unknown']);
  });
}

test('a picture of Gemini behind one that cannot be read over REST arrives: it is paid for', async (t) => {
  const { provider, upstream, model } = await startFor(t, 'rest');
  for (const data of ['', 'not base64!']) {
    upstream.respondWith(only(content([inlineData(data), inlineData()])));
    const { events, thrown } = await outcomeOf(provider, generateCall(model('nano-banana-2.1')));
    assert.equal(thrown, undefined);
    assert.deepEqual(
      events.map(({ type }) => type),
      ['image', 'end'],
    );
  }
});

overBoth('an answer that was cut off is no refusal, and its tokens count', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  upstream.respondWith(only(content([], { finishReason: 2 })));
  const { events } = await outcomeOf(provider, generateCall(model('nano-banana-2.1')));
  assert.deepEqual(
    events.map(({ type }) => type),
    ['end'],
  );
});

overBoth('an empty answer of Gemini is none', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  upstream.respondWith(only({ json: {} }));
  const { thrown } = await outcomeOf(provider, generateCall(model('nano-banana-2.1')));
  assert.ok(isProviderError(thrown));
  assert.equal(thrown.kind, 'shape');
});

overBoth('a picture without a count of its tokens has no usage', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  const candidates = [{ content: { parts: [inlineData()] }, finishReason: 1 }];
  upstream.respondWith(only({ json: { candidates, usageMetadata: { promptTokenCount: 9 } } }));
  const { events } = await outcomeOf(provider, generateCall(model('nano-banana-2.1')));
  assert.deepEqual(events.at(-1), { type: 'end', usage: undefined, upstreamId: undefined });
});

overBoth('a picture of 20 MiB arrives whole', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  const large = Buffer.alloc(20 * 1024 * 1024, 'picture');
  upstream.respondWith(pictures(large.toString('base64')));
  for (const name of ['imagen-4', 'gemini-3-pro-image']) {
    const { events } = await outcomeOf(provider, generateCall(model(name)));
    const [image] = events;
    assert.ok(image?.type === 'image');
    assert.ok(large.equals(image.image.bytes));
  }
});
