/** Whether a Redis server is set up to keep money, as far as it lets itself be asked. */

/** Sends one command to the server and answers its reply. */
export type SendCommand = (...command: [name: string, ...args: string[]]) => Promise<unknown>;

/**
 * What the server's settings put at risk, a sentence each; none where it is set up to keep money. What it does not
 * tell (managed servers forbid `CONFIG`, some `INFO`) is no risk found. Never rejects.
 */
export async function findRisks(send: SendCommand): Promise<readonly string[]> {
  const [files, memory] = await Promise.all([
    send('CONFIG', 'GET', 'append*').then(settingsOf, nothing),
    send('INFO', 'memory').then(linesOf, nothing),
  ]);
  const risks: string[] = [];
  const fsync = files.get('appendfsync');
  if (files.get('appendonly') === 'no') {
    risks.push('Redis has no append-only file, so a crash forgets what was spent: set "appendonly yes".');
  }
  if (fsync !== undefined && fsync !== 'always') {
    risks.push(
      `Redis may forget what was just spent when it crashes: set "appendfsync always", not ${fsync}.`,
    );
  }
  const policy = memory.get('maxmemory_policy');
  if (policy !== undefined && policy !== 'noeviction' && memory.get('maxmemory') !== '0') {
    risks.push(
      `Redis forgets what was spent when its memory is full: set "maxmemory-policy noeviction", not ${policy}.`,
    );
  }
  return risks;
}

/** The settings in a reply to `CONFIG GET`: a flat list, or what a client makes of a RESP3 map. */
function settingsOf(reply: unknown): ReadonlyMap<string, string> {
  if (reply instanceof Map) return texts([...reply]);
  if (!Array.isArray(reply)) return texts(Object.entries(reply ?? {}));
  return texts(reply.flatMap((name, place) => (place % 2 === 0 ? [[name, reply[place + 1]]] : [])));
}

/** The fields in a reply to `INFO`. */
function linesOf(reply: unknown): ReadonlyMap<string, string> {
  return texts([...String(reply).matchAll(/^(\w+):(.*?)\r?$/gm)].map(([, name, value]) => [name, value]));
}

function texts(entries: readonly (readonly unknown[])[]): ReadonlyMap<string, string> {
  return new Map(entries.map(([name, value]) => [String(name), String(value)]));
}

function nothing(): ReadonlyMap<string, string> {
  return new Map();
}
