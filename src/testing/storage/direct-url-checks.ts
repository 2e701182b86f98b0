/** Checks of `directUrl`, where a storage has it. They fetch what it answers as a browser would, without any key. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NotApplicable } from '../check.js';
import {
  assertSameBytes,
  assertStored,
  makeSample,
  type Sample,
  type StorageCheck,
  type Subject,
} from './subject.js';

const SAMPLE_BYTES = 10_000;
const ANSWER = { contentType: 'image/webp', disposition: 'attachment; filename="picture.webp"' };
const UNDEFINED = { notApplicable: 'it answers no URL for a GET' };
const LIFE_MS = 60_000;
const SHORT_LIFE_MS = 3_000;
// Servers count whole seconds.
const SERVER_SLACK_MS = 1_500;

/** What a URL of a stored sample needs. */
interface Direct extends Subject {
  /** Stores a sample and answers a URL to read it, `undefined` when there cannot be one. */
  sign(
    name: string,
    options?: { readonly expiresAt?: number; readonly sample?: Sample },
  ): Promise<string | undefined>;
}

/** Makes a check that does not apply where there are no such URLs. */
function directCheck(
  check: Omit<StorageCheck, 'run'> & { run(subject: Direct): Promise<undefined | NotApplicable> },
): StorageCheck {
  return {
    ...check,
    async run(subject) {
      const { storage, key } = subject;
      if (storage.directUrl === undefined) return { notApplicable: 'it has no directUrl' };
      const sign: Direct['sign'] = async (name, asked = {}) => {
        const { expiresAt = Date.now() + LIFE_MS, sample = makeSample(SAMPLE_BYTES) } = asked;
        await storage.put(key(name), sample.body, sample.options);
        return storage.directUrl?.(key(name), { method: 'GET', expiresAt, ...ANSWER });
      };
      return check.run({ ...subject, sign });
    },
  };
}

/** Fetches a URL and answers whether it was refused; throws away what came. */
async function isRefused(url: string | URL): Promise<boolean> {
  const response = await fetch(url);
  await response.arrayBuffer();
  return response.status >= 400;
}

/** The type and the disposition of an answer, or that it was refused. */
async function answerOf(url: URL): Promise<string> {
  const response = await fetch(url);
  await response.arrayBuffer();
  const { headers } = response;
  return response.ok ? `${headers.get('content-type')} | ${headers.get('content-disposition')}` : 'refused';
}

/** The checks of `directUrl`. */
export const directUrlChecks: readonly StorageCheck[] = [
  directCheck({
    id: 'direct-url.serves',
    title: 'a direct URL serves the bytes, with the type and the disposition asked for, to whoever has it',
    level: 'MUST',
    async run({ sign }) {
      const sample = makeSample(SAMPLE_BYTES);
      const url = await sign('original', { sample });
      if (url === undefined) return UNDEFINED;
      const response = await fetch(url);
      assert.equal(response.status, 200, 'it is served');
      assertSameBytes(new Uint8Array(await response.arrayBuffer()), sample.body);
      assert.equal(response.headers.get('content-type'), ANSWER.contentType, 'the type is the one asked for');
      assert.equal(response.headers.get('content-disposition'), ANSWER.disposition, 'so is the disposition');
      return undefined;
    },
  }),
  directCheck({
    id: 'direct-url.expires',
    title: 'a direct URL is refused once its instant has passed',
    level: 'MUST',
    async run({ sign }) {
      const expiresAt = Date.now() + SHORT_LIFE_MS;
      const url = await sign('original', { expiresAt });
      if (url === undefined) return UNDEFINED;
      await sleep(expiresAt - Date.now() + SERVER_SLACK_MS);
      assert.ok(await isRefused(url), 'it is refused after its instant');
      return undefined;
    },
  }),
  directCheck({
    id: 'direct-url.past',
    title: 'there is no direct URL for an instant that has passed, or it is refused',
    level: 'MUST',
    async run({ sign }) {
      const url = await sign('original', { expiresAt: Date.now() - LIFE_MS });
      assert.ok(url === undefined || (await isRefused(url)), 'it is refused');
      return undefined;
    },
  }),
  directCheck({
    id: 'direct-url.another-object',
    title: 'a direct URL changed to lead to another object, or without its query, is refused',
    level: 'MUST',
    async run({ sign, key }) {
      const url = await sign('original');
      if (url === undefined) return UNDEFINED;
      await sign('another');
      const another = url.replace(key('original'), key('another'));
      assert.ok(another === url || (await isRefused(another)), 'another object is refused');
      const bare = new URL(url);
      bare.search = '';
      assert.ok(bare.href === url || (await isRefused(bare)), 'the URL without its query is refused');
      return undefined;
    },
  }),
  directCheck({
    id: 'direct-url.tampered',
    title: 'a direct URL with a changed query is refused, or still answers the same',
    level: 'MUST',
    async run({ sign }) {
      const url = await sign('original');
      if (url === undefined) return UNDEFINED;
      const sound = await answerOf(new URL(url));
      for (const [name, value] of new URL(url).searchParams) {
        const [longer, shorter, gone] = [new URL(url), new URL(url), new URL(url)];
        longer.searchParams.set(name, `${value}0`);
        shorter.searchParams.set(name, value.slice(0, -1));
        gone.searchParams.delete(name);
        for (const changed of [longer, shorter, gone]) {
          const answer = await answerOf(changed);
          assert.ok(answer === 'refused' || answer === sound, `with another ${name} it answers ${answer}`);
        }
      }
      return undefined;
    },
  }),
  directCheck({
    id: 'direct-url.method',
    title: 'a direct URL to read an object neither replaces nor removes it',
    level: 'MUST',
    async run({ storage, key, sign }) {
      const sample = makeSample(SAMPLE_BYTES);
      const url = await sign('original', { sample });
      if (url === undefined) return UNDEFINED;
      await (await fetch(url, { method: 'PUT', body: 'replaced' })).arrayBuffer();
      await (await fetch(url, { method: 'DELETE' })).arrayBuffer();
      await assertStored(storage, key('original'), sample);
      return undefined;
    },
  }),
];
