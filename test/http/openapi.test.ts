import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { memoryUsage } from '../../src/usage/memory.js';
import { createTestApp, type TestApp } from '../support/app.js';

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required?: boolean;
  readonly schema: object;
}

interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly security?: readonly object[];
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: object }>> };
  readonly responses: Readonly<Record<string, { readonly description: string }>>;
}

interface Document {
  readonly openapi: string;
  readonly info: { readonly title: string; readonly version: string };
  readonly servers?: readonly { readonly url: string }[];
  readonly security: readonly Readonly<Record<string, unknown>>[];
  readonly components: { readonly securitySchemes: Readonly<Record<string, object>> };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

type Scope = Parameters<typeof createTestApp>[0];

async function documentOf(t: Scope, options: Parameters<typeof createTestApp>[1] = {}): Promise<Document> {
  const app = await createTestApp(t, options);
  const { body } = await app.http.get('/v1/images/openapi.json').expect(200).expect('Content-Type', /json/);
  return body;
}

function operationsOf({ paths }: Document) {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
}

test('anybody may read the OpenAPI document, and the host has it too', async (t) => {
  const app = await createTestApp(t);
  const { body } = await app.http.get('/v1/images/openapi.json').expect(200);
  const { servers: _, ...rest } = body;
  assert.deepEqual(rest, JSON.parse(JSON.stringify(app.router.openapi)));
});

test('it is OpenAPI 3.1', async (t) => {
  const document = await documentOf(t);
  assert.match(document.openapi, /^3\.1\.\d+$/);
  assert.ok(document.info.title && document.info.version);
  for (const scheme of document.security.flatMap(Object.keys)) {
    assert.ok(document.components.securitySchemes[scheme], scheme);
  }
  const ids = operationsOf(document).map(({ operation }) => operation.operationId);
  assert.equal(new Set(ids).size, ids.length);
  for (const { path, operation } of operationsOf(document)) {
    assert.match(path, /^\//);
    assert.ok(operation.summary);
    assert.ok(Object.keys(operation.responses).length > 0);
    for (const { description } of Object.values(operation.responses)) assert.ok(description);
    const inPath = operation.parameters.filter((parameter) => parameter.in === 'path');
    assert.deepEqual(
      inPath.map(({ name }) => name),
      [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name),
      path,
    );
    for (const parameter of inPath) assert.equal(parameter.required, true);
  }
});

test('every schema in it is a JSON Schema of draft 2020-12', async (t) => {
  const ajv = new Ajv2020({ allowUnionTypes: true, strictTypes: false });
  let bodies = 0;
  for (const { operation } of operationsOf(await documentOf(t))) {
    for (const { schema } of operation.parameters) ajv.compile(schema);
    for (const { schema } of Object.values(operation.requestBody?.content ?? {})) {
      ajv.compile(schema);
      bodies += 1;
    }
  }
  assert.ok(bodies >= 2);
});

test('it lists exactly the paths and methods that are served', async (t) => {
  await listsWhatIsServed(await createTestApp(t));
  await listsWhatIsServed(await createTestApp(t, { usage: memoryUsage() }));
});

async function listsWhatIsServed(app: TestApp): Promise<void> {
  const document: Document = (await app.http.get('/v1/images/openapi.json')).body;
  const served: Record<string, string[]> = {};
  for (const layer of app.router.stack) {
    // An endpoint's own pattern, and the document's path that stands for it.
    const pattern = layer.route?.path as unknown as string | RegExp;
    const path = typeof pattern === 'string' ? pattern : namedPath(pattern);
    const { headers } = await app.http.put(path.replace(/\{\w+\}/, 'x')).expect(405);
    const methods = String(headers.allow).split(', ');
    served[path] = methods.filter((method) => method !== 'HEAD').map((method) => method.toLowerCase());
  }
  const listed = Object.entries(document.paths).map(([path, methods]) => [path, Object.keys(methods)]);
  assert.deepEqual(Object.fromEntries(listed), served);
}

/** The pattern of a regular expression such as `^\/v1\/models\/.+` in OpenAPI's words. */
function namedPath({ source }: RegExp): string {
  const path = source.replace(/^\^|\$$/g, '').replaceAll('\\/', '/');
  return path.replace(/models\/\.\+$/, 'models/{slug}').replace(/media\/\[\^\/\]\+$/, 'media/{file}');
}

test('what needs no API key is marked so', async (t) => {
  const document = await documentOf(t);
  const open = operationsOf(document).filter(({ operation }) => operation.security?.length === 0);
  assert.deepEqual(
    open.map(({ path }) => path),
    ['/v1/media/{file}', '/v1/images/openapi.json'],
  );
});

test('its server is publicUrl, or the one that was asked, mount path included', async (t) => {
  const publicUrl = 'https://api.example.com/ai';
  const secrets = 'a secret that only tests know, 32+ bytes';
  const { servers } = await documentOf(t, { media: { secrets, publicUrl } });
  assert.deepEqual(servers, [{ url: publicUrl }]);
  const app = await createTestApp(t, { mount: '/ai' });
  const { body } = await app.http.get('/v1/images/openapi.json').expect(200);
  assert.match(app.url, /\/ai$/);
  assert.deepEqual(body.servers, [{ url: app.url }]);
});

test('it lists the versions of a picture that may be asked for', async (t) => {
  const media = { secrets: 'a secret that only tests know, 32+ bytes' };
  const choicesOf = (document: Document) =>
    (document.paths['/v1/media/{file}']?.get?.parameters ?? [])
      .filter(({ schema }) => 'enum' in schema)
      .map(({ name, schema }) => [name, (schema as { enum: string[] }).enum]);
  const few = { widths: [320], heights: [], formats: ['webp'], qualities: [] } as const;
  assert.deepEqual(choicesOf(await documentOf(t, { media: { ...media, transforms: few } })), [
    ['w', ['320']],
    ['fit', ['inside', 'cover']],
    ['format', ['webp', 'auto']],
  ]);
  assert.deepEqual(choicesOf(await documentOf(t, { media: { ...media, transforms: false } })), []);
});
