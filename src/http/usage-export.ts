/** A tenant's usage as a file, streamed as it is read: however much there is, little of it is in memory. */
import { once } from 'node:events';
import type { Response } from 'express';
import { abortable } from '../core/iterate.js';
import type { UsageFilter } from '../core/usage.js';
import { withDeadline } from './disconnect.js';
import type { Handler } from './handle.js';
import { queryOf } from './query.js';
import { type UsageItem, type UsageOptions, unreadable, usageItem } from './usage.js';
import { choiceOf, usageFilterOf } from './usage-query.js';

/** How a file of rows is written. */
interface Format {
  readonly contentType: string;
  readonly head: string;
  readonly between: string;
  readonly foot: string;
  readonly line: (item: UsageItem) => string;
}

const COLUMNS = [
  'id',
  'request_id',
  'created_at',
  'tenant_id',
  'user_id',
  'operation',
  'model',
  'served_by',
  'backend_id',
  'images_requested',
  'images',
  'tokens_in',
  'tokens_out',
  'cost',
  'latency_ms',
  'error',
  'metadata',
] as const satisfies readonly (keyof UsageItem)[];

const FORMATS = {
  csv: {
    contentType: 'text/csv; charset=utf-8',
    between: '',
    foot: '',
    head: `${COLUMNS.join(',')}\r\n`,
    line: (item) => `${COLUMNS.map((name) => csvCell(item[name])).join(',')}\r\n`,
  },
  json: {
    contentType: 'application/json; charset=utf-8',
    head: '[',
    between: ',\n',
    foot: ']\n',
    line: (item) => JSON.stringify(item),
  },
  ndjson: {
    contentType: 'application/x-ndjson',
    head: '',
    between: '',
    foot: '',
    line: (item) => `${JSON.stringify(item)}\n`,
  },
} as const satisfies Record<string, Format>;

// Beyond this a write is worth its while.
const CHUNK_CHARACTERS = 16_384;

/** What spreadsheets take for a formula, in either width and behind white space, and what moves on to a new cell. */
const FORMULA = /^\s*[=+\-@＝＋－＠]|^[\t\r\n]/;

/**
 * A cell as RFC 4180 has it. Text that a spreadsheet would run as a formula gets an apostrophe before it: users and
 * labels are other people's words.
 */
function csvCell(value: UsageItem[keyof UsageItem]): string {
  if (value === null) return '';
  if (typeof value === 'number') return String(value);
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  if (FORMULA.test(text)) return `"'${text.replaceAll('"', '""')}"`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows as text, in pieces worth writing. */
async function* pieces(items: AsyncIterable<UsageItem>, format: Format): AsyncGenerator<string, void> {
  let text = format.head;
  let separator = '';
  for await (const item of items) {
    text += separator + format.line(item);
    separator = format.between;
    if (text.length < CHUNK_CHARACTERS) continue;
    yield text;
    text = '';
  }
  yield text + format.foot;
}

/** A file on its way. */
interface File {
  readonly headers: Readonly<Record<string, string>>;
  readonly parts: AsyncIterable<string>;
  readonly signal: AbortSignal;
}

/** Sends a file as fast as the client takes it. */
async function send(res: Response, { headers, parts, signal }: File): Promise<void> {
  for await (const part of parts) {
    // Not before the first piece is there: a store that is down is answered as an error.
    if (!res.headersSent) res.writeHead(200, headers);
    if (res.write(part)) continue;
    await once(res, 'drain', { signal }).catch((error: unknown) => {
      signal.throwIfAborted();
      throw error;
    });
  }
  res.end();
}

/** `GET /v1/accounting/export`: every row of a tenant that the query asks for. */
export function usageExportHandler({ intake, usage, usageMs, deadlines }: UsageOptions): Handler {
  /** The rows, each in the time a store has to answer. Time the client takes is not the store's. */
  async function* read(filter: UsageFilter, signal: AbortSignal): AsyncGenerator<UsageItem, void> {
    const stuck = new AbortController();
    let reading = true;
    const timer = setTimeout(() => {
      if (reading) stuck.abort(new Error(`the usage store did not answer within ${usageMs} ms`));
    }, usageMs);
    try {
      const either = AbortSignal.any([signal, stuck.signal]);
      const rows = abortable(usage.export(filter, either), either);
      for await (const row of rows) {
        reading = false;
        yield usageItem(row);
        reading = true;
        timer.refresh();
      }
    } catch (cause) {
      throw signal.aborted ? signal.reason : unreadable(cause);
    } finally {
      clearTimeout(timer);
    }
  }

  return async (exchange) => {
    const { req, res } = exchange;
    const caller = await intake.caller(exchange, 'admin');
    const query = queryOf(req);
    const name = choiceOf(query, 'format', ['csv', 'json', 'ndjson']);
    const format: Format = FORMATS[name];
    const filter = usageFilterOf(query, caller);
    const headers = {
      'Content-Type': format.contentType,
      'Content-Disposition': `attachment; filename="usage.${name}"`,
      'Cache-Control': 'no-store',
      'X-Content-Type-Options': 'nosniff',
    };
    if (req.method === 'HEAD') {
      res.writeHead(200, headers).end();
      return;
    }
    await withDeadline(res, { deadlines, survives: false }, ({ signal }) =>
      send(res, { headers, parts: pieces(read(filter, signal), format), signal }),
    );
  };
}
