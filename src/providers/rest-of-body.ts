/** What follows in a body after all that matters of it. */

// Room for a line that says so, and for heartbeats; a connection that costs more is not worth it.
const MAX_BYTES = 64 * 1024;
const MAX_MS = 250;

/**
 * Reads a body to its end, so that its connection serves the next request as well. Calls `cut`, which closes the
 * connection, once that takes more than 64 KiB or 250 ms. Always resolves; nobody has to wait for it.
 */
export async function readRest(chunks: AsyncIterator<Uint8Array>, cut: () => void): Promise<void> {
  const timer = setTimeout(cut, MAX_MS);
  timer.unref();
  try {
    let bytesLeft = MAX_BYTES;
    for (;;) {
      const { done, value } = await chunks.next();
      if (done === true) return;
      bytesLeft -= value.byteLength;
      if (bytesLeft < 0) return cut();
    }
  } catch {
    // Cut off, here or there: everything that matters was read before.
  } finally {
    clearTimeout(timer);
  }
}
