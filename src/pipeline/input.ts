/** Checks pictures clients send to be edited, before a provider sees them, and makes PNGs of those it cannot read. */
import type { EncodedImage } from '../core/image.js';
import type { CheckInput, ConvertInput } from '../core/picture.js';
import { unlessAborted } from '../core/wait.js';
import { readContainer } from './container.js';
import { imageJobs } from './gate.js';
import { decodingFault, inspectPicture, openPicture, type RefusedPicture } from './inspect.js';

const FAULTS = {
  unknown: 'expected a PNG, JPEG, WebP or AVIF picture',
  broken: 'expected a whole picture; this one is damaged or cut short',
  animated: 'expected a picture, not an animation',
} as const satisfies Record<Exclude<RefusedPicture['fault'], 'too_large'>, string>;

/** Makes the checker: magic bytes, container, header, then every pixel, in one image job. */
export function createInputChecker({ maxPixels }: { readonly maxPixels: number }): CheckInput {
  return (bytes) =>
    imageJobs.run(async () => {
      const picture = await inspectPicture(readContainer(bytes), maxPixels);
      if ('fault' in picture) {
        const { fault } = picture;
        return { fault: fault === 'too_large' ? `expected at most ${maxPixels} pixels` : FAULTS[fault] };
      }
      if ((await decodingFault(picture, maxPixels)) !== undefined) return { fault: FAULTS.broken };
      return { bytes: picture.bytes, type: `image/${picture.format}`, size: picture.size };
    });
}

/** Makes the converter. A picture that several calls of a request send is encoded once. */
export function createInputConverter({ maxPixels }: { readonly maxPixels: number }): ConvertInput {
  const converted = new WeakMap<EncodedImage, Promise<EncodedImage>>();
  return async (input, signal) => {
    signal.throwIfAborted();
    let work = converted.get(input);
    if (work === undefined) {
      work = imageJobs.run(async () => {
        const bytes = await openPicture(input.bytes, maxPixels).png().toBuffer();
        return { bytes, type: 'image/png' };
      });
      converted.set(input, work);
    }
    return await unlessAborted(work, signal);
  };
}
