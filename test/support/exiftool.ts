/** exiftool, which reads what pictures say, independently of us. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { temporaryFolder } from './temporary-folder.js';

/** For the `skip` option of tests that need exiftool: why it is not there, else `false`. In CI it is always `false`. */
export const withoutExiftool: string | false = reasonToSkip();

function reasonToSkip(): string | false {
  try {
    execFileSync('exiftool', ['-ver'], { stdio: 'ignore' });
    return false;
  } catch {
    if (process.env.CI === 'true') return false;
    return 'NOT TESTED: there is no exiftool here (Debian: apt-get install libimage-exiftool-perl)';
  }
}

/** What a picture says, by group and name: `XMP-iptcExt:DigitalSourceType`. */
export type Tags = Readonly<Record<string, unknown>>;

// Tags of the file, of exiftool itself, and computed ones; sizes and codings, which every picture has.
const SAYS_NOTHING = [
  /^(SourceFile|(System|ExifTool|Composite):.*)$/,
  /^File:(FileType|FileTypeExtension|MIMEType|Image(Width|Height)|ColorComponents|YCbCrSubSampling)$/,
  /^File:(EncodingProcess|BitsPerSample)$/,
  /^PNG:(ImageWidth|ImageHeight|BitDepth|ColorType|Compression|Filter|Interlace|Palette)$/,
  /^PNG:(Transparency|SignificantBits|Gamma|SRGBRendering)$/,
  /^PNG-pHYs:(PixelsPerUnit[XY]|PixelUnits)$/,
  /^RIFF:(Copy1:)?(WebP_Flags|Image(Width|Height)|VP8Version|(Horizontal|Vertical)Scale|Alpha\w+)$/,
  /^JFIF:(JFIFVersion|ResolutionUnit|[XY]Resolution)$/,
  /^Adobe:(DCTEncodeVersion|APP14Flags[01]|ColorTransform)$/,
  /^QuickTime:(MajorBrand|MinorVersion|CompatibleBrands|HandlerType|AV1ConfigurationVersion|Seq\w+)$/,
  /^QuickTime:(Chroma\w+|InitialDelaySamples|ImageSpatialExtent|ImagePixelDepth|MediaData\w*|Auxiliary\w+)$/,
  /^QuickTime:(Copy\d:)?(ImagePixelDepth|AV1\w+|Seq\w+|Chroma\w+|InitialDelaySamples|ColorPrimaries)$/,
  /^QuickTime:(ColorProfiles|TransferCharacteristics|MatrixCoefficients|VideoFullRangeFlag)$/,
  /^Meta:PrimaryItemReference$/,
];

/** Leaves what a picture says beyond its sizes and codings. Fails when exiftool finds anything wrong with it. */
export function sayings(tags: Tags): Tags {
  assert.equal(tags['ExifTool:Validate'], 'OK', JSON.stringify(tags, undefined, 1));
  return Object.fromEntries(
    Object.entries(tags).filter(([name]) => !SAYS_NOTHING.some((pattern) => pattern.test(name))),
  );
}

const ALL_THERE_IS = ['-json', '-G1:4', '-a', '-u', '-U', '-ee', '-validate', '-warning', '-all'];

/** Reads everything exiftool finds in pictures, unknown and repeated tags and what follows the end included. */
export async function readTags(
  scope: { after(clean: () => Promise<void>): void },
  pictures: readonly Uint8Array[],
): Promise<readonly Tags[]> {
  const folder = await temporaryFolder(scope);
  const files = pictures.map((_, place) => join(folder, String(place)));
  await Promise.all(files.map((file, place) => writeFile(file, pictures[place] ?? '')));
  const exif = await promisify(execFile)('exiftool', [...ALL_THERE_IS, ...files], { maxBuffer: 64 << 20 });
  return JSON.parse(exif.stdout);
}
