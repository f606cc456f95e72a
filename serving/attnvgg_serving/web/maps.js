// Attention maps: from the wire to pixels. Drawn is times even attention, a / mean(a), on the scale
// of the Python client's overlays: one for every picture and level, with nothing cut off.

import { COLOURS } from "./colours.js";

const HALFWAY = 4;

/** Times even attention -> its place among the colours, from 0 to nearly 1. */
export function place(times) {
  return times / (times + HALFWAY);
}

/** Reads one map of the answer (FP32, base64). */
export function read({ shape, data }) {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const [h, w] = shape;
  const amounts = Float32Array.from({ length: h * w }, (_, i) => view.getFloat32(4 * i, true));
  const mean = amounts.reduce((a, b) => a + b, 0) / amounts.length || 1;
  const times = amounts.map((a) => a / mean);
  return { h, w, values: times.map(place), most: times.reduce((a, b) => Math.max(a, b), 0) };
}

/** A canvas with the map in colours, every cell enlarged; `smooth` interpolates between cells.
 *  Where there is less attention the colours cover less of the picture: opacity cubed at none. */
export function paint(map, smooth, opacity = 1) {
  const enlarge = smooth ? Math.ceil(256 / Math.max(map.h, map.w)) : 1;
  const canvas = document.createElement("canvas");
  canvas.width = map.w * enlarge;
  canvas.height = map.h * enlarge;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let y = 0, i = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++, i += 4) {
      const value = between(map, (y + 0.5) / enlarge - 0.5, (x + 0.5) / enlarge - 0.5);
      const colour = 3 * Math.round(255 * value);
      const cover = 255 * opacity ** (3 - 2 * value);
      image.data.set([COLOURS[colour], COLOURS[colour + 1], COLOURS[colour + 2], cover], i);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Draws the picture, what the network did not see dimmed, and the painted map over the rest. */
export function overlay(canvas, picture, box, painted, smooth) {
  const context = canvas.getContext("2d");
  const scale = canvas.width / picture.width;
  const [x0, y0, x1, y1] = box.map((side) => side * scale);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  context.fillStyle = "rgb(0 0 0 / 60%)";
  context.beginPath();
  context.rect(0, 0, canvas.width, canvas.height);
  context.rect(x0, y0, x1 - x0, y1 - y0);
  context.fill("evenodd");
  context.imageSmoothingEnabled = smooth;
  context.drawImage(painted, x0, y0, x1 - x0, y1 - y0);
}

/** The colours of the legend, from no attention to any amount of it. */
export function legend(canvas) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(256, 1);
  for (let i = 0; i < 256; i++) {
    image.data.set([...COLOURS.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

// Bilinear between the centres of the cells; beyond the outer ones the edge goes on.
function between({ h, w, values }, y, x) {
  const [y0, y1, ty] = neighbours(y, h);
  const [x0, x1, tx] = neighbours(x, w);
  const upper = values[y0 * w + x0] * (1 - tx) + values[y0 * w + x1] * tx;
  const lower = values[y1 * w + x0] * (1 - tx) + values[y1 * w + x1] * tx;
  return upper * (1 - ty) + lower * ty;
}

function neighbours(position, size) {
  const clamped = Math.min(Math.max(position, 0), size - 1);
  const first = Math.floor(clamped);
  return [first, Math.min(first + 1, size - 1), clamped - first];
}
