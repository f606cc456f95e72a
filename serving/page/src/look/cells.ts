/** Cells of a map: which is the strongest, which lies under a point, which is beside another. */

import {
  type AttentionMap,
  defaultLevel,
  type Input,
  type Prediction,
  timesUniform,
} from "attnvgg-client";

/** Counted from 0, from the top left. */
export interface Cell {
  readonly row: number;
  readonly column: number;
}

/** One level's map, and what is told about it. `times`: each cell's amount over the mean, [h, w]. */
export interface Level {
  readonly name: string;
  readonly map: AttentionMap;
  readonly times: Float32Array;
  readonly peak: Cell;
}

/** The level of that name, or the default one where the model has no such; null without maps. */
export function levelOf(prediction: Prediction, wanted: string): Level | null {
  const maps = prediction.attention ?? {};
  const name = Object.hasOwn(maps, wanted) ? wanted : defaultLevel(prediction);
  const map = name === null ? undefined : maps[name];
  if (name === null || !map) return null;
  const times = timesUniform(map);
  const most = times.reduce((best, one, i) => (one > (times[best] ?? 0) ? i : best), 0);
  const columns = map.shape[1];
  return { name, map, times, peak: { row: Math.floor(most / columns), column: most % columns } };
}

/** How often uniform attention this cell has. */
export function timesAt({ map, times }: Level, { row, column }: Cell): number {
  return times[row * map.shape[1] + column] ?? 0;
}

/**
 * The cell under a point of the picture, or "outside" where the network saw nothing.
 *
 * @param x - from 0 at the picture's left edge to 1 at its right one; `y` likewise, from the top.
 */
export function cellUnder({ map }: Level, input: Input, x: number, y: number): Cell | "outside" {
  const [x0, y0, x1, y1] = input.box;
  const [rows, columns] = map.shape;
  const column = Math.floor(((x * input.width - x0) / (x1 - x0)) * columns);
  const row = Math.floor(((y * input.height - y0) / (y1 - y0)) * rows);
  const inside = row >= 0 && row < rows && column >= 0 && column < columns;
  return inside ? { row, column } : "outside";
}

/** Where the middle of a cell is: from 0 to 1 of the picture's width and height. */
export function middleOf({ map }: Level, input: Input, cell: Cell): { x: number; y: number } {
  const [x0, y0, x1, y1] = input.box;
  const [rows, columns] = map.shape;
  const x = x0 + ((cell.column + 0.5) / columns) * (x1 - x0);
  const y = y0 + ((cell.row + 0.5) / rows) * (y1 - y0);
  return { x: x / input.width, y: y / input.height };
}

const STEPS: ReadonlyMap<string, readonly [down: number, right: number]> = new Map([
  ["ArrowUp", [-1, 0]],
  ["ArrowDown", [1, 0]],
  ["ArrowLeft", [0, -1]],
  ["ArrowRight", [0, 1]],
]);

/** Where a key leads from a cell (from the peak, at first); null if the key leads nowhere. */
export function cellByKey({ map, peak }: Level, from: Cell | null, key: string): Cell | null {
  if (key === "Home") return peak;
  const step = STEPS.get(key);
  if (!step) return null;
  const [rows, columns] = map.shape;
  const { row, column } = from ?? peak;
  return { row: clamp(row + step[0], rows), column: clamp(column + step[1], columns) };
}

function clamp(place: number, size: number): number {
  return Math.min(Math.max(place, 0), size - 1);
}
