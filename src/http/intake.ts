/**
 * The steps every endpoint for callers shares, in the order the contract promises: draining, identify, permission,
 * body.
 */
import type { Caller, Role } from '../core/caller.js';
import { type Deadlines, shuttingDown } from '../core/deadline.js';
import { readJson } from './body.js';
import type { Exchange } from './exchange.js';
import { type Fields, withoutNulls } from './fields.js';
import { type Identify, identifyCaller } from './identify.js';
import { checkOrigin, checkRole } from './permission.js';
import type { Validate } from './schema.js';

/** What the shared steps need. */
export interface IntakeOptions {
  /** The host's function. */
  readonly identify: Identify;
  /** How long it may take. */
  readonly identifyMs: number;
  /** Origins whose pages may post with a person's cookies. */
  readonly trustedOrigins: readonly string[];
  /** Bytes of a JSON body. */
  readonly jsonBytes: number;
  /** Knows whether the router is shutting down. */
  readonly deadlines: Deadlines;
}

/** The shared steps. */
export interface Intake {
  /** Finds the caller and checks that its role includes `role`. */
  caller(exchange: Exchange, role: Role): Promise<Caller>;
  /** Reads and validates a JSON body of at most `bytes`, `jsonBytes` unless said; nulls are taken for absent. */
  fields(exchange: Exchange, validate: Validate, bytes?: number): Promise<Fields>;
}

const JSON_DEPTH = 16;

/** Makes the shared steps. */
export function createIntake(options: IntakeOptions): Intake {
  return {
    async caller({ req }, role) {
      if (options.deadlines.draining) throw shuttingDown();
      const caller = await identifyCaller(req, options);
      checkRole(caller, role);
      if (req.method === 'POST') checkOrigin(req, options.trustedOrigins);
      return caller;
    },
    async fields({ req }: Exchange, validate: Validate, bytes: number = options.jsonBytes) {
      const body = withoutNulls(await readJson(req, { bytes, depth: JSON_DEPTH }));
      validate(body);
      return body;
    },
  };
}
