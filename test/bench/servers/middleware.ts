/** A proxy as people mount it into an Express app: http-proxy-middleware. */
import { createRequire } from 'node:module';
import express, { type RequestHandler } from 'express';
import { PORT, readSettings } from './arguments.js';
import type { GatewaySettings } from './settings.js';

interface Middleware {
  createProxyMiddleware(options: { readonly target: string }): RequestHandler;
}

const { upstream } = readSettings<GatewaySettings>();
const { createProxyMiddleware }: Middleware = createRequire(
  new URL('../rivals/package.json', import.meta.url),
)('http-proxy-middleware');

express()
  .use(createProxyMiddleware({ target: upstream }))
  .listen(PORT, '127.0.0.1');
