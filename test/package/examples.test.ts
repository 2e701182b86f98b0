import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { symlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { until } from '../support/app.js';
import { freePort } from '../support/free-port.js';
import { readDocument, snippetsOf } from '../support/snippets.js';
import { ROOT } from '../support/source-imports.js';
import { temporaryFolder } from '../support/temporary-folder.js';

// Not tsx's own command, which stands between the test's signals and the example.
const TSX = pathToFileURL(join(ROOT, 'node_modules/tsx/dist/loader.mjs')).href;
process.env.TSX_TSCONFIG_PATH = join(ROOT, 'test/tsconfig.json');

/** The arguments that run an example from anywhere. */
function programOf(name: string): string[] {
  return ['--import', TSX, join(ROOT, 'examples', name)];
}

const run = promisify(execFile);

test('every example says in its first comment how to run it, in one command', () => {
  for (const name of readdirSync(join(ROOT, 'examples'))) {
    const [comment = ''] = readFileSync(join(ROOT, 'examples', name), 'utf8').split('*/', 1);
    const command =
      name === 'quickstart.ts' ? 'npm start' : `npx tsx --tsconfig test/tsconfig.json examples/${name}`;
    assert.ok(comment.includes(`Run it with: ${command}\n`), `${name}: ${command}`);
  }
});

test('the example of a provider draws, and is refused what is forbidden', async () => {
  const { stdout, stderr } = await run(process.execPath, programOf('custom-provider.ts'));
  assert.match(stdout, /^200 \{/);
  assert.match(stdout, /^400 \{/m);
  assert.equal(stderr, '');
});

test('the example of a budget store passes the kit and sends three pictures of four on', async () => {
  const { stdout, stderr } = await run(process.execPath, programOf('custom-budget.ts'));
  assert.match(
    stdout,
    /^All \d+ checks of the kit pass\.\n200 .*\n200 .*\n200 .*\n402 .*\n3 pictures are booked .*\n$/,
  );
  assert.equal(stderr, '');
});

test('the example of a storage passes the kit, serves a picture and verifies it', async () => {
  const { stdout, stderr } = await run(process.execPath, programOf('custom-storage.ts'));
  assert.match(
    stdout,
    /^ok +put\.round-trip[\s\S]*^ok +list\.many[\s\S]*^200 image\/png \d+ bytes[\s\S]*checked: 1, damaged: 0/m,
  );
  assert.equal(stderr, '');
});

/** The environment of a quickstart without keys. */
function environment(port: number): NodeJS.ProcessEnv {
  const { OPENAI_API_KEY: _, ...env } = process.env;
  return { ...env, PORT: String(port) };
}

/** Starts the quickstart in a folder; answers what it prints, and how to end it. */
async function quickstart(t: TestContext, cwd: string) {
  const child = spawn(process.execPath, programOf('quickstart.ts'), {
    ...{ cwd, env: environment(0) },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => void child.kill('SIGKILL'));
  const ended = once(child, 'exit');
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  while (!said.includes('images.generate')) {
    assert.equal(child.exitCode, null, 'it runs');
    await Promise.race([once(child.stdout, 'data'), ended]);
  }
  const stop = async () => {
    child.kill('SIGTERM');
    const [code] = await ended;
    assert.equal(code, 0);
  };
  return { said, stop };
}

test('the quickstart runs in an empty folder, its curl command draws, and its ledger outlives it', async (t) => {
  const cwd = await temporaryFolder(t);
  const replays: boolean[] = [];
  for (let start = 0; start < 2; start += 1) {
    const { said, stop } = await quickstart(t, cwd);
    const [command = ''] = /^curl [\s\S]*?(?=\n\n)/m.exec(said) ?? [];
    const { stdout } = await run('bash', ['-c', `${command} --include -H 'Idempotency-Key: first' --silent`]);
    assert.match(stdout, /^HTTP\/1.1 200/);
    replays.push(/^idempotency-replayed: true/im.test(stdout));
    const [, picture = ''] = /"url":"([^"]+)"/.exec(stdout) ?? [];
    assert.equal((await fetch(picture)).headers.get('content-type'), 'image/png');
    await stop();
  }
  assert.deepEqual(replays, [false, true]);
  assert.deepEqual(readdirSync(cwd), ['data']);
});

test('the quickstart on a port that is taken says so, and which one to choose instead, and ends with a fault', async (t) => {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  t.after(() => void holder.close());
  const { port } = holder.address() as AddressInfo;
  const options = { cwd: await temporaryFolder(t), env: environment(port), timeout: 60_000 };
  const ended: Error & { code?: number; stdout?: string; stderr?: string } = await run(
    process.execPath,
    programOf('quickstart.ts'),
    options,
  ).catch((error) => error);
  assert.equal(ended.stdout, '', 'nothing looks as if it served');
  assert.match(
    ended.stderr ?? '',
    new RegExp(`^Port ${port} cannot be listened on: .*EADDRINUSE.*\n.*PORT=\\d+`),
  );
  assert.equal(ended.code, 1);
});

test("the README's first app answers the README's first request, and says what it could not draw", async (t) => {
  const snippets = snippetsOf(readDocument('README.md'));
  const [app] = snippets.filter(({ language }) => language === 'js');
  const request = snippets.find(({ code }) => code.startsWith('curl '));
  assert.ok(app && request);
  const cwd = await temporaryFolder(t);
  const port = String(await freePort());
  await writeFile(join(cwd, 'app.mjs'), app.code.replace('listen(3000)', `listen(${port})`));
  await symlink(join(ROOT, 'node_modules'), join(cwd, 'node_modules'));
  const env = {
    ...process.env,
    KEY: 'the-key-of-a-test',
    MEDIA_SECRET: 'a secret of at least 32 bytes, for links',
  };
  const child = spawn(process.execPath, ['--import', TSX, 'app.mjs'], {
    cwd,
    env,
    stdio: ['ignore', 'inherit', 'pipe'],
  });
  t.after(() => void child.kill('SIGKILL'));
  const said = text(child.stderr);
  const url = `http://localhost:${port}`;
  await until(() => fetch(url).then(Boolean, () => false));
  const ask = async (command: string) => {
    const { stdout } = await run(
      'bash',
      ['-c', `${command.replace('http://localhost:3000', url)} --silent`],
      { env },
    );
    return JSON.parse(stdout);
  };
  const { data, meta } = await ask(request.code.trim());
  assert.equal(data.data.length, 2);
  const answer = JSON.parse(snippets.find(({ language }) => language === 'json')?.code ?? '');
  assert.deepEqual(Object.keys(data), Object.keys(answer.data));
  assert.deepEqual(Object.keys(data.data[0]), Object.keys(answer.data.data[0]));
  assert.deepEqual([data.usage, Object.keys(meta)], [answer.data.usage, Object.keys(answer.meta)]);
  assert.equal((await fetch(data.data[0].url)).headers.get('content-type'), 'image/png');
  const failed = await ask(request.code.trim().replace('A lighthouse', '[fail:unavailable] A lighthouse'));
  assert.equal(failed.error.code, 'BACKEND_ERROR');
  child.kill();
  assert.match(await said, new RegExp(failed.meta.request_id));
});
