/** Pictures clients send, in formats the model that edits them reads. */
import type { EncodedImage, ImageFormat } from './image.js';
import type { ConvertInput } from './picture.js';
import type { GenerateCall, Model } from './provider.js';

/** What converting takes. */
interface Reader {
  /** Who will read them. */
  readonly model: Model;
  /** Makes PNGs. */
  readonly convert: ConvertInput;
  /** Gives up when aborted. */
  readonly signal: AbortSignal;
}

/** The inputs and the mask of a call as its model reads them: as they are where it can, else as PNG. */
export async function readableInputs(
  { inputs, mask }: Pick<GenerateCall, 'inputs' | 'mask'>,
  { model, convert, signal }: Reader,
): Promise<Pick<GenerateCall, 'inputs' | 'mask'>> {
  const { inputFormats, maskFormats = inputFormats } = model;
  const readable = async (picture: EncodedImage, formats: readonly ImageFormat[] | undefined) => {
    const reads = formats === undefined || formats.some((format) => picture.type === `image/${format}`);
    return reads ? picture : await convert(picture, signal);
  };
  return {
    inputs: await Promise.all(inputs.map((input) => readable(input, inputFormats))),
    mask: mask && (await readable(mask, maskFormats)),
  };
}
