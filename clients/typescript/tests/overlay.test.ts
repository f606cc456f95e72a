import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { COLORMAPS, type Colormap, colorTable } from "../src/colors.js";
import { InvalidArgumentError } from "../src/errors.js";
import { dye, paint, type Scale, shade, strengths, timesUniform } from "../src/paint.js";
import type { AttentionMap } from "../src/prediction.js";

interface Goldens {
  tables: Record<Colormap, string>;
  strengths: {
    map: string;
    shape: [number, number];
    data: string;
    times: string;
    uniform: string;
    minmax: string;
  }[];
  paintings: {
    map: string;
    scale: Scale;
    size: [number, number];
    alpha: number;
    colormap: Colormap;
    smooth: string;
    hard: string;
  }[];
}

/** Written by tests/overlay_goldens.py from what the Python SDK draws. */
const goldens: Goldens = JSON.parse(
  readFileSync(new URL("overlay.golden.json", import.meta.url), "utf8"),
);
const maps = new Map<string, AttentionMap>(
  goldens.strengths.map(({ map, shape, data }) => [map, { shape, data: floats(data) }]),
);
const small = { shape: [1, 2], data: Float32Array.of(0.25, 0.75) } as const;

describe("as the Python SDK", () => {
  test.each(COLORMAPS)("colours of %s", (colormap) => {
    expect(furthest(colorTable(colormap), bytes(goldens.tables[colormap]))).toBeLessThanOrEqual(1);
  });

  test.each(goldens.strengths)("amounts and strengths of $map", (golden) => {
    const map = mapOf(golden.map);
    expect(furthest(timesUniform(map), floats(golden.times))).toBeLessThan(1e-5);
    expect(furthest(strengths(map, "uniform"), floats(golden.uniform))).toBeLessThan(1e-6);
    expect(furthest(strengths(map, "minmax"), floats(golden.minmax))).toBeLessThan(1e-6);
  });

  test.each(goldens.paintings)("$map, $scale, $colormap, $alpha, $size", (golden) => {
    const { scale, size, alpha, colormap } = golden;
    for (const [smooth, expected] of [
      [true, golden.smooth],
      [false, golden.hard],
    ] as const) {
      const options = { scale, alpha, colormap, smooth };
      const painted = paint(mapOf(golden.map), ...size, options);
      expect([painted.width, painted.height]).toEqual(size);
      expect(furthest(painted.data, bytes(expected))).toBeLessThanOrEqual(1);
    }
  });
});

test("what is drawn unless said otherwise", () => {
  const said = { alpha: 0.7, colormap: "ember", scale: "uniform", smooth: true } as const;
  expect(paint(small, 8, 4)).toEqual(paint(small, 8, 4, said));
});

test("the slow half can be kept while the colours change", () => {
  const kept = shade(small, 8, 4, { scale: "minmax", smooth: false });
  for (const colours of [{ alpha: 0.3 }, { colormap: "tide" }] as const) {
    const expected = paint(small, 8, 4, { scale: "minmax", smooth: false, ...colours });
    expect(dye(kept, colours)).toEqual(expected);
  }
});

test("a map is not changed by being drawn, nor a table by its reader", () => {
  const map = { shape: [1, 2], data: Float32Array.of(-1, 2) } as const;
  paint(map, 3, 3, { scale: "minmax" });
  timesUniform(map);
  expect([...map.data]).toEqual([-1, 2]);
  const before = [...colorTable("tide")];
  colorTable("tide").fill(0);
  expect([...colorTable("tide")]).toEqual(before);
});

test("a part of a larger buffer is a map, too", () => {
  const whole = Float32Array.of(9, 0.25, 0.75, 9);
  expect(paint({ shape: [1, 2], data: whole.subarray(1, 3) }, 5, 2)).toEqual(paint(small, 5, 2));
});

describe("what cannot be drawn", () => {
  const cases: [string, () => unknown, string][] = [
    ["alpha", () => paint(small, 2, 2, { alpha: 1.5 }), "alpha is 1.5; it must be from 0 to 1"],
    ["no alpha", () => paint(small, 2, 2, { alpha: Number.NaN }), "alpha is NaN"],
    ["size", () => paint(small, 0, 2), "the size is 0 x 2"],
    ["half a pixel", () => paint(small, 1, 2.5), "the size is 1 x 2.5"],
    ["scale", () => paint(small, 2, 2, { scale: JSON.parse('"log"') }), 'scale is "log"'],
    ["colormap", () => colorTable(JSON.parse('"jet"')), '"ember", "tide", "grey"'],
    [
      "cells",
      () => paint({ ...small, shape: [2, 2] }, 2, 2),
      "4 cells, at least 1; this one has 2",
    ],
    ["no cell", () => timesUniform({ shape: [0, 0], data: new Float32Array() }), "at least 1"],
  ];
  test.each(cases)("%s", (_, draw, message) => {
    expect(draw).toThrow(InvalidArgumentError);
    expect(draw).toThrow(message);
  });
});

function mapOf(name: string): AttentionMap {
  const map = maps.get(name);
  if (!map) throw new Error(`no golden map "${name}"`);
  return map;
}

/** The largest difference of two arrays of one length. */
function furthest(one: ArrayLike<number>, other: ArrayLike<number>): number {
  expect(one.length).toBe(other.length);
  return Array.from(one).reduce((most, value, i) => {
    return Math.max(most, Math.abs(value - (other[i] ?? Number.NaN)));
  }, 0);
}

function bytes(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, "base64"));
}

function floats(base64: string): Float32Array {
  return new Float32Array(bytes(base64).buffer);
}
