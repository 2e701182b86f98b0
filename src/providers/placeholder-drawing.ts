/**
 * The picture itself, as SVG text: ridges in the haze under a low sun, composed and coloured by a hash of prompt
 * and seed. Pure: the same order gives the same SVG.
 */
import type { Size } from '../core/image.js';
import { drawCaption } from './placeholder-caption.js';
import { type Palette, paletteFrom, type Random, randomFrom } from './placeholder-palette.js';

/** What to draw. */
export interface DrawingOrder {
  /** Pixels of the result. */
  readonly size: Size;
  /** Written onto the picture; with the seed it decides the composition. */
  readonly prompt: string;
  /** Whole, 0 to 2^32 − 1. */
  readonly seed: number;
  /** Saturated rather than muted colours. */
  readonly vivid: boolean;
  /** More ridges, stars and birds. */
  readonly detailed: boolean;
  /** False leaves the sky open. */
  readonly sky: boolean;
  /** 0 to 1: how much the scene hides what lies beneath it; the caption is always opaque. */
  readonly opacity: number;
}

const round = (value: number): string => value.toFixed(1);

/** A smooth curve through the middles of the given heights, closed along the lower edge. */
function ridgePath(heights: readonly number[], { width, height }: Size): string {
  const step = width / (heights.length - 3);
  const points = heights.map((y, index) => ({ x: (index - 1) * step, y }));
  const curves = points.slice(1, -1).map((point, index) => {
    const next = points[index + 2] ?? point;
    return `Q${round(point.x)} ${round(point.y)} ${round((point.x + next.x) / 2)} ${round((point.y + next.y) / 2)}`;
  });
  const [first, second] = points;
  const startY = ((first?.y ?? 0) + (second?.y ?? 0)) / 2;
  return `M${round(-step / 2)} ${round(startY)}${curves.join('')}V${height}H${round(-step / 2)}Z`;
}

/** Heights of one ridge: a few waves of falling size, sharper for a mountain than for a dune. */
function ridgeHeights(
  random: Random,
  shape: { size: Size; base: number; swing: number; sharp: number },
): number[] {
  const { size, base, swing, sharp } = shape;
  const edge = Math.min(size.width, size.height);
  const waves = [1, 2.1, 4.3].map((pitch, index) => ({
    pitch: pitch * (1.6 + random() * 1.6),
    phase: random() * 2 * Math.PI,
    weight: 0.62 ** (index * (2.2 - sharp)),
  }));
  const count = Math.ceil((26 * size.width) / edge) + 3;
  return Array.from({ length: count }, (_, index) => {
    const x = ((index - 1) / (count - 3)) * (size.width / edge);
    const lift = waves.reduce((sum, wave) => {
      const sine = Math.sin(wave.pitch * x * 1.7 + wave.phase);
      return sum + wave.weight * (sine * (1 - sharp) + (1 - 2 * Math.abs(sine)) * sharp);
    }, 0);
    return base - lift * swing;
  });
}

interface Scene {
  readonly size: Size;
  readonly edge: number;
  readonly random: Random;
  readonly palette: Palette;
  readonly detailed: boolean;
}

function skySvg({ size, edge, random, palette, detailed }: Scene): string {
  const count = palette.night ? (detailed ? 90 : 40) : 0;
  const stars = Array.from({ length: count }, () => {
    const [x, y, far] = [random() * size.width, random() ** 1.4 * size.height * 0.5, random()];
    return `<circle cx="${round(x)}" cy="${round(y)}" r="${(edge * (0.0008 + 0.0014 * far)).toFixed(2)}" opacity="${(0.25 + 0.5 * far).toFixed(2)}"/>`;
  });
  return `<rect width="100%" height="100%" fill="url(#sky)"/><g fill="${palette.sun}">${stars.join('')}</g>`;
}

function sunSvg({ size, edge, random, palette }: Scene): string {
  const x = round(size.width * (0.24 + random() * 0.52));
  const y = round(size.height * (0.24 + random() * 0.14));
  const radius = edge * (0.075 + random() * 0.06);
  return (
    `<circle cx="${x}" cy="${y}" r="${round(radius * 5.5)}" fill="url(#glow)"/>` +
    `<circle cx="${x}" cy="${y}" r="${round(radius)}" fill="${palette.sun}"/>`
  );
}

function ridgesSvg({ size, edge, random, palette, detailed }: Scene): string {
  const count = detailed ? 8 : 6;
  const sharp = random() < 0.5 ? 0.08 : 0.55;
  return Array.from({ length: count }, (_, index) => {
    const depth = index / (count - 1);
    const base = size.height * (0.5 + 0.4 * depth ** 1.15);
    const swing = edge * (0.055 + 0.02 * random()) * (1 - 0.35 * depth);
    const path = ridgePath(
      ridgeHeights(random, { size, base, swing, sharp: sharp * (1 - 0.7 * depth) }),
      size,
    );
    // Haze: each ridge fades into the colour of the one behind it.
    const [top, low] = [palette.ridge(depth), palette.ridge(Math.max(0, depth - 0.2))];
    const fade =
      `<linearGradient id="r${index}" gradientUnits="userSpaceOnUse" x1="0" x2="0" y1="${round(base - swing)}" y2="${round(base + edge * 0.3)}">` +
      `<stop stop-color="${top}"/><stop offset="1" stop-color="${low}"/></linearGradient>`;
    return `${fade}<path d="${path}" fill="url(#r${index})"/>`;
  }).join('');
}

function birdsSvg({ size, edge, random, palette }: Scene): string {
  const [x, y] = [size.width * (0.2 + random() * 0.5), size.height * (0.2 + random() * 0.15)];
  const birds = Array.from({ length: 5 }, () => {
    const span = edge * (0.009 + random() * 0.007);
    const [left, top] = [x + edge * 0.2 * random(), y + edge * 0.1 * random()];
    return `M${round(left)} ${round(top)}q${round(span * 0.6)} ${round(-span * 0.7)} ${round(span)} 0q${round(span * 0.4)} ${round(-span * 0.7)} ${round(span)} 0`;
  });
  return `<path d="${birds.join('')}" fill="none" stroke="${palette.ink}" stroke-opacity=".7" stroke-linecap="round" stroke-width="${(edge * 0.0028).toFixed(2)}"/>`;
}

/** Gradient stops that fade without a visible edge: a cosine instead of a line. */
function fadeOut(fill: string, opacity: number): string {
  return [0, 0.2, 0.4, 0.6, 0.8, 1]
    .map((at) => {
      const left = opacity * (0.5 + 0.5 * Math.cos(at * Math.PI));
      return `<stop offset="${at}" stop-color="${fill}" stop-opacity="${left.toFixed(3)}"/>`;
    })
    .join('');
}

function definitionsSvg({ size, palette }: Scene, textTop: number): string {
  const shade = { low: textTop + 0.3 * (size.height - textTop), high: textTop - 0.25 * size.height };
  return (
    `<defs><linearGradient id="sky" x2="0" y2="1"><stop stop-color="${palette.skyTop}"/>` +
    `<stop offset=".38" stop-color="${palette.skyMiddle}"/><stop offset=".66" stop-color="${palette.skyLow}"/></linearGradient>` +
    `<radialGradient id="glow">${fadeOut(palette.sun, palette.night ? 0.5 : 0.75)}</radialGradient>` +
    `<linearGradient id="shade" gradientUnits="userSpaceOnUse" x2="0" y1="${round(shade.low)}" y2="${round(shade.high)}">` +
    `${fadeOut(palette.ink, 0.82)}</linearGradient></defs>`
  );
}

/** Draws the picture as an SVG document without text elements, which need fonts. */
export function drawSketch(order: DrawingOrder): string {
  const { size, prompt, seed, vivid, detailed, sky, opacity } = order;
  const random = randomFrom(`${seed}\n${prompt}`);
  const palette = paletteFrom(random, vivid);
  const scene: Scene = { size, edge: Math.min(size.width, size.height), random, palette, detailed };
  const caption = drawCaption({ size, prompt, ink: palette.ink });
  const textTop = caption?.top ?? size.height;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${size.width}" height="${size.height}">` +
    `${definitionsSvg(scene, textTop)}<g opacity="${opacity}">` +
    `${sky ? skySvg(scene) : ''}${sunSvg(scene)}${ridgesSvg(scene)}${detailed && !palette.night ? birdsSvg(scene) : ''}</g>` +
    `${caption === undefined ? '' : `${sky ? '<rect width="100%" height="100%" fill="url(#shade)"/>' : ''}${caption.svg}`}</svg>`
  );
}
