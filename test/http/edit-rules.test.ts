/** Edits are requests like any other: aliases, access, budgets and idempotency see no difference. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { monthly, usd } from '../../src/core/windows.js';
import { createTestApp, TEST_KEY, type TestApp } from '../support/app.js';
import { dataUrl, EDIT_PATHS, type FormFields, formOf } from '../support/forms.js';
import { picture } from '../support/pictures.js';

const one = await picture('png');
const other = await picture('png', { width: 48, height: 48 });

/** An edit of a picture in each shape a client may give it. */
const SHAPES = {
  form: (model: string, image: Buffer) => {
    const fields: FormFields = [
      ['model', model],
      ['prompt', 'Make it night'],
      ['image', image],
    ];
    return formOf(fields);
  },
  JSON: (model: string, image: Buffer) =>
    JSON.stringify({ model, prompt: 'Make it night', images: [dataUrl(image)] }),
} as const;

interface Sent {
  readonly model?: string;
  readonly image?: Buffer;
  readonly key?: string;
}

for (const path of EDIT_PATHS) {
  for (const [shape, bodyOf] of Object.entries(SHAPES)) {
    const send = async (app: TestApp, { model = 'placeholder/sketch', image = one, key }: Sent = {}) => {
      const body = bodyOf(model, image);
      const headers = {
        Authorization: `Bearer ${TEST_KEY}`,
        ...(typeof body === 'string' && { 'Content-Type': 'application/json' }),
        ...(key !== undefined && { 'Idempotency-Key': key }),
      };
      const answer = await fetch(app.url + path, { method: 'POST', headers, body });
      return { status: answer.status, headers: answer.headers, text: await answer.text() };
    };
    const named = (what: string) => `${what} (${shape} at ${path})`;

    test(named('an edit goes by an alias, and both names must be allowed'), async (t) => {
      const models = { ours: { aliasOf: 'placeholder/sketch' } };
      const app = await createTestApp(t, { models });
      const answer = await send(app, { model: 'ours' });
      assert.equal(answer.status, 200, answer.text);
      const barred = await createTestApp(t, { models, caller: { models: ['ours'] } });
      assert.equal((await send(barred, { model: 'ours' })).status, 403);
      assert.equal((await send(barred)).status, 403);
      assert.equal(barred.calls.length, 0);
    });

    test(named('an edit beyond the budget is refused before anything is drawn'), async (t) => {
      const app = await createTestApp(t, { caller: { budgets: [monthly(usd(0.05))] } });
      assert.equal((await send(app)).status, 200);
      const refused = await send(app);
      assert.equal(refused.status, 402, refused.text);
      assert.equal(app.calls.length, 1);
    });

    test(named('an edit is replayed by its key, and another picture is another edit'), async (t) => {
      const app = await createTestApp(t);
      const first = await send(app, { key: 'a-key' });
      const again = await send(app, { key: 'a-key' });
      assert.deepEqual([first.status, again.status], [200, 200], again.text);
      assert.equal(again.headers.get('idempotency-replayed'), 'true');
      const conflict = await send(app, { key: 'a-key', image: other });
      assert.equal(conflict.status, 409, conflict.text);
      assert.equal(app.calls.length, 1);
    });
  }
}
