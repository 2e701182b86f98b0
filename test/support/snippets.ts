import { readFileSync } from 'node:fs';
import { ROOT } from './source-imports.js';

/** A fenced block of a document. */
export interface Snippet {
  /** What follows the fence, such as `ts`. */
  readonly language: string;
  readonly code: string;
  /** Of the fence, from 1. */
  readonly line: number;
}

/** The text of a document of the repository. */
export function readDocument(path: string): string {
  return readFileSync(`${ROOT}${path}`, 'utf8');
}

/** Every fenced block of a document. */
export function snippetsOf(text: string): Snippet[] {
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(({ 1: language = '', 2: code = '', index }) => {
    return { language, code, line: text.slice(0, index).split('\n').length };
  });
}
