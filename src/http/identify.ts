/** Who is asking: the host's `identify`, held to its contract, and two ready-made ones. */
import { hash } from 'node:crypto';
import type { Request } from 'express';
import type { Caller, Role } from '../core/caller.js';
import { within } from '../core/wait.js';
import { checkBudget } from '../core/windows.js';
import { ConfigError, ImagesError, isImagesError } from '../errors.js';

/** Answers who is asking; nobody is 401. May throw an `ImagesError` to choose the answer. */
export type Identify = (
  req: Request,
) => Caller | undefined | null | false | '' | Promise<Caller | undefined | null | false | ''>;

const ROLES: readonly Role[] = ['viewer', 'user', 'admin'];

/** The name under which {@link bearerKeys} looks a key up: SHA-256 in lower-case hex, so that no table holds a key. */
export function hashKey(key: string): string {
  return hash('sha256', key);
}

/** Callers by the {@link hashKey} of their API key, or a function that finds them. */
export type KeyTable =
  | Readonly<Record<string, Caller>>
  | ((sha256Hex: string) => Caller | undefined | Promise<Caller | undefined>);

/**
 * An `identify` for API keys sent as `Authorization: Bearer …`. Throws `ConfigError` for a table that holds plain keys.
 */
export function bearerKeys(table: KeyTable): Identify {
  if (typeof table === 'function') return async (req) => withKey(req, table);
  const callers = new Map(Object.entries(table));
  for (const [hash, caller] of callers) {
    if (!/^[0-9a-f]{64}$/.test(hash)) {
      throw new ConfigError('bearerKeys()', 'expected keys to be hashed: { [hashKey(key)]: caller }');
    }
    checkCaller(caller, `bearerKeys()['${hash.slice(0, 8)}…']`);
  }
  return (req) => withKey(req, (hash) => callers.get(hash));
}

function withKey<T>(req: Request, find: (sha256Hex: string) => T): T | undefined {
  const match = /^Bearer +([^\s]{1,512}) *$/i.exec(req.get('authorization') ?? '');
  return match?.[1] === undefined ? undefined : find(hashKey(match[1]));
}

/** An `identify` that lets everybody in as one caller: for trying things out, and behind a gate of your own. */
export function anyone(caller: Caller): Identify {
  checkCaller(caller, 'anyone()');
  return () => caller;
}

/** Throws `ConfigError` at `path` unless the value is a whole {@link Caller}. */
function checkCaller(value: unknown, path: string): asserts value is Caller {
  if (typeof value !== 'object' || value === null) throw new ConfigError(path, 'expected a caller');
  const { tenant, user, role, models, budgets } = value as Partial<Record<keyof Caller, unknown>>;
  const isName = (name: unknown) => typeof name === 'string' && name.length >= 1 && name.length <= 256;
  if (!isName(tenant)) throw new ConfigError(`${path}.tenant`, 'expected a string of 1 to 256 characters');
  if (user !== undefined && !isName(user)) {
    throw new ConfigError(`${path}.user`, 'expected a string of 1 to 256 characters, or nothing');
  }
  if (role !== undefined && !ROLES.some((known) => known === role)) {
    throw new ConfigError(`${path}.role`, `expected one of ${ROLES.join(', ')}`);
  }
  const isPatterns =
    Array.isArray(models) && models.length > 0 && models.every((slug) => typeof slug === 'string');
  if (models !== 'all' && !isPatterns) {
    throw new ConfigError(`${path}.models`, "expected slugs such as ['openai/*'], or 'all'");
  }
  if (budgets === 'unlimited') return;
  if (!Array.isArray(budgets) || budgets.length === 0) {
    throw new ConfigError(`${path}.budgets`, "expected budgets such as [daily(usd(5))], or 'unlimited'");
  }
  budgets.forEach((budget, place) => {
    checkBudget(budget, `${path}.budgets[${place}]`);
    if (budget.per === 'user' && user === undefined) {
      throw new ConfigError(`${path}.budgets[${place}].per`, 'a budget per user needs a caller with a user');
    }
    const first = budgets.findIndex(({ per, unit, name }) => {
      return per === budget.per && unit === budget.unit && name === budget.name;
    });
    if (first !== place) {
      throw new ConfigError(
        `${path}.budgets[${place}].name`,
        `budgets[${first}] has the same scope, unit and name, and so the same ledger key; give one another name`,
      );
    }
  });
}

function hung(): ImagesError {
  return new ImagesError(
    'OVERLOADED',
    'The server could not find out who you are in time. Try again shortly.',
    {
      retryAfter: 5,
    },
  );
}

/** Asks the host who is calling. Throws 401 for nobody, 503 when it hangs and 500 for anything but a whole caller. */
export async function identifyCaller(
  req: Request,
  options: { readonly identify: Identify; readonly identifyMs: number },
): Promise<Caller> {
  const answer = await within(
    (async () => options.identify(req))().catch((cause: unknown) => {
      throw isImagesError(cause) ? cause : fault(cause);
    }),
    options.identifyMs,
    hung,
  );
  if (!answer) throw nobody(req);
  try {
    checkCaller(answer, 'identify()');
  } catch (cause) {
    throw fault(cause);
  }
  return answer;
}

function fault(cause: unknown): ImagesError {
  return new ImagesError('INTERNAL_ERROR', 'The server could not find out who you are.', { cause });
}

function nobody(req: Request): ImagesError {
  return req.get('authorization') === undefined
    ? new ImagesError(
        'AUTH_TOKEN_MISSING',
        'Nobody knows who you are: send Authorization: Bearer <key>, or log in.',
      )
    : new ImagesError('AUTH_TOKEN_INVALID', 'These credentials are not known here.');
}
