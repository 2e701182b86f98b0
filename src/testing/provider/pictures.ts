/** Reads the headers of pictures and makes small ones, with nothing but Node. */
import { crc32, deflateSync } from 'node:zlib';
import type { EncodedImage, ImageFormat, Size } from '../../core/image.js';

/** What the first bytes of a picture say. */
export interface PictureFacts {
  /** Its true format. */
  readonly format: ImageFormat;
  /** Its pixels; `undefined` where the header does not say it simply (AVIF). */
  readonly size: Size | undefined;
}

/** Looks at a picture's magic bytes and header; `undefined` when it is none of the four formats. */
export function pictureFacts(bytes: Uint8Array): PictureFacts | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ascii = (from: number, to: number) => view.toString('latin1', from, to);
  if (view.length < 12) return undefined;
  if (ascii(0, 8) === '\x89PNG\r\n\x1a\n') return { format: 'png', size: pngSize(view) };
  if (ascii(0, 3) === '\xff\xd8\xff') return { format: 'jpeg', size: jpegSize(view) };
  if (ascii(0, 4) === 'RIFF' && ascii(8, 12) === 'WEBP') return { format: 'webp', size: webpSize(view) };
  if (ascii(4, 8) === 'ftyp' && /avi[fs]/.test(ascii(8, 40))) return { format: 'avif', size: undefined };
  return undefined;
}

function pngSize(view: Buffer): Size | undefined {
  return view.length < 24 ? undefined : { width: view.readUInt32BE(16), height: view.readUInt32BE(20) };
}

/** Walks the segments to the frame header; markers C4, C8 and CC look like one and are not. */
function jpegSize(view: Buffer): Size | undefined {
  let at = 2;
  while (at + 9 <= view.length && view[at] === 0xff) {
    const marker = view[at + 1] ?? 0;
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { width: view.readUInt16BE(at + 7), height: view.readUInt16BE(at + 5) };
    at += 2 + view.readUInt16BE(at + 2);
  }
  return undefined;
}

function webpSize(view: Buffer): Size | undefined {
  if (view.length < 30) return undefined;
  const kind = view.toString('latin1', 12, 16);
  if (kind === 'VP8X') return { width: view.readUIntLE(24, 3) + 1, height: view.readUIntLE(27, 3) + 1 };
  if (kind === 'VP8 ') {
    return { width: view.readUInt16LE(26) & 0x3fff, height: view.readUInt16LE(28) & 0x3fff };
  }
  const bits = view.readUInt32LE(21);
  return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 };
}

function pngChunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}

/** Makes a PNG: a colour gradient, whose left half is transparent when it is to be a mask. */
export function makePng(size: Size, kind: 'picture' | 'mask'): EncodedImage {
  const rows = Buffer.alloc(size.height * (1 + 4 * size.width));
  for (let y = 0; y < size.height; y += 1) {
    for (let x = 0; x < size.width; x += 1) {
      const at = y * (1 + 4 * size.width) + 1 + 4 * x;
      const alpha = kind === 'mask' && x < size.width / 2 ? 0 : 255;
      rows.set([Math.floor((255 * x) / size.width), Math.floor((255 * y) / size.height), 128, alpha], at);
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(size.width, 0);
  header.writeUInt32BE(size.height, 4);
  // Eight bits each of red, green, blue and alpha; the standard compression and filters, no interlacing.
  header.set([8, 6, 0, 0, 0], 8);
  const chunks = [
    pngChunk('IHDR', header),
    pngChunk('IDAT', deflateSync(rows)),
    pngChunk('IEND', Buffer.alloc(0)),
  ];
  const bytes = Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), ...chunks]);
  return { bytes: new Uint8Array(bytes), type: 'image/png' };
}
