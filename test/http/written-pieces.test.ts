/** Answers with pictures are written in pieces, at the client's pace. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import express, { type Express, type Request, type Response } from 'express';
import sharp from 'sharp';
import { handle } from '../../src/http/handle.js';
import { sendPieces } from '../../src/http/pieces.js';
import type { PlaceholderOptions } from '../../src/providers/placeholder.js';
import { createTestApp, onlySize, TEST_KEY, type TestApp, testModel } from '../support/app.js';
import { noise } from '../support/pictures.js';

const EDGE = 1024;
const bytes = await noise(EDGE);
const NOISY: PlaceholderOptions = {
  models: [testModel({ sizes: onlySize(EDGE) })],
  tamper: () => ({ bytes, type: 'image/png' }),
};

/** More than what is written at once, and a fraction of a picture. */
const MOST_LENGTH = 256 * 1024;

interface Writes {
  /** Pieces, in all. */
  count: number;
  /** The longest piece. */
  longest: number;
  /** Pieces written although the connection had not taken those before. */
  pressed: number;
}

/** The host sees what is written to its answers. */
function watch(app: Express): Writes {
  const writes: Writes = { count: 0, longest: 0, pressed: 0 };
  app.use((_req, res, next) => {
    for (const method of ['write', 'end'] as const) {
      const inner = res[method].bind(res) as (...args: unknown[]) => never;
      res[method] = (...args: unknown[]) => {
        const [chunk] = args;
        if (typeof chunk === 'string' || chunk instanceof Uint8Array) {
          writes.count += 1;
          writes.longest = Math.max(writes.longest, chunk.length);
          if (res.writableNeedDrain) writes.pressed += 1;
        }
        return inner(...args);
      };
    }
    next();
  });
  return writes;
}

const BODIES = {
  'a JSON answer': [
    '/v1/inference/images/generate',
    { model: 'placeholder/sketch', response_format: 'b64_json' },
  ],
  'a JSON answer as OpenAI words it': [
    '/oai/v1/images/generations',
    { model: 'placeholder/sketch', response_format: 'b64_json' },
  ],
  'a stream': ['/oai/v1/images/generations', { model: 'placeholder/sketch', stream: true }],
} as const;

for (const [what, [path, body]] of Object.entries(BODIES)) {
  test(`${what} is written in pieces, and none before the connection took those before`, async (t) => {
    let writes: Writes | undefined;
    const app = await createTestApp(t, {
      placeholder: NOISY,
      pictures: { verify: 'container' },
      before: (host) => {
        writes = watch(host);
      },
    });
    const asked = request(app.url + path, {
      method: 'POST',
      headers: { Authorization: `Bearer ${TEST_KEY}`, 'Content-Type': 'application/json' },
    });
    asked.end(JSON.stringify({ prompt: 'Noise', n: 3, ...body }));
    const [answer] = await once(asked, 'response');
    let length = 0;
    for await (const chunk of answer) length += chunk.length;
    assert.ok(length > 3 * bytes.byteLength, `three pictures of ${bytes.byteLength} bytes in ${length}`);
    assert.ok(writes, 'the host watches');
    assert.ok(writes.count > length / MOST_LENGTH, `${writes.count} pieces`);
    assert.ok(writes.longest <= MOST_LENGTH, `the longest piece has ${writes.longest} characters`);
    assert.equal(writes.pressed, 0);
  });
}

/** Asks for three large pictures, is slow to read them, and sees whether they came as they were drawn. */
async function readSlowly(app: TestApp, [path, body]: (typeof BODIES)[keyof typeof BODIES]): Promise<void> {
  const asked = request(app.url + path, {
    method: 'POST',
    headers: { Authorization: `Bearer ${TEST_KEY}`, 'Content-Type': 'application/json' },
  });
  asked.end(JSON.stringify({ prompt: 'Noise', n: 3, ...body }));
  const [answer] = await once(asked, 'response');
  let text = '';
  for await (const chunk of answer.setEncoding('latin1')) {
    text += chunk;
    if (text.length < 20 * chunk.length) await sleep(10);
  }
  const pictures = [...text.matchAll(/"b64_json":"([^"]*)"/g)].map(([, base64 = '']) => base64);
  assert.equal(pictures.length, 3);
  const pixelsOf = (picture: Buffer) => sharp(picture).raw().toBuffer();
  const pixels = await pixelsOf(bytes);
  for (const picture of pictures) {
    assert.ok(pixels.equals(await pixelsOf(Buffer.from(picture, 'base64'))), 'the picture is another one');
  }
}

for (const [what, asking] of Object.entries(BODIES)) {
  test(`what was written of ${what} is freed when the connection has taken it, and not before`, async (t) => {
    const written: Uint8Array[] = [];
    const app = await createTestApp(t, {
      placeholder: NOISY,
      pictures: { verify: 'container' },
      before: (host) =>
        host.use((req, _res, next) => {
          const { socket } = req;
          const inner = socket.write.bind(socket) as (...args: unknown[]) => boolean;
          socket.write = (...args: unknown[]) => {
            const [chunk] = args;
            if (chunk instanceof Uint8Array && chunk.byteLength >= 128 * 1024) written.push(chunk);
            return inner(...args);
          };
          next();
        }),
    });
    await readSlowly(app, asking);
    assert.ok(written.length >= (3 * bytes.byteLength) / MOST_LENGTH, `${written.length} blocks`);
    assert.equal(written.filter(({ byteLength }) => byteLength > 0).length, 0, 'blocks that are still there');
  });
}

/** A host that sends nothing before the end, and says at once that it was sent. */
function keepAll(_req: Request, res: Response, next: () => void): void {
  const kept: Uint8Array[] = [];
  const end = res.end.bind(res) as (body: Uint8Array) => Response;
  const keep = (chunk: unknown) =>
    kept.push(typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Uint8Array));
  res.write = (chunk: unknown, written?: unknown) => {
    keep(chunk);
    if (typeof written === 'function') written();
    return true;
  };
  res.end = (chunk?: unknown) => {
    if (chunk !== undefined) keep(chunk);
    return end(Buffer.concat(kept));
  };
  next();
}

test('a host that keeps what is written, whatever it says of it, is not deprived of it', async (t) => {
  const app = await createTestApp(t, {
    placeholder: NOISY,
    pictures: { verify: 'container' },
    before: (host) => host.use(keepAll),
  });
  await readSlowly(app, BODIES['a JSON answer']);
});

test('what fails once much was written breaks the connection, also where a host has sent nothing of it', async (t) => {
  async function* failing() {
    yield { bytes };
    throw new Error('the rest is lost');
  }
  const handler = handle(
    { surface: 'native', trustRequestId: false, emit: () => undefined },
    { GET: ({ res }) => sendPieces(res, failing()) },
  );
  const server = express().use(keepAll, handler).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await assert.rejects(fetch(`http://127.0.0.1:${port}/`), /fetch failed/);
});

const ANSWERS = {
  ...BODIES,
  'an answer with links': [
    '/v1/inference/images/generate',
    { model: 'placeholder/sketch', response_format: 'url' },
  ],
} as const;

for (const [what, [path, body]] of Object.entries(ANSWERS)) {
  for (const [which, tamper] of [
    ['small', undefined],
    ['large', () => ({ bytes, type: 'image/png' }) as const],
  ] as const) {
    test(`${what} of ${which} pictures is not hashed for an ETag`, async (t) => {
      let hashed = 0;
      const app = await createTestApp(t, {
        placeholder: { models: [testModel(tamper ? { sizes: onlySize(EDGE) } : {})], tamper },
        pictures: { verify: 'container' },
        before: (host) =>
          host.set('etag', () => {
            hashed += 1;
            return '"hash"';
          }),
      });
      const answer = await fetch(app.url + path, {
        method: 'POST',
        headers: { Authorization: `Bearer ${TEST_KEY}`, 'Content-Type': 'application/json' },
        body: JSON.stringify({ prompt: 'Noise', ...body }),
      });
      await answer.arrayBuffer();
      assert.deepEqual([answer.status, answer.headers.get('etag'), hashed], [200, null, 0]);
    });
  }
}

test('a host that puts writing functions of its own into answers, as those that compress, need not know of callbacks', async (t) => {
  const app = await createTestApp(t, {
    placeholder: NOISY,
    pictures: { verify: 'container' },
    before: (host) =>
      host.use((_req, res, next) => {
        const inner = res.write.bind(res) as (chunk: unknown) => boolean;
        res.write = (chunk: unknown) => inner(chunk);
        next();
      }),
  });
  const body = { model: 'placeholder/sketch', prompt: 'Noise', response_format: 'b64_json' };
  const answer = await fetch(`${app.url}/v1/inference/images/generate`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${TEST_KEY}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(30_000),
  });
  const { data } = (await answer.json()) as { data: { data: readonly { b64_json: string }[] } };
  assert.ok((data.data[0]?.b64_json.length ?? 0) > bytes.byteLength, 'all of it came');
});
