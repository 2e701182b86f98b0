/** The gateways that are measured: how each is started and asked. */
import { existsSync } from 'node:fs';
import { BENCH, benchServer, probedNode, type ServerCommand } from './processes.js';
import { API_KEY, type GatewaySettings } from './servers/settings.js';

/** A gateway. */
export interface Gateway {
  /** What to call it in tables. */
  readonly title: string;
  /** How it is started; `undefined` where it is not installed. */
  start(settings: GatewaySettings): ServerCommand | undefined;
  /** Where it makes pictures. */
  readonly path: string;
  /** Sent with every request. */
  headers(upstream: string): Readonly<Record<string, string>>;
}

const RIVALS = `${BENCH}rivals/node_modules`;
const PORTKEY = `${RIVALS}/@portkey-ai/gateway/build/start-server.js`;
const AT_OPENAI = { path: '/v1/images/generations', headers: () => ({}) };
const OURS = { title: 'this router', path: '/oai/v1/images/generations', headers: () => ({}) };

/** All of them, by the name that samples carry. */
export const GATEWAYS = {
  proxy: { ...AT_OPENAI, title: 'bare proxy', start: (settings) => benchServer('proxy', settings) },
  bareWork: {
    ...AT_OPENAI,
    title: 'bare, same work',
    start: (settings) => benchServer('bare-work', settings),
  },
  passedOn: {
    ...AT_OPENAI,
    title: 'by hand, passed on',
    start: (settings) => benchServer('passed-on', settings),
  },
  middleware: {
    ...AT_OPENAI,
    title: 'http-proxy-middleware',
    start: (settings) =>
      existsSync(`${RIVALS}/http-proxy-middleware`) ? benchServer('middleware', settings) : undefined,
  },
  byHand: { ...AT_OPENAI, title: 'by hand', start: (settings) => benchServer('by-hand', settings) },
  portkey: {
    title: 'Portkey',
    path: '/v1/images/generations',
    start: () => (existsSync(PORTKEY) ? portkey() : undefined),
    headers: (upstream) => ({
      'x-portkey-provider': 'openai',
      'x-portkey-custom-host': `${upstream}/v1`,
    }),
  },
  container: { ...OURS, start: (settings) => benchServer('ours', { ...settings, verify: 'container' }) },
  decode: { ...OURS, start: (settings) => benchServer('ours', { ...settings, verify: 'decode' }) },
} as const satisfies Readonly<Record<string, Gateway>>;

/** Which of them. */
export type GatewayName = keyof typeof GATEWAYS;

/** Headers of every request: the key, and that the body is JSON. */
export const REQUEST_HEADERS = {
  authorization: `Bearer ${API_KEY}`,
  'content-type': 'application/json',
} as const;

function portkey(): ServerCommand {
  return {
    command: (port) => probedNode(PORTKEY, `--port=${port}`, '--headless'),
    probed: true,
    env: { TRUSTED_CUSTOM_HOSTS: '127.0.0.1,localhost' },
  };
}
