/** Pictures come as providers finish them, and go to clients by their index. */
import type { RequestEvent } from '../core/generate.js';
import { createShelf, type Shelf } from './shelf.js';

/**
 * The same events, but a picture waits until those before it have come or failed. Those of an earlier request are in
 * order already, and gaps in them are not told of.
 */
export async function* inOrder(
  events: AsyncIterable<RequestEvent>,
  shelf: Shelf = createShelf(),
): AsyncGenerator<RequestEvent, void> {
  const failed = new Set<number>();
  let next = 0;
  let isReplay = false;
  try {
    for await (const event of events) {
      if (event.type === 'failed') failed.add(event.index);
      if (event.type === 'started') isReplay = event.replayed;
      if (event.type === 'picture' && !isReplay && event.picture.index !== next) {
        await shelf.put(event);
        continue;
      }
      // What a call never answered for is not told of: those behind it have waited in vain.
      if (event.type === 'finished') yield* taken(shelf);
      yield event;
      if (event.type === 'picture') next += 1;
      while (failed.has(next) || shelf.indexes()[0] === next) {
        const ready = await shelf.take(next);
        if (ready !== undefined) yield ready;
        next += 1;
      }
    }
  } finally {
    await shelf.clear();
  }
}

async function* taken(shelf: Shelf): AsyncGenerator<RequestEvent, void> {
  for (const index of shelf.indexes()) {
    const event = await shelf.take(index);
    if (event !== undefined) yield event;
  }
}
