/** Finding out what a server is and has, by GET, once. */
import { createGate } from '../core/gate.js';
import { ProviderError } from '../errors.js';
import { isObject, parseJson } from './json-value.js';
import { refusalError } from './stable-diffusion-errors.js';
import type { DiffusionProtocol } from './stable-diffusion-options.js';
import type { DiffusionServer } from './stable-diffusion-server.js';

/** Finds something out by one server; obeys the signal while it waits for others that do. */
export type Finder<T> = (server: DiffusionServer, signal: AbortSignal) => Promise<T>;

/** Remembers what was found. Of askers at the same time one asks and the others wait; a failure is not remembered. */
export function findOnce<T>(find: (server: DiffusionServer) => Promise<T>): Finder<T> {
  const oneAtATime = createGate({ limit: 1 });
  let found: { readonly value: T } | undefined;
  return (server, signal) =>
    oneAtATime.run(async () => {
      found ??= { value: await find(server) };
      return found.value;
    }, signal);
}

/** What tells that a server speaks a protocol: a list at a path. sd-server has both, and more to say in the first. */
const PROBES: readonly {
  readonly path: string;
  readonly protocol: DiffusionProtocol;
  readonly isAnswer: (answer: unknown) => boolean;
}[] = [
  { path: '/sdapi/v1/sd-models', protocol: 'sdapi', isAnswer: Array.isArray },
  {
    path: '/v1/models',
    protocol: 'openai',
    isAnswer: (answer) => isObject(answer) && Array.isArray(answer.data),
  },
];

/** Finds out which protocol a server speaks. Throws a `ProviderError`, `account` where it is none of them. */
export async function detectProtocol(server: DiffusionServer): Promise<DiffusionProtocol> {
  for (const { path, protocol, isAnswer } of PROBES) {
    const answer = await server.send(path);
    const { status, text } = answer;
    // Another answer than "no such thing": the server is there and has trouble, or does not let us in.
    if (status >= 400 && status !== 404 && status !== 405) throw refusalError(answer);
    if (status === 200 && isAnswer(parseJson(text))) return protocol;
  }
  throw new ProviderError('account', 'The provider speaks no protocol known here.', { billed: 'no' });
}

/**
 * Finds the full title of a checkpoint. Servers silently draw with another one where they do not know it, so one that
 * is not listed is refused: throws `account`.
 */
export async function findCheckpoint(server: DiffusionServer, name: string): Promise<string> {
  const listed = await server.ask('/sdapi/v1/sd-models');
  const checkpoints: readonly unknown[] = Array.isArray(listed) ? listed : [];
  for (const checkpoint of checkpoints) {
    if (!isObject(checkpoint)) continue;
    const { title, model_name: modelName, filename } = checkpoint;
    const file = typeof filename === 'string' ? filename.split(/[\\/]/).at(-1) : undefined;
    if ([title, modelName, file].includes(name)) return typeof title === 'string' ? title : name;
  }
  throw new ProviderError('account', 'The provider does not have the checkpoint of this model.', {
    billed: 'no',
  });
}
