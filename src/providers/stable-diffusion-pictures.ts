/** Pictures on their way to diffusion servers and back. */
import sharp, { type Sharp } from 'sharp';
import type { EncodedImage } from '../core/image.js';
import { giveBack } from '../core/memory.js';
import type { ImageEvent } from '../core/provider.js';
import { ProviderError } from '../errors.js';
import { imageJobs } from '../pipeline/gate.js';

/** First bytes, as Latin-1, and what begins so. Servers send what their settings say, and do not say what that is. */
const SIGNATURES: readonly (readonly [beginning: RegExp, type: string])[] = [
  [/^\x89PNG\r\n/, 'image/png'],
  [/^\xff\xd8\xff/, 'image/jpeg'],
  [/^RIFF.{4}WEBP/s, 'image/webp'],
  [/^.{4}ftypavi[fs]/s, 'image/avif'],
];

/** A picture out of an answer, as `createPictureJson` has it, which nobody else reads. `undefined` for anything else. */
export function readPicture(bytes: unknown): Pick<ImageEvent, 'image' | 'release'> | undefined {
  if (!Buffer.isBuffer(bytes)) return undefined;
  const beginning = bytes.toString('latin1', 0, 16);
  const type = SIGNATURES.find(([signature]) => signature.test(beginning))?.[1];
  return { image: { bytes, type: type ?? 'application/octet-stream' }, release: () => giveBack(bytes) };
}

const MOST_INPUT_PIXELS = 50_000_000;
const JOB_SECONDS = 30;

function converted(
  input: EncodedImage,
  signal: AbortSignal,
  change: (picture: Sharp) => Sharp,
): Promise<EncodedImage> {
  return imageJobs.run(async () => {
    try {
      const limits = { limitInputPixels: MOST_INPUT_PIXELS, failOn: 'warning', pages: 1 } as const;
      const picture = sharp(input.bytes, limits).timeout({ seconds: JOB_SECONDS });
      return { bytes: await change(picture).png().toBuffer(), type: 'image/png' };
    } catch (cause) {
      throw new ProviderError('rejected', 'An input picture cannot be decoded.', { billed: 'no', cause });
    }
  }, signal);
}

/** A picture as every server reads it: sd-server draws from words alone, without a murmur, where it cannot read one. */
export async function portable(input: EncodedImage, signal: AbortSignal): Promise<EncodedImage> {
  if (input.type === 'image/png' || input.type === 'image/jpeg') return input;
  return await converted(input, signal, (picture) => picture.autoOrient());
}

/**
 * A mask as diffusion servers read it: white changes, black stays. Ours says it by transparency, which they drop, or
 * read the other way round.
 */
export function whiteOnBlack(mask: EncodedImage, signal: AbortSignal): Promise<EncodedImage> {
  return converted(mask, signal, (picture) =>
    picture.ensureAlpha().extractChannel('alpha').negate().toColourspace('b-w'),
  );
}
