/** Bodies read chunk by chunk, and the memory they were read into. */
import type { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { finished, type Readable } from 'node:stream';
import { giveBack } from '../core/memory.js';

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
  const stop = finished(body, { writable: false }, (error) => {
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
    stop();
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
  // Others, such as those of a host's own tunnel, may read into anything.
  if (!(socket instanceof Socket)) return;
  let parsed: Buffer | undefined;
  let isOurs = false;
  const begin = (reading: Buffer) => {
    parsed = reading;
    // Those two, and the parser, which may leave when it is done: nobody else looks at it.
    isOurs = socket.listenerCount('data') === 3;
  };
  const see = ({ buffer }: Buffer) => {
    if (parsed !== undefined) copiesBodies ??= parsed.buffer !== buffer;
  };
  const free = (reading: Buffer) => {
    parsed = undefined;
    if (isOurs && copiesBodies === true) giveBack(reading);
  };
  incoming.pause();
  incoming.on('data', see);
  socket.prependListener('data', begin);
  socket.on('data', free);
  incoming.once('close', () => {
    socket.off('data', begin);
    socket.off('data', free);
  });
}
