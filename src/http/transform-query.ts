/** Reads which version of a picture a URL asks for. It is not signed, so whatever is on no list is refused. */

import { invalid } from '../core/validation.js';
import type { Fit, Transform, Transforms } from '../core/variant.js';
import type { ErrorDetail } from '../errors.js';

/** The parameters that make a version, each with the values it may have. */
export type TransformParameters = Readonly<Record<'w' | 'h' | 'fit' | 'format' | 'q', readonly string[]>>;

// What other image servers call them: ignored, it would silently serve the original.
const MISTAKEN: ReadonlyMap<string, string> = new Map([
  ['width', 'w'],
  ['height', 'h'],
  ['quality', 'q'],
]);

const FITS = ['inside', 'cover'] as const satisfies readonly Fit[];

/** Every parameter and every value of it that is allowed. */
export function transformParameters(transforms: Transforms): TransformParameters {
  const { widths, heights, formats, qualities } = transforms;
  const isPossible = [widths, heights, formats, qualities].some((list) => list.length > 0);
  return {
    w: widths.map(String),
    h: heights.map(String),
    fit: isPossible ? FITS : [],
    format: formats.length > 0 ? [...formats, 'auto'] : [],
    q: qualities.map(String),
  };
}

/**
 * What a query asks for; `undefined` is the original. Other parameters are nobody's business. Throws
 * `VALIDATION_ERROR` for a value that is on no list, in any other spelling, or said twice.
 */
export function readTransform(
  query: URLSearchParams,
  parameters: TransformParameters,
): Transform | undefined {
  const faults: ErrorDetail[] = [];
  let asksForOne = false;
  for (const name of new Set(query.keys())) {
    // Lists and objects, as query parsers write them, are values too.
    const [field = ''] = name.split('[');
    if (MISTAKEN.has(field)) faults.push({ field: name, message: `is called ${MISTAKEN.get(field)} here` });
    if (!isParameter(field, parameters)) continue;
    asksForOne = true;
    const fault = faultOf(name === field ? query.getAll(name) : [], parameters[field]);
    if (fault !== undefined) faults.push({ field, message: fault });
  }
  if (faults.length > 0) throw invalid(faults);
  return asksForOne ? transformIn(query) : undefined;
}

function isParameter(name: string, parameters: TransformParameters): name is keyof TransformParameters {
  return Object.hasOwn(parameters, name);
}

function faultOf(values: readonly string[], allowed: readonly string[]): string | undefined {
  if (allowed.length === 0) return 'pictures are served without it here';
  if (values.length === 1 && allowed.includes(values[0] ?? '')) return undefined;
  return `expected one of ${allowed.join(', ')}`;
}

function transformIn(query: URLSearchParams): Transform {
  const number = (name: string) => (query.has(name) ? Number(query.get(name)) : undefined);
  return {
    width: number('w'),
    height: number('h'),
    fit: (query.get('fit') ?? 'inside') as Fit,
    format: (query.get('format') ?? undefined) as Transform['format'],
    quality: number('q'),
  };
}
