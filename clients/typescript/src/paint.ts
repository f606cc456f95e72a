/**
 * An attention map as colours.
 *
 * Colours stand for times uniform attention: x = a / mean(a), which is h * w * a for a map that
 * sums to 1. A map of sigmoids, which does not, shows how it is spread, not how much there is of
 * it. The Python SDK draws the same.
 */

import { type Colormap, colorTable } from "./colors.js";
import { bicubic, nearest } from "./enlarge.js";
import { InvalidArgumentError } from "./errors.js";
import type { AttentionMap } from "./prediction.js";

/** How amounts of attention become colours; see {@link strengths}. */
export const SCALES = ["uniform", "minmax"] as const;

/** The name of a scale. */
export type Scale = (typeof SCALES)[number];

/** Where in the colours a map's cells stand. */
export interface ShadeOptions {
  /** "uniform" unless said otherwise; see {@link strengths}. */
  scale?: Scale;
  /** Interpolates between the cells (true), or shows them as they are. */
  smooth?: boolean;
}

/** Which colours, and how much they cover. */
export interface DyeOptions {
  /** How much the colours cover where attention is strongest, 0 to 1 (0.7); less where less. */
  alpha?: number;
  /** "ember" unless said otherwise. */
  colormap?: Colormap;
}

/** How a map is drawn. */
export interface PaintOptions extends ShadeOptions, DyeOptions {}

/** A map without its colours: `data` is the place of each pixel in the colormap, row-major. */
export interface Shaded {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray;
}

/** A painted map: `data` is RGBA, row-major, not premultiplied; A is how much it covers. */
export interface Painted {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray<ArrayBuffer>;
}

/**
 * So many times uniform attention stand in the middle of the colours. Real maps go from 0.001 to 60
 * times: with 4, what is merely above uniform stays dark and peaks of 10 and of 40 still differ.
 */
const HALFWAY = 4;
const SHADES = 256;
const { fround, max, min } = Math;

/** a / mean(a), [h, w]: 1 where attention is just uniform; 0 everywhere in a map of zeros. */
export function timesUniform(map: AttentionMap): Float32Array {
  const amounts = cells(map).map((amount) => max(amount, 0));
  const mean = amounts.reduce((sum, amount) => sum + amount, 0) / amounts.length || 1;
  return amounts.map((amount) => amount / mean);
}

/**
 * Where in the colormap, from 0 (dark) to 1 (light), each cell [h, w] stands.
 *
 * "uniform" gives x times uniform attention the place x / (x + 4), in every picture and level
 * alike. "minmax" stretches this one map to all the colours: it shows faint differences, and maps
 * cannot be compared.
 */
export function strengths(map: AttentionMap, scale: Scale): Float32Array {
  // Compressed before it is enlarged: otherwise a strong cell becomes a hard-edged blot.
  if (scale === "uniform") return timesUniform(map).map((times) => times / fround(times + HALFWAY));
  const amounts = cells(map);
  const low = amounts.reduce((least, amount) => min(least, amount), Infinity);
  const high = amounts.reduce((most, amount) => max(most, amount), -Infinity);
  if (high === low) return amounts.fill(0.5); // nothing stands out: neither end would be true
  return amounts.map((amount) => fround(amount - low) / fround(high - low));
}

/**
 * The map in colours, `width` x `height` pixels large, to be laid over a picture.
 *
 * @throws InvalidArgumentError if an option or a size is out of range.
 */
export function paint(
  map: AttentionMap,
  width: number,
  height: number,
  options: PaintOptions = {},
): Painted {
  return dye(shade(map, width, height, options), options);
}

/**
 * The slow half of {@link paint}, for those who paint one map again and again: what it gives can be
 * kept while only the colours change.
 *
 * @throws InvalidArgumentError if an option or a size is out of range.
 */
export function shade(
  map: AttentionMap,
  width: number,
  height: number,
  { scale = "uniform", smooth = true }: ShadeOptions = {},
): Shaded {
  check(width, height, scale);
  const enlarge = smooth ? bicubic : nearest;
  const strength = enlarge(strengths(map, scale), map.shape, [height, width]);
  const data = new Uint8ClampedArray(strength.length); // rounds halves to even, as numpy does
  for (let i = 0; i < data.length; i++) data[i] = fround((strength[i] ?? 0) * (SHADES - 1));
  return { width, height, data };
}

/**
 * The quick half of {@link paint}.
 *
 * @throws InvalidArgumentError if an option is out of range.
 */
export function dye({ width, height, data }: Shaded, options: DyeOptions = {}): Painted {
  const { alpha = 0.7, colormap = "ember" } = options;
  if (!(alpha >= 0 && alpha <= 1)) {
    throw new InvalidArgumentError(`alpha is ${alpha}; it must be from 0 to 1`);
  }
  const ink = inks(colormap, alpha);
  const pixels = new Uint32Array(data.length);
  for (let i = 0; i < pixels.length; i++) pixels[i] = ink[data[i] ?? 0] ?? 0;
  return { width, height, data: new Uint8ClampedArray(pixels.buffer) };
}

/** The colour and cover of each shade; four bytes, read as one number, are copied fastest. */
function inks(colormap: Colormap, alpha: number): Uint32Array {
  const table = colorTable(colormap);
  const bytes = new Uint8ClampedArray(4 * SHADES);
  for (let shade = 0; shade < SHADES; shade++) {
    bytes.set(table.subarray(3 * shade, 3 * shade + 3), 4 * shade);
    bytes[4 * shade + 3] = 255 * alpha ** (3 - (2 * shade) / (SHADES - 1));
  }
  return new Uint32Array(bytes.buffer);
}

function cells({ shape: [h, w], data }: AttentionMap): Float32Array {
  if (data.length === h * w && data.length > 0) return data.slice();
  const why = `a map of shape [${h}, ${w}] has ${h * w} cells, at least 1; this one has`;
  throw new InvalidArgumentError(`${why} ${data.length}`);
}

function check(width: number, height: number, scale: Scale): void {
  if (![width, height].every((side) => Number.isInteger(side) && side > 0)) {
    const why = "width and height must be whole numbers of pixels, at least 1";
    throw new InvalidArgumentError(`the size is ${width} x ${height}; ${why}`);
  }
  if (!SCALES.includes(scale)) {
    throw new InvalidArgumentError(`scale is "${scale}"; it must be "uniform" or "minmax"`);
  }
}
