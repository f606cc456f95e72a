/** Pixels that a browser holds -> PNG, without loss. */

import type { Bitmap, Canvas, PixelData } from "./dom.js";
import { InvalidPictureError } from "./errors.js";
import type { Bytes } from "./http.js";

/** What has pixels and no file. */
export type Pixels = Canvas | Bitmap | PixelData;

/** Whether it is one of these, of this window or another. */
export function isDrawn(value: unknown): value is Pixels {
  return isCanvas(value) || isBitmap(value) || isPixels(value);
}

/**
 * The PNG of a canvas, a bitmap or an ImageData.
 *
 * @throws InvalidPictureError: no pixels, pixels of another site, or no canvas to encode them.
 */
export async function toPng(drawn: Pixels): Promise<Bytes> {
  const { width, height } = drawn;
  const what = `the ${tag(drawn)} given`;
  if (!(width > 0 && height > 0)) {
    const message = `${what} is ${width} x ${height} pixels`;
    throw new InvalidPictureError(message, "invalid_image");
  }
  try {
    const blob = await encoded(isCanvas(drawn) ? drawn : copied(drawn));
    return new Uint8Array(await blob.arrayBuffer());
  } catch (error) {
    if (error instanceof InvalidPictureError) throw error;
    // Most often a SecurityError: a picture of another site was drawn on the canvas.
    const reason = error instanceof Error ? error.message : String(error);
    const message = `${what} cannot be read: ${reason}`;
    throw new InvalidPictureError(message, "unreadable", { cause: error });
  }
}

function copied(pixels: Bitmap | PixelData): Canvas {
  const canvas = newCanvas(pixels.width, pixels.height);
  const context = canvas?.getContext("2d");
  if (!canvas || !(context && "drawImage" in context)) {
    throw new InvalidPictureError(`there is no canvas here to encode the ${tag(pixels)} with`);
  }
  if (isBitmap(pixels)) context.drawImage(pixels, 0, 0);
  else context.putImageData(pixels, 0, 0);
  return canvas;
}

function newCanvas(width: number, height: number): Canvas | null {
  if (typeof OffscreenCanvas !== "undefined") return new OffscreenCanvas(width, height);
  if (typeof document === "undefined") return null;
  return Object.assign(document.createElement("canvas"), { width, height });
}

function encoded(canvas: Canvas): Promise<Blob> {
  if ("convertToBlob" in canvas) return canvas.convertToBlob({ type: "image/png" });
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => {
      if (blob) resolve(blob);
      else reject(new Error("it cannot be encoded; perhaps it is too large"));
    }, "image/png");
  });
}

function isCanvas(value: unknown): value is Canvas {
  return tag(value) === "HTMLCanvasElement" || tag(value) === "OffscreenCanvas";
}

function isBitmap(value: unknown): value is Bitmap {
  return tag(value) === "ImageBitmap";
}

function isPixels(value: unknown): value is PixelData {
  return tag(value) === "ImageData";
}

function tag(value: unknown): string {
  return Object.prototype.toString.call(value).slice("[object ".length, -1);
}
