/**
 * The use case: an {@link ImageRequest} becomes events. One generator serves every surface and shape of answer, so
 * that validation, access, budget, storage and accounting cannot differ between them.
 */
import { ImagesError, isImagesError } from '../errors.js';
import type { Accounting } from './accounting.js';
import type { Once } from './budget.js';
import { runCall } from './call.js';
import {
  type CallEvent,
  type CallOrder,
  type CallRecord,
  type CallTools,
  newCallRecord,
} from './call-record.js';
import type { Caller } from './caller.js';
import type { Catalog, Target } from './catalog.js';
import { CLIENT_LEFT, type Deadline } from './deadline.js';
import type { Delivery } from './delivery.js';
import type { Gate } from './gate.js';
import { merge } from './iterate.js';
import type { Amounts, BucketRoom, Ledger, Reservation } from './ledger.js';
import { type RequestHead, type RequestOutcome, writeOutcome } from './outcome.js';
import type { Plan } from './plan.js';
import type { ImageRequest } from './request.js';
import { planRequest } from './rules.js';
import { ableBackends, splitCalls } from './shares.js';
import { booked, endForReplay, endOf, mayBeCharged, sum } from './summary.js';
import { usageRow } from './usage-row.js';

/** What the use case is made of. */
export interface ImagesOptions extends CallTools {
  /** Looks models up. */
  readonly catalog: Catalog;
  /** Keeps the money. */
  readonly ledger: Ledger;
  /** Takes rows of usage. */
  readonly accounting: Accounting;
  /** Admits requests. */
  readonly admission: Gate;
  /** Upstream calls of one request that may run at once. */
  readonly callsAtOnce: number;
}

/** Who asks, and how. */
export interface Asker {
  /** Who asks and pays. */
  readonly caller: Caller;
  /** True accepts model names without their vendor. */
  readonly bare: boolean;
}

/** How to run a job. */
export interface RunContext {
  /** The request's id. */
  readonly requestId: string;
  /** When to stop. */
  readonly deadline: Deadline;
  /** What becomes of pictures. */
  readonly delivery: Delivery;
  /** Makes the request findable by twins, which are answered with its outcome. */
  readonly once: Once | undefined;
  /** What was known before. */
  readonly head: RequestHead;
}

/** Thrown by {@link Job.run} when another request with the same `once` key came first. Nothing is held or spent. */
export const TWIN: Error = new Error('another request with the same key came first');

/** What happens to a request, in the order it happens; `finished` is the last. */
export type RequestEvent = StartedEvent | BudgetsEvent | CallEvent | FinishedEvent;

/** The first event. */
export interface StartedEvent {
  /** Discriminates. */
  readonly type: 'started';
  /** What is known of the request. */
  readonly head: RequestHead;
  /** True when all that follows happened before, to an earlier request that means the same. */
  readonly replayed: boolean;
}

/** The budgets were asked. Drawing begins next, unless they refused. */
export interface BudgetsEvent {
  /** Discriminates. */
  readonly type: 'budgets';
  /** What is left after this request, or in the buckets that had no room for it. */
  readonly rooms: readonly BucketRoom[];
}

/** It is over, and at least one picture was delivered. */
export interface FinishedEvent {
  /** Discriminates. */
  readonly type: 'finished';
  /** What came of it. */
  readonly outcome: RequestOutcome;
}

/** A request that passed every check that needs no waiting. */
export interface Job {
  /** The models. */
  readonly target: Target;
  /** What was agreed with the client. */
  readonly plan: Plan;
  /** The most it can cost. */
  readonly ceiling: Amounts;
  /** What it costs when the first backend draws: its price, or its ceiling where tokens decide. */
  readonly expectedMicroUsd: number;
  /**
   * Draws. Throws the first failure when no picture could be delivered, and `signal.reason` when the request was
   * cut off. However it ends, what was spent is booked.
   */
  run(context: RunContext): AsyncGenerator<RequestEvent, void>;
}

/** The use case. */
export interface Images {
  /** Checks a request against the catalog, the model's rules and prices; throws what is wrong with it. */
  prepare(request: ImageRequest, asker: Asker): Job;
}

/**
 * A place among the requests in flight. A request whose time passes while it waits met a crowd, not a slow provider;
 * what it waited is not taken from the providers' time, which would be paid for and cut off.
 */
async function admitted(admission: Gate, deadline: Deadline): Promise<() => void> {
  try {
    const leave = await admission.enter(deadline.upstream);
    deadline.restart();
    return leave;
  } catch (error) {
    throw deadline.upstream.aborted && !deadline.signal.aborted ? overloaded() : error;
  }
}

/** What a request is told that finds no place. */
export function overloaded(): ImagesError {
  const message = 'Too many requests are being served at the moment. Try again shortly.';
  return new ImagesError('OVERLOADED', message, { retryAfter: 5 });
}

/**
 * Books what the calls of a request cost, or frees its hold when they cost nothing and brought nothing. One with a key
 * is booked, if only as nothing, where a vendor may have charged all the same: its retry is told what happened.
 */
function settleRequest(
  reservation: Reservation,
  records: readonly CallRecord[],
  { once, head }: RunContext,
): Promise<void> {
  const amounts = booked(records);
  const isFree = amounts.microUsd === 0 && amounts.images === 0;
  if (isFree && (once === undefined || !mayBeCharged(records))) return reservation.release();
  return reservation.commit(amounts, once && writeOutcome(endForReplay(records, head)));
}

/** What went wrong on our side with single pictures of a request that delivered others. */
function ourFaults(records: readonly CallRecord[]): readonly unknown[] {
  return records
    .flatMap(({ failures }) => [...failures.values()])
    .filter(({ code }) => code === 'INTERNAL_ERROR')
    .map(({ cause }) => cause);
}

/** Makes the use case. */
export function createImages(options: ImagesOptions): Images {
  const { catalog, ledger, accounting, admission, emit, callsAtOnce } = options;

  function prepare(request: ImageRequest, { caller, bare }: Asker): Job {
    const target = catalog.resolve(request.model, { caller, bare });
    const plan = planRequest(request, target);
    const backends = ableBackends(request.n, plan, target.serving);
    const shares = splitCalls(request.n, plan, backends);
    const amounts: Amounts = { microUsd: sum(shares.map(({ microUsd }) => microUsd)), images: request.n };
    const expectedMicroUsd = sum(shares.map(({ expectedMicroUsd }) => expectedMicroUsd));
    const { tenant } = caller;

    async function* run(context: RunContext): AsyncGenerator<RequestEvent, void> {
      const { requestId, deadline, once, head } = context;
      const startedAt = performance.now();
      const leave = await admitted(admission, deadline);
      try {
        const reserved = await ledger.reserve({ caller, amounts, requestId, once });
        if ('twin' in reserved) throw TWIN;
        if (!reserved.ok) {
          yield { type: 'started', head, replayed: false };
          yield { type: 'budgets', rooms: reserved.rooms };
          throw reserved.error;
        }
        const calls = shares.map(({ offset, priced }) => {
          const order: CallOrder = { backends, offset, priced, plan, tenant, ...context };
          return { order, record: newCallRecord() };
        });
        const records = calls.map(({ record }) => record);
        const sources = calls.map(
          ({ order, record }) =>
            () =>
              runCall(order, record, options),
        );
        try {
          yield { type: 'started', head, replayed: false };
          yield { type: 'budgets', rooms: reserved.rooms };
          for await (const event of merge(sources, callsAtOnce)) if ('value' in event) yield event.value;
        } finally {
          await settleRequest(reserved.reservation, records, context);
          const latencyMs = performance.now() - startedAt;
          accounting.record(usageRow({ caller, request, context, records, latencyMs }));
        }
        if (deadline.signal.reason === CLIENT_LEFT) throw CLIENT_LEFT;
        const ended = endOf(records, head);
        if (isImagesError(ended)) throw ended;
        for (const cause of ourFaults(records)) {
          emit({ type: 'internal.error', level: 'error', requestId, cause });
        }
        emit({
          type: 'request.completed',
          level: 'info',
          requestId,
          tenant,
          model: head.model,
          servedBy: head.servedBy,
          asked: request.n,
          images: ended.pictures.length,
          costMicroUsd: ended.costMicroUsd,
          latencyMs: performance.now() - startedAt,
        });
        yield { type: 'finished', outcome: ended };
      } finally {
        leave();
      }
    }

    return { target, plan, ceiling: amounts, expectedMicroUsd, run };
  }

  return { prepare };
}
