/** What a host does with a router beside mounting it: closing, warming up, sweeping and deleting. */
import type { Accounting } from './core/accounting.js';
import type { Deadlines } from './core/deadline.js';
import type { Emit } from './core/events.js';
import type { Ledger } from './core/ledger.js';
import type { Spool } from './core/spool.js';
import type { MediaStorage, SweepResult, VerifyResult } from './core/storage.js';
import { ConfigError } from './errors.js';
import type { OpenApiDocument } from './http/openapi.js';
import { parsePictureId, pictureKey, picturePrefix, tenantPrefix } from './media/picture-id.js';
import { verifyObjects } from './media/verify.js';
import type { Config } from './options.js';
import type { UpstreamAgents } from './providers/upstream-request.js';

/** What the router can do beside routing. */
export interface ImagesRouterControls {
  /**
   * Refuses new requests, waits for those in flight (`limits.drainMs`), then cuts off the rest, settles what they
   * cost, writes the usage that waits, offers what waits in the spool to storage once more, and closes providers and
   * stores. May be called again: the router is closed once.
   */
  close(): Promise<void>;
  /** Lets providers pay one-time costs ahead of the first request. */
  warmup(): Promise<void>;
  /**
   * Removes expired pictures; to be called now and then. A storage that cannot sweep removes nothing; of what processes
   * that were killed left among temporary files, all that has expired goes as well. With `verify`
   * everything left is read again, one object after the other; throws `ConfigError` when the storage cannot list.
   * Throws what storage could not do once all the rest is done.
   */
  sweep(options?: SweepControls): Promise<SweepReport>;
  /**
   * Removes a picture with its variants. One that is gone already is fine; throws `TypeError` for what is no id. What
   * waits in the spool of another process, because storage was down, is not known here and lands later: call it in
   * every process, or again after `storage.landed`.
   */
  deletePicture(id: string): Promise<void>;
  /**
   * Removes all pictures of a tenant, those that wait in the spools of other processes as little as
   * {@link ImagesRouterControls.deletePicture} does. Throws `ConfigError` when the storage cannot delete by prefix.
   */
  deleteTenant(tenant: string): Promise<void>;
  /** The OpenAPI 3.1 document; `GET /v1/images/openapi.json` answers it with the server that was asked. */
  readonly openapi: OpenApiDocument;
}

/** How to sweep. */
export interface SweepControls {
  /** Stops it when aborted. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Also reads every picture and compares it with the digest recorded. Each one that is damaged raises an event
   * `storage.damaged` with its id; it is not removed. @defaultValue `false`
   */
  readonly verify?: boolean | undefined;
}

/** What a sweep did and found; the counts of {@link VerifyResult} are 0 unless it verified. */
export interface SweepReport extends SweepResult, VerifyResult {}

/** The parts of a router that its controls are about. */
export interface ControlledParts {
  /** Requests in flight. */
  readonly deadlines: Deadlines;
  /** Settlements that wait. */
  readonly ledger: Ledger;
  /** Rows of usage that wait. */
  readonly accounting: Accounting;
  /** Pictures that wait. */
  readonly spool: Spool;
  /** Storage, and what waits for it. */
  readonly storage: MediaStorage;
  /** Connections to providers. */
  readonly agents: UpstreamAgents;
  /** Raises events. */
  readonly emit: Emit;
}

async function shutDown({ providers, budget, usage, limits }: Config, parts: ControlledParts): Promise<void> {
  const { deadlines, ledger, accounting, spool, storage, agents } = parts;
  await deadlines.close(limits.drainMs);
  const drained = AbortSignal.timeout(limits.drainMs);
  await Promise.all([ledger.drain(drained), accounting.drain(drained), spool.close(drained)]);
  const closing = [...providers, storage, budget, usage].map(async (part) => part?.close?.());
  const failed = (await Promise.allSettled(closing)).filter((result) => result.status === 'rejected');
  for (const agent of Object.values(agents)) agent.destroy();
  if (failed.length === 0) return;
  throw new AggregateError(
    failed.map(({ reason }) => reason),
    'some parts could not be closed',
  );
}

const NOTHING_SWEPT: SweepReport = { removed: 0, orphans: 0, checked: 0, damaged: 0, unread: 0 };

/** Makes the controls of a router out of its parts. */
export function createControls(
  config: Config,
  parts: ControlledParts,
): Omit<ImagesRouterControls, 'openapi'> {
  const { providers, limits } = config;
  const { emit, storage, spool } = parts;
  let closed: Promise<void> | undefined;
  return {
    close() {
      closed ??= shutDown(config, parts);
      return closed;
    },
    async warmup() {
      await Promise.all(providers.map(async (provider) => provider.warmup?.()));
    },
    async sweep({ signal, verify = false } = {}) {
      if (verify && storage.list === undefined) {
        throw new ConfigError('storage', 'has no list(), so its pictures cannot be found to be verified');
      }
      const { retentionSeconds } = config.media;
      const sweeping = storage.sweep?.({ before: Date.now(), retentionSeconds, signal });
      const [swept] = await Promise.allSettled([sweeping, spool.sweep(signal)]);
      const found = verify && (await verifyObjects({ storage, storageMs: limits.storageMs, emit, signal }));
      // Only now: what could not be removed keeps nothing from being verified.
      if (swept.status === 'rejected') throw swept.reason;
      return { ...NOTHING_SWEPT, ...swept.value, ...found };
    },
    async deletePicture(id) {
      if (parsePictureId(id) === undefined) throw new TypeError('not the id of a picture');
      // First, so that no variant is made of it behind the back of a storage that lists what it then removes.
      await storage.delete(pictureKey(id));
      await storage.deletePrefix?.(picturePrefix(id));
    },
    async deleteTenant(tenant) {
      if (storage.deletePrefix === undefined) {
        throw new ConfigError(
          'storage',
          'has no deletePrefix(), so the pictures of a tenant cannot be found',
        );
      }
      await storage.deletePrefix(tenantPrefix(tenant));
      // Again, for variants that were made while their originals were still there.
      await storage.deletePrefix(tenantPrefix(tenant));
    },
  };
}
