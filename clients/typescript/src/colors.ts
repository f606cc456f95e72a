/**
 * Perceptually uniform colours, computed rather than copied.
 *
 * A colormap is a path through OKLab (B. Ottosson, 2020): lightness rises in equal steps from dark
 * to light, hue and chroma follow a few anchors, and what sRGB cannot show loses chroma, never
 * lightness. The Python SDK computes the same tables.
 */

import { InvalidArgumentError } from "./errors.js";

/** The colormaps there are, from dark to light. */
export const COLORMAPS = ["ember", "tide", "grey"] as const;

/** The name of a colormap. */
export type Colormap = (typeof COLORMAPS)[number];

const STEPS = 256;
const CHROMAS = 64;
const DARK = 0.2;
const LIGHT = 0.96;

type Anchor = readonly [hue: number, chroma: number];

/** Hue in degrees and chroma, from dark to light. */
const ANCHORS: Readonly<Record<Colormap, readonly Anchor[]>> = {
  ember: [
    [285, 0.06],
    [305, 0.16],
    [350, 0.2],
    [395, 0.2],
    [430, 0.16],
    [465, 0.1],
  ],
  tide: [
    [290, 0.08],
    [265, 0.12],
    [225, 0.09],
    [180, 0.1],
    [150, 0.12],
    [110, 0.13],
  ],
  grey: [
    [0, 0],
    [0, 0],
  ],
};

const tables = new Map<Colormap, Uint8ClampedArray>();

/**
 * A colormap's colours, 256 times red, green, blue, from dark to light; the caller's own copy.
 *
 * @throws InvalidArgumentError if there is no such colormap.
 */
export function colorTable(colormap: Colormap): Uint8ClampedArray {
  if (!COLORMAPS.includes(colormap)) {
    const names = COLORMAPS.map((name) => `"${name}"`).join(", ");
    throw new InvalidArgumentError(`colormap is "${colormap}"; it must be one of ${names}`);
  }
  const table = tables.get(colormap) ?? computed(ANCHORS[colormap]);
  tables.set(colormap, table);
  return table.slice();
}

function computed(anchors: readonly Anchor[]): Uint8ClampedArray {
  const hues = smooth(anchors.map(([hue]) => hue));
  const chromas = smooth(anchors.map(([, chroma]) => chroma));
  const lightness = (step: number) => DARK + ((LIGHT - DARK) * step) / (STEPS - 1);
  const colours = Array.from({ length: STEPS }, (_, step) =>
    strongest(lightness(step), chromas[step] ?? 0, hues[step] ?? 0),
  );
  return Uint8ClampedArray.from(colours.flat(), (linear) => 255 * gamma(linear));
}

/** Anchors -> one value a step: joined by lines, then averaged so that no corner shows. */
function smooth(anchors: readonly number[]): number[] {
  const wide = STEPS / 4;
  const kernel = Array.from({ length: wide + 1 }, (_, i) => hann((i + 1) / (wide + 2)));
  const whole = kernel.reduce((sum, weight) => sum + weight, 0);
  const lines = Array.from({ length: STEPS + wide }, (_, i) =>
    onLines(anchors, -0.125 + (1.25 * i) / (STEPS + wide - 1)),
  );
  return Array.from({ length: STEPS }, (_, step) =>
    kernel.reduce((sum, weight, i) => sum + (weight / whole) * (lines[step + i] ?? 0), 0),
  );
}

function hann(place: number): number {
  return 0.5 - 0.5 * Math.cos(2 * Math.PI * place);
}

/** The value at `place` from 0 to 1 on the lines that join the anchors; level beyond the ends. */
function onLines(anchors: readonly number[], place: number): number {
  const at = Math.min(Math.max(place, 0), 1) * (anchors.length - 1);
  const before = Math.min(Math.floor(at), anchors.length - 2);
  const [from = 0, to = 0] = anchors.slice(before, before + 2);
  return from + (to - from) * (at - before);
}

/** The linear sRGB colour with as much of the chroma as sRGB can show. */
function strongest(lightness: number, chroma: number, hue: number): readonly number[] {
  for (let kept = CHROMAS; kept >= 0; kept--) {
    const colour = linearRgb(lightness, (chroma * kept) / CHROMAS, (hue * Math.PI) / 180);
    if (colour.every((part) => part >= 0 && part <= 1)) return colour;
  }
  return linearRgb(lightness, 0, 0).map((part) => Math.min(Math.max(part, 0), 1));
}

/** OKLCh, hue in radians -> linear sRGB, not clipped. */
function linearRgb(lightness: number, chroma: number, hue: number): readonly number[] {
  const a = chroma * Math.cos(hue);
  const b = chroma * Math.sin(hue);
  const long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const short = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
    -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
    -0.0041960863 * long - 0.7034186147 * middle + 1.707614701 * short,
  ];
}

function gamma(linear: number): number {
  return linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055;
}
