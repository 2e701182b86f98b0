/** Pictures come as providers finish them, and go to clients by their index. */
import type { RequestEvent } from '../core/generate.js';

type PictureEvent = RequestEvent & { readonly type: 'picture' };

/**
 * The same events, but a picture waits until those before it have come or failed. Those of an earlier request are in
 * order already, and gaps in them will not be told of.
 */
export async function* inOrder(events: AsyncIterable<RequestEvent>): AsyncGenerator<RequestEvent, void> {
  const waiting = new Map<number, PictureEvent | undefined>();
  let next = 0;
  let isReplay = false;
  for await (const event of events) {
    if (event.type === 'picture' && !isReplay) waiting.set(event.picture.index, event);
    else if (event.type === 'failed') waiting.set(event.index, undefined);
    else {
      // Whatever a call never answered for is not told of either.
      if (event.type === 'finished') yield* rest(waiting);
      if (event.type === 'started') isReplay = event.replayed;
      yield event;
    }
    for (; waiting.has(next); next += 1) {
      const ready = waiting.get(next);
      waiting.delete(next);
      if (ready !== undefined) yield ready;
    }
  }
}

function rest(waiting: ReadonlyMap<number, PictureEvent | undefined>): readonly PictureEvent[] {
  return [...waiting.values()]
    .filter((event) => event !== undefined)
    .sort((one, other) => one.picture.index - other.picture.index);
}
