/** The bodies of successful answers: what the use case said, in the words of each surface. */
import type { DeliveredPicture } from '../core/delivery.js';
import type { FinishedEvent, Job, RequestEvent, TokenTotals } from '../core/generate.js';
import type { BucketRoom } from '../core/ledger.js';
import { formatUsd } from '../core/prices.js';
import type { Warning } from '../core/request.js';
import { sizeName } from '../core/sizes.js';
import type { ImagesError } from '../errors.js';
import type { Link } from './links.js';

/** A request that is over, gathered from its events. */
export interface Outcome {
  /** What was agreed. */
  readonly job: Job;
  /** Delivered pictures by index, in order. */
  readonly pictures: readonly (readonly [number, DeliveredPicture])[];
  /** Failures by index, in order. */
  readonly failures: readonly (readonly [number, ImagesError])[];
  /** The sums. */
  readonly finished: FinishedEvent;
}

/** How an answer is written. */
export interface AnswerOptions {
  /** Epoch seconds at which the request came. */
  readonly created: number;
  /** The request's id. */
  readonly requestId: string;
  /** Warnings about the body, before those about the model. */
  readonly warnings: readonly Warning[];
  /** Makes the link to a stored picture. */
  readonly link: (stored: NonNullable<DeliveredPicture['stored']>) => Link;
}

/** Gathers a request's events. Throws what the request failed with. */
export async function gather(
  job: Job,
  events: AsyncIterable<RequestEvent>,
  onBudgets: (rooms: readonly BucketRoom[]) => void,
): Promise<Outcome> {
  const pictures: (readonly [number, DeliveredPicture])[] = [];
  const failures: (readonly [number, ImagesError])[] = [];
  let finished: FinishedEvent | undefined;
  for await (const event of events) {
    if (event.type === 'budgets') onBudgets(event.rooms);
    if (event.type === 'picture') pictures.push([event.index, event.picture]);
    if (event.type === 'failed') failures.push([event.index, event.error]);
    if (event.type === 'finished') finished = event;
  }
  if (finished === undefined) throw new Error('a request ended without saying how');
  const byIndex = ([a]: readonly [number, unknown], [b]: readonly [number, unknown]) => a - b;
  return { job, pictures: pictures.sort(byIndex), failures: failures.sort(byIndex), finished };
}

/** The bytes of a picture in base64. */
export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** The pictures that are missing, and why. */
function errorEntries(failures: Outcome['failures']): readonly object[] {
  return failures.map(([index, { code, reason, message }]) => ({
    index,
    code,
    ...(reason !== undefined && { reason }),
    message,
  }));
}

/** Fields that stand only where they say something: what is missing, and what was done other than asked. */
export function extras(
  { job, failures }: Pick<Outcome, 'job' | 'failures'>,
  { warnings }: Pick<AnswerOptions, 'warnings'>,
): object {
  const all = [...warnings, ...job.plan.warnings];
  return {
    ...(failures.length > 0 && { errors: errorEntries(failures) }),
    ...(all.length > 0 && { warnings: all }),
  };
}

function nativePicture(index: number, picture: DeliveredPicture, { link }: AnswerOptions): object {
  const { stored, bytes, revisedPrompt, seed, size, contentType, byteLength } = picture;
  const linked = stored === undefined || bytes !== undefined ? undefined : link(stored);
  return {
    index,
    ...(stored !== undefined && { id: stored.id }),
    ...(linked !== undefined && { url: linked.url, expires_at: linked.expiresAt }),
    ...(bytes !== undefined && { b64_json: base64(bytes) }),
    ...(revisedPrompt !== undefined && { revised_prompt: revisedPrompt }),
    ...(seed !== undefined && { seed }),
    width: size.width,
    height: size.height,
    content_type: contentType,
    bytes: byteLength,
  };
}

/** The native envelope of a request that delivered. */
export function nativeAnswer(outcome: Outcome, options: AnswerOptions): object {
  const { target } = outcome.job;
  const { images, costMicroUsd } = outcome.finished;
  return {
    status: 'ok',
    data: {
      created: options.created,
      model: target.asked.slug,
      ...(target.serving.slug !== target.asked.slug && { served_by: target.serving.slug }),
      data: outcome.pictures.map(([index, picture]) => nativePicture(index, picture, options)),
      ...extras(outcome, options),
      usage: { images, cost: formatUsd(costMicroUsd), currency: 'USD' },
    },
    meta: { request_id: options.requestId },
  };
}

/** Token counts in OpenAI's shape. */
export function openaiUsage(tokens: TokenTotals): object {
  const { textIn, imageIn, imageOut, textOut } = tokens;
  return {
    input_tokens: textIn + imageIn,
    output_tokens: imageOut + textOut,
    total_tokens: textIn + imageIn + imageOut + textOut,
    input_tokens_details: { text_tokens: textIn, image_tokens: imageIn },
    output_tokens_details: { text_tokens: textOut, image_tokens: imageOut },
  };
}

function openaiPicture(picture: DeliveredPicture, { link }: AnswerOptions): object {
  const { stored, bytes, revisedPrompt } = picture;
  return {
    ...(bytes !== undefined && { b64_json: base64(bytes) }),
    ...(bytes === undefined && stored !== undefined && { url: link(stored).url }),
    ...(revisedPrompt !== undefined && { revised_prompt: revisedPrompt }),
  };
}

/** OpenAI's body of a request that delivered. */
export function openaiAnswer(outcome: Outcome, options: AnswerOptions): object {
  const { settings } = outcome.job.plan;
  const first = outcome.pictures[0]?.[1];
  return {
    created: options.created,
    data: outcome.pictures.map(([, picture]) => openaiPicture(picture, options)),
    ...extras(outcome, options),
    ...(first !== undefined && {
      output_format: first.contentType.slice('image/'.length),
      size: sizeName(first.size),
    }),
    quality: settings.quality ?? 'auto',
    background: settings.background === 'transparent' ? 'transparent' : 'opaque',
    usage: openaiUsage(outcome.finished.tokens),
  };
}
