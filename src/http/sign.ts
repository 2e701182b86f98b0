/** Fresh links to pictures: the id is what people keep, the link is what expires. */
import type { Caller } from '../core/caller.js';
import type { Deadline, Deadlines } from '../core/deadline.js';
import type { Emit } from '../core/events.js';
import { createGate } from '../core/gate.js';
import type { MediaStorage, StoredInfo } from '../core/storage.js';
import { unlessAborted, within } from '../core/wait.js';
import { isPictureType, mediaFile, parsePictureId, pictureKey, tenantTag } from '../media/picture-id.js';
import { storageError } from '../media/picture-store.js';
import { reportStorage } from '../media/report.js';
import { withDeadline } from './disconnect.js';
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
  /** Bounds all look-ups of a request together. */
  readonly deadlines: Deadlines;
  /** How long a link may live at most, in seconds. */
  readonly maxTtlSeconds: number;
  /** Raises events. */
  readonly emit: Emit;
}

const LOOKUPS_AT_ONCE = 8;
const TIME_UP = new Error('the time of the request was up before storage answered');

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

/** What is stored of a picture, if anything, or why that could not be learnt. */
type Found = { readonly id: string; readonly info: StoredInfo | undefined } | Failure;

interface Failure {
  readonly id: string;
  readonly failure: unknown;
}

function isFailure(found: Found): found is Failure {
  return 'failure' in found;
}

/**
 * `POST /v1/media/sign`. A picture that cannot be looked up fails alone. Throws `STORAGE_ERROR` when none could be.
 */
export function signHandler(options: SignOptions): Handler {
  const { intake, links, storage, storageMs, deadlines, emit } = options;
  const validate: Validate = createValidator(signSchema(options.maxTtlSeconds));

  /** Throws when nobody waits any more. */
  async function look(id: string, requestId: string, { signal, upstream }: Deadline): Promise<Found> {
    if (upstream.aborted) return { id, failure: TIME_UP };
    const key = pictureKey(id);
    const late = () => new Error(`storage did not answer within ${storageMs} ms`);
    try {
      return { id, info: await within(unlessAborted(storage.stat(key), upstream), storageMs, late) };
    } catch (thrown) {
      signal.throwIfAborted();
      const cause = upstream.aborted ? TIME_UP : thrown;
      reportStorage(emit, { operation: 'stat', key, requestId, cause });
      return { id, failure: cause };
    }
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
    const find = async (id: string, deadline: Deadline): Promise<Found> =>
      isOwn(id, caller) ? await lookups.run(() => look(id, requestId, deadline)) : { id, info: undefined };
    const found = await withDeadline(res, { deadlines, survives: false }, (deadline) =>
      Promise.all(ids.map((id) => find(id, deadline))),
    );
    const failures = found.filter(isFailure);
    if (failures.length === found.length) throw storageError(failures[0]?.failure);
    const items = found.map((one) => {
      const { id } = one;
      if (isFailure(one)) return { id, code: 'STORAGE_ERROR' };
      const { info } = one;
      if (info === undefined || !isPictureType(info.contentType)) return { id, code: 'MEDIA_NOT_FOUND' };
      const stored = { id, file: mediaFile(id, info.contentType), expiresAt: info.expiresAt };
      const { url, expiresAt } = links.to(stored, base, ttlSeconds);
      return { id, url, expires_at: expiresAt };
    });
    sendJson(res, 200, { status: 'ok', data: { items }, meta: { request_id: requestId } });
  };
}

/** Another tenant's picture and one that never was look the same. */
function isOwn(id: string, { tenant }: Caller): boolean {
  return parsePictureId(id)?.tag === tenantTag(tenant);
}
