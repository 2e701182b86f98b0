/** Base64 as vendors send pictures. */

/**
 * Decodes canonical base64 and nothing else: no other alphabet, no white space, no missing padding. Node by itself
 * skips whatever it does not know; comparing lengths finds that at a fraction of what a pattern costs.
 */
export function decodeBase64(text: string): Buffer | undefined {
  if (text.length === 0 || text.length % 4 !== 0) return undefined;
  if (Buffer.byteLength(text) !== text.length || text.includes('-') || text.includes('_')) return undefined;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const bytes = Buffer.from(text, 'base64');
  return bytes.length === (text.length / 4) * 3 - padding ? bytes : undefined;
}
