/**
 * Multipart bodies, byte for byte. `FormData` would turn every line end of a prompt into CRLF, and SDKs that make
 * one try out the `fetch` they were given before they use it.
 */
import { randomUUID } from 'node:crypto';

/** One file of a form. Everything but `bytes` is our own word: nothing is escaped. */
export interface FormFile {
  /** The field. */
  readonly field: string;
  /** The file's name. */
  readonly name: string;
  /** The file's media type. */
  readonly type: string;
  /** What it holds. */
  readonly bytes: Uint8Array;
}

/** A body and the header that goes with it. */
export interface MultipartBody {
  /** The body. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The value of `Content-Type`. */
  readonly contentType: string;
}

/** Makes the body of a form: its fields by name, and then its files. Fields that are `undefined` are left out. */
export function multipartBody(
  fields: Readonly<Record<string, string | number | boolean | undefined>>,
  files: readonly FormFile[],
): MultipartBody {
  const boundary = `form-${randomUUID()}`;
  const open = (disposition: string) => `--${boundary}\r\nContent-Disposition: form-data; ${disposition}\r\n`;
  const parts: Uint8Array[] = [];
  for (const [field, value] of Object.entries(fields)) {
    if (value !== undefined) parts.push(Buffer.from(`${open(`name="${field}"`)}\r\n${value}\r\n`));
  }
  for (const { field, name, type, bytes } of files) {
    const head = `${open(`name="${field}"; filename="${name}"`)}Content-Type: ${type}\r\n\r\n`;
    parts.push(Buffer.from(head), bytes, Buffer.from('\r\n'));
  }
  parts.push(Buffer.from(`--${boundary}--\r\n`));
  return { bytes: Buffer.concat(parts), contentType: `multipart/form-data; boundary=${boundary}` };
}
