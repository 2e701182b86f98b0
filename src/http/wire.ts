/** The bodies of successful answers: what the use case said, in the words of each surface. */
import type { RequestEvent } from '../core/generate.js';
import type { PictureFacts, RequestHead, RequestOutcome, TokenTotals } from '../core/outcome.js';
import type { StoredPicture } from '../core/picture.js';
import { formatUsd } from '../core/prices.js';
import { sizeName } from '../core/sizes.js';
import type { Link } from './links.js';

/** A request that is over, gathered from its events. */
export interface Gathered {
  /** What came of it. */
  readonly outcome: RequestOutcome;
  /** Bytes of its pictures, by index, where they are handed over so. */
  readonly bytes: ReadonlyMap<number, Uint8Array>;
}

/** How an answer is written. */
export interface AnswerOptions {
  /** The request's id. */
  readonly requestId: string;
  /** Makes the link to a stored picture. */
  readonly link: (stored: StoredPicture) => Link;
}

/** Gathers a request's events. Throws what the request failed with. */
export async function gather(
  events: AsyncIterable<RequestEvent>,
  onEvent: (event: RequestEvent) => void,
): Promise<Gathered> {
  const bytes = new Map<number, Uint8Array>();
  let outcome: RequestOutcome | undefined;
  for await (const event of events) {
    onEvent(event);
    if (event.type === 'picture' && event.picture.bytes !== undefined) {
      bytes.set(event.picture.index, event.picture.bytes);
    }
    if (event.type === 'finished') outcome = event.outcome;
  }
  if (outcome === undefined) throw new Error('a request ended without saying how');
  return { outcome, bytes };
}

/** The bytes of a picture in base64. */
export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

/** Fields that stand only where they say something: what is missing, and what was done other than asked. */
export function extras({ head, failures }: RequestOutcome): object {
  return {
    ...(failures.length > 0 && { errors: failures }),
    ...(head.warnings.length > 0 && { warnings: head.warnings }),
  };
}

function nativePicture(picture: PictureFacts, { bytes }: Gathered, { link }: AnswerOptions): object {
  const { index, stored, revisedPrompt, seed, size, contentType, byteLength } = picture;
  const own = bytes.get(index);
  const linked = stored === undefined || own !== undefined ? undefined : link(stored);
  return {
    index,
    ...(stored !== undefined && { id: stored.id }),
    ...(linked !== undefined && { url: linked.url, expires_at: linked.expiresAt }),
    ...(own !== undefined && { b64_json: base64(own) }),
    ...(stored !== undefined && own !== undefined && { expires_at: Math.floor(stored.expiresAt / 1000) }),
    ...(revisedPrompt !== undefined && { revised_prompt: revisedPrompt }),
    ...(seed !== undefined && { seed }),
    width: size.width,
    height: size.height,
    content_type: contentType,
    bytes: byteLength,
  };
}

/** The native envelope of a request that delivered. */
export function nativeAnswer(gathered: Gathered, options: AnswerOptions): object {
  const { outcome } = gathered;
  const { created, model, servedBy } = outcome.head;
  return {
    status: 'ok',
    data: {
      created,
      model,
      ...(servedBy !== model && { served_by: servedBy }),
      data: outcome.pictures.map((picture) => nativePicture(picture, gathered, options)),
      ...extras(outcome),
      usage: { images: outcome.pictures.length, cost: formatUsd(outcome.costMicroUsd), currency: 'USD' },
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

function openaiPicture(picture: PictureFacts, { bytes }: Gathered, { link }: AnswerOptions): object {
  const { index, stored, revisedPrompt } = picture;
  const own = bytes.get(index);
  return {
    ...(own !== undefined && { b64_json: base64(own) }),
    ...(own === undefined && stored !== undefined && { url: link(stored).url }),
    ...(revisedPrompt !== undefined && { revised_prompt: revisedPrompt }),
  };
}

/** What OpenAI says of pictures: of one in a stream, or of all in an answer. */
export function openaiFacts(head: RequestHead, picture: Pick<PictureFacts, 'size' | 'contentType'>): object {
  return {
    size: sizeName(picture.size),
    quality: head.quality ?? 'auto',
    background: head.background === 'transparent' ? 'transparent' : 'opaque',
    output_format: picture.contentType.slice('image/'.length),
  };
}

/** OpenAI's body of a request that delivered. */
export function openaiAnswer(gathered: Gathered, options: AnswerOptions): object {
  const { head, pictures, tokens } = gathered.outcome;
  const [first] = pictures;
  return {
    created: head.created,
    data: pictures.map((picture) => openaiPicture(picture, gathered, options)),
    ...extras(gathered.outcome),
    ...(first !== undefined && openaiFacts(head, first)),
    usage: openaiUsage(tokens),
  };
}
