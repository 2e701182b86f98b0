/** Forms as clients send them, and as no client should. */
import { request } from 'node:http';
import type { GenerateCall } from '../../src/core/provider.js';
import { TEST_KEY, type TestApp } from './app.js';

/** The two endpoints that edit. */
export const EDIT_PATHS = ['/v1/inference/images/edit', '/oai/v1/images/edits'] as const;

/** An answer, read whole. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly text: string;
  /** The body, of JSON that tests look into. */
  // biome-ignore lint/suspicious/noExplicitAny: tests assert on whatever came
  readonly body: any;
}

/** Text fields and files of a form, in order; a field may come more than once. */
export type FormFields = readonly (readonly [name: string, value: string | Uint8Array])[];

/** A form in FormData, as fetch sends it. */
export function formOf(fields: FormFields): FormData {
  const form = new FormData();
  for (const [name, value] of fields) {
    if (typeof value === 'string') form.append(name, value);
    else form.append(name, new Blob([new Uint8Array(value)]), 'picture.png');
  }
  return form;
}

/** Posts a form or JSON with the key of the test caller. */
export async function postEdit(app: TestApp, path: string, body: FormData | object): Promise<Answer> {
  const form = body instanceof FormData;
  const response = await fetch(`${app.url}${path}`, {
    method: 'POST',
    headers: {
      Authorization: `Bearer ${TEST_KEY}`,
      ...(!form && { 'Content-Type': 'application/json' }),
    },
    body: form ? body : JSON.stringify(body),
  });
  const text = await response.text();
  const headers = Object.fromEntries(response.headers);
  return { status: response.status, headers, text, body: parsed(text) };
}

/** The boundary of {@link rawForm}. */
export const BOUNDARY = 'xxBOUNDARYxx';

/** One part of a raw form: its headers, without the line break at their end, and its body. */
export interface RawPart {
  readonly head: string;
  readonly body: string | Uint8Array;
}

/** A text field, or a file, as a raw part. */
export function part(name: string, value: string | Uint8Array): RawPart {
  const file = typeof value === 'string' ? '' : '; filename="a.png"\r\nContent-Type: image/png';
  return { head: `Content-Disposition: form-data; name="${name}"${file}`, body: value };
}

/** The bytes of a form, ended as it should be unless `end` says otherwise. */
export function rawForm(parts: readonly RawPart[], end = `--${BOUNDARY}--\r\n`): Buffer {
  const pieces = parts.flatMap(({ head, body }) => {
    return [Buffer.from(`--${BOUNDARY}\r\n${head}\r\n\r\n`), Buffer.from(body), Buffer.from('\r\n')];
  });
  return Buffer.concat([...pieces, Buffer.from(end)]);
}

/** Posts bytes with these headers, whatever they claim; the key of the test caller is added. */
export function postBytes(
  app: TestApp,
  path: string,
  {
    bytes,
    headers = {},
  }: { readonly bytes: Uint8Array; readonly headers?: Readonly<Record<string, string>> },
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(`${app.url}${path}`, {
      method: 'POST',
      agent: false,
      headers: {
        Authorization: `Bearer ${TEST_KEY}`,
        'Content-Type': `multipart/form-data; boundary=${BOUNDARY}`,
        ...headers,
      },
    });
    let answered = false;
    sent.on('error', (error) => {
      if (!answered) reject(error);
    });
    sent.on('response', (response) => {
      answered = true;
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text, body: parsed(text) });
      });
    });
    sent.end(bytes);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What a provider was asked, without what belongs to the one request alone. */
export function asked(call: GenerateCall | undefined): object {
  const { requestId, signal, sendBy, fetch: _, ...rest } = call ?? {};
  return rest;
}

/** A picture as a data URL. */
export function dataUrl(bytes: Uint8Array, type = 'image/png'): string {
  return `data:${type};base64,${Buffer.from(bytes).toString('base64')}`;
}
