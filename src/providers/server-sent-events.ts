/** Reading streams of server-sent events as they arrive, holding one event at a time. */

/** One event. */
export interface ServerSentEvent {
  /** Its `event` field; empty where it has none. */
  readonly name: string;
  /** Its `data` fields, joined by line ends; never empty. */
  readonly data: string;
}

/**
 * Reads the events of a body, however its bytes are cut into chunks. Lines end in LF or CRLF; comments and fields
 * other than `event` and `data` are skipped. An event counts without the blank line after it, too: a server that
 * ends there has said all it had to say. Leaving early cancels the body. How much is read is bounded by `call.fetch`.
 */
export async function* readEvents(
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  let name = '';
  let data: string[] = [];
  for await (const line of readLines(body)) {
    if (line === '') {
      if (data.some((text) => text !== '')) yield { name, data: data.join('\n') };
      name = '';
      data = [];
    }
    const { field, value } = splitField(line);
    if (field === 'event') name = value;
    if (field === 'data') data.push(value);
  }
  if (data.some((text) => text !== '')) yield { name, data: data.join('\n') };
}

function splitField(line: string): { readonly field: string; readonly value: string } {
  const colon = line.indexOf(':');
  if (colon < 0) return { field: line, value: '' };
  const start = line[colon + 1] === ' ' ? colon + 2 : colon + 1;
  return { field: line.slice(0, colon), value: line.slice(start) };
}

const LINE_FEED = 0x0a;

/** Lines as text, without their ends. Pieces are joined once a line is whole: a picture is a line of megabytes. */
async function* readLines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  let pieces: Uint8Array[] = [];
  for await (const chunk of body) {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      yield lineOf([...pieces, chunk.subarray(start, end)]);
      pieces = [];
      start = end + 1;
    }
    pieces.push(chunk.subarray(start));
  }
  yield lineOf(pieces);
}

function lineOf(pieces: readonly Uint8Array[]): string {
  const line = Buffer.concat(pieces).toString('utf8');
  return line.endsWith('\r') ? line.slice(0, -1) : line;
}
