import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFlights } from '../../src/media/flights.js';

function controlled() {
  const runs: { readonly signal: AbortSignal; resolve(value: string): void; reject(error: Error): void }[] =
    [];
  const work = (signal: AbortSignal) =>
    new Promise<string>((resolve, reject) => void runs.push({ signal, resolve, reject }));
  return { runs, work };
}

const forever = () => new AbortController().signal;

test('who comes while work is done shares it, who comes later has it done again', async () => {
  const share = createFlights<string>();
  const { runs, work } = controlled();
  const both = [share('a', forever(), work), share('a', forever(), work)];
  const other = share('b', forever(), work);
  assert.equal(runs.length, 2);
  runs[0]?.resolve('one');
  runs[1]?.resolve('other');
  assert.deepEqual(await Promise.all([...both, other]), ['one', 'one', 'other']);
  const later = share('a', forever(), work);
  runs[2]?.resolve('again');
  assert.equal(await later, 'again');
});

test('an error is shared, and not kept', async () => {
  const share = createFlights<string>();
  const { runs, work } = controlled();
  const both = [share('a', forever(), work), share('a', forever(), work)];
  runs[0]?.reject(new Error('no'));
  for (const result of await Promise.allSettled(both)) assert.equal(result.status, 'rejected');
  const later = share('a', forever(), work);
  runs[1]?.resolve('yes');
  assert.equal(await later, 'yes');
});

test('work goes on while anybody waits, and is given up when nobody does', async () => {
  const share = createFlights<string>();
  const { runs, work } = controlled();
  const [first, second] = [new AbortController(), new AbortController()];
  const gone = share('a', first.signal, work);
  const stays = share('a', second.signal, work);
  first.abort(new Error('left'));
  await assert.rejects(gone, /left/);
  assert.equal(runs[0]?.signal.aborted, false);
  second.abort(new Error('left too'));
  await assert.rejects(stays, /left too/);
  assert.equal(runs[0]?.signal.aborted, true);
  const later = share('a', forever(), work);
  assert.equal(runs.length, 2, 'nobody joins what was given up');
  runs[0]?.reject(new Error('given up'));
  runs[1]?.resolve('new');
  assert.equal(await later, 'new');
});

test('who has left already starts nothing', async () => {
  const { runs, work } = controlled();
  await assert.rejects(createFlights<string>()('a', AbortSignal.abort(new Error('left')), work), /left/);
  assert.equal(runs.length, 0);
});
