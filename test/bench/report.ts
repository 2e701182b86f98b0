/** From samples to tables: medians, and whether targets are met. */
import { medianOf, OURS, type Reading, type Row, type Samples, type Suite, type Target } from './bench.js';

/**
 * A table in Markdown, padded so that it reads well in a terminal, too. Columns with nothing in them are left out and
 * named below it; so is that of the targets where there are none.
 */
export function tableOf({ columns, rows }: Suite, rounds: readonly Samples[]): string {
  const isMeasured = (column: string) =>
    rows.some(({ readings }) => readingsOf(readings[column]).some((one) => isKnown(one, rounds)));
  const shown = columns.filter(isMeasured);
  const hasTargets = rows.some(({ target }) => target !== undefined);
  const head = ['', ...(hasTargets ? ['target'] : []), ...shown];
  const lines = rows.map((row) => [
    row.what,
    ...(hasTargets ? [targetText(row, rounds)] : []),
    ...shown.map((column) => cellText(row.readings[column], rounds)),
  ]);
  const widths = head.map((_, at) => Math.max(3, ...[head, ...lines].map((cells) => cells[at]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  const table = [line(head), line(widths.map((width) => '-'.repeat(width))), ...lines.map(line)].join('\n');
  const lost = columns.filter((column) => !isMeasured(column));
  return lost.length === 0 ? table : `${table}\n\nNot measured, because not installed: ${lost.join(', ')}.`;
}

function targetText({ target, readings }: Row, rounds: readonly Samples[]): string {
  if (target === undefined) return '';
  const [reading] = readingsOf(readings[OURS]);
  const value = reading && medianOf(reading, rounds);
  const text = 'atMost' in target ? `≤ ${target.atMost}` : `≥ ${target.atLeast}`;
  if (value === undefined) return text;
  return `${text} ${isMet(value, target) ? 'met' : 'NOT MET'}`;
}

/** Whether a figure is what it has to be. */
export function isMet(value: number, target: Target): boolean {
  return 'atMost' in target ? value <= target.atMost : value >= target.atLeast;
}

function readingsOf(cell: Row['readings'][string] | undefined): readonly Reading[] {
  if (cell === undefined) return [];
  return typeof cell === 'function' ? [cell] : cell;
}

function isKnown(reading: Reading, rounds: readonly Samples[]): boolean {
  return medianOf(reading, rounds) !== undefined;
}

/** Figures that were not measured leave dashes. */
function cellText(cell: Row['readings'][string] | undefined, rounds: readonly Samples[]): string {
  return readingsOf(cell)
    .map((reading) => numberText(medianOf(reading, rounds)))
    .join(' · ');
}

/** Three digits that mean something. */
function numberText(value: number | undefined): string {
  if (value === undefined) return '–';
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return String(Number(value.toPrecision(3)));
}
