/** Decoding in the browser, for showing; the server gets the file as it is. */

import { Pool } from "./queue.js";

/** No side of a picture that is kept is longer: more is not seen on a page, and takes memory. */
export const WIDEST = 1400;
const SIDE_BY_SIDE = new Pool(2); // a picture at its full size may take 100 MB while it is decoded

/**
 * The picture, upright, at most `WIDEST` on a side; null if this browser cannot decode it.
 *
 * @throws the signal's reason, if it aborts before the decoding begins.
 */
export function decode(file: Blob, signal: AbortSignal): Promise<ImageBitmap | null> {
  return SIDE_BY_SIDE.run(() => bitmap(file).catch(() => null), signal);
}

async function bitmap(file: Blob): Promise<ImageBitmap> {
  const whole = await createImageBitmap(file);
  const scale = WIDEST / Math.max(whole.width, whole.height);
  if (scale >= 1) return whole;
  const resizeWidth = Math.max(1, Math.round(whole.width * scale));
  const resizeHeight = Math.max(1, Math.round(whole.height * scale));
  try {
    return await createImageBitmap(whole, { resizeWidth, resizeHeight, resizeQuality: "high" });
  } finally {
    whole.close();
  }
}
