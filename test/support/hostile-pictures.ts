/** Pictures that must not be accepted, and pictures that say more than they should. */
import { deflateSync } from 'node:zlib';
import sharp from 'sharp';
import type { ImageFormat, Size } from '../../src/core/image.js';
import { type Chunked, type LoosePart, putTogether, takeApart } from './container-parts.js';
import { exifOf, manifestStore } from './metadata.js';
import { picture, pngChunk, pngHeader, withoutPngEnd, withPngChunks } from './pictures.js';

/** One input of a hostile provider. */
export interface HostilePicture {
  /** What it is. */
  readonly name: string;
  /** Its bytes. */
  readonly bytes: Buffer;
}

/** A text that must not survive in any result. */
export const CANARY = 'canary-7f3a91';

const PNG_SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
const FORMATS = ['png', 'jpeg', 'webp', 'avif'] as const satisfies readonly ImageFormat[];

/** Everything that has to be refused as none of our formats, broken or a bomb. */
export async function refusedPictures(): Promise<readonly HostilePicture[]> {
  return [
    ...foreignFiles(),
    ...(await truncated()),
    ...(await bombs()),
    ...(await animations()),
    ...(await liars()),
  ];
}

/** Files that are no pictures, or not of our formats. */
export function foreignFiles(): readonly HostilePicture[] {
  const svg =
    '<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><script>alert(1)</script></svg>';
  const text = {
    empty: '',
    'one byte': '\x89',
    HTML: '<!doctype html><title>502 Bad Gateway</title>',
    JSON: '{"error":{"message":"no"}}',
    SVG: svg,
    'SVG with a declaration': `<?xml version="1.0"?>${svg}`,
    PDF: '%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF',
    EPS: '%!PS-Adobe-3.0 EPSF-3.0\n',
    GIF: 'GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;',
    'TIFF, little-endian': 'II*\x00\x08\x00\x00\x00\x00\x00',
    'TIFF, big-endian': 'MM\x00*\x00\x00\x00\x08\x00\x00',
    BMP: 'BM\x1a\x00\x00\x00\x00\x00\x00\x00\x1a\x00\x00\x00',
    HEIC: '\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic',
    MP4: '\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42',
    'a box of no length': '\x00\x00\x00\x00ftyp',
    'JPEG XL': '\xff\x0a\xfa\x1f',
    WAVE: 'RIFF\x24\x00\x00\x00WAVEfmt ',
    ZIP: 'PK\x03\x04\x14\x00\x00\x00',
  };
  return Object.entries(text).map(([name, content]) => ({ name, bytes: Buffer.from(content, 'latin1') }));
}

/** Each format cut short: inside its header, in the middle, and just before its end. */
export async function truncated(): Promise<readonly HostilePicture[]> {
  const found: HostilePicture[] = [];
  for (const format of FORMATS) {
    const whole = await picture(format, { width: 256, height: 256 });
    for (const end of [12, 40, whole.length >> 2, whole.length >> 1, whole.length - 20, whole.length - 1]) {
      found.push({ name: `${format}, ${end} of ${whole.length} bytes`, bytes: whole.subarray(0, end) });
    }
  }
  const png = await picture('png');
  const jpeg = await picture('jpeg');
  return [
    ...found,
    { name: 'PNG without its end', bytes: withoutPngEnd(png) },
    { name: 'JPEG without its end', bytes: jpeg.subarray(0, -2) },
    { name: 'PNG signature alone', bytes: PNG_SIGNATURE },
    { name: 'PNG without pixels', bytes: pngOf([pngHeader({ width: 64, height: 64 })]) },
  ];
}

/** Small files that want gigabytes or minutes. */
export async function bombs(): Promise<readonly HostilePicture[]> {
  const png = await picture('png');
  const profileOf = (data: Buffer) => pngChunk('iCCP', Buffer.concat([Buffer.from('x\0\0', 'latin1'), data]));
  const profile = profileOf(megabytes(40));
  const small = profileOf(deflateSync(Buffer.from('x')));
  // Empty blocks that are stored as they are.
  const blocks = Buffer.alloc(2 << 20, Buffer.from([0, 0, 0, 0xff, 0xff]));
  const empty = profileOf(Buffer.concat([Buffer.from([0x78, 0x01]), blocks]));
  const tiny = pngChunk('IDAT', deflateSync(Buffer.alloc(64)));
  return [
    {
      name: 'PNG header of 60000 squared',
      bytes: pngOf([pngHeader({ width: 60_000, height: 60_000 }), tiny]),
    },
    { name: 'PNG of one row too wide', bytes: pngOf([pngHeader({ width: 2 ** 31 - 1, height: 1 }), tiny]) },
    { name: 'JPEG header of 65500 squared', bytes: await wideJpeg() },
    { name: 'WebP of 16383 squared in 32 bytes', bytes: flatWebp({ width: 16_383, height: 16_383 }) },
    { name: 'PNG with a profile of 40 MB', bytes: withPngChunks(png, [profile]) },
    { name: 'PNG with a thousand profiles', bytes: withPngChunks(png, Array(1_000).fill(small)) },
    {
      name: 'PNG with a profile of two megabytes that inflate to nothing',
      bytes: withPngChunks(png, [empty]),
    },
    { name: 'PNG of a million empty chunks', bytes: withPngChunks(png, [emptyChunks(1_000_000)]) },
    { name: 'JPEG of thousands of scans', bytes: await scannedJpeg(2_000) },
  ];
}

/** Sound PNGs whose compressed text wants gigabytes or minutes of who inflates it. */
export async function textBombs(): Promise<readonly HostilePicture[]> {
  const png = await picture('png');
  const text = (data: Buffer) =>
    pngChunk('zTXt', Buffer.concat([Buffer.from('Comment\0\0', 'latin1'), data]));
  const head = Buffer.from('Comment\0\x01\0\0\0', 'latin1');
  const international = pngChunk('iTXt', Buffer.concat([head, megabytes(8)]));
  const small = text(deflateSync(Buffer.from('x')));
  return [
    { name: 'PNG with one zTXt of 8 MB', bytes: withPngChunks(png, [text(megabytes(8))]) },
    { name: 'PNG with 100 zTXt of 8 MB', bytes: withPngChunks(png, Array(100).fill(text(megabytes(8)))) },
    { name: 'PNG with 20 compressed iTXt of 8 MB', bytes: withPngChunks(png, Array(20).fill(international)) },
    { name: 'PNG with 16,000 zTXt', bytes: withPngChunks(png, Array(16_000).fill(small)) },
    { name: 'PNG with zTXt that is no zlib', bytes: withPngChunks(png, [text(Buffer.from('no zlib'))]) },
  ];
}

function megabytes(count: number): Buffer {
  return deflateSync(Buffer.alloc(count * 1024 * 1024, 'a'), { level: 9 });
}

/** More than one picture in one file. */
export async function animations(): Promise<readonly HostilePicture[]> {
  const frame = await picture('png');
  const other = await sharp(frame).negate().png().toBuffer();
  const webp = await sharp([frame, other], { join: { animated: true } })
    .webp({ loop: 0, delay: [100, 100] })
    .toBuffer();
  const control = Buffer.alloc(8);
  control.writeUInt32BE(2, 0);
  const sequence = Buffer.from(await picture('avif'));
  sequence.write('avis', 8, 'latin1');
  return [
    { name: 'animated WebP', bytes: webp },
    { name: 'animated PNG', bytes: withPngChunks(frame, [pngChunk('acTL', control)]) },
    { name: 'AVIF sequence', bytes: sequence },
  ];
}

/** Containers that contradict themselves. */
async function liars(): Promise<readonly HostilePicture[]> {
  const png = Buffer.from(await picture('png'));
  const middle = png.length >> 1;
  png.writeUInt8((png.at(middle) ?? 0) ^ 0xff, middle);
  const avif = Buffer.from(await picture('avif', { width: 4096, height: 4096 }));
  const extent = avif.indexOf('ispe') + 8;
  avif.writeUInt32BE(64, extent);
  avif.writeUInt32BE(64, extent + 4);
  const hevc = Buffer.from(await picture('avif'));
  hevc.write('hvc1', hevc.indexOf('av01'), 'latin1');
  return [
    { name: 'PNG with a flipped byte', bytes: png },
    { name: 'AVIF of 4096 squared that claims 64 squared', bytes: avif },
    { name: 'AVIF with another codec inside', bytes: hevc },
    { name: 'WebP that claims a canvas smaller than its picture', bytes: smallCanvas() },
    { name: 'GIF behind a JPEG marker', bytes: Buffer.from('\xff\xd8\xffGIF89a', 'latin1') },
  ];
}

/** Sound pictures that carry what must not survive, every one with {@link CANARY} in it. */
export async function talkativePictures(): Promise<readonly HostilePicture[]> {
  const png = await picture('png');
  const jpeg = await picture('jpeg');
  const webp = await picture('webp');
  const avif = await picture('avif');
  const note = Buffer.from(`parameters\0a cat, ${CANARY}`, 'latin1');
  const hidden = Buffer.concat([Buffer.from('parameters\0\0', 'latin1'), deflateSync(Buffer.from(CANARY))]);
  const html = Buffer.from(`<html><script>/* ${CANARY} */</script></html>`);
  const zip = Buffer.from(`PK\x03\x04\x14\0\0\0\0\0${CANARY}PK\x05\x06`, 'latin1');
  const comment = Buffer.concat([Buffer.from([0xff, 0xfe, 0, 2 + CANARY.length]), Buffer.from(CANARY)]);
  const personal = sharp(jpeg).withExif({
    IFD0: { Copyright: CANARY, ImageDescription: CANARY, Software: CANARY },
    IFD3: { GPSLatitudeRef: 'N', GPSLatitude: '51/1 30/1 0/1', GPSAreaInformation: CANARY },
  });
  const about = `XML:com.adobe.xmp\0\0\0\0\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><!-- ${CANARY} --></x:xmpmeta>`;
  return [
    { name: 'PNG with a prompt in tEXt', bytes: withPngChunks(png, [pngChunk('tEXt', note)]) },
    { name: 'PNG with a prompt in zTXt', bytes: withPngChunks(png, [pngChunk('zTXt', hidden)]) },
    {
      name: 'PNG with a forged manifest',
      bytes: withPngChunks(png, [pngChunk('caBX', Buffer.from(CANARY))]),
    },
    {
      name: 'PNG with a chunk of its own',
      bytes: withPngChunks(png, [pngChunk('prVt', Buffer.from(CANARY))]),
    },
    { name: 'PNG and HTML', bytes: Buffer.concat([png, html]) },
    { name: 'PNG and ZIP', bytes: Buffer.concat([png, zip]) },
    { name: 'JPEG with EXIF and GPS', bytes: await personal.clone().jpeg().toBuffer() },
    { name: 'JPEG with a comment', bytes: Buffer.concat([jpeg.subarray(0, 2), comment, jpeg.subarray(2)]) },
    { name: 'JPEG and ZIP', bytes: Buffer.concat([jpeg, zip]) },
    { name: 'WebP with EXIF and GPS', bytes: await personal.clone().webp().toBuffer() },
    { name: 'WebP and ZIP', bytes: Buffer.concat([webp, zip]) },
    { name: 'AVIF with EXIF and GPS', bytes: await personal.clone().avif({ effort: 0 }).toBuffer() },
    { name: 'AVIF and HTML', bytes: Buffer.concat([avif, html]) },
    { name: 'PNG with XMP of its own', bytes: withPngChunks(png, [pngChunk('iTXt', Buffer.from(about))]) },
    ...withParts('png', png, [
      { name: 'EXIF', type: 'eXIf', body: Buffer.concat([exifOf(1), Buffer.from(CANARY)]) },
      { name: 'a manifest nobody signed', type: 'caBX', body: manifestStore(CANARY) },
      { name: 'too long a gamma', type: 'gAMA', body: Buffer.from(`\0\0\xb1\x8f${CANARY}`, 'latin1') },
      { name: 'a named palette', type: 'sPLT', body: Buffer.from(`${CANARY}\0\x08`, 'latin1') },
    ]),
    { name: 'PNG with text behind its compressed pixels', bytes: withPixelTail(png, zip) },
    { name: 'PNG with a file in one more chunk of pixels', bytes: withLastPixels(png, zip) },
    {
      name: 'PNG of all colours with a palette of text',
      bytes: withPngChunks(png, [pngChunk('PLTE', Buffer.alloc(768, CANARY))]),
    },
    { name: 'PNG with text in its end', bytes: Buffer.concat([withoutPngEnd(png), pngChunk('IEND', html)]) },
    ...withParts('jpeg', jpeg, [
      { name: 'a thumbnail of text', type: '\xe0', body: thumbnail(CANARY) },
      { name: 'an extension of JFIF', type: '\xe0', body: Buffer.from(`JFXX\0\x10${CANARY}`, 'latin1') },
      { name: 'XMP of its own', type: '\xe1', body: Buffer.from(`http://ns.adobe.com/xap/1.0/\0${CANARY}`) },
      { name: 'IPTC', type: '\xed', body: photoshop(CANARY) },
      {
        name: 'a manifest nobody signed',
        type: '\xeb',
        body: Buffer.concat([Buffer.from('JP\0\x01\0\0\0\x01', 'latin1'), manifestStore(CANARY)]),
      },
      { name: 'a long Adobe segment', type: '\xee', body: Buffer.from(`Adobe\0\x64\0\0\0\0\x01${CANARY}`) },
      { name: 'a quantiser that another follows', type: '\xdb', body: table(0, 64) },
      { name: 'a quantiser of no colour', type: '\xdb', body: table(3, 64) },
      { name: 'codes of no colour', type: '\xc4', body: codes(0x13) },
      { name: 'codes that others follow', type: '\xc4', body: codes(0x00) },
      { name: 'a height that is not needed', type: '\xdc', body: Buffer.from(CANARY) },
    ]),
    ...withParts('webp', webp, [
      { name: 'XMP of its own', type: 'XMP ', body: Buffer.from(CANARY) },
      { name: 'a manifest nobody signed', type: 'C2PA', body: manifestStore(CANARY) },
      { name: 'a chunk of its own', type: 'text', body: Buffer.from(CANARY) },
    ]),
    { name: 'WebP with transparency it does not speak of', bytes: withIdleAlpha(webp) },
  ];
}

/** A PNG with bytes in its last chunk of pixels, behind the end of what inflates. */
function withPixelTail(png: Buffer, tail: Buffer): Buffer {
  const parts = takeApart('png', png);
  const last = parts.findLast(({ type }) => type === 'IDAT');
  const longer = (part: LoosePart) => ({ ...part, body: Buffer.concat([part.body, tail]) });
  return putTogether(
    'png',
    parts.map((part) => (part === last ? longer(part) : part)),
  );
}

function withLastPixels(png: Buffer, body: Buffer): Buffer {
  return putTogether('png', takeApart('png', png).toSpliced(-1, 0, { type: 'IDAT', body }));
}

/** A lossy WebP with an extended header that knows of no transparency, and a chunk of it. */
function withIdleAlpha(webp: Buffer): Buffer {
  const header = Buffer.alloc(10);
  header.writeUIntLE(64 - 1, 4, 3);
  header.writeUIntLE(64 - 1, 7, 3);
  const alpha = Buffer.concat([Buffer.from([0]), Buffer.alloc(64 * 64, CANARY)]);
  return putTogether('webp', [
    { type: 'VP8X', body: header },
    { type: 'ALPH', body: alpha },
    ...takeApart('webp', webp),
  ]);
}

interface TalkativePart extends LoosePart {
  readonly name: string;
}

/** A picture once with each of some parts, where a decoder ignores it: before the pixels; in WebP behind them. */
function withParts(
  format: Chunked,
  bytes: Buffer,
  added: readonly TalkativePart[],
): readonly HostilePicture[] {
  return added.map(({ name, ...part }) => {
    const parts = [...takeApart(format, bytes)];
    parts.splice({ png: 1, jpeg: 0, webp: parts.length }[format], 0, part);
    return { name: `${format} with ${name}`, bytes: putTogether(format, parts) };
  });
}

/** A JFIF segment whose thumbnail, one row of three bytes a pixel, is a text. */
function thumbnail(text: string): Buffer {
  const pixels = Math.ceil(text.length / 3);
  const head = Buffer.from([...Buffer.from('JFIF\0'), 1, 2, 0, 0, 1, 0, 1, pixels, 1]);
  return Buffer.concat([head, Buffer.from(text.padEnd(3 * pixels))]);
}

/** A JPEG table of text. */
function table(id: number, length: number): Buffer {
  return Buffer.concat([Buffer.from([id]), Buffer.alloc(length, CANARY)]);
}

/** A Huffman table, as many codes of eight bits as a text has letters. */
function codes(id: number): Buffer {
  const counts = Buffer.alloc(16);
  counts[7] = CANARY.length;
  return Buffer.concat([Buffer.from([id]), counts, Buffer.from(CANARY)]);
}

/** An image resource block of Photoshop with an IPTC caption. */
function photoshop(caption: string): Buffer {
  const iptc = Buffer.from(`\x1c\x02\x78\0${String.fromCharCode(caption.length)}${caption}`, 'latin1');
  const head = Buffer.from(
    `Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0${String.fromCharCode(iptc.length)}`,
    'latin1',
  );
  return Buffer.concat([head, iptc, Buffer.alloc(iptc.length % 2)]);
}

function pngOf(chunks: readonly Buffer[]): Buffer {
  return Buffer.concat([PNG_SIGNATURE, ...chunks, pngChunk('IEND', Buffer.alloc(0))]);
}

function emptyChunks(count: number): Buffer {
  const chunk = pngChunk('emPt', Buffer.alloc(0));
  return Buffer.alloc(count * chunk.length, chunk);
}

async function wideJpeg(): Promise<Buffer> {
  const jpeg = Buffer.from(await picture('jpeg'));
  const frame = jpeg.indexOf('\xff\xc0', 0, 'latin1');
  jpeg.writeUInt16BE(65_500, frame + 5);
  jpeg.writeUInt16BE(65_500, frame + 7);
  return jpeg;
}

/** A JPEG of several scans whose second is repeated: every one of them passes over the whole picture. */
async function scannedJpeg(count: number): Promise<Buffer> {
  const flat = { width: 1024, height: 1024, channels: 3, background: 'red' } as const;
  const jpeg = await sharp({ create: flat }).jpeg({ progressive: true, optimizeScans: true }).toBuffer();
  const scanAfter = (at: number) => jpeg.indexOf('\xff\xda', at, 'latin1');
  const second = scanAfter(scanAfter(0) + 2);
  const third = scanAfter(second + 2);
  const repeated = Array(count).fill(jpeg.subarray(second, third));
  return Buffer.concat([jpeg.subarray(0, third), ...repeated, jpeg.subarray(-2)]);
}

/** A lossless WebP of one colour: five Huffman codes of one symbol each, so that its pixels take no bits at all. */
function flatWebp(size: Size): Buffer {
  return riff([webpChunk('VP8L', flatVp8l(size))]);
}

function smallCanvas(): Buffer {
  const canvas = Buffer.alloc(10);
  canvas.writeUIntLE(64 - 1, 4, 3);
  canvas.writeUIntLE(64 - 1, 7, 3);
  return riff([webpChunk('VP8X', canvas), webpChunk('VP8L', flatVp8l({ width: 16_383, height: 16_383 }))]);
}

function flatVp8l({ width, height }: Size): Buffer {
  const [signature, simpleCodeOfZero] = [0x2fn, 0b0001n];
  let bits = signature | (BigInt(width - 1) << 8n) | (BigInt(height - 1) << 22n);
  // After 8 + 14 + 14 bits: no alpha, version 0, no transform, no colour cache, no meta codes.
  for (let code = 0n; code < 5n; code += 1n) bits |= simpleCodeOfZero << (43n + 4n * code);
  const body = Buffer.alloc(12);
  body.writeBigUInt64LE(bits);
  return body;
}

function webpChunk(type: string, body: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.write(type, 'latin1');
  head.writeUInt32LE(body.length, 4);
  return Buffer.concat([head, body]);
}

function riff(chunks: readonly Buffer[]): Buffer {
  const body = Buffer.concat([Buffer.from('WEBP'), ...chunks]);
  return webpChunk('RIFF', body);
}
