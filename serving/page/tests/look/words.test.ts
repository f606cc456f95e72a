import type { AttentionMap, Input } from "attnvgg-client";
import { describe, expect, test } from "vitest";
import { type Level, levelOf } from "../../src/look/cells.js";
import { ofCell, ofLook, ofPeak } from "../../src/look/words.js";
import { prediction } from "./prediction.js";

const SEEN: Input = { width: 90, height: 90, box: [0, 0, 90, 90] };

function level(rows: number, columns: number, data: number[], name = "conv10"): Level {
  const map: AttentionMap = { shape: [rows, columns], data: Float32Array.from(data) };
  const found = levelOf(prediction({ [name]: map }), name);
  if (!found) throw new Error("no such level");
  return found;
}

/** A map [3, 3] with `share` in one cell, the rest spread evenly. */
function peaked(place: number, share = 0.6): Level {
  const data = Array.from({ length: 9 }, (_, i) => (i === place ? share : (1 - share) / 8));
  return level(3, 3, data, "fused");
}

describe("a cell", () => {
  test("is told with its level, its place from 1 on, and times uniform", () => {
    const map = level(2, 4, [0.5, 0.25, 0.125, 0.0625, 0.0625, 0, 0, 0]);
    expect(ofCell(map, { row: 0, column: 1 })).toBe(
      "conv10, row 1 of 2, column 2 of 4: 2.0 times uniform",
    );
    expect(ofCell(map, { row: 1, column: 3 })).toContain("column 4 of 4: 0.0 times uniform");
  });

  test.each([
    [0.123456, "123 times"],
    [0.0123, "12.3 times"],
    [0.00025, "0.25 times"],
    [0.000001, "less than 0.01 times"],
  ])("of %d among a thousand is %s", (share, said) => {
    const rest = (1 - share) / 999;
    const map = level(1, 1000, [share, ...Array.from({ length: 999 }, () => rest)]);
    expect(ofCell(map, { row: 0, column: 0 })).toContain(`: ${said} uniform`);
  });

  test("of a map of sigmoids is told with its own amount, against the mean", () => {
    const map = level(1, 3, [0.9, 0.3, 0.3]);
    expect(ofCell(map, { row: 0, column: 0 })).toBe(
      "conv10, row 1 of 1, column 1 of 3: 0.90, 1.8 times the mean of this map",
    );
  });

  test("of a map that was rounded to u8 is still a share of one attention", () => {
    expect(ofCell(level(1, 2, [0.7, 0.25]), { row: 0, column: 0 })).toContain("times uniform");
  });
});

describe("without a pointer", () => {
  test("the peak is told", () => {
    const said = "fused, peak in row 2 of 3, column 1 of 3: 5.4 times uniform";
    expect(ofPeak(peaked(3))).toBe(said);
  });

  test.each([
    [level(2, 2, [0, 0, 0, 0]), "is zero everywhere: the network looked nowhere"],
    [level(1, 1, [1]), "is a single cell: it cannot prefer one place to another"],
    [level(1, 1, [0]), "is zero everywhere: the network looked nowhere"],
    [level(1, 2, [0.5, 0.5]), "is the same everywhere: no peak"],
    [level(1, 2, [0.8, 0.8]), "is the same everywhere: no peak"],
  ])("a map without a peak is told as what it is", (map, said) => {
    expect(ofPeak(map)).toBe(`conv10 ${said}`);
    expect(ofLook("cat.jpg", true, map, SEEN)).toBe(
      `cat.jpg with the map conv10 over it; it ${said}`,
    );
  });
});

describe("where the network looked, for those who do not see it", () => {
  test.each([
    [0, "in the upper left"],
    [1, "at the top"],
    [2, "in the upper right"],
    [3, "on the left"],
    [4, "in the middle"],
    [5, "on the right"],
    [6, "in the lower left"],
    [7, "at the bottom"],
    [8, "in the lower right"],
  ])("cell %i is %s", (place, said) => {
    const start = "cat.jpg with the map fused over it; the peak, 5.4 times uniform, is";
    expect(ofLook("cat.jpg", true, peaked(place), SEEN)).toBe(`${start} ${said}`);
  });

  test("it is the place in the picture, not in the part that the network saw", () => {
    const right: Input = { width: 90, height: 90, box: [60, 0, 90, 90] };
    expect(ofLook("cat.jpg", true, peaked(3), right)).toMatch(/is on the right$/);
  });

  test("a picture that the browser cannot show is told, and one without maps", () => {
    expect(ofLook("a.heic", false, peaked(0), SEEN)).toMatch(
      /^The map fused of a.heic, which this browser cannot show; the peak, 5.4 times uniform/,
    );
    expect(ofLook("a.heic", false, null, SEEN)).toBe("a.heic, which this browser cannot show");
    expect(ofLook("a.jpg", true, null, SEEN)).toBe("a.jpg");
  });
});
