/** Fresh links to pictures: the id is what people keep, the link is what expires. */
import type { Caller } from '../core/caller.js';
import type { Emit } from '../core/events.js';
import { createGate } from '../core/gate.js';
import type { MediaStorage } from '../core/storage.js';
import { within } from '../core/wait.js';
import { isPictureType, mediaFile, parsePictureId, pictureKey, tenantTag } from '../media/picture-id.js';
import { storageError } from '../media/picture-store.js';
import { sendJson } from './exchange.js';
import type { Handler } from './handle.js';
import type { Intake } from './intake.js';
import type { Links } from './links.js';
import { createValidator, type Schema, type Validate } from './schema.js';

/** What signing takes. */
export interface SignOptions {
  /** The steps before. */
  readonly intake: Intake;
  /** Makes links. */
  readonly links: Links;
  /** Where pictures are. */
  readonly storage: MediaStorage;
  /** How long storage may take to answer, in milliseconds. */
  readonly storageMs: number;
  /** How long a link may live at most, in seconds. */
  readonly maxTtlSeconds: number;
  /** Raises events. */
  readonly emit: Emit;
}

const LOOKUPS_AT_ONCE = 8;

/** The body of a sign request, for links that live `maxTtlSeconds` at most. */
export function signSchema(maxTtlSeconds: number): Schema {
  return {
    type: 'object',
    required: ['ids'],
    properties: {
      ids: {
        type: 'array',
        minItems: 1,
        maxItems: 100,
        items: { type: 'string', maxLength: 256, description: 'only ids of pictures' },
        description: '1 to 100 ids of pictures',
      },
      ttl_seconds: {
        type: 'integer',
        minimum: 1,
        maximum: maxTtlSeconds,
        description: `a whole number of seconds from 1 to ${maxTtlSeconds}`,
      },
    },
  };
}

/** `POST /v1/media/sign`. */
export function signHandler(options: SignOptions): Handler {
  const { intake, links, storage, storageMs, emit } = options;
  const validate: Validate = createValidator(signSchema(options.maxTtlSeconds));

  async function stat(id: string, requestId: string) {
    const late = () => new Error(`storage did not answer within ${storageMs} ms`);
    try {
      return await within(storage.stat(pictureKey(id)), storageMs, late);
    } catch (cause) {
      emit({ type: 'storage.failed', level: 'error', requestId, operation: 'stat', cause });
      throw storageError(cause);
    }
  }

  /** Another tenant's picture and one that never was look the same. */
  function isOwn(id: string, { tenant }: Caller): boolean {
    return parsePictureId(id)?.tag === tenantTag(tenant);
  }

  return async (exchange) => {
    const { req, res, requestId } = exchange;
    const caller = await intake.caller(exchange, 'user');
    const { ids, ttl_seconds: ttlSeconds } = (await intake.fields(exchange, validate)) as {
      readonly ids: readonly string[];
      readonly ttl_seconds?: number;
    };
    const base = links.base(req);
    const lookups = createGate({ limit: LOOKUPS_AT_ONCE });
    const sign = async (id: string) => {
      const info = isOwn(id, caller) ? await lookups.run(() => stat(id, requestId)) : undefined;
      if (info === undefined || !isPictureType(info.contentType)) return { id, code: 'MEDIA_NOT_FOUND' };
      const stored = { id, file: mediaFile(id, info.contentType), expiresAt: info.expiresAt };
      const { url, expiresAt } = links.to(stored, base, ttlSeconds);
      return { id, url, expires_at: expiresAt };
    };
    const items = await Promise.all(ids.map(sign));
    sendJson(res, 200, { status: 'ok', data: { items }, meta: { request_id: requestId } });
  };
}
