/** WebP: its chunks, what they say, and which of them a clean picture keeps (RFC 9649). */
import {
  ANIMATED,
  BROKEN,
  isManifestStore,
  isUpright,
  type Layout,
  latin1,
  MAX_PARTS,
  type Part,
  type RefusedContainer,
  type Walk,
} from './container-walk.js';
import { PROVENANCE_XMP } from './provenance.js';

type Chunk = Part<string>;

// `RIFF`, length, `WEBP`.
const FILE_HEADER_BYTES = 12;
const CHUNK_HEADER_BYTES = 8;
// Flags of the extended header.
const [ALPHA, XMP, ANIMATION] = [0x10, 0x04, 0x02];

// A plain file is one chunk of pixels, with others behind it; an extended one has a header first.
const ORDER_OF_CHUNKS =
  /^(?:VP8 |VP8L|VP8X(?:,(?!VP8|ALPH)....)*(?:,ALPH(?:,(?!VP8|ALPH)....)*,VP8 |,VP8[ L]))(?:,(?!VP8|ALPH)....)*$/s;

const MARK = chunkOf('XMP ', Buffer.from(PROVENANCE_XMP));

/** Walks over a WebP. */
export function walkWebp(data: Buffer): Walk {
  const end = CHUNK_HEADER_BYTES + data.readUInt32LE(4);
  const chunks = readChunks(data, end);
  if ('fault' in chunks) return chunks;
  if (!ORDER_OF_CHUNKS.test(chunks.map(({ type }) => type).join())) return BROKEN;
  const found = { data, chunks };
  const frame = frameOf(found);
  const canvas = canvasOf(found) ?? frame;
  if (frame === undefined || canvas === undefined) return BROKEN;
  if (canvas.width !== frame.width || canvas.height !== frame.height) return BROKEN;
  return { bytes: data.subarray(0, end), layout: layoutOf(found, canvas) };
}

function readChunks(data: Buffer, fileEnd: number): readonly Chunk[] | RefusedContainer {
  if (fileEnd > data.length) return BROKEN;
  const chunks: Chunk[] = [];
  for (let at = FILE_HEADER_BYTES; at + CHUNK_HEADER_BYTES <= fileEnd; ) {
    const type = latin1(data, at, 4);
    const length = data.readUInt32LE(at + 4);
    const end = at + CHUNK_HEADER_BYTES + length;
    if (end > fileEnd || chunks.length === MAX_PARTS) return BROKEN;
    if (type === 'ANIM' || type === 'ANMF') return ANIMATED;
    if (type === 'VP8X' && ((data[at + CHUNK_HEADER_BYTES] ?? 0) & ANIMATION) !== 0) return ANIMATED;
    chunks.push({ type, start: at, end });
    at = end + (length % 2);
  }
  return chunks;
}

interface Found {
  readonly data: Buffer;
  readonly chunks: readonly Chunk[];
}

/** The body of the first chunk of a type. */
function bodyOf({ data, chunks }: Found, type: string): Buffer | undefined {
  const chunk = chunks.find((each) => each.type === type);
  return chunk && data.subarray(chunk.start + CHUNK_HEADER_BYTES, chunk.end);
}

interface Canvas {
  readonly width: number;
  readonly height: number;
  readonly hasAlpha: boolean;
}

/** What the extended header says, where there is one. */
function canvasOf(found: Found): Canvas | undefined {
  const header = bodyOf(found, 'VP8X');
  if (header === undefined || header.length < 10) return undefined;
  return {
    width: header.readUIntLE(4, 3) + 1,
    height: header.readUIntLE(7, 3) + 1,
    hasAlpha: ((header[0] ?? 0) & ALPHA) !== 0,
  };
}

/** What the pixels' own header says (RFC 6386, 9.1; RFC 9649, 3.4). */
function frameOf(found: Found): Canvas | undefined {
  const lossy = bodyOf(found, 'VP8 ');
  if (lossy !== undefined) {
    if (lossy.length < 10 || latin1(lossy, 3, 3) !== '\x9d\x01\x2a') return undefined;
    const width = lossy.readUInt16LE(6) & 0x3fff;
    const height = lossy.readUInt16LE(8) & 0x3fff;
    // Here alone a side may be written that no picture has.
    return width === 0 || height === 0 ? undefined : { width, height, hasAlpha: false };
  }
  const lossless = bodyOf(found, 'VP8L');
  if (lossless === undefined || lossless.length < 5 || lossless[0] !== 0x2f) return undefined;
  const bits = lossless.readUInt32LE(1);
  return {
    width: (bits & 0x3fff) + 1,
    height: ((bits >>> 14) & 0x3fff) + 1,
    hasAlpha: (bits & 0x1000_0000) !== 0,
  };
}

function layoutOf(found: Found, canvas: Canvas): Layout | undefined {
  const { chunks } = found;
  const exif = bodyOf(found, 'EXIF');
  if (chunks.filter(({ type }) => type === 'EXIF').length > 1) return undefined;
  if (exif !== undefined && !isUpright(exif)) return undefined;
  const manifest = bodyOf(found, 'C2PA');
  const { width, height } = canvas;
  return {
    size: { width, height },
    signed: manifest !== undefined && isManifestStore(manifest),
    // A colour profile has room for text: a picture with one is converted to sRGB by the encoder instead.
    cleaned:
      chunks.some(({ type }) => type === 'ICCP') || !isAlphaWanted(found, canvas)
        ? undefined
        : clean(found, canvas),
  };
}

/**
 * Whether the header speaks of a chunk of transparency; one that is not compressed has a byte for each pixel (2.7.1.2).
 */
function isAlphaWanted(found: Found, { width, height, hasAlpha }: Canvas): boolean {
  const alpha = bodyOf(found, 'ALPH');
  if (alpha === undefined) return true;
  const isCompressed = ((alpha[0] ?? 0) & 0x03) !== 0;
  return hasAlpha && (isCompressed || alpha.length === 1 + width * height);
}

function clean({ data, chunks }: Found, canvas: Canvas): readonly Uint8Array[] {
  const pixels = chunks
    .filter(({ type }) => ['ALPH', 'VP8 ', 'VP8L'].includes(type))
    .flatMap(({ start, end }) => padded(data.subarray(start, end)));
  const parts = [extendedHeader(canvas), ...pixels, ...padded(MARK)];
  const header = Buffer.from('RIFF\0\0\0\0WEBP');
  const length = parts.reduce((sum, part) => sum + part.length, header.length - CHUNK_HEADER_BYTES);
  header.writeUInt32LE(length, 4);
  return [header, ...parts];
}

function extendedHeader({ width, height, hasAlpha }: Canvas): Buffer {
  const body = Buffer.alloc(10);
  body[0] = XMP | (hasAlpha ? ALPHA : 0);
  body.writeUIntLE(width - 1, 4, 3);
  body.writeUIntLE(height - 1, 7, 3);
  return chunkOf('VP8X', body);
}

function chunkOf(type: string, body: Buffer): Buffer {
  const header = Buffer.from(`${type}\0\0\0\0`);
  header.writeUInt32LE(body.length, 4);
  return Buffer.concat([header, body]);
}

/** Chunks begin at even offsets. */
function padded(chunk: Uint8Array): readonly Uint8Array[] {
  return chunk.length % 2 === 0 ? [chunk] : [chunk, Buffer.alloc(1)];
}
