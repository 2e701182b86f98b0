/**
 * What the walks over the four containers share: the shape of what they find, their bounds, and what they look into.
 */
import type { Size } from '../core/image.js';

/**
 * Why bytes are not accepted: `unknown` is none of our formats, `broken` is damaged, cut short or hostile,
 * `animated` has more than one picture.
 */
export type ContainerFault = 'unknown' | 'broken' | 'animated';

/** Why a container was refused. */
export interface RefusedContainer {
  /** What is wrong. */
  readonly fault: ContainerFault;
}

/** Compressed rows of a PNG, which can be checked in full without making a picture of them. */
export interface PixelRows {
  /** The zlib stream, in pieces. */
  readonly stream: readonly Uint8Array[];
  /** What it inflates to: one pass over the picture, or the seven of an interlaced one. None is empty. */
  readonly passes: readonly RowPass[];
}

/** Rows of one length, each behind a byte that says how it was filtered. */
export interface RowPass {
  /** How many. */
  readonly rows: number;
  /** Their length without the filter's byte. */
  readonly rowBytes: number;
}

/** What the container says of a picture that every viewer shows just as its pixels are stored: upright, uncropped. */
export interface Layout {
  /** Its pixels. */
  readonly size: Size;
  /** Whether it carries a C2PA manifest. Nobody has checked the signature. */
  readonly signed: boolean;
  /**
   * The same picture in pieces, to be put together: the parts that hold the pixels and how they are shown, our
   * provenance mark, and no other part. Nobody has looked into the pixels: behind their compressed end, or in tables
   * that no pixel uses, may be anything. `undefined` where only a decoder makes it one that every viewer shows alike.
   */
  readonly cleaned: readonly Uint8Array[] | undefined;
  /** A PNG's compressed pixels, in which nobody has looked; `undefined` in other formats. */
  readonly rows?: PixelRows | undefined;
}

/** A container read from end to end. */
export interface WalkedContainer {
  /**
   * The container as a decoder may have it: without what follows its end and without compressed text, which decoders
   * inflate before they look at the size. A view of what was read where nothing is cut out of it.
   */
  readonly bytes: Uint8Array;
  /** The zlib stream of its colour profile, which decoders inflate as early. Nobody has looked into it. */
  readonly profile?: Uint8Array | undefined;
  /** `undefined` where only a decoder can tell. */
  readonly layout: Layout | undefined;
}

/** What a walk makes of bytes with the right beginning. */
export type Walk = WalkedContainer | RefusedContainer;

/** A part of a container: a PNG or WebP chunk, a JPEG segment. */
export interface Part<Type> {
  /** What its format calls it. */
  readonly type: Type;
  /** Offset of its first byte, header included. */
  readonly start: number;
  /** Offset behind its last byte. */
  readonly end: number;
}

/** The refusal of what is damaged, cut short or hostile. */
export const BROKEN: RefusedContainer = { fault: 'broken' };

/** The refusal of more than one picture. */
export const ANIMATED: RefusedContainer = { fault: 'animated' };

/** Most parts of a container. Each takes a microsecond of the event loop; 64 MB in pieces of 4 KB are as many. */
export const MAX_PARTS = 16_384;

/** Bytes as text, one character each. */
export function latin1(data: Buffer, start: number, length: number): string {
  return data.toString('latin1', start, start + length);
}

/**
 * Whether bytes begin as a C2PA manifest store does: a JUMBF superbox with a description of type `c2pa` (C2PA
 * specification 2.1, 11.1.4).
 */
export function isManifestStore(data: Buffer): boolean {
  return latin1(data, 4, 4) === 'jumb' && latin1(data, 12, 8) === 'jumdc2pa';
}

const ORIENTATION_TAG = 0x0112;
const SHORT_TYPE = 3;

/**
 * Whether EXIF data says for certain that a picture is stored upright: its first directory has no orientation, or
 * number 1 (TIFF 6.0, section 2). Doubt is a no.
 */
export function isUpright(exif: Buffer): boolean {
  const tiff = latin1(exif, 0, 6) === 'Exif\0\0' ? exif.subarray(6) : exif;
  const order = latin1(tiff, 0, 4);
  if (tiff.length < 8 || (order !== 'II*\0' && order !== 'MM\0*')) return false;
  const isLittle = order.startsWith('I');
  const short = (at: number) => (isLittle ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at));
  const long = (at: number) => (isLittle ? tiff.readUInt32LE(at) : tiff.readUInt32BE(at));
  const directory = long(4);
  if (directory + 2 > tiff.length) return false;
  const entriesEnd = directory + 2 + 12 * short(directory);
  if (entriesEnd > tiff.length) return false;
  for (let at = directory + 2; at < entriesEnd; at += 12) {
    if (short(at) !== ORIENTATION_TAG) continue;
    if (short(at + 2) !== SHORT_TYPE || long(at + 4) !== 1 || short(at + 8) !== 1) return false;
  }
  return true;
}
