/** What is asked of gateways, and whether that is what they answer. */
import assert from 'node:assert/strict';
import type { Load } from './load.js';
import type { Photograph } from './photographs.js';

/** What is asked of gateways. */
export interface Ask {
  /** Which picture the upstream answers with. */
  readonly photograph: Photograph;
  /** Connections at once. */
  readonly connections: number;
  /** How the picture is wanted. @defaultValue `'b64_json'` */
  readonly format?: 'b64_json' | 'url' | undefined;
  /** Pictures in one answer. @defaultValue `1` */
  readonly n?: number | undefined;
  /** What the picture is wanted as. @defaultValue what the upstream sends */
  readonly outputFormat?: 'webp' | undefined;
  /** Whether the upstream says how long its answer is, or sends pieces. @defaultValue `'plain'` */
  readonly framing?: 'plain' | 'chunked' | undefined;
  /** Whether a stream of events is wanted, with one preview. @defaultValue `false` */
  readonly stream?: boolean | undefined;
  /** Each connection asks just once, after a warm-up that leaves memory as it is. @defaultValue `false` */
  readonly burst?: boolean | undefined;
}

/** The body of a request. */
export function bodyOf({
  photograph,
  framing = 'plain',
  n = 1,
  format = 'b64_json',
  outputFormat,
  stream = false,
}: Ask): string {
  return JSON.stringify({
    model: 'gpt-image-2',
    prompt: `${photograph} ${framing}: a lighthouse at dawn`,
    ...{ n, size: '1024x1024', output_format: outputFormat },
    ...(stream ? { stream, partial_images: 1 } : { response_format: format }),
  });
}

/** Throws for an answer that is not what was asked for: it would be measured all the same. */
export async function checkAnswer({ url, headers, body }: Load, ask: Ask): Promise<void> {
  const answer = await fetch(url, { method: 'POST', headers: { ...headers }, body: body ?? null });
  const text = await answer.text();
  assert.equal(answer.status, 200, `${url} answers ${text.slice(0, 500)}`);
  if (ask.stream) {
    assert.match(text, /image_generation\.completed/, `${url} answers with the picture`);
    return;
  }
  const { data } = JSON.parse(text);
  assert.equal(data.length, ask.n ?? 1, `${url} answers with every picture`);
  for (const { b64_json: base64, url: link } of data) {
    assert.ok(typeof link === 'string' || base64.length > 1000, `${url} answers with pictures`);
  }
}
