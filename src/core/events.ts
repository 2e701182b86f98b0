/** Everything the router has to say to its host: one union, one callback, no second logging channel. Types only. */
import type { ErrorCode } from '../errors.js';
import type { UsageRow } from './usage.js';

/** What every event carries. */
export interface EventBase {
  /** How much it matters. */
  readonly level: 'info' | 'warn' | 'error';
  /** The request it belongs to; `undefined` for background work. */
  readonly requestId: string | undefined;
  /** Epoch milliseconds. */
  readonly at: number;
}

/** A request that drew at least one picture. */
export interface RequestCompleted extends EventBase {
  /** Discriminates. */
  readonly type: 'request.completed';
  /** Whose. */
  readonly tenant: string;
  /** The slug asked for. */
  readonly model: string;
  /** The slug that drew. */
  readonly servedBy: string;
  /** Pictures asked for. */
  readonly asked: number;
  /** Pictures delivered. */
  readonly images: number;
  /** Booked, in micro-dollars. */
  readonly costMicroUsd: number;
  /** From the request's arrival to its last picture. */
  readonly latencyMs: number;
}

/** A request that was answered with an error. */
export interface RequestFailed extends EventBase {
  /** Discriminates. */
  readonly type: 'request.failed';
  /** What the client was told. */
  readonly code: ErrorCode;
  /** What the client was told, refined. */
  readonly reason: string | undefined;
  /** What caused it. May hold a vendor's words: fit for a log, not for a client. */
  readonly cause: unknown;
}

/** One call of a provider has ended, well or badly. */
export interface UpstreamCall extends EventBase {
  /** Discriminates. */
  readonly type: 'upstream.call';
  /** The provider's name. */
  readonly provider: string;
  /** The slug that drew. */
  readonly model: string;
  /** Pictures asked of this call. */
  readonly asked: number;
  /** Pictures that came. */
  readonly images: number;
  /** Booked for this call, in micro-dollars. */
  readonly costMicroUsd: number;
  /** How long it took. */
  readonly latencyMs: number;
  /** The vendor's own id of the call. */
  readonly upstreamId: string | undefined;
  /** What it failed with. */
  readonly error: unknown;
}

/**
 * The budget store did not take a settlement. Told once for each hold: it is tried again until `hold.settled` tells
 * that it landed, or the router closes, and the hold then lapses.
 */
export interface HoldUnsettled extends EventBase {
  /** Discriminates. */
  readonly type: 'hold.unsettled';
  /** The hold's id. */
  readonly holdId: string;
  /** What was to be done. */
  readonly action: 'commit' | 'release';
  /** What the store threw. */
  readonly cause: unknown;
}

/** A settlement that did not go through at first has landed. */
export interface HoldSettled extends EventBase {
  /** Discriminates. */
  readonly type: 'hold.settled';
  /** The hold's id. */
  readonly holdId: string;
  /** What was done. */
  readonly action: 'commit' | 'release';
  /** How many attempts it took. */
  readonly attempts: number;
}

/**
 * The budget store answered a commit without booking it: what a provider was paid for is in no budget. It no longer
 * knows the hold (a database was emptied, a replica took over that had not heard of it), or something else settled it;
 * a driver that sends commands twice is told `already` as well, and nothing is lost then.
 */
export interface HoldLost extends EventBase {
  /** Discriminates. */
  readonly type: 'hold.lost';
  /** The hold's id. */
  readonly holdId: string;
  /** What the store answered. */
  readonly answer: 'unknown' | 'already';
  /** What was to be booked, in micro-dollars. */
  readonly costMicroUsd: number;
  /** What was to be booked, in pictures. */
  readonly images: number;
}

/** A provider was paid without the budget store knowing, because `spend.onStoreFailure` is `allow`. */
export interface HoldSkipped extends EventBase {
  /** Discriminates. */
  readonly type: 'hold.skipped';
  /** What the store threw. */
  readonly cause: unknown;
}

/**
 * A bucket has passed its soft limit: told once by each process for each turn of its window, as long as no more than
 * 10,000 other buckets whose turns are not over passed theirs since.
 */
export interface BudgetSoftLimit extends EventBase {
  /** Discriminates. */
  readonly type: 'budget.soft_limit';
  /** Whose request passed it. */
  readonly tenant: string;
  /** The budget's name. */
  readonly budget: string;
  /** Spent and held, in the budget's unit. */
  readonly used: number;
  /** The budget's limit. */
  readonly limit: number;
}

/** The vendor charged more than the ceiling of the call; it is booked in full. */
export interface PriceCeilingExceeded extends EventBase {
  /** Discriminates. */
  readonly type: 'price.ceiling_exceeded';
  /** The slug that drew. */
  readonly model: string;
  /** The ceiling of the call at the backend that drew; what was held may be more, for a dearer one. */
  readonly ceilingMicroUsd: number;
  /** What was booked. */
  readonly costMicroUsd: number;
}

/** The vendor's usage could not be money, so the held ceiling was booked instead. */
export interface UsageImplausible extends EventBase {
  /** Discriminates. */
  readonly type: 'usage.implausible';
  /** The slug that drew. */
  readonly model: string;
  /** What the vendor reported. */
  readonly usage: unknown;
  /** What was booked. */
  readonly costMicroUsd: number;
}

/**
 * The usage store did not take rows; they are tried again until it does, refuses one by itself too often, or the router
 * closes.
 */
export interface UsageUnwritten extends EventBase {
  /** Discriminates. */
  readonly type: 'usage.unwritten';
  /** How many were tried. More may wait. */
  readonly rows: number;
  /** How often rows were tried since some last landed. */
  readonly attempts: number;
  /** What the store threw last. */
  readonly cause: unknown;
}

/** The usage store takes rows again. */
export interface UsageWritten extends EventBase {
  /** Discriminates. */
  readonly type: 'usage.written';
  /** How many landed. */
  readonly rows: number;
  /** How many attempts it took. */
  readonly attempts: number;
}

/** Rows of usage that the router gives up; this event is the last that has them. */
export interface UsageLost extends EventBase {
  /** Discriminates. */
  readonly type: 'usage.lost';
  /** The rows. Those of `closed`, and of `refused` by a store that did not answer in time, may have been written. */
  readonly rows: readonly UsageRow[];
  /**
   * As many waited as may (`limits.usageRows`), the router closed before they landed, or the store refused the row by
   * itself again and again while it took others or, as the router closed, while it answered.
   */
  readonly reason: 'full' | 'closed' | 'refused';
}

/** A storage operation failed. */
export interface StorageFailed extends EventBase {
  /** Discriminates. */
  readonly type: 'storage.failed';
  /** Which one. */
  readonly operation: 'put' | 'get' | 'stat' | 'delete' | 'sweep';
  /** What it threw. */
  readonly cause: unknown;
}

/** A paid picture that storage did not take waits in the spool, and is offered to storage again and again. */
export interface StorageSpooled extends EventBase {
  /** Discriminates. */
  readonly type: 'storage.spooled';
  /** The picture's id. */
  readonly id: string;
  /** Its size. */
  readonly bytes: number;
  /** Pictures that wait, with this one. */
  readonly waiting: number;
  /** Bytes that wait, with this one; at most `limits.spoolBytes`. */
  readonly waitingBytes: number;
}

/** Storage has taken a picture that waited. */
export interface StorageLanded extends EventBase {
  /** Discriminates. */
  readonly type: 'storage.landed';
  /** The picture's id. */
  readonly id: string;
  /** How often it was offered. */
  readonly attempts: number;
  /** How long it waited. */
  readonly waitedMs: number;
}

/** A paid picture that storage did not take is gone. */
export interface StorageLost extends EventBase {
  /** Discriminates. */
  readonly type: 'storage.lost';
  /** The picture's id. */
  readonly id: string;
  /** The spool was full or its disk failed, the picture expired in it, or the router was closed. */
  readonly reason: 'full' | 'failed' | 'expired' | 'closed';
  /** What the disk said, where it failed. */
  readonly cause: unknown;
}

/**
 * A picture that was deleted while it was being stored could not be deleted again after it landed: it may be served
 * once more.
 */
export interface StorageUndeleted extends EventBase {
  /** Discriminates. */
  readonly type: 'storage.undeleted';
  /** Its storage key. */
  readonly key: string;
  /** What storage said. */
  readonly cause: unknown;
}

/**
 * A stored object is not what was stored: found by `sweep({ verify: true })`, or by whoever asked for it. A picture is
 * left where it is; a smaller version is made again when it is asked for.
 */
export interface StorageDamaged extends EventBase {
  /** Discriminates. */
  readonly type: 'storage.damaged';
  /** Its storage key. */
  readonly key: string;
  /** The id of the picture it belongs to, for `deletePicture`; `undefined` when the key is none of the router's. */
  readonly id: string | undefined;
  /** What is wrong with it. */
  readonly cause: unknown;
}

/** A fault of ours, or of a function of the host's, by which a request or a picture of one failed. */
export interface InternalError extends EventBase {
  /** Discriminates. */
  readonly type: 'internal.error';
  /** What was thrown. */
  readonly cause: unknown;
}

/** Everything `onEvent` can be given. New members may come with any release: ignore what you do not know. */
export type ImagesEvent =
  | RequestCompleted
  | RequestFailed
  | UpstreamCall
  | HoldUnsettled
  | HoldLost
  | HoldSettled
  | HoldSkipped
  | BudgetSoftLimit
  | PriceCeilingExceeded
  | UsageImplausible
  | UsageUnwritten
  | UsageWritten
  | UsageLost
  | StorageFailed
  | StorageSpooled
  | StorageLanded
  | StorageLost
  | StorageUndeleted
  | StorageDamaged
  | InternalError;

/** Distributes over the union, so that each event keeps its own fields. */
type WithoutAt<Event> = Event extends ImagesEvent ? Omit<Event, 'at'> : never;

/** An event before the router stamps it with the time. */
export type NewImagesEvent = WithoutAt<ImagesEvent>;

/** Raises an event. Never throws. */
export type Emit = (event: NewImagesEvent) => void;
