import { describe, expect, test } from "vitest";
import {
  type Cell,
  cellByKey,
  cellUnder,
  type Level,
  levelOf,
  middleOf,
  timesAt,
} from "../../src/look/cells.js";
import { prediction } from "./prediction.js";

const conv7 = { shape: [2, 4], data: Float32Array.of(0, 1, 2, 3, 9, 5, 6, 6) } as const;
const conv10 = { shape: [1, 1], data: Float32Array.of(1) } as const;
const fused = { shape: [1, 2], data: Float32Array.of(0.25, 0.75) } as const;
const seen = prediction({ conv7, conv10, fused });

function level(name: string): Level {
  const found = levelOf(seen, name);
  if (!found) throw new Error(`no level ${name}`);
  return found;
}

describe("a level", () => {
  test("is the one asked for, with its peak and how much stands where", () => {
    const found = level("conv7");
    expect([found.name, found.map, found.peak]).toEqual(["conv7", conv7, { row: 1, column: 0 }]);
    expect(timesAt(found, { row: 1, column: 0 })).toBe(9 / 4);
    expect(timesAt(found, { row: 0, column: 3 })).toBe(3 / 4);
  });

  test("has its first peak, where there are several", () => {
    const even = { shape: [1, 3], data: Float32Array.of(0.2, 0.4, 0.4) } as const;
    expect(levelOf(prediction({ even }), "even")?.peak).toEqual({ row: 0, column: 1 });
  });

  test("is the default one where there is no such level", () => {
    expect(levelOf(seen, "stage2")?.name).toBe("fused");
    expect(levelOf(prediction({ conv7, conv10 }), "stage2")?.name).toBe("conv10");
    expect(levelOf(seen, "toString")?.name).toBe("fused");
  });

  test("is null where there is no map", () => {
    expect([levelOf(prediction({}), "fused"), levelOf(prediction(null), "fused")]).toEqual([
      null,
      null,
    ]);
  });
});

describe("under a point", () => {
  const cases: [number, number, Cell | "outside"][] = [
    [0.25, 0, { row: 0, column: 0 }],
    [0.374, 0.49, { row: 0, column: 0 }],
    [0.376, 0.51, { row: 1, column: 1 }],
    [0.749, 0.999, { row: 1, column: 3 }],
    [0.249, 0.5, "outside"],
    [0.75, 0.5, "outside"],
    [0.5, -0.01, "outside"],
    [0.5, 1, "outside"],
  ];
  test.each(cases)("%d, %d is %o", (x, y, expected) => {
    expect(cellUnder(level("conv7"), seen.input, x, y)).toEqual(expected);
  });

  test("there is the cell whose middle is there", () => {
    const first = middleOf(level("conv7"), seen.input, { row: 0, column: 0 });
    expect(first).toEqual({ x: 0.3125, y: 0.25 });
    for (const cell of [0, 1].flatMap((row) => [0, 1, 2, 3].map((column) => ({ row, column })))) {
      const { x, y } = middleOf(level("conv7"), seen.input, cell);
      expect(cellUnder(level("conv7"), seen.input, x, y)).toEqual(cell);
    }
  });
});

describe("keys", () => {
  const cases: [string, Cell | null, Cell | null][] = [
    ["ArrowRight", { row: 0, column: 1 }, { row: 0, column: 2 }],
    ["ArrowLeft", { row: 0, column: 1 }, { row: 0, column: 0 }],
    ["ArrowDown", { row: 0, column: 1 }, { row: 1, column: 1 }],
    ["ArrowUp", { row: 1, column: 1 }, { row: 0, column: 1 }],
    ["ArrowRight", { row: 0, column: 3 }, { row: 0, column: 3 }],
    ["ArrowUp", { row: 0, column: 3 }, { row: 0, column: 3 }],
    ["ArrowRight", null, { row: 1, column: 1 }],
    ["Home", { row: 0, column: 3 }, { row: 1, column: 0 }],
    ["Home", null, { row: 1, column: 0 }],
    ["Tab", { row: 0, column: 3 }, null],
    ["toString", null, null],
  ];
  test.each(cases)("%s from %o leads to %o", (key, from, to) => {
    expect(cellByKey(level("conv7"), from, key)).toEqual(to);
  });

  test("stay in a map of one cell", () => {
    expect(cellByKey(level("conv10"), null, "ArrowDown")).toEqual({ row: 0, column: 0 });
  });
});
