/** Bodies read chunk by chunk, and the memory they were read into. */
import type { IncomingMessage } from 'node:http';
import { finished, type Readable } from 'node:stream';
import { giveBack, isOfNode } from '../core/memory.js';

/**
 * A body's chunks as they arrived; reading a stream by `for await` puts those together, in memory of their own, that
 * have come meanwhile. Leaving it destroys the stream.
 */
export async function* chunksOf(body: Readable): AsyncGenerator<Buffer, void> {
  const waiting: Buffer[] = [];
  let wake: () => void = () => undefined;
  let end: { readonly error: Error | null | undefined } | undefined;
  const take = (chunk: Buffer) => {
    waiting.push(chunk);
    body.pause();
    wake();
  };
  // Listens on when it was left: what a body says that is given up hurts nobody.
  finished(body, { writable: false }, (error) => {
    end = { error };
    wake();
  });
  body.on('data', take);
  try {
    for (;;) {
      const chunk = waiting.shift();
      if (chunk !== undefined) yield chunk;
      else if (end === undefined) await arrival();
      else if (end.error) throw end.error;
      else return;
    }
  } finally {
    body.off('data', take);
    body.destroy();
  }

  function arrival(): Promise<void> {
    body.resume();
    return new Promise((resolve) => {
      wake = resolve;
    });
  }
}

/** Whether Node copies bodies out of what it reads from a connection: known once the first have arrived. */
let copiesBodies: boolean | undefined;

/**
 * Gives back what is read from the connection of an answer, of which Node has copied the body by then, instead of
 * leaving it to a garbage collection: it is as much again as the answer. The answer waits to be resumed.
 */
export function freeReadings(incoming: IncomingMessage): void {
  const { socket } = incoming;
  if (!isOfNode(socket)) return;
  const [parser] = socket.listeners('data');
  let parsed: Buffer | undefined;
  let isOurs = false;
  const begin = (reading: Buffer) => {
    parsed = reading;
    // The parser may leave when it is done.
    isOurs = socket.listenerCount('data') === 3 && socket.listeners('data')[1] === parser;
  };
  const noteCopying = ({ buffer }: Buffer) => {
    if (parsed !== undefined) copiesBodies ??= parsed.buffer !== buffer;
  };
  const free = (reading: Buffer) => {
    parsed = undefined;
    if (isOurs && copiesBodies === true) giveBack(reading);
  };
  // Until its reader begins: whoever listens without reading would lose what comes.
  incoming.pause();
  incoming.on('data', noteCopying);
  socket.prependListener('data', begin);
  socket.on('data', free);
  incoming.once('close', () => {
    socket.off('data', begin);
    socket.off('data', free);
  });
}
