/** Memory of pictures: cleaned where they lie, and given back at once instead of at some later garbage collection. */
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { MessageChannel, type MessagePort } from 'node:worker_threads';

// Below, what giving back costs is more than what it saves. TLS brings 16 KB at a time.
const WORTHWHILE_BYTES = 12 * 1024;

/** All of it holds one picture that is ours, whatever lies before and behind the picture's bytes. */
const roomy = new WeakSet<ArrayBufferLike>();

/**
 * Frees memory that nobody else has a view of, where the bytes are all of it or it is of {@link roomFor}; whoever does
 * all the same finds it empty. V8 counts such memory with its heap until a young collection frees it, which comes after
 * 32 MB, and begins a full one, as long as ten pictures take, when the sum has grown too much: by 64 MB in a process
 * that began just now, but by 16 MB in one that has been idle since.
 */
export function giveBack({ buffer, byteLength }: Uint8Array): void {
  const isAlone = byteLength === buffer.byteLength || roomy.has(buffer);
  if (!isAlone || buffer.byteLength < WORTHWHILE_BYTES || !(buffer instanceof ArrayBuffer)) return;
  if ('transfer' in buffer && typeof buffer.transfer === 'function') buffer.transfer(0);
  // Before Node 22: a message takes it along, and one to nobody ends there.
  else toNobody().postMessage(null, [buffer]);
}

let nobody: MessagePort | undefined;

function toNobody(): MessagePort {
  if (nobody === undefined) {
    nobody = new MessageChannel().port1;
    nobody.close();
  }
  return nobody;
}

// More than the mark that cleaning puts before the pixels.
const HEADROOM_BYTES = 1024;

/** Memory for a picture of at most so many bytes, with room in front for what {@link joinParts} puts there. */
export function roomFor(byteLength: number): Buffer<ArrayBuffer> {
  const memory = Buffer.allocUnsafeSlow(HEADROOM_BYTES + byteLength);
  roomy.add(memory.buffer);
  return memory.subarray(HEADROOM_BYTES);
}

/**
 * Puts the parts of a picture together. Where the largest lies in memory of {@link roomFor} the others are moved to it,
 * and what the picture was before is gone.
 */
export function joinParts(parts: readonly Uint8Array[]): Uint8Array {
  const lengths = parts.map(({ byteLength }) => byteLength);
  const place = lengths.indexOf(Math.max(...lengths));
  const largest = parts[place];
  if (largest === undefined || parts.length === 1) return largest ?? new Uint8Array();
  // Copies: what is before may lie where it is to go.
  const before = Buffer.concat(parts.slice(0, place));
  const after = Buffer.concat(parts.slice(place + 1));
  const start = largest.byteOffset - before.length;
  const length = before.length + largest.byteLength + after.length;
  const { buffer } = largest;
  if (!roomy.has(buffer) || start < 0 || start + length > buffer.byteLength) return Buffer.concat(parts);
  const whole = Buffer.from(buffer, start, length);
  whole.set(before);
  whole.set(after, length - after.length);
  return whole;
}

const OF_NODE: ReadonlySet<unknown> = new Set([Socket, TLSSocket]);

/**
 * Whether something is a connection of Node's own and of no kind derived from that. Only there is memory nobody else's
 * that was read from the network, or free again that was written to it: a host's tunnel, or a mock in its tests, may
 * share it or keep it.
 */
export function isOfNode(connection: Socket | null | undefined): boolean {
  return OF_NODE.has(connection?.constructor);
}
