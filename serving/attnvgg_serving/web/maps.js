// Attention maps: from the wire to pixels. A value is h * w * a, so even attention is 1 everywhere.

import { COLOURS } from "./colours.js";

/** Reads one map of the answer (FP32, base64). */
export function read({ shape, data }) {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const [h, w] = shape;
  const values = Float32Array.from({ length: h * w }, (_, i) => h * w * view.getFloat32(4 * i, true));
  return { h, w, values, most: values.reduce((a, b) => Math.max(a, b), 0) };
}

/** A canvas with the map in colours, every cell enlarged; `smooth` interpolates between cells. */
export function paint(map, smooth, enlarge = smooth ? Math.ceil(256 / Math.max(map.h, map.w)) : 1) {
  const canvas = document.createElement("canvas");
  canvas.width = map.w * enlarge;
  canvas.height = map.h * enlarge;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let y = 0, i = 0; y < canvas.height; y++) {
    for (let x = 0; x < canvas.width; x++, i += 4) {
      const value = between(map, (y + 0.5) / enlarge - 0.5, (x + 0.5) / enlarge - 0.5);
      const colour = 3 * Math.round((255 * value) / (map.most || 1));
      image.data.set([COLOURS[colour], COLOURS[colour + 1], COLOURS[colour + 2], 255], i);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Draws the picture, what the network did not see dimmed, and the painted map over the rest. */
export function overlay(canvas, picture, box, painted, opacity, smooth) {
  const context = canvas.getContext("2d");
  const scale = canvas.width / picture.width;
  const [x0, y0, x1, y1] = box.map((side) => side * scale);
  context.globalAlpha = 1;
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  context.fillStyle = "rgb(0 0 0 / 60%)";
  context.beginPath();
  context.rect(0, 0, canvas.width, canvas.height);
  context.rect(x0, y0, x1 - x0, y1 - y0);
  context.fill("evenodd");
  context.globalAlpha = opacity;
  context.imageSmoothingEnabled = smooth;
  context.drawImage(painted, x0, y0, x1 - x0, y1 - y0);
}

/** The colours of the legend, from 0 to the map's maximum. */
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
