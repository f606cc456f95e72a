/** Pixels: the picture, what the network did not see of it dimmed, and the map over the rest. */

import { type AttentionMap, dye, type Input, type Shaded, shade } from "attnvgg-client";
import type { Cell } from "./cells.js";
import type { LookOptions } from "./options.js";

/** In device pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

type Rectangle = readonly [x: number, y: number, width: number, height: number];

// More cannot be told apart from a map of at most some 32 cells a side; the canvas scales the rest.
const FINEST = 512;
const BLOCKY = 4; // enlarged so much, a picture shows its pixels: smoothed it would be a blur
const DIMMED = "rgb(0 0 0 / 60%)";
const PLAIN = "rgb(128 128 128)";

/** Where the box that the network saw lies on a canvas of this size, in whole pixels. */
export function boxOn({ width, height }: Size, input: Input): Rectangle {
  const [x0, y0, x1, y1] = input.box;
  const left = Math.round((x0 / input.width) * width);
  const top = Math.round((y0 / input.height) * height);
  const right = Math.max(Math.round((x1 / input.width) * width), left + 1);
  const bottom = Math.max(Math.round((y1 / input.height) * height), top + 1);
  return [left, top, right - left, bottom - top];
}

/** The picture at this size, dimmed outside of the box; a plain ground in the place of null. */
export function ground(
  picture: ImageBitmap | HTMLCanvasElement | null,
  input: Input,
  size: Size,
): HTMLCanvasElement {
  const [canvas, context] = blank(size);
  const closed = picture?.width === 0; // drawing a closed bitmap throws
  if (picture && !closed) {
    context.imageSmoothingEnabled = size.width < BLOCKY * input.width * window.devicePixelRatio;
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, 0, 0, size.width, size.height);
  } else {
    context.fillStyle = PLAIN;
    context.fillRect(0, 0, size.width, size.height);
  }
  context.fillStyle = DIMMED;
  context.beginPath();
  context.rect(0, 0, size.width, size.height);
  context.rect(...boxOn(size, input));
  context.fill("evenodd");
  return canvas;
}

/** The map without its colours: as fine as it will be seen, or a pixel a cell. */
export function shades(
  map: AttentionMap,
  [, , width, height]: Rectangle,
  { scale, smooth }: Pick<LookOptions, "scale" | "smooth">,
): Shaded {
  const [rows, columns] = map.shape;
  if (!smooth) return shade(map, columns, rows, { scale, smooth });
  const shrunk = Math.min(1, FINEST / Math.max(width, height));
  return shade(map, fine(width * shrunk), fine(height * shrunk), { scale });
}

/** The map in its colours. */
export function coloured(
  shaded: Shaded,
  { alpha, colormap }: Pick<LookOptions, "alpha" | "colormap">,
): HTMLCanvasElement {
  const { width, height, data } = dye(shaded, { alpha, colormap });
  const [canvas, context] = blank({ width, height });
  context.putImageData(new ImageData(data, width, height), 0, 0);
  return canvas;
}

function fine(side: number): number {
  return Math.max(1, Math.round(side));
}

/** A map in its colours, and where it lies. */
export interface Layer {
  readonly canvas: HTMLCanvasElement;
  readonly box: Rectangle;
  readonly smooth: boolean;
}

/** Draws all of it anew. The canvas takes the size of the ground. */
export function draw(canvas: HTMLCanvasElement, below: HTMLCanvasElement, map: Layer | null): void {
  // Setting the size clears the canvas even where it is the same: a flash that can be seen.
  if (canvas.width !== below.width) canvas.width = below.width;
  if (canvas.height !== below.height) canvas.height = below.height;
  const context = contextOf(canvas);
  context.drawImage(below, 0, 0);
  if (!map) return;
  context.imageSmoothingEnabled = map.smooth;
  context.drawImage(map.canvas, ...map.box);
}

/** A line around one cell that is seen on every colour: light within dark. */
export function outline(
  canvas: HTMLCanvasElement,
  [left, top, width, height]: Rectangle,
  [rows, columns]: readonly [number, number],
  { row, column }: Cell,
): void {
  const context = contextOf(canvas);
  const thin = Math.max(1, Math.round(window.devicePixelRatio));
  const acrossTo = (edge: number) => left + Math.round((edge * width) / columns);
  const downTo = (edge: number) => top + Math.round((edge * height) / rows);
  const [x, y] = [acrossTo(column), downTo(row)];
  const [w, h] = [acrossTo(column + 1) - x, downTo(row + 1) - y];
  for (const [colour, line] of [
    ["#000", 4 * thin],
    ["#fff", 2 * thin],
  ] as const) {
    context.strokeStyle = colour;
    context.lineWidth = line;
    context.strokeRect(x, y, w, h);
  }
}

function blank({ width, height }: Size): [HTMLCanvasElement, CanvasRenderingContext2D] {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  return [canvas, contextOf(canvas)];
}

function contextOf(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const context = canvas.getContext("2d");
  if (!context) throw new Error(`no canvas of ${canvas.width} x ${canvas.height} pixels here`);
  return context;
}
