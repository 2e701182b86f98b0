/** The OpenAPI 3.1 document of the router, made of the schemas that validate. */
import type { Transforms } from '../core/variant.js';
import { mediaResponses } from './openapi-media.js';
import { editSchema, generateSchema } from './schema.js';
import { signSchema } from './sign.js';
import { transformParameters } from './transform-query.js';

/** An OpenAPI document: plain JSON. */
export type OpenApiDocument = Readonly<Record<string, unknown>>;

interface Operation {
  readonly id: string;
  readonly summary: string;
  readonly path: string;
  readonly method: 'get' | 'post';
  readonly body?: unknown;
  /** Parameters, and where each is: in the query, in the path or in a header. */
  readonly parameters?: Readonly<Record<string, string>>;
  /** Query parameters that have one of a few values. */
  readonly choices?: Readonly<Record<string, readonly string[]>>;
  readonly answer: string;
  /** Its answers, where there are more than one and errors. */
  readonly responses?: object;
  /** Readable without an API key. */
  readonly open?: boolean;
  /** There only where rows of usage are kept. */
  readonly usage?: boolean;
}

const USAGE_FILTER = {
  start: 'query',
  end: 'query',
  period: 'query',
  user_id: 'query',
  model: 'query',
  backend_id: 'query',
};

const JSON_ANSWER = 'application/json';

function operations({ maxTtlSeconds, transforms, delivery }: OpenApiOptions): readonly Operation[] {
  return [
    {
      id: 'generateImages',
      summary: 'Draw pictures from words.',
      path: '/v1/inference/images/generate',
      method: 'post',
      body: generateSchema,
      answer: JSON_ANSWER,
    },
    {
      id: 'openaiGenerateImages',
      summary: 'The same for OpenAI clients.',
      path: '/oai/v1/images/generations',
      method: 'post',
      body: generateSchema,
      answer: JSON_ANSWER,
    },
    {
      id: 'editImages',
      summary: 'Change pictures; also as a form whose image, image[] and mask are files.',
      path: '/v1/inference/images/edit',
      method: 'post',
      body: editSchema,
      answer: JSON_ANSWER,
    },
    {
      id: 'openaiEditImages',
      summary: 'The same for OpenAI clients.',
      path: '/oai/v1/images/edits',
      method: 'post',
      body: editSchema,
      answer: JSON_ANSWER,
    },
    {
      id: 'quoteImages',
      summary: 'What a generate body would resolve to and cost; nothing is spent.',
      path: '/v1/inference/images/quote',
      method: 'post',
      body: generateSchema,
      answer: JSON_ANSWER,
    },
    {
      id: 'listBudgets',
      summary: 'What the budgets that bind the caller have left.',
      path: '/v1/accounting/budgets',
      method: 'get',
      answer: JSON_ANSWER,
    },
    {
      id: 'listUsage',
      summary: "What was drawn and what it cost, the youngest first: one's own, or an admin's tenant's.",
      path: '/v1/accounting/usage',
      method: 'get',
      parameters: { ...USAGE_FILTER, limit: 'query', cursor: 'query' },
      answer: JSON_ANSWER,
      usage: true,
    },
    {
      id: 'summarizeUsage',
      summary: 'The same added up, for admins.',
      path: '/v1/accounting/usage/summary',
      method: 'get',
      parameters: { ...USAGE_FILTER, group_by: 'query' },
      answer: JSON_ANSWER,
      usage: true,
    },
    {
      id: 'exportUsage',
      summary: 'All of it as a file, for admins.',
      path: '/v1/accounting/export',
      method: 'get',
      parameters: { ...USAGE_FILTER, format: 'query' },
      answer: 'text/csv',
      usage: true,
    },
    {
      id: 'signMedia',
      summary: 'Fresh links to stored pictures.',
      path: '/v1/media/sign',
      method: 'post',
      body: signSchema(maxTtlSeconds),
      answer: JSON_ANSWER,
    },
    {
      id: 'listModels',
      summary: 'The models the caller may use.',
      path: '/v1/models',
      method: 'get',
      parameters: { modality: 'query', status: 'query', limit: 'query', cursor: 'query' },
      answer: JSON_ANSWER,
    },
    {
      id: 'getModel',
      summary: 'One model.',
      path: '/v1/models/{slug}',
      method: 'get',
      parameters: { slug: 'path' },
      answer: JSON_ANSWER,
    },
    {
      id: 'openaiListModels',
      summary: 'The models the caller may use, for OpenAI clients.',
      path: '/oai/v1/models',
      method: 'get',
      answer: JSON_ANSWER,
    },
    {
      id: 'openaiGetModel',
      summary: 'One model, for OpenAI clients.',
      path: '/oai/v1/models/{slug}',
      method: 'get',
      parameters: { slug: 'path' },
      answer: JSON_ANSWER,
    },
    {
      id: 'getMedia',
      summary: 'A stored picture, or a smaller or otherwise encoded version of it.',
      path: '/v1/media/{file}',
      method: 'get',
      parameters: {
        file: 'path',
        token: 'query',
        download: 'query',
        Range: 'header',
        'If-Range': 'header',
        'If-None-Match': 'header',
        'If-Modified-Since': 'header',
      },
      choices: transformParameters(transforms),
      answer: 'image/*',
      responses: mediaResponses(delivery === 'redirect'),
      open: true,
    },
    {
      id: 'getOpenApi',
      summary: 'This document.',
      path: '/v1/images/openapi.json',
      method: 'get',
      answer: JSON_ANSWER,
      open: true,
    },
  ];
}

function operationObject(operation: Operation): object {
  const { id, summary, body, parameters = {}, choices = {}, answer, responses, open } = operation;
  const allowed = Object.entries(choices).filter(([, values]) => values.length > 0);
  return {
    operationId: id,
    summary,
    ...(open === true && { security: [] }),
    parameters: [
      ...Object.entries(parameters).map(([name, place]) => ({
        name,
        in: place,
        required: place === 'path',
        schema: { type: 'string' },
      })),
      ...allowed.map(([name, values]) => ({
        name,
        in: 'query',
        required: false,
        schema: { type: 'string', enum: values },
      })),
    ],
    ...(body !== undefined && {
      requestBody: { required: true, content: { [JSON_ANSWER]: { schema: body } } },
    }),
    responses: {
      ...(responses ?? { '200': { description: 'Done.', content: { [answer]: {} } } }),
      default: { description: 'An error; clients branch on its code.', content: { [JSON_ANSWER]: {} } },
    },
  };
}

/** What the document depends on. */
export interface OpenApiOptions {
  /** Where the router's URLs begin, where that is known. */
  readonly publicUrl: string | undefined;
  /** How long a link may live at most, in seconds. */
  readonly maxTtlSeconds: number;
  /** Which versions of pictures may be asked for. */
  readonly transforms: Transforms;
  /** Who serves pictures. */
  readonly delivery: 'proxy' | 'redirect';
  /** Whether rows of usage are kept. */
  readonly usage: boolean;
}

/** Makes the document. */
export function createOpenApi(options: OpenApiOptions): OpenApiDocument {
  const { publicUrl, usage } = options;
  const paths: Record<string, Record<string, object>> = {};
  const served = operations(options).filter((operation) => usage || operation.usage !== true);
  for (const operation of served) {
    paths[operation.path] = { ...paths[operation.path], [operation.method]: operationObject(operation) };
  }
  return {
    openapi: '3.1.0',
    info: { title: 'Images API', version: '1' },
    ...(publicUrl !== undefined && { servers: [{ url: publicUrl }] }),
    security: [{ bearer: [] }],
    components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
    paths,
  };
}
