/** PNG: its chunks, what they say, and which of them a clean picture keeps (PNG specification, third edition). */
import { crc32 } from 'node:zlib';
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

const SIGNATURE_BYTES = 8;
// Length, type and checksum.
const CHUNK_OVERHEAD = 12;
const HEADER_END = 33;

// The largest profiles have half as much. A megabyte that inflates to nothing keeps a core busy for a tenth of a second.
const MAX_COMPRESSED_PROFILE_BYTES = 1024 * 1024;

// Critical chunks in the order that the specification asks for, ancillary ones wherever they like.
const ORDER_OF_CHUNKS =
  /^IHDR(?: [a-z][A-Za-z]{3})*(?: PLTE(?: [a-z][A-Za-z]{3})*)?(?: IDAT)+(?: [a-z][A-Za-z]{3})* IEND$/;

/** Bits per sample that each colour type may have. */
const DEPTHS: Readonly<Record<number, readonly number[]>> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};
const PALETTE = 3;

/**
 * The chunks before the pixels that decide how they are shown, and the most bytes each may hold: no room for text.
 * A colour profile has room, so a picture with one is converted to sRGB by the encoder instead.
 */
const SHOWING = new Map(
  Object.entries({
    PLTE: 768,
    tRNS: 256,
    sRGB: 1,
    gAMA: 4,
    cHRM: 32,
    cICP: 4,
    sBIT: 4,
    pHYs: 9,
  }),
);

// Keyword, then: not compressed, no language, no translated keyword (XMP specification part 3, 1.1.5).
const MARK = chunk('iTXt', `XML:com.adobe.xmp\0\0\0\0\0${PROVENANCE_XMP}`);
const END = chunk('IEND', '');

/** Walks over a PNG and checks every checksum. */
export function walkPng(data: Buffer): Walk {
  const chunks = readChunks(data);
  if ('fault' in chunks) return chunks;
  const [header] = chunks;
  if (header === undefined || !ORDER_OF_CHUNKS.test(chunks.map(({ type }) => type).join(' '))) return BROKEN;
  const [profile, ...others] = chunks.filter(({ type }) => type === 'iCCP').map((each) => bodyOf(data, each));
  if (!isHeaderSound(data, chunks) || others.length > 0) return BROKEN;
  if (profile !== undefined && profile.length > MAX_COMPRESSED_PROFILE_BYTES) return BROKEN;
  return {
    bytes: withoutCompressedText(data, chunks),
    // Behind its name and the number of the compression method.
    profile: profile?.subarray(profile.indexOf(0) + 2),
    layout: layoutOf(data, chunks),
  };
}

/** Decoders inflate all of it while they read the header: 140 KB take them half a gigabyte and two seconds. */
function withoutCompressedText(data: Buffer, chunks: readonly Chunk[]): Buffer {
  const cut = chunks.filter((each) => isCompressedText(each.type, bodyOf(data, each)));
  const end = chunks.at(-1)?.end;
  if (cut.length === 0) return data.subarray(0, end);
  return Buffer.concat([
    ...cut.map(({ start }, place) => data.subarray(cut[place - 1]?.end ?? 0, start)),
    data.subarray(cut.at(-1)?.end, end),
  ]);
}

function isCompressedText(type: string, body: Buffer): boolean {
  // The flag stands behind the keyword. A body without an end of the keyword is no text at all.
  return type === 'zTXt' || (type === 'iTXt' && body[body.indexOf(0) + 1] !== 0);
}

/** Puts the provenance mark into a PNG that has none, as the uncompressed chunk that readers of XMP look for. */
export function markPng(png: Buffer): Buffer {
  return Buffer.concat([png.subarray(0, HEADER_END), MARK, png.subarray(HEADER_END)]);
}

function readChunks(data: Buffer): readonly Chunk[] | RefusedContainer {
  const chunks: Chunk[] = [];
  for (let at = SIGNATURE_BYTES; chunks.length < MAX_PARTS && at + CHUNK_OVERHEAD <= data.length; ) {
    const end = at + CHUNK_OVERHEAD + data.readUInt32BE(at);
    if (end > data.length) return BROKEN;
    const type = latin1(data, at + 4, 4);
    if (type === 'acTL') return ANIMATED;
    if (crc32(data.subarray(at + 4, end - 4)) !== data.readUInt32BE(end - 4)) return BROKEN;
    chunks.push({ type, start: at, end });
    if (type === 'IEND') return chunks;
    at = end;
  }
  return BROKEN;
}

function bodyOf(data: Buffer, { start, end }: Chunk): Buffer {
  return data.subarray(start + 8, end - 4);
}

function isHeaderSound(data: Buffer, chunks: readonly Chunk[]): boolean {
  if (chunks[0]?.end !== HEADER_END) return false;
  const { width, height } = sizeOf(data);
  const [depth = 0, colours = 0, compression, filter, interlace = 0] = data.subarray(24, 29);
  if (width === 0 || height === 0 || DEPTHS[colours]?.includes(depth) !== true) return false;
  if (compression !== 0 || filter !== 0 || interlace > 1) return false;
  return colours !== PALETTE || chunks.some(({ type }) => type === 'PLTE');
}

function sizeOf(data: Buffer): Layout['size'] {
  return { width: data.readUInt32BE(16), height: data.readUInt32BE(20) };
}

function layoutOf(data: Buffer, chunks: readonly Chunk[]): Layout | undefined {
  const exif = chunks.filter(({ type }) => type === 'eXIf');
  if (exif.length > 1 || !exif.every((chunk) => isUpright(bodyOf(data, chunk)))) return undefined;
  return {
    size: sizeOf(data),
    signed: chunks.some((chunk) => chunk.type === 'caBX' && isManifestStore(bodyOf(data, chunk))),
    cleaned: chunks.some(({ type }) => type === 'iCCP') ? undefined : clean(data, chunks),
  };
}

function clean(data: Buffer, chunks: readonly Chunk[]): readonly Uint8Array[] | undefined {
  const first = chunks.findIndex(({ type }) => type === 'IDAT');
  const last = chunks.findLastIndex(({ type }) => type === 'IDAT');
  const showing = chunks.slice(1, first).filter(({ type }) => SHOWING.has(type));
  // Decoders differ on which of two they take, and on one that is too long.
  const isOdd = new Set(showing.map(({ type }) => type)).size < showing.length;
  if (isOdd || showing.some((chunk) => bodyOf(data, chunk).length > (SHOWING.get(chunk.type) ?? 0))) {
    return undefined;
  }
  const shown = showing.map(({ start, end }) => data.subarray(start, end));
  const pixels = data.subarray(chunks[first]?.start, chunks[last]?.end);
  return [data.subarray(0, HEADER_END), MARK, ...shown, pixels, END];
}

function chunk(type: string, text: string): Buffer {
  const body = Buffer.from(`${type}${text}`);
  const whole = Buffer.alloc(body.length + 8);
  whole.writeUInt32BE(body.length - 4);
  body.copy(whole, 4);
  whole.writeUInt32BE(crc32(body), body.length + 4);
  return whole;
}
