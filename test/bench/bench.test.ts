import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../support/temporary-folder.js';
import { figure, medianOf, OURS, ratio, type Suite } from './bench.js';
import { runLoad } from './load.js';
import { measureGateway } from './measure-gateway.js';
import { drawPhotograph } from './photographs.js';
import { benchServer, startServer } from './processes.js';
import { tableOf } from './report.js';

test('a gateway in a process of its own is asked and measured', async (t) => {
  const folder = await temporaryFolder(t);
  const photographs = join(folder, 'photographs');
  await mkdir(photographs);
  await writeFile(join(photographs, 'small.png'), await drawPhotograph('small'));
  const upstream = await startServer({ ...benchServer('upstream', { photographs }), besideHarness: true });
  t.after(() => upstream.stop());

  const round = { quick: true, seconds: 0.1, upstream: upstream.url, photographs, scratch: folder };
  const samples = await measureGateway(round, 'proxy', ['few', { photograph: 'small', connections: 2 }]);

  assert.deepEqual(Object.keys(samples).sort(), [
    'proxy few cpuMs',
    'proxy few grownMb',
    'proxy few latencyMs',
    'proxy few stallMs',
  ]);
  assert.ok(Number(samples['proxy few cpuMs']) > 0, 'an answer costs something');
});

test('a ratio is made within each round, and the median of the rounds counts', () => {
  const reading = ratio(figure('ours'), figure('floor'), figure('sharp'));
  const rounds = [
    { ours: 30, floor: 5, sharp: 5 },
    { ours: 20, floor: 5, sharp: 5 },
    { ours: 900, floor: 50, sharp: 50 },
  ];
  assert.equal(medianOf(reading, rounds), 3);
  assert.equal(medianOf(reading, rounds.slice(0, 2)), 2.5);
  assert.equal(medianOf(reading, [{ ours: 30, floor: 5 }]), undefined);
});

test('a table tells whether targets are met, and what was not measured', () => {
  const suite: Suite = {
    name: 'planted',
    title: 'Planted',
    columns: [OURS, 'other', 'absent'],
    rows: [
      { what: 'few', target: { atMost: 2 }, readings: { [OURS]: figure('few'), other: figure('lost') } },
      { what: 'many', target: { atLeast: 9 }, readings: { [OURS]: figure('many'), absent: figure('lost') } },
      { what: 'growing', readings: { [OURS]: [figure('few'), figure('many')], other: figure('many') } },
    ],
    run: async () => ({}),
  };
  const [, , ...lines] = tableOf(suite, [{ few: 1.23456, many: 8 }]).split('\n');
  assert.deepEqual(
    lines.map((line) => line.split('|').map((cell) => cell.trim())),
    [
      ['', 'few', '≤ 2 met', '1.23', '–', ''],
      ['', 'many', '≥ 9 NOT MET', '8', '', ''],
      ['', 'growing', '', '1.23 · 8', '8', ''],
      [''],
      ['Not measured, because not installed: absent.'],
    ],
  );
});

test('a load counts every byte of every answer, also of those that arrive at the same time', async (t) => {
  const body = Buffer.alloc(300_000);
  const server = createServer((_, res) => res.end(body)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const load = { url: `http://127.0.0.1:${port}`, connections: 8, until: { answers: 40 } };
  const { answers, bytes } = await runLoad(load);
  assert.equal(bytes, answers * body.length);
});
