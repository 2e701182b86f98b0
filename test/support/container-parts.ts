/** Containers taken apart and put together, naively: what the pipeline's own walks are held against. */
import { crc32 } from 'node:zlib';

/** A format made of parts. */
export type Chunked = 'png' | 'jpeg' | 'webp';

/** A PNG or WebP chunk, a JPEG segment. */
export interface LoosePart {
  /** Type of a chunk; marker of a segment as a character code. */
  readonly type: string;
  /** What is in it, compressed data behind a JPEG scan's header included. */
  readonly body: Buffer;
}

/** Takes a sound picture, such as sharp writes, to pieces. */
export function takeApart(format: Chunked, data: Buffer): readonly LoosePart[] {
  const parts: LoosePart[] = [];
  let at = { png: 8, jpeg: 2, webp: 12 }[format];
  // The shortest part that is not the last has eight bytes; fewer are none.
  while (at + 8 <= data.length) {
    const [part, next] = READERS[format](data, at);
    if (part !== undefined) parts.push(part);
    at = next;
  }
  return parts;
}

/** Puts pieces together, with right lengths and checksums. */
export function putTogether(format: Chunked, parts: readonly LoosePart[]): Buffer {
  return WRITERS[format](parts);
}

type ReadPart = (data: Buffer, at: number) => readonly [part: LoosePart | undefined, next: number];

const READERS = {
  png(data, at) {
    const end = at + 8 + data.readUInt32BE(at);
    return [{ type: data.toString('latin1', at + 4, at + 8), body: data.subarray(at + 8, end) }, end + 4];
  },
  jpeg(data, at) {
    const marker = data.readUInt8(at + 1);
    if (marker === 0xd9) return [undefined, data.length];
    let end = at + 2 + data.readUInt16BE(at + 2);
    if (marker === 0xda) {
      const rest = data.toString('latin1', end);
      end += /\xff[^\0\xd0-\xd7]/.exec(rest)?.index ?? rest.length;
    }
    return [{ type: String.fromCharCode(marker), body: data.subarray(at + 4, end) }, end];
  },
  webp(data, at) {
    const length = data.readUInt32LE(at + 4);
    const body = data.subarray(at + 8, at + 8 + length);
    return [{ type: data.toString('latin1', at, at + 4), body }, at + 8 + length + (length % 2)];
  },
} as const satisfies Record<Chunked, ReadPart>;

const WRITERS = {
  png(parts) {
    return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ...parts.map(pngChunk)]);
  },
  jpeg(parts) {
    return Buffer.concat([Buffer.from([0xff, 0xd8]), ...parts.map(jpegSegment), Buffer.from([0xff, 0xd9])]);
  },
  webp(parts) {
    return riffChunk({ type: 'RIFF', body: Buffer.concat([Buffer.from('WEBP'), ...parts.map(riffChunk)]) });
  },
} as const satisfies Record<Chunked, (parts: readonly LoosePart[]) => Buffer>;

function pngChunk({ type, body }: LoosePart): Buffer {
  const chunk = Buffer.concat([Buffer.alloc(4), Buffer.from(type, 'latin1'), body, Buffer.alloc(4)]);
  chunk.writeUInt32BE(body.length);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, -4)), chunk.length - 4);
  return chunk;
}

function jpegSegment({ type, body }: LoosePart): Buffer {
  const marker = type.charCodeAt(0);
  // The length of a scan is that of its header: one byte for the number of colours, two for each, three more.
  const length = marker === 0xda ? 6 + 2 * (body[0] ?? 0) : 2 + body.length;
  return Buffer.concat([Buffer.from([0xff, marker, length >> 8, length & 0xff]), body]);
}

function riffChunk({ type, body }: LoosePart): Buffer {
  const head = Buffer.from(`${type}\0\0\0\0`, 'latin1');
  head.writeUInt32LE(body.length, 4);
  return Buffer.concat([head, body, Buffer.alloc(body.length % 2)]);
}
