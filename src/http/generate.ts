/** The generate endpoint on both surfaces: one handler, told how its surface reads and writes. */
import type { Deadlines } from '../core/deadline.js';
import type { Images, Job } from '../core/generate.js';
import { invalid } from '../core/rules.js';
import { withDeadline } from './disconnect.js';
import type { Surface } from './errors.js';
import { type Exchange, sendJson } from './exchange.js';
import { type Fields, generateRequest, unknownFields } from './fields.js';
import type { Handler } from './handle.js';
import type { Intake } from './intake.js';
import { setLifecycleHeaders, setLimitHeaders } from './limit-headers.js';
import type { Links } from './links.js';
import { createValidator, generateProperties, generateSchema } from './schema.js';
import { type AnswerOptions, gather, type Outcome } from './wire.js';

/** What generate endpoints take. */
export interface GenerateOptions {
  /** The steps before. */
  readonly intake: Intake;
  /** The use case. */
  readonly images: Images;
  /** Makes links to stored pictures. */
  readonly links: Links;
  /** Bounds each request. */
  readonly deadlines: Deadlines;
}

/** How a surface differs from the other. */
export interface GenerateDialect {
  /** Which one it is. */
  readonly surface: Surface;
  /** Whether model names need no vendor. */
  readonly bareNames: boolean;
  /** What a client gets that does not say. */
  readonly defaultFormat: (job: Job) => 'url' | 'b64_json';
  /** Refuses what only another surface has. */
  readonly check: (fields: Fields) => void;
  /** The body of a request that delivered. */
  readonly answer: (outcome: Outcome, options: AnswerOptions) => object;
}

/** Makes the generate handler of a surface. */
export function generateHandler(options: GenerateOptions, dialect: GenerateDialect): Handler {
  const { intake, images, links, deadlines } = options;
  const validate = createValidator(generateSchema);

  return async (exchange: Exchange) => {
    const { req, res, requestId } = exchange;
    const created = Math.floor(Date.now() / 1000);
    const caller = await intake.caller(exchange, 'user');
    const fields = await intake.fields(exchange, validate);
    dialect.check(fields);
    const job = images.prepare(generateRequest(fields), { caller, bare: dialect.bareNames });
    const stored = (fields.response_format ?? dialect.defaultFormat(job)) === 'url';
    const base = stored ? links.base(req) : '';
    setLifecycleHeaders(res, job.target);
    const outcome = await withDeadline(res, deadlines, (deadline) => {
      const events = job.run({ requestId, deadline, stored });
      return gather(job, events, (rooms) => setLimitHeaders(res, rooms));
    });
    const warnings = unknownFields(fields, generateProperties);
    const link: AnswerOptions['link'] = (picture) => links.to(picture, base);
    sendJson(res, 200, dialect.answer(outcome, { created, requestId, warnings, link }));
  };
}

/** Refuses a field by name. */
export function refuseField(field: string, message: string): never {
  throw invalid([{ field, message }]);
}
