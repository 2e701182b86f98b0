import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSoundFiles } from '../../src/storage/sound-files.js';

const HOUR_MS = 3_600_000;
const stamp = { ino: 1, size: 100, ctimeMs: Date.now() - HOUR_MS };

test('a file found sound is known for a minute, and no longer', (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const soundnessOf = createSoundFiles();
  assert.equal(soundnessOf('a', stamp).isKnownSound, false);
  soundnessOf('a', stamp).onSound();
  t.mock.timers.tick(59_000);
  assert.equal(soundnessOf('a', stamp).isKnownSound, true);
  assert.equal(soundnessOf('b', stamp).isKnownSound, false);
  t.mock.timers.tick(1_000);
  assert.equal(soundnessOf('a', stamp).isKnownSound, false);
});

test('a file that is another, has another length or was written to is not known', () => {
  const soundnessOf = createSoundFiles();
  soundnessOf('a', stamp).onSound();
  for (const change of [{ ino: 2 }, { size: 101 }, { ctimeMs: stamp.ctimeMs + 0.001 }]) {
    assert.equal(soundnessOf('a', { ...stamp, ...change }).isKnownSound, false, JSON.stringify(change));
  }
});

test('a file written to less than two seconds before it was opened is not remembered', () => {
  const soundnessOf = createSoundFiles();
  const fresh = { ...stamp, ctimeMs: Date.now() };
  soundnessOf('a', fresh).onSound();
  assert.equal(soundnessOf('a', fresh).isKnownSound, false);
});

test('no more than 2,000 files are remembered, the latest of them', () => {
  const soundnessOf = createSoundFiles();
  for (let count = 0; count <= 2_000; count += 1) soundnessOf(`file ${count}`, stamp).onSound();
  assert.equal(soundnessOf('file 0', stamp).isKnownSound, false);
  assert.equal(soundnessOf('file 1', stamp).isKnownSound, true);
  assert.equal(soundnessOf('file 2000', stamp).isKnownSound, true);
});
