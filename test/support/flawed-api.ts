/** Deployments of the router with one fault each: a sound app behind a gateway that changes one thing. */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { anyone } from '../../src/http/identify.js';
import type { ApiSubject } from '../../src/testing/api-checks.js';
import { createTestApp, TEST_CALLER, TEST_KEY, type TestAppOptions } from './app.js';

/** A request on its way through the gateway. A fault changes it. */
interface Passing {
  method: string;
  path: string;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** An answer on its way back. A fault changes it. */
interface Returning {
  status: number;
  headers: IncomingHttpHeaders;
  body: Buffer;
}

/** One fault. */
interface Flaw {
  /** What is wrong with it. */
  readonly fault: string;
  /** The checks it fails, in the kit's order. */
  readonly fails: readonly string[];
  /** Changes requests. */
  readonly before?: (passing: Passing) => void;
  /** Changes answers. */
  readonly after?: (returning: Returning, passing: Passing) => void;
  /** Options of the app behind. */
  readonly options?: TestAppOptions;
}

async function collect(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function forward(port: number, { method, path, headers, body }: Passing): Promise<Returning> {
  const { 'content-length': _, 'transfer-encoding': __, connection: ___, ...kept } = headers;
  const sent = request({ host: '127.0.0.1', port, method, path, headers: kept, agent: false });
  sent.end(body);
  const [answer] = (await once(sent, 'response')) as [IncomingMessage];
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: await collect(answer) };
}

/** Starts a sound app and a gateway with a fault in front of it. */
export async function flawedSubject({
  before,
  after,
  options = {},
}: Partial<Flaw> = {}): Promise<ApiSubject> {
  const ends: (() => Promise<void>)[] = [];
  const scope = { after: (end: () => Promise<void>) => void ends.push(end) };
  const trusting: TestAppOptions = { before: (host) => host.set('trust proxy', true) };
  const app = await createTestApp(scope, { ...trusting, ...options });
  const gateway = createServer(async (req, res) => {
    const { method = '', url: path = '', headers } = req;
    const passing: Passing = {
      ...{ method, path, body: await collect(req) },
      headers: { ...headers, 'x-forwarded-host': headers.host },
    };
    before?.(passing);
    const returning = await forward(app.port, passing);
    after?.(returning, passing);
    const { 'content-length': _, 'transfer-encoding': __, connection: ___, ...kept } = returning.headers;
    const length = method === 'HEAD' ? returning.headers['content-length'] : returning.body.length;
    if (returning.status !== 304 && length !== undefined) kept['content-length'] = String(length);
    res.writeHead(returning.status, kept).end(method === 'HEAD' ? undefined : returning.body);
  }).listen(0, '127.0.0.1');
  await once(gateway, 'listening');
  return {
    baseUrl: `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`,
    headers: { authorization: `Bearer ${TEST_KEY}` },
    model: 'placeholder/sketch',
    size: '96x64',
    async close() {
      gateway.closeAllConnections();
      gateway.close();
      for (const end of ends) await end();
    },
  };
}

const GENERATING = ['generate.url', 'generate.b64-json', 'generate.several', 'generate.warnings'];
const SERVING = [
  ...['media.token', 'media.stray-authorization', 'media.headers', 'media.head'],
  ...['media.conditional', 'media.range', 'media.download'],
];

function isMedia({ path }: Passing): boolean {
  return path.startsWith('/v1/media/');
}

/** Rewrites a JSON body. */
function edit(message: { body: Buffer }, change: (json: Record<string, unknown>) => void): void {
  const json = JSON.parse(message.body.toString());
  change(json);
  message.body = Buffer.from(JSON.stringify(json));
}

function isDrawn({ method }: Passing, { status }: Returning): boolean {
  return method === 'POST' && status === 200;
}

/** The faults. */
export const flawedApis: readonly Flaw[] = [
  {
    fault: 'a gateway that drops X-Request-Id',
    after: ({ headers }) => delete headers['x-request-id'],
    fails: ['request-id.answers'],
  },
  {
    fault: 'a cache that keeps listings',
    after: (() => {
      let kept: Buffer | undefined;
      return (returning: Returning, { path }: Passing) => {
        if (path !== '/v1/models' || returning.status !== 200) return;
        kept ??= returning.body;
        returning.body = kept;
      };
    })(),
    fails: ['request-id.unique'],
  },
  {
    fault: 'an open door',
    options: { before: (host) => host.set('trust proxy', true), identify: anyone(TEST_CALLER) },
    fails: ['auth.required'],
  },
  {
    fault: 'a gateway that wraps errors of its own kind',
    after: (returning, { path }) => {
      if (returning.status !== 404 || path.startsWith('/oai')) return;
      const id = JSON.parse(returning.body.toString()).meta.request_id;
      returning.body = Buffer.from(JSON.stringify({ message: 'not found', meta: { request_id: id } }));
    },
    fails: ['errors.native'],
  },
  {
    fault: "the native envelope on OpenAI's surface",
    after: (returning, { path }) => {
      if (returning.status !== 404 || !path.startsWith('/oai')) return;
      edit(returning, (json) => {
        json.error = { code: 'MODEL_NOT_FOUND', message: 'There is no such model here.' };
      });
    },
    fails: ['errors.openai'],
  },
  {
    fault: 'a gateway that drops x-should-retry',
    after: ({ headers }) => delete headers['x-should-retry'],
    fails: ['errors.retries'],
  },
  {
    fault: 'a gateway that answers wrong methods itself',
    after: ({ headers, status }) => status === 405 && delete headers.allow,
    fails: ['methods.allow'],
  },
  {
    fault: 'faults without details',
    after: (returning) => {
      if (returning.status !== 422) return;
      edit(returning, (json) => delete (json.error as Record<string, unknown>).details);
    },
    fails: ['body.fields', 'body.content-type'],
  },
  {
    fault: 'a gateway that mends JSON',
    before: (passing) => {
      if (passing.body.toString() === '{"model":')
        passing.body = Buffer.from('{"model":"nobody/none","prompt":"x"}');
    },
    fails: ['body.malformed'],
  },
  {
    fault: 'a gateway that takes any text for JSON',
    before: ({ headers, method }) => {
      if (method === 'POST') headers['content-type'] = 'application/json';
    },
    fails: ['body.content-type'],
  },
  {
    fault: 'a listing without the model',
    after: (returning, { path }) => {
      if (!path.startsWith('/v1/models?modality')) return;
      edit(returning, (json) => {
        json.data = { items: [] };
      });
    },
    fails: ['models.list'],
  },
  {
    fault: 'a cache that knows no queries',
    before: (passing) => {
      passing.path = passing.path.replace(/&limit=1(&|$)/, '&limit=1000$1');
    },
    options: {
      before: (host) => host.set('trust proxy', true),
      placeholder: { models: [{}, { slug: 'placeholder/second' }] },
    },
    fails: ['models.pages'],
  },
  {
    fault: 'a gateway that refuses slashes in names',
    after: (returning, { path }) => {
      if (/^\/v1\/models\/[^/]+\/.+/.test(path)) returning.status = 400;
    },
    fails: ['models.one'],
  },
  {
    fault: 'a gateway that refuses encoded slashes',
    after: (returning, { path }) => {
      if (path.includes('%2F') && !path.includes('no-such')) returning.status = 400;
    },
    fails: ['models.encoded-slash'],
  },
  {
    fault: "no model listing on OpenAI's surface",
    after: (returning, { path }) => {
      if (path === '/oai/v1/models') returning.status = 404;
    },
    fails: ['models.openai'],
  },
  {
    fault: 'an OpenAPI document behind the door',
    after: (returning, { path }) => {
      if (path === '/v1/images/openapi.json') returning.status = 401;
    },
    fails: ['openapi.served'],
  },
  {
    fault: 'a gateway that serves pictures as bytes of no type',
    after: ({ headers }, passing) => {
      if (isMedia(passing) && headers['content-type'] === 'image/png') {
        headers['content-type'] = 'application/octet-stream';
      }
    },
    fails: ['generate.url'],
  },
  {
    fault: 'a gateway that makes pictures smaller',
    before: (passing) => {
      if (passing.path.endsWith('/generate') && passing.body.includes('b64_json')) {
        edit(passing, (json) => {
          json.size = '32x32';
        });
      }
    },
    fails: ['generate.b64-json'],
  },
  {
    fault: 'a gateway that draws one picture at a time',
    before: (passing) => {
      if (passing.body.includes('"n":2')) edit(passing, (json) => delete json.n);
    },
    fails: ['generate.several'],
  },
  {
    fault: 'a gateway that lets no unknown field through',
    before: (passing) => {
      if (passing.body.includes('no_such_field')) edit(passing, (json) => delete json.no_such_field);
    },
    fails: ['generate.warnings'],
  },
  {
    fault: "an older OpenAI's answers",
    after: (returning, passing) => {
      if (isDrawn(passing, returning) && passing.path.startsWith('/oai') && passing.body.includes('"url"')) {
        edit(returning, (json) => delete json.usage);
      }
    },
    fails: ['openai.url'],
  },
  {
    fault: 'data URLs for base64',
    after: (returning, passing) => {
      if (!isDrawn(passing, returning) || !passing.path.startsWith('/oai')) return;
      edit(returning, (json) => {
        const [item] = json.data as { b64_json?: string }[];
        if (item?.b64_json !== undefined) item.b64_json = `data:image/png;base64,${item.b64_json}`;
      });
    },
    fails: ['openai.b64-json'],
  },
  {
    fault: 'a gateway that hides refusals',
    after: (returning, passing) => {
      if (isMedia(passing) && returning.status === 403) returning.status = 200;
    },
    fails: ['media.token'],
  },
  {
    fault: 'a gateway that checks every Authorization header',
    after: (returning, { headers }) => {
      if (headers.authorization === 'Bearer somebody-else') returning.status = 401;
    },
    fails: ['media.stray-authorization'],
  },
  {
    fault: 'a gateway that makes pictures public',
    after: ({ headers }, passing) => {
      if (isMedia(passing)) headers['cache-control'] = 'public, max-age=31536000';
    },
    fails: ['media.headers'],
  },
  {
    fault: 'a gateway without HEAD',
    after: (returning, { method }) => {
      if (method === 'HEAD') returning.status = 501;
    },
    fails: ['media.head'],
  },
  {
    fault: 'a gateway that drops If-None-Match',
    before: ({ headers }) => delete headers['if-none-match'],
    fails: ['media.conditional'],
  },
  {
    fault: 'a gateway that drops Range',
    before: ({ headers }) => delete headers.range,
    fails: ['media.range'],
  },
  {
    fault: 'a gateway that keeps only the token of a query',
    before: (passing) => {
      if (isMedia(passing)) passing.path = passing.path.replace(/&.*/, '');
    },
    fails: ['media.download'],
  },
  {
    fault: 'a public URL that leads elsewhere',
    options: {
      media: { secrets: 'a secret that only tests know, 32+ bytes', publicUrl: 'http://127.0.0.1:9' },
    },
    fails: ['generate.url', 'openai.url', ...SERVING],
  },
  {
    fault: 'a provider that is down',
    options: { placeholder: { fail: () => new Error('down') } },
    fails: [...GENERATING, 'openai.url', 'openai.b64-json', ...SERVING],
  },
];
