import assert from 'node:assert/strict';
import { test } from 'node:test';
import { providerChecks } from '../../src/testing/provider-checks.js';
import { flawedProviders, soundSubject } from '../support/flawed-providers.js';
import { failingChecks, testChecks } from '../support/run-checks.js';

testChecks('placeholder', providerChecks, () => soundSubject({ models: undefined }));

test('checks have unique ids', () => {
  const ids = providerChecks.map((check) => check.id);
  assert.equal(new Set(ids).size, ids.length);
});

test('every check that a provider can fail is failed by a flawed one', () => {
  const caught = new Set(flawedProviders.flatMap((flawed) => flawed.fails));
  assert.deepEqual(
    providerChecks.map((check) => check.id).filter((id) => !caught.has(id)),
    [],
  );
});

for (const { fault, create, fails } of flawedProviders) {
  test(`a provider with ${fault} fails exactly ${fails.join(', ')}`, async () => {
    assert.deepEqual(await failingChecks(providerChecks, create), fails);
  });
}

test('checks of what a provider lacks do not apply to it', async () => {
  const plain = () => {
    const { provider } = soundSubject({
      models: [{ operations: ['generate'], maxInputs: 0, maxPreviews: 0, features: [] }],
    });
    return { provider: { ...provider, ownTransport: true } };
  };
  const skipped: string[] = [];
  for (const check of providerChecks) {
    if ((await check.run(plain)) !== undefined) skipped.push(check.id);
  }
  assert.deepEqual(skipped, [
    'calls.begin-when-read',
    'transport.given-fetch',
    'provider.warmup',
    'failures.provider-error',
    'failures.own-words',
    'failures.blocked',
    'previews.in-order',
    'seeds.repeat',
    'seeds.reported',
    'edits.drawn',
    'edits.masked',
  ]);
});

test('models the vendor no longer serves are not called', async () => {
  const create = () =>
    soundSubject({
      models: [{ lifecycle: { shutdownAt: '2020-01-01' } }],
      fail: () => new Error('retired'),
    });
  assert.deepEqual(await failingChecks(providerChecks, create), []);
});

test('a check closes the provider and then the subject, also when it fails', async () => {
  for (const name of ['sound', '']) {
    const closed: string[] = [];
    const [first] = providerChecks;
    const { provider } = soundSubject();
    const run = first?.run(() => ({
      provider: { ...provider, name, close: async () => void closed.push('provider') },
      close: async () => void closed.push('subject'),
    }));
    await (name === '' ? assert.rejects(async () => run) : run);
    assert.deepEqual(closed, ['provider', 'subject']);
  }
});

test('the global fetch is as it was after a run', async () => {
  const before = globalThis.fetch;
  await failingChecks(providerChecks, () => assert.fail('no provider'));
  assert.equal(globalThis.fetch, before);
});
