/** JPEG: its segments, what they say, and which of them a clean picture keeps (ITU-T T.81, annex B). */
import {
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
import { areTablesUsed, type TableStep } from './jpeg-tables.js';
import { PROVENANCE_XMP } from './provenance.js';

type Segment = Part<number>;

const [EOI, SOS, APP0, APP1, APP2, APP11, APP14, COM] = [0xd9, 0xda, 0xe0, 0xe1, 0xe2, 0xeb, 0xee, 0xfe];
// Huffman tables, arithmetic conditioning, quantisation tables, restart interval.
const TABLES = [0xc4, 0xcc, 0xdb, 0xdd];
// The height of a picture whose header leaves it out.
const DNL = 0xdc;
const FRAMES = [...range(0xc0, 0xc3), ...range(0xc5, 0xc7), ...range(0xc9, 0xcb), ...range(0xcd, 0xcf)];
// Baseline, extended and progressive with Huffman codes: what every viewer reads.
const COMMON_FRAMES = range(0xc0, 0xc2);
const KNOWN = new Set([...FRAMES, ...TABLES, SOS, DNL, ...range(APP0, 0xef), COM]);
const PIXELS = new Set([...FRAMES, ...TABLES, SOS]);

// Each scan of a progressive JPEG passes over the whole picture; encoders write about ten.
const MAX_SCANS = 100;

const START = Buffer.from([0xff, 0xd8]);
const END = Buffer.from([0xff, EOI]);
// Version 1.1, square pixels, no thumbnail.
const JFIF = segment(APP0, Buffer.from('JFIF\0\x01\x01\0\0\x01\0\x01\0\0', 'latin1'));
const MARK = segment(APP1, Buffer.from(`http://ns.adobe.com/xap/1.0/\0${PROVENANCE_XMP}`));

/** Walks over a JPEG to the end of its last scan. */
export function walkJpeg(data: Buffer): Walk {
  const segments = readSegments(data);
  if ('fault' in segments) return segments;
  const scans = segments.filter(({ type }) => type === SOS).length;
  const [frame, ...others] = segments.filter(({ type }) => FRAMES.includes(type));
  if (frame === undefined || others.length > 0 || scans === 0 || scans > MAX_SCANS) return BROKEN;
  const end = data.indexOf(END, segments.at(-1)?.end) + END.length;
  return { bytes: data.subarray(0, end), layout: layoutOf({ data, segments }, frame) };
}

/** The segments between the start and the first end that is none of a segment's own bytes, a thumbnail's say. */
function readSegments(data: Buffer): readonly Segment[] | RefusedContainer {
  const segments: Segment[] = [];
  for (let at = START.length; segments.length < MAX_PARTS && at + 2 <= data.length; ) {
    const type = data[at + 1] ?? 0;
    if (data[at] !== 0xff) return BROKEN;
    if (type === EOI) return segments;
    // Any number of 0xff may stand before a marker.
    if (type === 0xff) {
      at += 1;
      continue;
    }
    if (!KNOWN.has(type) || at + 4 > data.length) return BROKEN;
    const length = data.readUInt16BE(at + 2);
    const end = type === SOS ? scanEnd(data, at + 2 + length) : at + 2 + length;
    if (length < 2 || end > data.length) return BROKEN;
    segments.push({ type, start: at, end });
    at = end;
  }
  return BROKEN;
}

/** Where compressed data ends: at the next marker. It holds none itself but restarts: its other 0xff are escaped. */
function scanEnd(data: Buffer, start: number): number {
  for (let at = start; at < data.length; at += 1) {
    if (data[at] !== 0xff) continue;
    const next = data[at + 1] ?? 0;
    const isRestart = next >= 0xd0 && next <= 0xd7;
    if (next !== 0 && next !== 0xff && !isRestart) return at;
  }
  return data.length;
}

function bodyOf(data: Buffer, { start, end }: Segment): Buffer {
  return data.subarray(start + 4, end);
}

/** The segments of a type whose body begins with a label. */
function labelled(found: Found, type: number, label: string): readonly Segment[] {
  const { data, segments } = found;
  return segments.filter(
    (each) => each.type === type && latin1(bodyOf(data, each), 0, label.length) === label,
  );
}

interface Found {
  readonly data: Buffer;
  readonly segments: readonly Segment[];
}

function layoutOf(found: Found, frame: Segment): Layout | undefined {
  const { data } = found;
  const exif = labelled(found, APP1, 'Exif');
  if (exif.length > 1 || !exif.every((each) => isUpright(bodyOf(data, each)))) return undefined;
  // Precision, height, width, number of colours and three bytes for each.
  const fields = bodyOf(data, frame);
  if (fields.length < 9 || fields.length !== 6 + 3 * fields.readUInt8(5)) return undefined;
  const size = { width: fields.readUInt16BE(3), height: fields.readUInt16BE(1) };
  if (size.width === 0 || size.height === 0) return undefined;
  const isCommon =
    COMMON_FRAMES.includes(frame.type) && fields[0] === 8 && (fields[5] === 1 || fields[5] === 3);
  const hasProfile = labelled(found, APP2, 'ICC_PROFILE\0').length > 0;
  const isPlain = isCommon && !hasProfile && areTablesUsed(fields, tableSteps(found));
  return {
    size,
    // After `JP` come instance and number of the packet; the first holds the beginning of the manifest store.
    signed: labelled(found, APP11, 'JP').some((each) => isManifestStore(bodyOf(data, each).subarray(8))),
    cleaned: isPlain ? clean(found) : undefined,
  };
}

/** The segments with tables, and the headers of the scans between them. */
function tableSteps({ data, segments }: Found): readonly TableStep[] {
  return segments
    .filter(({ type }) => type === SOS || TABLES.includes(type))
    .map(({ type, start }) => {
      return { type, body: data.subarray(start + 4, start + 2 + data.readUInt16BE(start + 2)) };
    });
}

/**
 * JFIF and Adobe segments tell decoders which colours they have before them, by being there and by one byte: they
 * are written anew. Those after the first scan come too late to tell anything.
 */
function clean({ data, segments }: Found): readonly Uint8Array[] {
  const header = segments.slice(
    0,
    segments.findIndex(({ type }) => type === SOS),
  );
  const found = { data, segments: header };
  const isJfif = labelled(found, APP0, 'JFIF\0').some((each) => bodyOf(data, each).length >= 14);
  const adobe = labelled(found, APP14, 'Adobe').filter((each) => bodyOf(data, each).length >= 12);
  return [
    START,
    ...(isJfif ? [JFIF] : []),
    MARK,
    // Of several decoders take the last.
    ...adobe.slice(-1).map((each) => adobeSegment(bodyOf(data, each).readUInt8(11))),
    ...segments.filter(({ type }) => PIXELS.has(type)).map(({ start, end }) => data.subarray(start, end)),
    END,
  ];
}

/** Version 100, no flags, and how colours were transformed. */
function adobeSegment(transform: number): Buffer {
  return segment(APP14, Buffer.from([...Buffer.from('Adobe'), 0, 100, 0, 0, 0, 0, transform]));
}

function segment(type: number, body: Buffer): Buffer {
  const head = Buffer.from([0xff, type, 0, 0]);
  head.writeUInt16BE(body.length + 2, 2);
  return Buffer.concat([head, body]);
}

function range(first: number, last: number): readonly number[] {
  return Array.from({ length: last - first + 1 }, (_, place) => first + place);
}
