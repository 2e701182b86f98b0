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
import { passesOf } from './png-rows.js';
import { PROVENANCE_XMP } from './provenance.js';

type Chunk = Part<string>;

const SIGNATURE_BYTES = 8;
// Length, type and checksum.
const CHUNK_OVERHEAD = 12;
const HEADER_END = 33;

// The largest profiles have half as much. A megabyte that inflates to nothing keeps a core busy for a tenth of a
// second.
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
const [TRUECOLOUR, PALETTE, TRUECOLOUR_WITH_ALPHA] = [2, 3, 6];

// How many samples make a pixel, by colour type.
const SAMPLES: Readonly<Record<number, number>> = { 0: 1, 2: 3, [PALETTE]: 1, 4: 2, 6: 4 };

/**
 * The chunks before the pixels that decide how they are shown, and whether one has just the length it should: no room
 * for text. A colour profile has room, so a picture with one is converted to sRGB by the encoder instead.
 */
const SHOWING: ReadonlyMap<string, (length: number, header: Header) => boolean> = new Map(
  Object.entries({
    PLTE: (length, { colours, depth }) =>
      colours === PALETTE && length > 0 && length % 3 === 0 && length <= 3 * 2 ** depth,
    tRNS: (length, { colours }) => (colours === PALETTE ? length > 0 : length === TRANSPARENT_BYTES[colours]),
    sRGB: (length) => length === 1,
    gAMA: (length) => length === 4,
    cHRM: (length) => length === 32,
    cICP: (length) => length === 4,
    sBIT: (length, { colours }) => length === (colours === PALETTE ? 3 : SAMPLES[colours]),
    pHYs: (length) => length === 9,
  } satisfies Record<string, (length: number, header: Header) => boolean>),
);

// Behind it comes its transparency, in front of it what colours mean; the size of a pixel goes anywhere (5.6, table 7).
const ORDER_OF_PALETTE = /^(?:(?!tRNS)\w{4} )*PLTE(?: tRNS| pHYs)*$/;

// The one colour that is transparent, where there is no palette and no alpha.
const TRANSPARENT_BYTES: Readonly<Record<number, number>> = { 0: 2, 2: 6 };

// Keyword, then: not compressed, no language, no translated keyword (XMP specification part 3, 1.1.5).
const MARK = chunk('iTXt', `XML:com.adobe.xmp\0\0\0\0\0${PROVENANCE_XMP}`);
const END = chunk('IEND', '');

/** Walks over a PNG and checks every checksum. */
export function walkPng(data: Buffer): Walk {
  const chunks = readChunks(data);
  if ('fault' in chunks) return chunks;
  if (!ORDER_OF_CHUNKS.test(chunks.map(({ type }) => type).join(' '))) return BROKEN;
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
export function markPng(png: Uint8Array): Buffer {
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

interface Header {
  readonly width: number;
  readonly height: number;
  /** Bits per sample. */
  readonly depth: number;
  /** Colour type. */
  readonly colours: number;
  readonly isInterlaced: boolean;
}

function headerOf(data: Buffer): Header {
  const [depth = 0, colours = 0] = data.subarray(24, 26);
  const size = { width: data.readUInt32BE(16), height: data.readUInt32BE(20) };
  return { ...size, depth, colours, isInterlaced: data[28] === 1 };
}

function isHeaderSound(data: Buffer, chunks: readonly Chunk[]): boolean {
  if (chunks[0]?.end !== HEADER_END) return false;
  const { width, height, depth, colours } = headerOf(data);
  const [compression, filter, interlace = 0] = data.subarray(26, 29);
  if (width === 0 || height === 0 || DEPTHS[colours]?.includes(depth) !== true) return false;
  if (compression !== 0 || filter !== 0 || interlace > 1) return false;
  return colours !== PALETTE || chunks.some(({ type }) => type === 'PLTE');
}

function layoutOf(data: Buffer, chunks: readonly Chunk[]): Layout | undefined {
  const exif = chunks.filter(({ type }) => type === 'eXIf');
  if (exif.length > 1 || !exif.every((chunk) => isUpright(bodyOf(data, chunk)))) return undefined;
  const { width, height, ...header } = headerOf(data);
  const size = { width, height };
  const bits = header.depth * (SAMPLES[header.colours] ?? 0);
  return {
    size,
    signed: chunks.some((chunk) => chunk.type === 'caBX' && isManifestStore(bodyOf(data, chunk))),
    cleaned: chunks.some(({ type }) => type === 'iCCP') ? undefined : clean(data, chunks),
    rows: {
      stream: chunks.filter(({ type }) => type === 'IDAT').map((each) => bodyOf(data, each)),
      passes: passesOf(size, bits, header.isInterlaced),
    },
  };
}

function clean(data: Buffer, chunks: readonly Chunk[]): readonly Uint8Array[] | undefined {
  const header = headerOf(data);
  const first = chunks.findIndex(({ type }) => type === 'IDAT');
  const last = chunks.findLastIndex(({ type }) => type === 'IDAT');
  const showing = chunks.slice(1, first).filter(({ type }) => SHOWING.has(type) && !isIdle(type, header));
  // Decoders differ on which of two they take, and on one that is too long.
  const isOdd = new Set(showing.map(({ type }) => type)).size < showing.length || !isPaletteSound(showing);
  if (isOdd || !showing.every((chunk) => SHOWING.get(chunk.type)?.(bodyOf(data, chunk).length, header))) {
    return undefined;
  }
  const shown = showing.map(({ start, end }) => data.subarray(start, end));
  const pixels = data.subarray(chunks[first]?.start, chunks[last]?.end);
  return [data.subarray(0, HEADER_END), MARK, ...shown, pixels, END];
}

/**
 * Whether a chunk changes nothing: the palette of a picture that has all colours is a hint for screens that have not.
 */
function isIdle(type: string, { colours }: Header): boolean {
  return type === 'PLTE' && (colours === TRUECOLOUR || colours === TRUECOLOUR_WITH_ALPHA);
}

/**
 * Whether a palette, if there is one, is where all decoders look for it, and no more is said to be transparent than it
 * has.
 */
function isPaletteSound(showing: readonly Chunk[]): boolean {
  const palette = showing.find(({ type }) => type === 'PLTE');
  const transparency = showing.find(({ type }) => type === 'tRNS');
  if (palette === undefined) return true;
  if (!ORDER_OF_PALETTE.test(showing.map(({ type }) => type).join(' '))) return false;
  return transparency === undefined || 3 * bodyLength(transparency) <= bodyLength(palette);
}

function bodyLength({ start, end }: Chunk): number {
  return end - start - CHUNK_OVERHEAD;
}

function chunk(type: string, text: string): Buffer {
  const body = Buffer.from(`${type}${text}`);
  const whole = Buffer.alloc(body.length + 8);
  whole.writeUInt32BE(body.length - 4);
  body.copy(whole, 4);
  whole.writeUInt32BE(crc32(body), body.length + 4);
  return whole;
}
