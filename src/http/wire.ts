/** The bodies of successful answers: what the use case said, in the words of each surface. */
import type { DeliveredPicture } from '../core/delivery.js';
import type { RequestEvent } from '../core/generate.js';
import type { PictureFacts, RequestHead, RequestOutcome, TokenTotals } from '../core/outcome.js';
import type { StoredPicture } from '../core/picture.js';
import { formatUsd } from '../core/prices.js';
import { sizeName } from '../core/sizes.js';
import type { Link } from './links.js';
import { inOrder } from './order.js';
import { type Piece, pictureObject } from './pieces.js';

/** How a surface words an answer. Its texts are parts of one JSON object. */
export interface Wording {
  /** All before the pictures. */
  readonly opening: (head: RequestHead) => string;
  /** A picture's fields, but for its bytes where it has them. */
  readonly picture: (picture: DeliveredPicture, link: LinkTo) => object;
  /** All after the pictures. */
  readonly closing: (outcome: RequestOutcome, requestId: string) => string;
}

/** Makes the link to a stored picture. */
export type LinkTo = (stored: StoredPicture) => Link;

/** How an answer is written. */
export interface AnswerOptions {
  /** The surface's words. */
  readonly wording: Wording;
  /** The request's id. */
  readonly requestId: string;
  /** Makes links. */
  readonly link: LinkTo;
  /** Sees events while headers can still say something about them. */
  readonly onEvent: (event: RequestEvent) => void;
}

/** The pieces of an answer, each picture as soon as those before it are there. Throws what the request failed with. */
export async function* answerPieces(
  events: AsyncIterable<RequestEvent>,
  { wording, requestId, link, onEvent }: AnswerOptions,
): AsyncGenerator<Piece, void> {
  let separator = '';
  for await (const event of inOrder(events)) {
    onEvent(event);
    if (event.type === 'started') yield wording.opening(event.head);
    if (event.type === 'picture') {
      yield separator;
      yield* pictureObject(event.picture, wording.picture(event.picture, link));
      separator = ',';
    }
    if (event.type === 'finished') yield wording.closing(event.outcome, requestId);
  }
}

/** Fields that stand only where they say something: what is missing, and what was done other than asked. */
export function extras({ head, failures }: RequestOutcome): object {
  return {
    ...(failures.length > 0 && { errors: failures }),
    ...(head.warnings.length > 0 && { warnings: head.warnings }),
  };
}

/** The members of an object that stands in another one's text. */
function members(fields: object): string {
  return JSON.stringify(fields).slice(1, -1);
}

function nativePicture(picture: DeliveredPicture, link: LinkTo): object {
  const { index, stored, bytes, revisedPrompt, seed, size, contentType, byteLength } = picture;
  const linked = stored === undefined || bytes !== undefined ? undefined : link(stored);
  return {
    index,
    ...(stored !== undefined && { id: stored.id }),
    ...(linked !== undefined && { url: linked.url, expires_at: linked.expiresAt }),
    ...(stored !== undefined && bytes !== undefined && { expires_at: Math.floor(stored.expiresAt / 1000) }),
    ...(revisedPrompt !== undefined && { revised_prompt: revisedPrompt }),
    ...(seed !== undefined && { seed }),
    width: size.width,
    height: size.height,
    content_type: contentType,
    bytes: byteLength,
  };
}

/** The native envelope. */
export const nativeWording: Wording = {
  opening({ created, model, servedBy }) {
    const data = members({ created, model, ...(servedBy !== model && { served_by: servedBy }) });
    return `{"status":"ok","data":{${data},"data":[`;
  },
  picture: nativePicture,
  closing(outcome, requestId) {
    const usage = {
      images: outcome.pictures.length,
      cost: formatUsd(outcome.costMicroUsd),
      currency: 'USD',
    };
    const meta = { request_id: requestId };
    return `],${members({ ...extras(outcome), usage })}},${members({ meta })}}`;
  },
};

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

/** What OpenAI says of pictures: of one in a stream, or of all in an answer. */
export function openaiFacts(head: RequestHead, picture: Pick<PictureFacts, 'size' | 'contentType'>): object {
  return {
    size: sizeName(picture.size),
    quality: head.quality ?? 'auto',
    background: head.background === 'transparent' ? 'transparent' : 'opaque',
    output_format: picture.contentType.slice('image/'.length),
  };
}

/** OpenAI's body. */
export const openaiWording: Wording = {
  opening: ({ created }) => `{"created":${created},"data":[`,
  picture({ stored, bytes, revisedPrompt }, link) {
    return {
      ...(bytes === undefined && stored !== undefined && { url: link(stored).url }),
      ...(revisedPrompt !== undefined && { revised_prompt: revisedPrompt }),
    };
  },
  closing(outcome) {
    const { head, pictures, tokens } = outcome;
    const [first] = pictures;
    const facts = first !== undefined && openaiFacts(head, first);
    return `],${members({ ...extras(outcome), ...facts, usage: openaiUsage(tokens) })}}`;
  },
};
