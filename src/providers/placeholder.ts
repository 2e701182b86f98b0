/**
 * A provider that needs no vendor: it draws a landscape from prompt and seed and writes the prompt on it. For
 * development and CI, for trying a router without keys, and the reference for people who write a provider.
 */
import { createHash } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import sharp, { type Sharp } from 'sharp';
import type { EncodedImage, ImageFormat, Size } from '../core/image.js';
import type { GenerateCall, GenerateEvent, Model, Provider, SizeRule } from '../core/provider.js';
import { ConfigError, ProviderError } from '../errors.js';
import { imageJobs } from '../pipeline/gate.js';
import { drawSketch } from './placeholder-drawing.js';
import { type PlaceholderModel, type PlaceholderOptions, SKETCH } from './placeholder-options.js';
import { blockIn, failureIn } from './placeholder-triggers.js';

export type { PlaceholderModel, PlaceholderOptions };

/** Makes the placeholder. Throws `ConfigError` for an empty name, no models, or one slug twice. */
export function placeholder(options: PlaceholderOptions = {}): Provider {
  const { name = 'placeholder', contentCredentials = false, delayMs = 0 } = options;
  const models = modelsFrom(options.models ?? [{}]);
  if (name === '') throw new ConfigError('name', 'must not be empty');
  let calls = 0;

  async function* generate(call: GenerateCall): AsyncGenerator<GenerateEvent, void, undefined> {
    call.signal.throwIfAborted();
    calls += 1;
    const callNumber = calls;
    options.onCall?.(call);
    await pause(typeof delayMs === 'function' ? delayMs(call) : delayMs, call.signal);
    const failure = options.fail?.(call, callNumber) ?? failureIn(call.prompt);
    if (failure !== undefined) throw failure;

    let delivered = 0;
    for (let index = 0; index < call.n; index += 1) {
      const block = options.blocked?.(call, index) ?? blockIn(call.prompt);
      if (block !== undefined) {
        yield { type: 'blocked', index, reason: block.reason, stage: block.stage };
        continue;
      }
      const seed = ((call.seed ?? seedOf(call.prompt)) + index) % 2 ** 32;
      const pixels = await paint(call, seed);
      for (let step = 0; step < call.previews; step += 1) {
        yield { type: 'preview', index, step, image: await encode(await blur(pixels, call, step), call) };
      }
      const image = await encode(pixels, call);
      delivered += 1;
      yield { type: 'image', index, image: options.tamper?.(image, call, index) ?? image, seed };
    }
    const usage = options.usage?.(call, delivered);
    yield { type: 'end', usage, cost: options.cost?.(call, delivered), upstreamId: `sketch-${callNumber}` };
  }

  return { name, models, contentCredentials, generate };
}

function modelsFrom(differences: readonly PlaceholderModel[]): readonly Model[] {
  if (differences.length === 0) throw new ConfigError('models', 'must list at least one model');
  const models = differences.map((difference) => ({ ...SKETCH, ...difference }));
  const slugs = models.map((model) => model.slug);
  const again = slugs.findIndex((slug, index) => slugs.indexOf(slug) !== index);
  if (again !== -1) throw new ConfigError(`models[${again}].slug`, `"${slugs[again]}" is listed twice`);
  return models;
}

/** Waits, and on abort throws the signal's own reason. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms === 0) return;
  await setTimeout(ms, undefined, { signal }).catch((error: unknown) => {
    signal.throwIfAborted();
    throw error;
  });
}

/** The same words give the same picture, also where nobody chose a seed. */
function seedOf(prompt: string): number {
  return createHash('sha256').update(prompt).digest().readUInt32BE();
}

function sizeOf({ size, model }: GenerateCall): Size {
  if (size !== 'auto') return size;
  return model.sizes.default === 'auto' ? anySizeOf(model.sizes) : model.sizes.default;
}

function anySizeOf(sizes: SizeRule): Size {
  if (sizes.kind === 'list') return sizes.values[0] ?? { width: 1024, height: 1024 };
  const edge = Math.min(1024, sizes.maxEdge, Math.floor(Math.sqrt(sizes.maxPixels)));
  const whole = Math.max(sizes.minEdge, edge - (edge % sizes.multiple));
  return { width: whole, height: whole };
}

/** Decoded pixels, four bytes each. */
interface Pixels {
  readonly size: Size;
  readonly rgba: Buffer;
}

const MOST_INPUT_PIXELS = 50_000_000;
const JOB_SECONDS = 30;

function open({ size, rgba }: Pixels): Sharp {
  return sharp(rgba, { raw: { ...size, channels: 4 } }).timeout({ seconds: JOB_SECONDS });
}

/** The whole picture: the sketch alone, as a veil over what is edited, or where the mask is transparent. */
function paint(call: GenerateCall, seed: number): Promise<Pixels> {
  const size = sizeOf(call);
  const [input] = call.inputs;
  const svg = drawSketch({
    size,
    prompt: call.prompt,
    seed,
    vivid: call.style !== 'natural',
    detailed: call.quality === 'hd',
    sky: call.background !== 'transparent',
    opacity: input === undefined || call.mask !== undefined ? 1 : 0.55,
  });
  return imageJobs.run(async () => {
    const sketch = sharp(Buffer.from(svg)).timeout({ seconds: JOB_SECONDS });
    if (input === undefined) return { size, rgba: await sketch.ensureAlpha().raw().toBuffer() };
    if (call.mask !== undefined) {
      const kept = await decode(call.mask, size);
      sketch.composite([{ input: kept.rgba, raw: { ...size, channels: 4 }, blend: 'dest-out' }]);
    }
    const overlay = await sketch.ensureAlpha().raw().toBuffer();
    const edited = open(await decode(input, size));
    return {
      size,
      rgba: await edited
        .composite([{ input: overlay, raw: { ...size, channels: 4 } }])
        .raw()
        .toBuffer(),
    };
  }, call.signal);
}

/** An input picture as pixels, cut to `size`. Bounded, because a kilobyte can claim to be gigabytes of pixels. */
async function decode(input: EncodedImage, size: Size): Promise<Pixels> {
  try {
    const picture = sharp(input.bytes, { limitInputPixels: MOST_INPUT_PIXELS, failOn: 'warning', pages: 1 });
    const cut = picture
      .timeout({ seconds: JOB_SECONDS })
      .autoOrient()
      .resize({ ...size, fit: 'cover' });
    return { size, rgba: await cut.toColourspace('srgb').ensureAlpha().raw().toBuffer() };
  } catch (cause) {
    throw new ProviderError('rejected', 'An input picture cannot be decoded.', { billed: 'no', cause });
  }
}

/** A preview: the picture with few details, more of them with every step. */
function blur(pixels: Pixels, call: GenerateCall, step: number): Promise<Pixels> {
  const reduction = 2 ** (call.previews - step + 2);
  const few = {
    width: Math.ceil(pixels.size.width / reduction),
    height: Math.ceil(pixels.size.height / reduction),
  };
  return imageJobs.run(async () => {
    const rgba = await open(pixels)
      .resize({ ...few, fit: 'fill' })
      .raw()
      .toBuffer();
    const enlarged = open({ size: few, rgba }).resize({ ...pixels.size, fit: 'fill', kernel: 'cubic' });
    return { size: pixels.size, rgba: await enlarged.raw().toBuffer() };
  }, call.signal);
}

/** The fastest settings of each encoder; nobody keeps these pictures. */
const ENCODERS = {
  png: (picture) => picture.png({ compressionLevel: 2 }),
  jpeg: (picture, quality) => picture.jpeg({ quality }),
  webp: (picture, quality) => picture.webp({ quality, effort: 0 }),
  avif: (picture, quality) => picture.avif({ quality, effort: 0 }),
} as const satisfies Record<ImageFormat, (picture: Sharp, quality: number) => Sharp>;

function encode(pixels: Pixels, call: GenerateCall): Promise<EncodedImage> {
  const format = call.outputFormat ?? call.model.formats[0] ?? 'png';
  const opaque = call.background !== 'transparent' || format === 'jpeg';
  return imageJobs.run(async () => {
    const picture = opaque ? open(pixels).flatten({ background: '#fff' }) : open(pixels);
    const encoded = ENCODERS[format](picture, Math.max(1, call.outputCompression ?? 80));
    return { bytes: await encoded.toBuffer(), type: `image/${format}` };
  }, call.signal);
}
