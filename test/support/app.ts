/** A running app with the router mounted, made of real parts: placeholder, memory storage, memory budget, API keys. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import express, { type Express } from 'express';
import supertest, { type Test } from 'supertest';
import { memoryBudget } from '../../src/budgets/memory.js';
import type { Balance, BudgetStore } from '../../src/core/budget.js';
import type { Caller } from '../../src/core/caller.js';
import type { ImagesEvent } from '../../src/core/events.js';
import { createLedger } from '../../src/core/ledger.js';
import type { GenerateCall, Provider, SizeRule } from '../../src/core/provider.js';
import type { MediaStorage } from '../../src/core/storage.js';
import { createCalendar, monthly, usd } from '../../src/core/windows.js';
import { bearerKeys, hashKey } from '../../src/http/identify.js';
import type { ImagesRouterOptions } from '../../src/options.js';
import {
  type PlaceholderModel,
  type PlaceholderOptions,
  placeholder,
} from '../../src/providers/placeholder.js';
import { SKETCH } from '../../src/providers/placeholder-options.js';
import { createImagesRouter, type ImagesRouter } from '../../src/router.js';
import { memoryStorage } from '../../src/storage/memory.js';

/** The API key every test app knows. */
export const TEST_KEY = 'test-key-1';

/** Who has {@link TEST_KEY}. */
export const TEST_CALLER: Caller = {
  tenant: 'acme',
  user: 'ann',
  models: 'all',
  budgets: [monthly(usd(100))],
};

/** The placeholder's model, small so that tests are quick, at 4 cents a picture, with whatever else is said. */
export function testModel(changes: PlaceholderModel = {}): PlaceholderModel {
  const sizes = { ...SKETCH.sizes, default: { width: 64, height: 64 } };
  return { sizes, price: usd(0.04), ...changes };
}

/** The one size a model draws: a square of so many pixels. */
export function onlySize(edge: number): SizeRule {
  const size = { width: edge, height: edge };
  return { kind: 'list', values: [size], default: size };
}

/** Options of the router, and what the test app makes of them. All are optional. */
export interface TestAppOptions extends Partial<Omit<ImagesRouterOptions, 'onEvent'>> {
  /** Options of the one provider, where `providers` are not given. @defaultValue one model, {@link testModel} */
  readonly placeholder?: PlaceholderOptions | undefined;
  /** What differs from {@link TEST_CALLER}, where `identify` is not given. */
  readonly caller?: Partial<Caller> | undefined;
  /** Where the router is mounted. @defaultValue `'/'` */
  readonly mount?: string | undefined;
  /** Sets the host's app up before the router is mounted. */
  readonly before?: ((app: Express) => void) | undefined;
  /** Adds to the host's app after the router. */
  readonly after?: ((app: Express) => void) | undefined;
}

/** The running app. */
export interface TestApp {
  /** The host's app. */
  readonly app: Express;
  /** The router. */
  readonly router: ImagesRouter;
  /** `http://127.0.0.1:<port>` and the mount path, without a slash at the end. */
  readonly url: string;
  /** The port on 127.0.0.1. */
  readonly port: number;
  /** The server it runs in. */
  readonly server: Server;
  /** Every event so far. */
  readonly events: ImagesEvent[];
  /** Every call that reached the placeholder so far. */
  readonly calls: GenerateCall[];
  /** Where money is kept. */
  readonly budget: BudgetStore;
  /** Where pictures are kept. */
  readonly storage: MediaStorage;
  /** Supertest without an API key. */
  readonly http: ReturnType<typeof supertest>;
  /** Posts to the native generate endpoint with the key of the test caller. */
  native(body: object | string): Test;
  /** Posts to the OpenAI generate endpoint with the key of the test caller. */
  openai(body: object | string): Test;
  /** Gets a path under the mount path with the key of the test caller. */
  get(path: string): Test;
  /** What is booked and held in the test caller's present buckets, by budget name. */
  balances(): Promise<Readonly<Record<string, Omit<Balance, 'key'>>>>;
  /** The events of one type so far. */
  eventsOf<Type extends ImagesEvent['type']>(type: Type): readonly Extract<ImagesEvent, { type: Type }>[];
}

/** What can run something when it ends, such as a test. */
interface Scope {
  after(clean: () => Promise<void>): void;
}

/** Starts an app that is closed when the test ends. */
export async function createTestApp(t: Scope, options: TestAppOptions = {}): Promise<TestApp> {
  const { placeholder: drawing = {}, caller: differences, mount = '/', before, after, ...given } = options;
  const caller: Caller = { ...TEST_CALLER, ...differences };
  const events: ImagesEvent[] = [];
  const calls: GenerateCall[] = [];
  const settings: ImagesRouterOptions = {
    providers: [counted(drawing, calls)],
    storage: memoryStorage(),
    media: { secrets: 'a secret that only tests know, 32+ bytes' },
    identify: bearerKeys({ [hashKey(TEST_KEY)]: caller }),
    budget: memoryBudget(),
    ...given,
    onEvent: (event) => events.push(event),
  };
  const router = createImagesRouter(settings);
  const app = express();
  before?.(app);
  app.use(mount, router);
  after?.(app);

  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  t.after(async () => {
    server.closeAllConnections();
    server.close();
    await router.close();
  });

  const prefix = mount === '/' ? '' : mount;
  const url = `http://127.0.0.1:${port}${prefix}`;
  const http = supertest(url);
  const withKey = (request: Test) => request.set('Authorization', `Bearer ${TEST_KEY}`);
  const post = (path: string, body: object | string) =>
    withKey(http.post(path)).set('Content-Type', 'application/json').send(body);
  return {
    ...{ app, router, url, port, server, events, calls, http },
    budget: settings.budget,
    storage: settings.storage,
    native: (body) => post('/v1/inference/images/generate', body),
    openai: (body) => post('/oai/v1/images/generations', body),
    get: (path) => withKey(http.get(path)),
    balances: () => balancesOf(settings.budget, caller),
    eventsOf: <Type extends ImagesEvent['type']>(type: Type) =>
      events.filter((event): event is Extract<ImagesEvent, { type: Type }> => event.type === type),
  };
}

function counted(drawing: PlaceholderOptions, calls: GenerateCall[]): Provider {
  return placeholder({
    models: [testModel()],
    ...drawing,
    onCall: (call) => {
      calls.push(call);
      drawing.onCall?.(call);
    },
  });
}

/** Reads the present buckets of a caller's budgets, by budget name. */
export async function balancesOf(
  store: BudgetStore,
  caller: Caller,
): Promise<Readonly<Record<string, Omit<Balance, 'key'>>>> {
  const options = {
    calendar: createCalendar(),
    leaseMs: 1,
    timeoutMs: 5000,
    onStoreFailure: 'deny',
  } as const;
  const balances = await createLedger({ store, ...options, emit: () => undefined }).read(caller);
  return Object.fromEntries(balances.map(({ bucket, spent, held }) => [bucket.budget.name, { spent, held }]));
}

/** Waits until something holds, looking often; throws after a minute, for a server that crashed takes its time. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error('waited for a minute, and it still does not hold');
    await sleep(5);
  }
}
