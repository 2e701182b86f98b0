import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { isImagesError } from '../../src/errors.js';
import type { FinishCost } from '../support/finish-files.js';
import { bombs, refusedPictures, textBombs } from '../support/hostile-pictures.js';
import { orderOf, testFinisher } from '../support/orders.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const OUR_SENTENCES = /^The provider (answered with|drew) [\w ,]+\.$/;

describe('a hostile picture', async () => {
  const finish = testFinisher();
  for (const { name, bytes } of await refusedPictures()) {
    it(`is refused: ${name}`, async () => {
      await assert.rejects(finish(orderOf(bytes)), (error) => {
        assert.ok(isImagesError(error));
        assert.equal(error.code, 'UPSTREAM_SHAPE_MISMATCH');
        assert.match(error.message, OUR_SENTENCES);
        return true;
      });
    });
  }
});

describe('a bomb', () => {
  it('costs little time and memory, alone and fifty at once', async (test) => {
    const folder = await temporaryFolder({ after: (clean) => test.after(clean) });
    const names: string[] = [];
    const files: string[] = [];
    const refused = await bombs();
    for (const { name, bytes } of [...refused, ...(await textBombs())]) {
      const file = join(folder, String(files.length));
      await writeFile(file, bytes);
      names.push(name);
      files.push(file);
    }
    const script = fileURLToPath(new URL('../support/finish-files.ts', import.meta.url));
    const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', script, ...files]);
    const costs: readonly FinishCost[] = JSON.parse(stdout);
    for (const [index, cost] of costs.entries()) {
      const name = names[index] ?? 'fifty at once';
      if (index < names.length)
        assert.equal(cost.code, index < refused.length ? 'UPSTREAM_SHAPE_MISMATCH' : 'none', name);
      assert.ok(cost.milliseconds < (index < names.length ? 500 : 2_000), `${name}: ${cost.milliseconds} ms`);
      assert.ok(
        cost.grownMegabytes < (index < names.length ? 64 : 512),
        `${name}: ${cost.grownMegabytes} MB`,
      );
    }
    assert.equal(costs.length, names.length + 1);
  });
});
