/** The endpoints that make pictures, on both surfaces: one handler, told how its surface and operation read and write. */

import type { Caller } from '../core/caller.js';
import type { Deadlines } from '../core/deadline.js';
import type { Delivery } from '../core/delivery.js';
import type { Emit } from '../core/events.js';
import type { Images, Job, RequestEvent } from '../core/generate.js';
import type { ImageRequest, Warning } from '../core/request.js';
import { invalid } from '../core/validation.js';
import { withDeadline } from './disconnect.js';
import type { Surface } from './errors.js';
import { type Exchange, sendJson } from './exchange.js';
import type { Fields } from './fields.js';
import { failedEvent, type Handler } from './handle.js';
import type { Intake } from './intake.js';
import { setLifecycleHeaders, setLimitHeaders } from './limit-headers.js';
import type { Links } from './links.js';
import { streamAnswer } from './stream.js';
import { type AnswerOptions, gather, type Outcome } from './wire.js';

/** What picture endpoints take. */
export interface PicturesOptions {
  /** The steps before. */
  readonly intake: Intake;
  /** The use case. */
  readonly images: Images;
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
  /** The body of a request that delivered. */
  readonly answer: (outcome: Outcome, options: AnswerOptions) => object;
}

/** What a body was read as. */
export interface ReadRequest {
  /** The body. */
  readonly fields: Fields;
  /** The request it stands for. */
  readonly request: ImageRequest;
  /** What was ignored. */
  readonly warnings: readonly Warning[];
}

/** How an operation is read, and what its events are called. */
export interface OperationReader {
  /** First half of the names of streamed events. */
  readonly eventPrefix: 'image_generation' | 'image_edit';
  /** Reads a body. */
  read(exchange: Exchange): Promise<ReadRequest>;
}

interface Work {
  readonly exchange: Exchange;
  readonly job: Job;
  readonly created: number;
  readonly warnings: readonly Warning[];
}

/** Makes the handler of an operation on a surface. */
export function picturesHandler(
  options: PicturesOptions,
  dialect: Dialect,
  operation: OperationReader,
): Handler {
  const { intake, images, links, deadlines, emit } = options;

  function run({ exchange, job }: Work, delivery: Delivery) {
    const { res, requestId } = exchange;
    return <T>(use: (events: AsyncIterable<RequestEvent>) => Promise<T>): Promise<T> =>
      withDeadline(res, deadlines, (deadline) => use(job.run({ requestId, deadline, delivery })));
  }

  async function answer(work: Work, format: 'url' | 'b64_json'): Promise<void> {
    const { req, res, requestId } = work.exchange;
    const stored = format === 'url';
    // Before anything is spent: a request whose Host is none could not be told where its pictures are.
    const base = stored ? links.base(req) : '';
    const outcome = await run(work, { stored, bytes: !stored })((events) => {
      return gather(work.job, events, (rooms) => setLimitHeaders(res, rooms));
    });
    const link: AnswerOptions['link'] = (picture) => links.to(picture, base);
    const { created, warnings } = work;
    sendJson(res, 200, dialect.answer(outcome, { created, requestId, warnings, link }));
  }

  async function stream(work: Work): Promise<void> {
    const { res, requestId } = work.exchange;
    const { job, created, warnings } = work;
    await run(work, { stored: false, bytes: true })((events) => {
      return streamAnswer(res, {
        ...{ job, events, created, requestId, warnings, prefix: operation.eventPrefix },
        onBudgets: (rooms) => setLimitHeaders(res, rooms),
        onError: (error) => emit(failedEvent(error, { requestId, level: 'warn' })),
      });
    });
  }

  return async (exchange) => {
    const created = Math.floor(Date.now() / 1000);
    const caller: Caller = await intake.caller(exchange, 'user');
    const { fields, request, warnings } = await operation.read(exchange);
    checkStream(fields, dialect);
    const job = images.prepare(request, { caller, bare: dialect.bareNames });
    setLifecycleHeaders(exchange.res, job.target);
    const work: Work = { exchange, job, created, warnings };
    if (fields.stream === true) return stream(work);
    const format = fields.response_format ?? dialect.defaultFormat(job);
    return answer(work, format === 'url' ? 'url' : 'b64_json');
  };
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
