/**
 * The endpoints that make pictures, on both surfaces: one handler, told how its surface and operation read and write.
 */
import type { Response } from 'express';
import type { Once } from '../core/budget.js';
import type { Caller } from '../core/caller.js';
import type { Deadline, Deadlines } from '../core/deadline.js';
import type { Emit } from '../core/events.js';
import type { Images, Job, RequestEvent } from '../core/generate.js';
import type { ReadPicture, StoredPicture } from '../core/picture.js';
import { replay, type Twins } from '../core/twins.js';
import { invalid } from '../core/validation.js';
import { takeTurn } from '../core/wait.js';
import { withDeadline } from './disconnect.js';
import type { Surface } from './errors.js';
import type { Exchange } from './exchange.js';
import type { Fields } from './fields.js';
import { emitFailure, type Handler } from './handle.js';
import { onceOf } from './idempotency.js';
import type { Intake } from './intake.js';
import { setLifecycleHeaders, setLimitHeaders } from './limit-headers.js';
import type { Links } from './links.js';
import type { OperationReader, ReadRequest } from './operation.js';
import { sendPieces } from './pieces.js';
import { readAhead } from './read-ahead.js';
import { streamAnswer } from './stream.js';
import { answerPieces, type Wording } from './wire.js';

/** What picture endpoints take. */
export interface PicturesOptions {
  /** The steps before. */
  readonly intake: Intake;
  /** The use case. */
  readonly images: Images;
  /** Knows requests that mean the same. */
  readonly twins: Twins;
  /** Reads pictures of earlier requests. */
  readonly readPicture: ReadPicture;
  /** False for a picture of an earlier request that is surely gone. */
  readonly isKept: (picture: StoredPicture) => Promise<boolean>;
  /** Makes links to stored pictures. */
  readonly links: Links;
  /** Bounds each request. */
  readonly deadlines: Deadlines;
  /** Raises events. */
  readonly emit: Emit;
}

/** How a surface differs from the other. */
export interface Dialect {
  /** Which one it is. */
  readonly surface: Surface;
  /** Whether model names need no vendor. */
  readonly bareNames: boolean;
  /** Whether `stream: true` is served. */
  readonly streams: boolean;
  /** What a client gets that does not say. */
  readonly defaultFormat: (job: Job) => 'url' | 'b64_json';
  /** How it words answers. */
  readonly wording: Wording;
}

interface Work extends ReadRequest {
  readonly exchange: Exchange;
  readonly caller: Caller;
  readonly created: number;
  readonly once: Once | undefined;
}

/** Makes the handler of an operation on a surface. */
export function picturesHandler(
  options: PicturesOptions,
  dialect: Dialect,
  operation: OperationReader,
): Handler {
  const { intake, images, twins, links, deadlines, readPicture, isKept, emit } = options;

  /** Prepares the request and begins to draw. */
  function draw(work: Work, deadline: Deadline): AsyncGenerator<RequestEvent, void> {
    const { exchange, caller, request, created, once } = work;
    const { req, requestId } = exchange;
    const job = images.prepare(request, { caller, bare: dialect.bareNames });
    const format = formatOf(work, dialect.defaultFormat(job));
    // Before anything is spent: a request whose Host is none could not be told where its pictures are.
    if (format === 'url') links.base(req);
    const { quality, background } = job.plan.settings;
    const warnings = [...work.warnings, ...job.plan.warnings];
    const { name, asked, serving, status } = job.target;
    const { deprecatedAt, shutdownAt } = asked.model.lifecycle ?? {};
    const lifecycle = status === 'active' ? undefined : { deprecatedAt, shutdownAt };
    const head = {
      created,
      model: name,
      servedBy: serving.slug,
      quality,
      background,
      format,
      lifecycle,
      warnings,
    };
    const again = once !== undefined;
    const delivery = { stored: format === 'url' || again, bytes: format === 'b64_json', again };
    return job.run({ requestId, deadline, delivery, once, head });
  }

  /** Draws, unless a request that means the same did: then it is replayed. */
  async function* happen(work: Work, deadline: Deadline): AsyncGenerator<RequestEvent, void> {
    const { once } = work;
    const drawing = () => readAhead(draw(work, deadline), deadline.signal);
    if (once === undefined) return yield* drawing();
    yield* twins.run({
      once,
      signal: deadline.upstream,
      draw: drawing,
      replay: (earlier) => replay(earlier, { read: readPicture, isKept, signal: deadline.signal }),
    });
  }

  function setHeaders(res: Response, event: RequestEvent): void {
    if (event.type === 'budgets') setLimitHeaders(res, event.rooms);
    if (event.type !== 'started') return;
    setLifecycleHeaders(res, event.head);
    if (event.replayed) res.setHeader('Idempotency-Replayed', 'true');
  }

  async function answer(
    { req, res, requestId }: Exchange,
    events: AsyncIterable<RequestEvent>,
  ): Promise<void> {
    const link = (picture: StoredPicture) => links.to(picture, links.base(req));
    const onEvent = (event: RequestEvent) => setHeaders(res, event);
    await sendPieces(res, answerPieces(events, { wording: dialect.wording, requestId, link, onEvent }));
  }

  function stream({ res, requestId }: Exchange, events: AsyncIterable<RequestEvent>): Promise<void> {
    return streamAnswer(res, {
      events,
      requestId,
      prefix: operation.eventPrefix,
      onEvent: (event) => setHeaders(res, event),
      onError: (error) => emitFailure(error, { requestId, emit }),
    });
  }

  return async (exchange) => {
    await takeTurn();
    const created = Math.floor(Date.now() / 1000);
    const caller: Caller = await intake.caller(exchange, 'user');
    const read = await operation.read(exchange);
    checkStream(read.fields, dialect);
    const { surface } = dialect;
    const once = onceOf(exchange.req, caller, { ...read, surface, operation: operation.eventPrefix });
    const work: Work = { ...read, exchange, caller, created, once };
    const send = read.fields.stream === true ? stream : answer;
    // Somebody who sent a key will come back for the outcome, also after a lost connection.
    const binding = { deadlines, survives: once !== undefined };
    await withDeadline(exchange.res, binding, (deadline) => send(exchange, happen(work, deadline)));
  };
}

function formatOf({ fields }: Work, usual: 'url' | 'b64_json'): 'url' | 'b64_json' {
  if (fields.stream === true) return 'b64_json';
  return fields.response_format === 'url' || fields.response_format === 'b64_json'
    ? fields.response_format
    : usual;
}

function checkStream(fields: Fields, { streams }: Dialect): void {
  if (fields.stream !== true) return;
  if (!streams) {
    throw invalid([{ field: 'stream', message: 'streams are at /oai/v1/images; leave it out here' }]);
  }
  if (fields.response_format === 'url') {
    throw invalid([
      { field: 'response_format', message: 'streams carry b64_json; leave it out, or do not stream' },
    ]);
  }
}
