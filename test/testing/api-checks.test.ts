import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { apiChecks } from '../../src/testing/api-checks.js';
import { createTestApp, TEST_KEY } from '../support/app.js';
import { flawedApis, flawedSubject } from '../support/flawed-api.js';
import { failingChecks, testChecks } from '../support/run-checks.js';

const headers = { authorization: `Bearer ${TEST_KEY}` };
const scope = { after };
const app = await createTestApp(scope, { mount: '/prefix' });

testChecks('a router under a prefix', apiChecks, () => ({
  baseUrl: app.url,
  headers,
  model: 'placeholder/sketch',
  size: '96x64',
}));

test('checks have unique ids', () => {
  const ids = apiChecks.map((check) => check.id);
  assert.equal(new Set(ids).size, ids.length);
});

/** The checks a flawed deployment fails. One deployment serves them all, because starting one takes longest. */
async function failedBy(flaw: Parameters<typeof flawedSubject>[0]): Promise<readonly string[]> {
  const { close, ...subject } = await flawedSubject(flaw);
  try {
    return await failingChecks(apiChecks, () => subject);
  } finally {
    await close?.();
  }
}

test('a gateway that changes nothing fails nothing', async () => {
  assert.deepEqual(await failedBy({}), []);
});

for (const flaw of flawedApis) {
  test(`${flaw.fault} fails exactly ${flaw.fails.join(', ')}`, async () => {
    assert.deepEqual(await failedBy(flaw), flaw.fails);
  });
}

test('a check closes what it was given', async () => {
  let open = 0;
  const create = () => {
    open += 1;
    const close = async () => {
      open -= 1;
    };
    return { baseUrl: app.url, headers, model: 'nobody/nothing', size: '16x16', close };
  };
  assert.notDeepEqual(await failingChecks(apiChecks, create), []);
  assert.equal(open, 0);
});

test('every check that a deployment can fail is failed by a flawed one', () => {
  const caught = new Set(flawedApis.flatMap((flaw) => flaw.fails));
  assert.deepEqual(
    apiChecks.map((check) => check.id).filter((id) => !caught.has(id)),
    [],
  );
});

test('all checks together draw the number of pictures that the kit says', async (t) => {
  const counted = await createTestApp(t);
  const create = () => ({ baseUrl: counted.url, headers, model: 'placeholder/sketch', size: '16x16' });
  assert.deepEqual(await failingChecks(apiChecks, create), []);
  assert.equal(
    counted.calls.reduce((pictures, { n }) => pictures + n, 0),
    14,
  );
  const [costless, costing] = [
    /^(request-id|auth|errors|methods|body|models|openapi)\./,
    /^(generate|openai|media)\./,
  ];
  for (const { id } of apiChecks) assert.notEqual(costless.test(id), costing.test(id), id);
});
