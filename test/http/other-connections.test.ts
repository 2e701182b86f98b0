/** Hosts that have something of their own in place of Node's connections, as those of cloud functions do. */
import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { IncomingMessage, type RequestListener, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { type Duplex, Writable } from 'node:stream';
import { test } from 'node:test';
import { filesystem } from '../../src/storage/filesystem.js';
import { createTestApp, onlySize, TEST_KEY, testModel } from '../support/app.js';
import { LINK_SECRET, place } from '../support/media.js';
import { noise } from '../support/pictures.js';
import { temporaryFolder } from '../support/temporary-folder.js';

/** Closing waits longer for a request that does not end. */
const SOON = { timeout: 20_000 };
const EDGE = 1024;
const picture = await noise(EDGE);

/** What stands in place of a connection; it keeps what it is given, and not copies of it. */
type Keeper = (kept: Uint8Array[]) => object;

/** Heads are text; what is bytes is not copied. */
function bytesOf(chunk: Uint8Array | string): Uint8Array {
  return typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
}

/** A connection to nobody. */
class KeepingSocket extends Socket {
  readonly #kept: Uint8Array[];

  constructor(kept: Uint8Array[]) {
    super();
    this.#kept = kept;
  }

  override _write(chunk: Uint8Array | string, _encoding: BufferEncoding, done: () => void): void {
    this.#kept.push(bytesOf(chunk));
    done();
  }

  override _writev(chunks: { readonly chunk: Uint8Array | string }[], done: () => void): void {
    for (const { chunk } of chunks) this.#kept.push(bytesOf(chunk));
    done();
  }
}

const KEEPERS = {
  'a connection of a kind of its own': (kept) => new KeepingSocket(kept),
  'a stream that keeps what it is given': (kept) =>
    new Writable({
      highWaterMark: 64 * 1024 * 1024,
      write(chunk, _encoding, done) {
        kept.push(chunk);
        done();
      },
    }),
  'an object that tells by callbacks alone what it took': (kept) => ({
    writable: true,
    on: () => undefined,
    removeListener: () => undefined,
    cork: () => undefined,
    uncork: () => undefined,
    destroy: () => undefined,
    write(chunk: Uint8Array | string, encoding?: unknown, done?: unknown) {
      kept.push(bytesOf(chunk));
      for (const told of [encoding, done]) if (typeof told === 'function') told();
    },
  }),
} as const satisfies Readonly<Record<string, Keeper>>;

interface Asked {
  readonly method: 'GET' | 'POST';
  readonly url: string;
  readonly body?: object;
}

/** Has a host answer, and waits for the whole of it: what was kept when it ended. */
async function answerBy(
  keeper: Keeper,
  handle: RequestListener,
  { method, url, body }: Asked,
): Promise<Buffer> {
  const kept: Uint8Array[] = [];
  const req = new IncomingMessage(keeper([]) as never);
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers = { host: 'localhost', authorization: `Bearer ${TEST_KEY}` };
  const ofBody = { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) };
  Object.assign(req, {
    complete: true,
    method,
    url,
    headers: body === undefined ? headers : { ...headers, ...ofBody },
  });
  req.push(text);
  req.push(null);
  const res = new ServerResponse(req);
  res.useChunkedEncodingByDefault = false;
  res.assignSocket(keeper(kept) as Duplex as never);
  await new Promise((resolve) => {
    res.once('finish', resolve);
    handle(req, res);
  });
  const all = Buffer.concat(kept);
  return all.subarray(all.indexOf('\r\n\r\n') + 4);
}

for (const [what, keeper] of Object.entries(KEEPERS)) {
  test(`pictures in an answer arrive in ${what}`, SOON, async (t) => {
    const { app, router } = await createTestApp(t, {
      placeholder: {
        models: [testModel({ sizes: onlySize(EDGE) })],
        tamper: () => ({ bytes: picture, type: 'image/png' }),
      },
      pictures: { verify: 'container' },
    });
    const body = { model: 'placeholder/sketch', prompt: 'Noise', n: 2, response_format: 'b64_json' };
    const answer = await answerBy(keeper, app, { method: 'POST', url: '/oai/v1/images/generations', body });
    await router.close();
    const { data } = JSON.parse(answer.toString()) as { data: readonly { b64_json: string }[] };
    assert.equal(data.length, 2);
    for (const { b64_json: base64 } of data) assert.ok(base64.length > picture.byteLength);
  });

  test(`a stored picture arrives in ${what}`, SOON, async (t) => {
    const storage = filesystem({ root: await temporaryFolder(t) });
    const { app, router } = await createTestApp(t, { storage, media: { secrets: LINK_SECRET } });
    const { path, bytes } = await place(storage, randomFillSync(Buffer.alloc(6 * 2 ** 20)));
    const answer = await answerBy(keeper, app, { method: 'GET', url: path });
    await router.close();
    assert.equal(answer.length, bytes.length);
    assert.ok(answer.equals(bytes), 'other bytes came');
  });
}
