/** Connections of Node, and what hosts have in their place. */
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

const OF_NODE: ReadonlySet<unknown> = new Set([Socket, TLSSocket]);

/**
 * Whether something is a connection of Node's own and of no kind derived from that. Only there is memory nobody else's
 * that was read from the network, or free again that was written to it: a host's tunnel, or a mock in its tests, may
 * share it or keep it.
 */
export function isOfNode(connection: Socket | null | undefined): boolean {
  return OF_NODE.has(connection?.constructor);
}
