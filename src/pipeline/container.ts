/**
 * Looks at the container of a picture without decoding it: which format it is, where it ends, and what no decoder
 * should be given. Decoders forgive a missing end and inflate whatever they meet, so this comes before them.
 */
import { inflateSync } from 'node:zlib';
import type { ImageFormat } from '../core/image.js';

/**
 * Why bytes are not accepted: `unknown` is none of our formats, `broken` is damaged, cut short or hostile,
 * `animated` has more than one picture.
 */
export type ContainerFault = 'unknown' | 'broken' | 'animated';

/** A container that is whole. */
export interface Container {
  /** Its format by its own bytes. */
  readonly format: ImageFormat;
  /**
   * The container alone, a view without what follows its end. JPEG keeps what follows: only decoding tells where
   * it ends.
   */
  readonly bytes: Uint8Array;
}

/** Why a container was refused. */
export interface RefusedContainer {
  /** What is wrong. */
  readonly fault: ContainerFault;
}

type Walk = { readonly end: number } | RefusedContainer;

const BROKEN = { fault: 'broken' } as const satisfies RefusedContainer;
const ANIMATED = { fault: 'animated' } as const satisfies RefusedContainer;

// Millions of empty chunks would stall the event loop; no encoder writes nearly as many.
const MAX_PARTS = 65_536;

// What the compressed text and colour profile of a PNG may inflate to. The decoder inflates all of it while it
// reads the header: 140 KB of zTXt take it half a gigabyte and two seconds.
const MAX_INFLATED_BYTES = 4 * 1024 * 1024;

// Each scan of a progressive JPEG passes over the whole picture; encoders write about ten.
const MAX_SCANS = 100;

// A still picture and an image sequence.
const AVIF_BRANDS = ['avif', 'avis'];

const WALKS = {
  png: walkPng,
  jpeg: walkJpeg,
  webp: walkWebp,
  avif: walkAvif,
} as const satisfies Record<ImageFormat, (data: Buffer) => Walk>;

/** Reads a container from end to end. Costs microseconds for ordinary pictures and is bounded for hostile ones. */
export function readContainer(bytes: Uint8Array): Container | RefusedContainer {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const format = sniffFormat(data);
  if (format === undefined) return { fault: 'unknown' };
  const walk = WALKS[format](data);
  return 'fault' in walk ? walk : { format, bytes: bytes.subarray(0, walk.end) };
}

/** The format that bytes claim with their first ones, or `undefined` when it is none of ours. */
function sniffFormat(data: Buffer): ImageFormat | undefined {
  const head = latin1(data, 0, 16);
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'png';
  if (head.startsWith('\xff\xd8\xff')) return 'jpeg';
  if (head.startsWith('RIFF') && head.startsWith('WEBP', 8)) return 'webp';
  if (head.startsWith('ftyp', 4) && AVIF_BRANDS.some((brand) => brands(data).includes(brand))) return 'avif';
  return undefined;
}

function walkPng(data: Buffer): Walk {
  let at = 8;
  let inflatable = MAX_INFLATED_BYTES;
  for (let part = 0; part < MAX_PARTS && at + 12 <= data.length; part += 1) {
    const type = latin1(data, at + 4, 4);
    const end = at + 12 + data.readUInt32BE(at);
    if (end > data.length || (part === 0 && type !== 'IHDR')) return BROKEN;
    if (type === 'acTL') return ANIMATED;
    if (type === 'IEND') return { end };
    const compressed = compressedPart(type, data.subarray(at + 8, end - 4));
    if (compressed !== undefined) {
      const inflated = inflatedBytes(compressed, inflatable);
      if (inflated === undefined) return BROKEN;
      inflatable -= inflated;
    }
    at = end;
  }
  return BROKEN;
}

/** The zlib stream of an ancillary PNG chunk that has one. */
function compressedPart(type: string, body: Buffer): Buffer | undefined {
  const keywordEnd = body.indexOf(0);
  if (type === 'zTXt' || type === 'iCCP') return body.subarray(keywordEnd + 2);
  if (type !== 'iTXt' || (body[keywordEnd + 1] ?? 0) === 0) return undefined;
  const languageEnd = body.indexOf(0, keywordEnd + 3);
  return body.subarray(body.indexOf(0, languageEnd + 1) + 1);
}

function inflatedBytes(compressed: Buffer, limit: number): number | undefined {
  try {
    return inflateSync(compressed, { maxOutputLength: Math.max(1, limit) }).length;
  } catch {
    return undefined;
  }
}

function walkJpeg(data: Buffer): Walk {
  let at = 2;
  for (let part = 0; part < MAX_PARTS && at + 4 <= data.length; part += 1) {
    if (data[at] !== 0xff) return BROKEN;
    const marker = data[at + 1];
    if (marker === 0xda) return isScanned(data, at) ? { end: data.length } : BROKEN;
    // Any number of 0xff may stand before a marker.
    at += marker === 0xff ? 1 : 2 + data.readUInt16BE(at + 2);
  }
  return BROKEN;
}

/** Whether the scans from `start` on reach an end. Compressed data cannot contain a marker: its 0xff are escaped. */
function isScanned(data: Buffer, start: number): boolean {
  let scan = start;
  for (let scans = 0; scan >= 0; scans += 1) {
    if (scans === MAX_SCANS) return false;
    scan = data.indexOf('\xff\xda', scan + 2, 'latin1');
  }
  return data.includes('\xff\xd9', start, 'latin1');
}

function walkWebp(data: Buffer): Walk {
  const end = 8 + data.readUInt32LE(4);
  if (end > data.length) return BROKEN;
  let at = 12;
  let hasPixels = false;
  for (let part = 0; part < MAX_PARTS && at + 8 <= end; part += 1) {
    const type = latin1(data, at, 4);
    const length = data.readUInt32LE(at + 4);
    if (at + 8 + length > end) return BROKEN;
    if (type === 'ANIM' || type === 'ANMF') return ANIMATED;
    if (type === 'VP8X' && ((data[at + 8] ?? 0) & 0x02) !== 0) return ANIMATED;
    hasPixels ||= type === 'VP8 ' || type === 'VP8L';
    at += 8 + length + (length % 2);
  }
  return hasPixels ? { end } : BROKEN;
}

function walkAvif(data: Buffer): Walk {
  if (brands(data).includes('avis')) return ANIMATED;
  const seen = new Set<string>();
  let at = 0;
  for (let part = 0; part < MAX_PARTS && at < data.length; part += 1) {
    const box = boxAt(data, at);
    const isWhole = seen.has('meta') && seen.has('mdat');
    // What is no box after a whole picture is not part of it.
    if (box === undefined || box.end > data.length)
      return isWhole && box?.type !== 'mdat' ? { end: at } : BROKEN;
    if (box.type === 'moov') return ANIMATED;
    seen.add(box.type);
    at = box.end;
  }
  return seen.has('meta') && seen.has('mdat') ? { end: at } : BROKEN;
}

/** The box of an ISO base media file at an offset (ISO/IEC 14496-12, 4.2), or `undefined` when its header is none. */
function boxAt(data: Buffer, at: number): { readonly type: string; readonly end: number } | undefined {
  if (at + 8 > data.length) return undefined;
  const type = latin1(data, at + 4, 4);
  const length = data.readUInt32BE(at);
  if (length === 0) return { type, end: data.length };
  if (length !== 1) return length < 8 ? undefined : { type, end: at + length };
  if (at + 16 > data.length) return undefined;
  const longLength = Number(data.readBigUInt64BE(at + 8));
  return longLength < 16 ? undefined : { type, end: at + longLength };
}

/** The brands of an ISO base media file: its own, its version, and the compatible ones. */
function brands(data: Buffer): readonly string[] {
  const end = Math.min(data.readUInt32BE(0), 256);
  return latin1(data, 8, end - 8).match(/.{4}/gs) ?? [];
}

function latin1(data: Buffer, start: number, length: number): string {
  return data.toString('latin1', start, start + length);
}
