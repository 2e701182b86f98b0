/** Random pictures for properties: sound ones in every encoding sharp writes, and what happens to them on the way. */
import fc from 'fast-check';
import sharp, { type Sharp } from 'sharp';
import { type Chunked, type LoosePart, putTogether, takeApart } from './container-parts.js';
import { exifOf } from './metadata.js';

/** How a random picture is drawn and encoded. */
export interface Recipe {
  readonly format: Chunked;
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3 | 4;
  readonly seed: number;
  readonly depth: 'uchar' | 'ushort';
  readonly progressive: boolean;
  readonly palette: boolean;
  readonly lossless: boolean;
  readonly cmyk: boolean;
  readonly profile: boolean;
  readonly orientation: number | undefined;
}

/** Any recipe. */
export const recipes: fc.Arbitrary<Recipe> = fc.record({
  format: fc.constantFrom<Chunked>('png', 'jpeg', 'webp'),
  width: fc.integer({ min: 1, max: 40 }),
  height: fc.integer({ min: 1, max: 40 }),
  channels: fc.constantFrom<1 | 3 | 4>(1, 3, 4),
  seed: fc.nat(),
  depth: fc.constantFrom<'uchar' | 'ushort'>('uchar', 'ushort'),
  progressive: fc.boolean(),
  palette: fc.boolean(),
  lossless: fc.boolean(),
  cmyk: rarely(),
  profile: rarely(),
  orientation: fc.constantFrom(undefined, undefined, undefined, 1, 1, 1, 2, 3, 6, 8),
});

function rarely(): fc.Arbitrary<boolean> {
  return fc.nat({ max: 9 }).map((value) => value === 0);
}

/** Makes the picture of a recipe. */
export async function bake(recipe: Recipe): Promise<Buffer> {
  const { format, width, height, channels, seed } = recipe;
  const length = width * height * channels;
  const raw =
    recipe.depth === 'ushort' && format === 'png'
      ? Uint16Array.from({ length }, (_, at) => at * 257 * (1 + (seed % 97)))
      : Uint8Array.from({ length }, (_, at) => at * (1 + (seed % 7)) + (seed >> 8));
  let image = sharp(raw, { raw: { width, height, channels } });
  if (recipe.depth === 'ushort' && format === 'png')
    image = image.toColourspace(channels === 1 ? 'grey16' : 'rgb16');
  else if (channels === 1) image = image.toColourspace('b-w');
  else if (recipe.cmyk && format === 'jpeg') image = image.toColourspace('cmyk');
  if (recipe.profile) image = image.withIccProfile('p3');
  return withOrientation(await encoded(image, recipe).toBuffer(), recipe);
}

// Where EXIF data goes: behind the header, in front of all else, at the end.
const EXIF_PLACES = { png: 1, jpeg: 0, webp: Number.POSITIVE_INFINITY } as const;
const EXIF_TYPES = { png: 'eXIf', jpeg: '\xe1', webp: 'EXIF' } as const;

/** sharp adds a colour profile to any orientation it writes. */
function withOrientation(picture: Buffer, { format, orientation }: Recipe): Buffer {
  if (orientation === undefined) return picture;
  const label = format === 'jpeg' ? 'Exif\0\0' : '';
  const body = Buffer.concat([Buffer.from(label), exifOf(orientation)]);
  const parts = [...takeApart(format, picture)];
  const [first] = parts;
  if (first?.type === 'VP8X') first.body[0] = (first.body[0] ?? 0) | 0x08;
  parts.splice(EXIF_PLACES[format], 0, { type: EXIF_TYPES[format], body });
  return putTogether(format, parts);
}

function encoded(image: Sharp, { format, progressive, palette, lossless }: Recipe): Sharp {
  if (format === 'png') return image.png({ progressive, palette });
  if (format === 'jpeg')
    return image.jpeg({
      progressive,
      optimizeScans: lossless,
      chromaSubsampling: palette ? '4:4:4' : '4:2:0',
    });
  return image.webp({ lossless, effort: 0 });
}

/** One thing that happens to a picture's parts, then to its bytes. */
export type Mishap =
  | { readonly type: 'insert'; readonly at: number; readonly part: LoosePart }
  | { readonly type: 'repeat' | 'remove' | 'swap'; readonly at: number; readonly to: number }
  | { readonly type: 'damage'; readonly at: number; readonly byte: number; readonly bits: number }
  | { readonly type: 'flip' | 'cut'; readonly at: number }
  | { readonly type: 'append'; readonly bytes: Uint8Array };

const TYPES = {
  png: [
    ...['tEXt', 'iTXt', 'eXIf', 'tIME', 'caBX', 'prVt', 'gAMA', 'cHRM', 'sRGB', 'sBIT', 'pHYs', 'cICP'],
    ...['bKGD', 'tRNS', 'hIST', 'sPLT', 'mDCV', 'cLLI', 'vpAg', 'oFFs', 'sTER'],
  ],
  jpeg: [0xe0, 0xe1, 0xe2, 0xe3, 0xeb, 0xed, 0xee, 0xef, 0xfe].map((marker) => String.fromCharCode(marker)),
  webp: ['EXIF', 'XMP ', 'C2PA', 'what', 'a,b,'],
} as const satisfies Record<Chunked, readonly string[]>;

const CRITICAL_TYPES = {
  png: ['PLTE', 'IDAT', 'IEND', 'IHDR', 'PrVt', 'iCCP', 'acTL'],
  jpeg: [0xdb, 0xc4, 0xdd, 0xdc, 0xc0, 0xc8, 0xcc, 0xda, 0x01, 0xd0, 0xd8, 0xf7].map((marker) =>
    String.fromCharCode(marker),
  ),
  webp: ['ICCP', 'ALPH', 'VP8X', 'VP8 ', 'VP8L', 'ANIM'],
} as const satisfies Record<Chunked, readonly string[]>;

const bodies = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.integer({ min: 0, max: 9 }).map(exifOf),
  fc.integer({ min: 0, max: 9 }).map((turn) => Buffer.concat([Buffer.from('Exif\0\0'), exifOf(turn)])),
  fc
    .constantFrom(
      'JFIF\0\x01\x01\0\0\x01\0\x01\0\0',
      'JFIF\0\x01\x01',
      'Adobe\0\x64\0\0\0\0\0',
      'Adobe\0\x64\0\0\0\0\x01',
      'Adobe\0\x64\0\0\0\0\x02 and more',
      'ICC_PROFILE\0\x01\x01',
      'http://ns.adobe.com/xap/1.0/\0<x/>',
      'Comment\0text',
      'XML:com.adobe.xmp\0\0\0\0\0<x/>',
    )
    .map((text) => Buffer.from(text, 'latin1')),
  fc
    .tuple(fc.constantFrom(1, 2, 3, 4, 6, 9, 32), fc.nat({ max: 255 }))
    .map(([length, fill]) => Buffer.alloc(length, fill)),
);

/** Any mishaps of a picture in a format. */
export function mishaps(format: Chunked): fc.Arbitrary<readonly Mishap[]> {
  const place = fc.nat({ max: 60 });
  const anywhere = fc.nat({ max: 10_000 });
  const body = bodies.map((bytes) => Buffer.from(bytes));
  const insert = (types: readonly string[]) =>
    fc.record({
      type: fc.constant('insert' as const),
      at: place,
      part: fc.record({ type: fc.constantFrom(...types), body }),
    });
  const shuffle = fc.record({
    type: fc.constantFrom('repeat' as const, 'remove' as const, 'swap' as const),
    at: place,
    to: place,
  });
  const damage = fc.record({
    type: fc.constant('damage' as const),
    at: place,
    byte: anywhere,
    bits: fc.integer({ min: 1, max: 255 }),
  });
  const blow = fc.record({ type: fc.constantFrom('flip' as const, 'cut' as const), at: anywhere });
  const append = fc.record({ type: fc.constant('append' as const), bytes: fc.uint8Array({ maxLength: 20 }) });
  return fc.array(
    fc.oneof(
      { weight: 12, arbitrary: insert(TYPES[format]) },
      { weight: 1, arbitrary: insert(CRITICAL_TYPES[format]) },
      { weight: 2, arbitrary: shuffle },
      { weight: 2, arbitrary: damage },
      { weight: 1, arbitrary: blow },
      { weight: 3, arbitrary: append },
    ),
    { maxLength: 4 },
  );
}

/** Lets mishaps happen to a sound picture. */
export function befall(format: Chunked, picture: Buffer, events: readonly Mishap[]): Buffer {
  const parts = [...takeApart(format, picture)];
  for (const event of events) happenToParts(parts, event);
  return events.reduce(happenToBytes, putTogether(format, parts));
}

function happenToParts(parts: LoosePart[], event: Mishap): void {
  if (event.type === 'insert') parts.splice(event.at % (parts.length + 1), 0, event.part);
  if (parts.length === 0 || !('at' in event)) return;
  const at = event.at % parts.length;
  const part = parts[at] as LoosePart;
  if (event.type === 'remove') parts.splice(at, 1);
  if (event.type === 'repeat') parts.splice(event.to % parts.length, 0, part);
  if (event.type === 'swap') {
    const to = event.to % parts.length;
    parts[at] = parts[to] as LoosePart;
    parts[to] = part;
  }
  if (event.type === 'damage' && part.body.length > 0) {
    const body = Buffer.from(part.body);
    const byte = event.byte % body.length;
    body[byte] = (body[byte] ?? 0) ^ event.bits;
    parts[at] = { ...part, body };
  }
}

function happenToBytes(bytes: Buffer, event: Mishap): Buffer {
  if (event.type === 'append') return Buffer.concat([bytes, event.bytes]);
  if (event.type !== 'flip' && event.type !== 'cut') return bytes;
  const at = event.at % bytes.length;
  if (event.type === 'cut') return bytes.subarray(0, at);
  const flipped = Buffer.from(bytes);
  flipped[at] = (flipped[at] ?? 0) ^ (1 << (event.at % 8));
  return flipped;
}
