/** The picture with an attention map over the part of it that the network saw, on a canvas. */

import type { Bitmap, Canvas, ImageElement, PixelData } from "./dom.js";
import { InvalidArgumentError, InvalidPictureError } from "./errors.js";
import { type Painted, type PaintOptions, paint } from "./paint.js";
import type { AttentionMap, Input, Prediction } from "./prediction.js";

/** What {@link overlay} can draw on. */
export type DrawablePicture = Bitmap | Canvas | ImageElement | PixelData;

/** How {@link overlay} draws. */
export interface OverlayOptions extends PaintOptions {
  /** Which map; "fused" by default, or the last level where there is no such map. */
  level?: string;
}

/** The map to show unless another is asked for: "fused", else the last; null if there is none. */
export function defaultLevel(prediction: Prediction): string | null {
  const levels = Object.keys(prediction.attention ?? {});
  return levels.includes("fused") ? "fused" : (levels.at(-1) ?? null);
}

/**
 * A new canvas of the picture's size: the picture with a map over the part that the network saw.
 * For browsers; {@link paint} works anywhere.
 *
 * @param picture - the one that the prediction was made for, upright.
 * @throws InvalidArgumentError if there is no such map, or an option is out of range.
 * @throws InvalidPictureError if the picture has another size than the prediction's.
 */
export function overlay(
  picture: DrawablePicture,
  prediction: Prediction,
  options: OverlayOptions = {},
): Canvas {
  const { width, height } = prediction.input;
  checkSize(picture, prediction.input);
  const map = chosen(prediction, options.level);
  const [x0, y0, x1, y1] = whole(prediction.input);
  const layer = onCanvas(paint(map, x1 - x0, y1 - y0, options));
  const canvas = blank(width, height);
  const context = contextOf(canvas);
  if (picture instanceof ImageData) context.putImageData(picture, 0, 0);
  else context.drawImage(picture, 0, 0);
  context.drawImage(layer, x0, y0);
  return canvas;
}

/** The box in whole pixels, as the Python SDK rounds it: inside the picture, a pixel at least. */
function whole({ width, height, box }: Input): readonly [number, number, number, number] {
  const [left, top, right, bottom] = Int32Array.from(box, halvesToEven);
  const x0 = Math.min(left ?? 0, width - 1);
  const y0 = Math.min(top ?? 0, height - 1);
  return [x0, y0, Math.max(right ?? width, x0 + 1), Math.max(bottom ?? height, y0 + 1)];
}

function halvesToEven(value: number): number {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

function chosen(prediction: Prediction, level: string | undefined): AttentionMap {
  const { attention, model } = prediction;
  if (!attention) {
    const why = "this prediction has no attention maps: ask with returnAttention: true";
    throw new InvalidArgumentError(why);
  }
  const name = level ?? defaultLevel(prediction) ?? "";
  const map = Object.hasOwn(attention, name) ? attention[name] : undefined;
  if (map) return map;
  const names = Object.keys(attention).join(", ");
  if (!names) throw new InvalidArgumentError(`the model "${model.name}" has no attention levels`);
  throw new InvalidArgumentError(`level is "${level}"; this prediction has ${names}`);
}

function checkSize(picture: DrawablePicture, seen: Input): void {
  const width = "naturalWidth" in picture ? picture.naturalWidth : picture.width;
  const height = "naturalHeight" in picture ? picture.naturalHeight : picture.height;
  if (width === seen.width && height === seen.height) return;
  const made = `the prediction was made for one of ${seen.width} x ${seen.height}`;
  throw new InvalidPictureError(`the picture is ${width} x ${height} pixels, ${made}`);
}

function onCanvas({ width, height, data }: Painted): Canvas {
  const canvas = blank(width, height);
  contextOf(canvas).putImageData(new ImageData(data, width, height), 0, 0);
  return canvas;
}

function blank(width: number, height: number): Canvas {
  if (typeof document !== "undefined") {
    return Object.assign(document.createElement("canvas"), { width, height });
  }
  if (typeof OffscreenCanvas !== "undefined") return new OffscreenCanvas(width, height);
  const why = "overlay needs a canvas, which browsers have; paint works without";
  throw new InvalidArgumentError(why);
}

function contextOf(canvas: Canvas): CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D {
  const context = "convertToBlob" in canvas ? canvas.getContext("2d") : canvas.getContext("2d");
  if (context) return context;
  throw new InvalidArgumentError(`no canvas of ${canvas.width} x ${canvas.height} pixels here`);
}
