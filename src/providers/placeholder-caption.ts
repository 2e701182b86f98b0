/** Sets the prompt and the line that says this is no model into a picture, as SVG paths. */
import type { Size } from '../core/image.js';
import { CAPITAL_HEIGHT, type Letter, letterFor } from './placeholder-letters.js';

/** What a caption says and where it may stand. */
export interface CaptionOrder {
  /** The whole picture; the caption stands at its lower left. */
  readonly size: Size;
  /** The prompt, of any length and in any script. */
  readonly prompt: string;
  /** CSS colour of the edge around the letters. */
  readonly ink: string;
}

/** A caption as SVG, and how much of the picture it covers. */
export interface Caption {
  /** SVG elements. */
  readonly svg: string;
  /** Pixels from the top of the picture to the top of the caption. */
  readonly top: number;
}

/** A word, or a line with its spaces. */
type Run = readonly Letter[];

const SHORTEST_EDGE_FOR_TEXT = 96;
const SMALLEST_CAPITAL_PIXELS = 7.5;
/** In grid units of the alphabet. */
const LETTER_GAP = 2.9;
const LINE_HEIGHT = 25;
const PEN_WIDTH = 1.5;
/** More than any picture shows; a prompt of thousands of characters costs no more than this. */
const MOST_CHARACTERS = 1_200;

const SPACE: Letter = { width: 3.2, path: '' };
const ELLIPSIS = letterFor('…');
const NOTE = lettersOf('placeholder, not a model');

function lettersOf(text: string): Run {
  const letters: Letter[] = [];
  // Graphemes, so that a family emoji of seven code points is one box.
  for (const { segment } of new Intl.Segmenter('en').segment(text)) {
    if (letters.length === MOST_CHARACTERS) return [...letters, ELLIPSIS];
    letters.push(/\s/u.test(segment) ? SPACE : letterFor(segment));
  }
  return letters;
}

function widthOf(run: Run): number {
  return run.reduce((sum, letter) => sum + letter.width + LETTER_GAP, -LETTER_GAP);
}

/** Splits at spaces, and a word wider than a line where the line ends. */
function wordsOf(text: Run, lineWidth: number): Run[] {
  const words: Letter[][] = [[]];
  for (const letter of text) {
    const word = words.at(-1) ?? [];
    if (letter === SPACE) words.push([]);
    else if (widthOf([...word, letter]) > lineWidth) words.push([letter]);
    else word.push(letter);
  }
  return words.filter((word) => word.length > 0);
}

function wrap(text: Run, lineWidth: number): Run[] {
  const lines: Run[] = [];
  for (const word of wordsOf(text, lineWidth)) {
    const line = lines.at(-1) ?? [];
    const joined = [...line, SPACE, ...word];
    if (line.length > 0 && widthOf(joined) <= lineWidth) lines[lines.length - 1] = joined;
    else lines.push(word);
  }
  return lines;
}

function truncate(lines: readonly Run[], most: number, lineWidth: number): readonly Run[] {
  if (lines.length <= most) return lines;
  const last = [...(lines[most - 1] ?? [])];
  while (last.at(-1) === SPACE || widthOf([...last, ELLIPSIS]) > lineWidth) last.pop();
  return [...lines.slice(0, most - 1), [...last, ELLIPSIS]];
}

/** The largest letters with which the text fits, down to the smallest that are readable; the rest is cut off. */
function fit(text: Run, box: Size): { readonly lines: readonly Run[]; readonly scale: number } {
  const edge = Math.min(box.width, box.height * 1.6);
  const smallest = Math.max(SMALLEST_CAPITAL_PIXELS, edge / 46) / CAPITAL_HEIGHT;
  for (let scale = edge / 13 / CAPITAL_HEIGHT; ; scale *= 0.92) {
    const last = scale <= smallest;
    const used = last ? smallest : scale;
    const lineWidth = box.width / used;
    const lines = wrap(text, lineWidth);
    // Large letters are for a few lines; a long text may fill the box only in small ones.
    const share = used > 1.5 * smallest ? 0.5 : 1;
    const most = Math.floor((share * box.height) / (LINE_HEIGHT * used));
    if (last || lines.length <= most)
      return { lines: truncate(lines, Math.max(1, most), lineWidth), scale: used };
  }
}

function lineSvg(
  run: Run,
  place: { readonly x: number; readonly y: number; readonly scale: number },
): string {
  let at = 0;
  const paths = run.map(({ width, path }) => {
    const svg = path === '' ? '' : `<path transform="translate(${at.toFixed(2)})" d="${path}"/>`;
    at += width + LETTER_GAP;
    return svg;
  });
  const { x, y, scale } = place;
  return `<g transform="translate(${x.toFixed(2)} ${y.toFixed(2)}) scale(${scale.toFixed(4)})">${paths.join('')}</g>`;
}

/** Sets the caption; `undefined` for pictures too small to carry readable letters. */
export function drawCaption({ size, prompt, ink }: CaptionOrder): Caption | undefined {
  const edge = Math.min(size.width, size.height);
  if (edge < SHORTEST_EDGE_FOR_TEXT) return undefined;
  const margin = edge * 0.065;
  const box = { width: size.width - 2 * margin, height: size.height * 0.6 };
  const { lines, scale } = fit(lettersOf(prompt), box);

  const readable = Math.max(6.4, edge / 48) / CAPITAL_HEIGHT;
  const noteScale = Math.min(readable, box.width / widthOf(NOTE));
  const noteTop = size.height - margin - CAPITAL_HEIGHT * noteScale;
  const top = noteTop - LINE_HEIGHT * scale * (lines.length + 0.12);
  const text = lines.map((line, row) =>
    lineSvg(line, { x: margin, y: top + row * LINE_HEIGHT * scale, scale }),
  );
  const note = lineSvg(NOTE, { x: margin, y: noteTop, scale: noteScale });
  const all = `${text.join('')}<g stroke-opacity=".82">${note}</g>`;
  return {
    svg:
      '<g fill="none" stroke-linecap="round" stroke-linejoin="round">' +
      `<g stroke="${ink}" opacity=".5" stroke-width="${PEN_WIDTH * 2.1}">${all}</g>` +
      `<g stroke="#fff" stroke-width="${PEN_WIDTH}">${all}</g></g>`,
    top,
  };
}
