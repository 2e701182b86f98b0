/** Memory of pictures, given back at once instead of at some later garbage collection. */

// Below, what giving back costs is more than what it saves.
const WORTHWHILE_BYTES = 128 * 1024;

/**
 * Frees the memory of bytes that nobody else has a view of; whoever does all the same finds them empty. A picture in
 * flight outlives the young collections, and V8 answers every 64 MB of such bytes with a full one, which takes as long as
 * ten pictures.
 */
export function giveBack({ buffer }: Uint8Array): void {
  if (buffer.byteLength < WORTHWHILE_BYTES || !(buffer instanceof ArrayBuffer)) return;
  // Whoever is handed a buffer takes it away from its owner, and here nobody keeps it.
  structuredClone(buffer, { transfer: [buffer] });
}
