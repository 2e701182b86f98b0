/**
 * Routing: in which order the backends of a model are tried, which of them are well, and after which failures the
 * next one may be tried. Nothing is tried again that may have been billed.
 */
import {
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhen,
} from 'cockatiel';
import { isProviderError, type ProviderErrorKind } from '../errors.js';
import type { Backend } from './backends.js';
import { CLIENT_LEFT } from './deadline.js';

/** How a model's backends are. */
export type Health = 'healthy' | 'degraded' | 'unhealthy';

/** A turn at a backend. To be ended exactly once. */
export interface Turn {
  /** Reports how it went: nothing, or what it failed with. */
  end(error: unknown): void;
}

/** Chooses backends. */
export interface Routing {
  /** The order in which to try backends: by priority, and by chance and weight among equals. */
  order(backends: readonly Backend[]): readonly Backend[];
  /** Begins a turn at a backend, or answers `undefined` while its circuit is broken. */
  begin(backend: Backend): Turn | undefined;
  /** Whether a backend would be given a turn now. */
  isOpen(backend: Backend): boolean;
  /** How backends are as a whole. */
  health(backends: readonly Backend[]): Health;
  /** Whole seconds until the first of them gets another chance; at least 1. */
  retryAfter(backends: readonly Backend[]): number;
}

// So many failures in a row break a circuit; for so long nobody else is sent there.
const FAILURES = 5;
const BROKEN_MS = 10_000;
// What others are told to wait while a trial runs, however long it takes.
const TRIAL_MS = 5_000;

/** What a turn is ended with that says nothing about its backend, for good or ill. */
export const NOTHING_LEARNED: Error = new Error('the call was given up before it was sent');

const SILENT: ReadonlySet<unknown> = new Set([CLIENT_LEFT, NOTHING_LEARNED]);

/** Failures that say something about the request: whoever refuses one is well. */
const REFUSALS: ReadonlySet<ProviderErrorKind> = new Set(['content_filtered', 'rejected']);

/** Failures another backend may not have. A refusal on grounds of content is not one to shop around with. */
const MOVABLE: ReadonlySet<ProviderErrorKind> = new Set([
  'unavailable',
  'timeout',
  'account',
  'rate_limited',
]);

/** True when a call that failed so may be made again elsewhere: surely unbilled, and not the request's own fault. */
export function mayFailOver(error: unknown): boolean {
  return isProviderError(error) && error.billed === 'no' && MOVABLE.has(error.kind);
}

function isWell(error: unknown): boolean {
  return error === undefined || (isProviderError(error) && REFUSALS.has(error.kind));
}

interface Circuit {
  breaker: CircuitBreakerPolicy;
  brokenUntil: number;
  readonly onBreak: () => void;
}

/** Makes a breaker, in the state another had. */
function createBreaker(onBreak: () => void, initialState?: unknown): CircuitBreakerPolicy {
  const breaker = circuitBreaker(
    handleWhen((error) => !SILENT.has(error)),
    { halfOpenAfter: BROKEN_MS, breaker: new ConsecutiveBreaker(FAILURES), initialState },
  );
  breaker.onBreak(onBreak);
  return breaker;
}

function createCircuit(): Circuit {
  const onBreak = () => {
    circuit.brokenUntil = Date.now() + BROKEN_MS;
  };
  const circuit: Circuit = { breaker: createBreaker(onBreak), brokenUntil: 0, onBreak };
  return circuit;
}

/** Shuffles by weight: a backend of weight 2 comes first twice as often as one of weight 1. */
function byChance(backends: readonly Backend[]): readonly Backend[] {
  if (backends.length < 2) return backends;
  return backends
    .map((backend) => ({ backend, draw: -Math.log(1 - Math.random()) / backend.weight }))
    .sort((a, b) => a.draw - b.draw)
    .map(({ backend }) => backend);
}

/** Makes a router of calls. It remembers how each backend fared. */
export function createRouting(): Routing {
  const circuits = new Map<Backend, Circuit>();

  function circuitOf(backend: Backend): Circuit {
    const known = circuits.get(backend) ?? createCircuit();
    circuits.set(backend, known);
    return known;
  }

  /** Whoever was never called is well: looking at backends makes no circuits. */
  function stateOf(backend: Backend): CircuitState {
    return circuits.get(backend)?.breaker.state ?? CircuitState.Closed;
  }

  /** A circuit that is being tested takes nobody else: waiting for the test would take as long as a picture. */
  function isOpen(backend: Backend): boolean {
    const state = stateOf(backend);
    if (state === CircuitState.Closed) return true;
    return state === CircuitState.Open && Date.now() >= circuitOf(backend).brokenUntil;
  }

  function begin(backend: Backend): Turn | undefined {
    if (!isOpen(backend)) return undefined;
    const circuit = circuitOf(backend);
    const { breaker } = circuit;
    const isTrial = breaker.state !== CircuitState.Closed;
    let finish: (error: unknown) => void = () => undefined;
    const running = new Promise<void>((resolve, reject) => {
      finish = (error) => (isWell(error) ? resolve() : reject(error));
    });
    // The breaker wants to run a function; what it runs here is the wait for the call's end.
    breaker.execute(() => running).catch(() => undefined);
    return {
      end(error) {
        // The breaker takes a trial that told nothing for a success; one in its place is open, and due for a trial.
        if (isTrial && SILENT.has(error)) {
          circuit.breaker = createBreaker(circuit.onBreak, breaker.toJSON());
        }
        finish(error);
      },
    };
  }

  return {
    order(backends) {
      const priorities = [...new Set(backends.map(({ priority }) => priority))].sort((a, b) => a - b);
      return priorities.flatMap((level) => byChance(backends.filter(({ priority }) => priority === level)));
    },
    begin,
    isOpen,
    health(backends) {
      const well = backends.filter((backend) => stateOf(backend) === CircuitState.Closed).length;
      if (well === backends.length) return 'healthy';
      return well === 0 ? 'unhealthy' : 'degraded';
    },
    retryAfter(backends) {
      const waits = backends.map((backend) => {
        const { breaker, brokenUntil } = circuitOf(backend);
        return breaker.state === CircuitState.HalfOpen ? TRIAL_MS : brokenUntil - Date.now();
      });
      return Math.max(1, Math.ceil(Math.min(...waits) / 1000));
    },
  };
}
