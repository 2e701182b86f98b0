/** JPEG: whether its tables are those its scans use (ITU-T T.81, annex B.2). */

/** What a table hangs on: a segment that defines some, the frame, or the header of a scan, by its marker. */
export interface TableStep {
  /** The marker's second byte. */
  readonly type: number;
  /** What follows the length. A scan's is its header alone. */
  readonly body: Buffer;
}

const [DHT, SOS, DQT, DRI] = [0xc4, 0xda, 0xdb, 0xdd];
const HIGHEST_ID = 3;

/**
 * Whether every table is well-formed, has a number there is, and is used before another takes its place. Any that is
 * not would be as much room for text. Arithmetic conditioning is none that pictures with Huffman codes need.
 */
export function areTablesUsed(frame: Buffer, steps: readonly TableStep[]): boolean {
  const wanted = new Set(
    Array.from({ length: frame.readUInt8(5) }, (_, place) => `q${frame[8 + 3 * place]}`),
  );
  const quantisers = new Set<string>();
  const unused = new Set<string>();
  for (const { type, body } of steps) {
    if (type === SOS) {
      const used = tablesOfScan(body);
      for (const name of used ?? []) unused.delete(name);
      if (used === undefined) return false;
      continue;
    }
    const names = READERS.get(type)?.(body);
    if (names === undefined) return false;
    for (const name of names) {
      // Decoders take a colour's quantiser with its first scan and keep it.
      const seen = type === DQT ? quantisers : unused;
      if (seen.has(name) || (type === DQT && !wanted.has(name))) return false;
      seen.add(name);
    }
  }
  return unused.size === 0;
}

/** The tables a segment defines; `undefined` where it is not well-formed. */
const READERS: ReadonlyMap<number, (body: Buffer) => readonly string[] | undefined> = new Map([
  [DQT, (body) => tablesIn(body, 'q', (at) => ((body[at - 1] ?? 0) >> 4 === 0 ? 64 : 128))],
  [
    DHT,
    (body) =>
      tablesIn(body, 'h', (at) => 16 + body.subarray(at, at + 16).reduce((sum, each) => sum + each, 0)),
  ],
  [DRI, (body) => (body.length === 2 ? ['restarts'] : undefined)],
]);

/** Each table is a byte of class and number, then as many bytes as `lengthAt` says. */
function tablesIn(
  body: Buffer,
  kind: string,
  lengthAt: (at: number) => number,
): readonly string[] | undefined {
  const names: string[] = [];
  let at = 0;
  while (at < body.length) {
    const [group, id] = [(body[at] ?? 0) >> 4, (body[at] ?? 0) & 0x0f];
    if (group > 1 || id > HIGHEST_ID) return undefined;
    names.push(kind === 'q' ? `q${id}` : `h${group}${id}`);
    at += 1 + lengthAt(at + 1);
  }
  return at === body.length ? names : undefined;
}

/** What a scan's header names: for each of its colours a table of both classes. */
function tablesOfScan(header: Buffer): readonly string[] | undefined {
  const colours = header[0] ?? 0;
  if (header.length !== 4 + 2 * colours) return undefined;
  const bytes = Array.from({ length: colours }, (_, place) => header[2 + 2 * place] ?? 0);
  return ['restarts', ...bytes.flatMap((byte) => [`h0${byte >> 4}`, `h1${byte & 0x0f}`])];
}
