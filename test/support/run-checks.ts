import { test } from 'node:test';
import type { Check } from '../../src/testing/check.js';

/** Runs every check of a kit on one subject, as a test each. */
export function testChecks<Create>(subject: string, checks: readonly Check<Create>[], create: Create): void {
  for (const check of checks) {
    test(`${subject}: ${check.title} (${check.id}, ${check.level})`, async (t) => {
      const skipped = await check.run(create);
      if (skipped !== undefined) t.skip(skipped.notApplicable);
    });
  }
}

/** Runs every check of a kit on one subject and answers the ids of those that failed, in the kit's order. */
export async function failingChecks<Create>(
  checks: readonly Check<Create>[],
  create: Create,
): Promise<string[]> {
  const failed: string[] = [];
  for (const check of checks) {
    await check.run(create).catch(() => failed.push(check.id));
  }
  return failed;
}
