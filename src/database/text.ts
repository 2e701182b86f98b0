/**
 * Text as a database keeps it. PostgreSQL refuses NUL, SQLite drivers end the string there, and both would write every
 * lone surrogate as the same replacement character: two keys would be one. JSON's escapes have none of these.
 */

/** Text that any database keeps as it is; what was different before is different afterwards. */
export function encodeText(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

/** The text that was encoded. */
export function decodeText(encoded: string): string {
  return JSON.parse(`"${encoded}"`) as string;
}
