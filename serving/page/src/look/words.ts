/** What a map shows, in words: for those who point at it, and for those who do not see it. */

import type { Input } from "attnvgg-client";
import { type Cell, type Level, middleOf, timesAt } from "./cells.js";

const ACROSS = ["left", "", "right"] as const;
const DOWN = ["upper", "", "lower"] as const;

/** The weight of one cell. */
export function ofCell(level: Level, cell: Cell): string {
  return `${level.name}, ${position(level, cell)}: ${amount(level, cell)}`;
}

/** Where the map is strongest, and how strong. */
export function ofPeak(level: Level): string {
  const plain = withoutPeak(level);
  if (plain) return `${level.name} ${plain}`;
  return `${level.name}, peak in ${position(level, level.peak)}: ${amount(level, level.peak)}`;
}

/** The whole look in a sentence. `shown`: the browser could show the picture itself. */
export function ofLook(name: string, shown: boolean, level: Level | null, input: Input): string {
  if (!level) return shown ? name : `${name}, which this browser cannot show`;
  const what = shown
    ? `${name} with the map ${level.name} over it`
    : `The map ${level.name} of ${name}, which this browser cannot show`;
  const plain = withoutPeak(level);
  if (plain) return `${what}; it ${plain}`;
  return `${what}; the peak, ${amount(level, level.peak)}, is ${region(level, input)}`;
}

/** Why a map has no peak worth telling; empty if it has one. */
function withoutPeak({ map, times }: Level): string {
  if (times.every((one) => one === 0)) return "is zero everywhere: the network looked nowhere";
  if (times.length === 1) return "is a single cell: it cannot prefer one place to another";
  if (map.data.every((one) => one === map.data[0])) return "is the same everywhere: no peak";
  return "";
}

function position({ map }: Level, { row, column }: Cell): string {
  const [rows, columns] = map.shape;
  return `row ${row + 1} of ${rows}, column ${column + 1} of ${columns}`;
}

function amount(level: Level, cell: Cell): string {
  const times = rounded(timesAt(level, cell));
  if (isShare(level)) return `${times} times uniform`;
  const own = level.map.data[cell.row * level.map.shape[1] + cell.column] ?? 0;
  return `${rounded(own)}, ${times} times the mean of this map`;
}

/** Whether the amounts are shares of one attention. Those of sigmoids are not, and u8 rounds. */
function isShare({ map }: Level): boolean {
  return Math.abs(map.data.reduce((sum, one) => sum + one, 0) - 1) < 0.1;
}

function rounded(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  if (value >= 0.995 || value === 0) return value.toFixed(1);
  return value < 0.01 ? "less than 0.01" : value.toFixed(2);
}

/** Where in the picture the peak is, by thirds. */
function region(level: Level, input: Input): string {
  const { x, y } = middleOf(level, input, level.peak);
  const across = ACROSS[Math.floor(3 * x)] ?? "";
  const down = DOWN[Math.floor(3 * y)] ?? "";
  if (across && down) return `in the ${down} ${across}`;
  if (across) return `on the ${across}`;
  if (down) return down === "upper" ? "at the top" : "at the bottom";
  return "in the middle";
}
