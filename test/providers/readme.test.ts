import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GenerateCall } from '../../src/core/provider.js';
import { mayFailOver } from '../../src/core/routing.js';
import { ProviderError, type ProviderErrorKind } from '../../src/errors.js';
import type { ProviderSubject } from '../../src/testing/provider-checks.js';
import { readDocument } from '../support/snippets.js';

/** The rows of the README's table whose first column has this head, by the names in their first cell. */
function tableOf(head: string): Map<string, string[]> {
  const [, table = ''] =
    new RegExp(`^\\| ${head} +\\|.*\\n\\|[-| ]+\\n((?:\\|.*\\n)+)`, 'm').exec(
      readDocument('src/providers/README.md'),
    ) ?? [];
  const rows = table
    .trim()
    .split('\n')
    .map((row) => row.split('|').map((cell) => cell.trim()));
  return new Map(
    rows.flatMap(([, names = '', ...cells]) =>
      [...names.matchAll(/`(\w+)/g)].map(([, name = '']): [string, string[]] => [name, cells]),
    ),
  );
}

test('the table of a call has its fields, no more and no less', () => {
  // Complete, or it does not compile.
  const fields: Record<keyof GenerateCall, true> = {
    requestId: true,
    operation: true,
    model: true,
    prompt: true,
    n: true,
    size: true,
    quality: true,
    style: true,
    background: true,
    outputFormat: true,
    outputCompression: true,
    seed: true,
    negativePrompt: true,
    inputs: true,
    mask: true,
    previews: true,
    endUser: true,
    metadata: true,
    signal: true,
    sendBy: true,
    fetch: true,
  };
  assert.deepEqual([...tableOf('Field').keys()], Object.keys(fields));
});

test('the table of failures has every kind, and says truly which may be tried elsewhere', () => {
  const kinds: Record<ProviderErrorKind, true> = {
    content_filtered: true,
    rejected: true,
    rate_limited: true,
    account: true,
    unavailable: true,
    timeout: true,
    shape: true,
  };
  const table = tableOf('Kind');
  assert.deepEqual([...table.keys()], Object.keys(kinds));
  for (const kind of Object.keys(kinds) as ProviderErrorKind[]) {
    const moves = mayFailOver(new ProviderError(kind, 'It failed.', { billed: 'no' }));
    assert.equal(table.get(kind)?.[1]?.startsWith('yes'), moves, kind);
  }
});

test('the table of subjects has every optional member', () => {
  const members: Record<Exclude<keyof ProviderSubject, 'provider'>, true> = {
    failingPrompt: true,
    blockedPrompt: true,
    editInput: true,
    upstreamCalls: true,
    fetch: true,
    close: true,
  };
  assert.deepEqual([...tableOf('Member').keys()], Object.keys(members));
});
