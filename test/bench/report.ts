/** From samples to tables: medians, and whether targets are met. */
import { medianOf, OURS, type Reading, type Row, type Samples, type Suite, type Target } from './bench.js';

/** A table in Markdown, padded so that it reads well in a terminal, too. */
export function tableOf({ columns, rows }: Suite, rounds: readonly Samples[]): string {
  const head = ['', 'target', ...columns];
  const lines = rows.map((row) => [
    row.what,
    targetText(row, rounds),
    ...columns.map((column) => cellText(row.readings[column], rounds)),
  ]);
  const widths = head.map((_, at) => Math.max(...[head, ...lines].map((cells) => cells[at]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...lines.map(line)].join('\n');
}

/** A suite without targets has no column for them. */
function targetText({ target, readings }: Row, rounds: readonly Samples[]): string {
  if (target === undefined) return '';
  const reading = readings[OURS];
  const value = typeof reading === 'function' ? medianOf(reading, rounds) : undefined;
  const text = 'atMost' in target ? `≤ ${target.atMost}` : `≥ ${target.atLeast}`;
  if (value === undefined) return text;
  return `${text} ${isMet(value, target) ? 'met' : 'NOT MET'}`;
}

/** Whether a figure is what it has to be. */
export function isMet(value: number, target: Target): boolean {
  return 'atMost' in target ? value <= target.atMost : value >= target.atLeast;
}

function cellText(reading: Reading | readonly Reading[] | undefined, rounds: readonly Samples[]): string {
  if (reading === undefined) return '';
  const readings = typeof reading === 'function' ? [reading] : reading;
  return readings.map((one) => numberText(medianOf(one, rounds))).join(' · ');
}

/** Three digits that mean something. */
function numberText(value: number | undefined): string {
  if (value === undefined) return 'missing';
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return String(Number(value.toPrecision(3)));
}
