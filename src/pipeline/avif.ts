/**
 * AVIF: its boxes (ISO/IEC 14496-12). Their metadata is addressed by offsets from elsewhere in the file, and rotation
 * and cropping are among it, so nothing is cut out of it: AVIF is always encoded anew.
 */
import { ANIMATED, BROKEN, latin1, MAX_PARTS, type Walk } from './container-walk.js';

/** Walks over the boxes of an AVIF. */
export function walkAvif(data: Buffer): Walk {
  if (brands(data).includes('avis')) return ANIMATED;
  const seen = new Set<string>();
  let at = 0;
  for (let part = 0; part < MAX_PARTS && at < data.length; part += 1) {
    const box = boxAt(data, at);
    const isWhole = seen.has('meta') && seen.has('mdat');
    // What is no box after a whole picture is not part of it.
    if (box === undefined || box.end > data.length)
      return isWhole && box?.type !== 'mdat' ? { bytes: data.subarray(0, at), layout: undefined } : BROKEN;
    if (box.type === 'moov') return ANIMATED;
    seen.add(box.type);
    at = box.end;
  }
  return seen.has('meta') && seen.has('mdat') ? { bytes: data, layout: undefined } : BROKEN;
}

/** Whether bytes begin as a still AVIF or a sequence does. */
export function isAvif(data: Buffer): boolean {
  return latin1(data, 4, 4) === 'ftyp' && brands(data).some((brand) => brand === 'avif' || brand === 'avis');
}

/** The box at an offset (4.2), or `undefined` when its header is none. */
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

/** The brands of the file: its own, its version, and the compatible ones. */
function brands(data: Buffer): readonly string[] {
  const end = Math.min(data.readUInt32BE(0), 256);
  return latin1(data, 8, end - 8).match(/.{4}/gs) ?? [];
}
