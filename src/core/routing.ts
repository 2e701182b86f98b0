/**
 * Routing: in which order the backends of a model are tried, which of them are well, and after which failures the
 * next one may be tried. Nothing is tried again that may have been billed.
 */
import { isProviderError, type ProviderErrorKind } from '../errors.js';
import type { Backend } from './backends.js';
import { type Circuit, type CircuitState, createCircuit, type Verdict } from './circuit.js';
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
  isAvailable(backend: Backend): boolean;
  /** How backends are as a whole. */
  health(backends: readonly Backend[]): Health;
  /** Whole seconds until the first of them gets another chance; at least 1. */
  retryAfter(backends: readonly Backend[]): number;
}

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

function verdictOf(error: unknown): Verdict {
  if (error === undefined || (isProviderError(error) && REFUSALS.has(error.kind))) return 'well';
  return SILENT.has(error) ? 'nothing' : 'unwell';
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
    return circuits.get(backend)?.state() ?? 'closed';
  }

  return {
    order(backends) {
      const priorities = [...new Set(backends.map(({ priority }) => priority))].sort((a, b) => a - b);
      return priorities.flatMap((level) => byChance(backends.filter(({ priority }) => priority === level)));
    },
    begin(backend) {
      const end = circuitOf(backend).begin();
      return end && { end: (error) => end(verdictOf(error)) };
    },
    isAvailable: (backend) => circuits.get(backend)?.isPassable() ?? true,
    health(backends) {
      const well = backends.filter((backend) => stateOf(backend) === 'closed').length;
      if (well === backends.length) return 'healthy';
      return well === 0 ? 'unhealthy' : 'degraded';
    },
    retryAfter(backends) {
      const waits = backends.map((backend) => circuits.get(backend)?.waitMs() ?? 0);
      return Math.max(1, Math.ceil(Math.min(...waits) / 1000));
    },
  };
}
