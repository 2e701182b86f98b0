/** Sizes: their names, and which ones a model draws. */
import type { Size } from './image.js';
import type { SizeRule } from './provider.js';

/** The name of a size in price tables and on the wire. */
export function sizeName(size: Size | 'auto'): string {
  return size === 'auto' ? 'auto' : `${size.width}x${size.height}`;
}

/** `WxH` as a size; `undefined` for anything else. */
export function parseSize(name: string): Size | undefined {
  const match = /^([1-9]\d{0,4})x([1-9]\d{0,4})$/.exec(name);
  return match === null ? undefined : { width: Number(match[1]), height: Number(match[2]) };
}

/** True when a model draws this size. */
export function isSizeAllowed(size: Size, rule: SizeRule): boolean {
  const { width, height } = size;
  if (rule.kind === 'list')
    return rule.values.some((value) => value.width === width && value.height === height);
  const longest = Math.max(width, height);
  const shortest = Math.min(width, height);
  const pixels = width * height;
  return (
    width % rule.multiple === 0 &&
    height % rule.multiple === 0 &&
    shortest >= rule.minEdge &&
    longest <= rule.maxEdge &&
    pixels >= rule.minPixels &&
    pixels <= rule.maxPixels &&
    longest <= shortest * rule.maxRatio
  );
}

/** A size rule in words, for error messages. */
export function describeSizes(rule: SizeRule): string {
  if (rule.kind === 'list') return `one of ${rule.values.map(sizeName).join(', ')}`;
  return (
    `WxH with both edges multiples of ${rule.multiple} from ${rule.minEdge} to ${rule.maxEdge}, ` +
    `${rule.minPixels} to ${rule.maxPixels} pixels in all and edges at most ${rule.maxRatio}:1`
  );
}
