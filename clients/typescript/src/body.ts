/** The body of a request for predictions. */

import { type Bytes, concat } from "./http.js";
import type { Picture } from "./pictures.js";
import type { BodyType } from "./wire.js";

/** A lone picture is the body as it is; several are parts of one, and their names stay here. */
export function bodyOf(pictures: readonly Picture[]): {
  type: BodyType | `${BodyType};${string}`;
  body: Bytes;
} {
  const [first, second] = pictures;
  if (first && !second) return { type: first.mediaType, body: first.data };
  const boundary = newId();
  const text = new TextEncoder();
  const blocks = pictures.flatMap(({ mediaType, data }, place) => {
    const disposition = `form-data; name="images"; filename="${place}"`;
    const head = `Content-Disposition: ${disposition}\r\nContent-Type: ${mediaType}`;
    return [text.encode(`--${boundary}\r\n${head}\r\n\r\n`), data, text.encode("\r\n")];
  });
  blocks.push(text.encode(`--${boundary}--\r\n`));
  const size = blocks.reduce((sum, block) => sum + block.byteLength, 0);
  return { type: `multipart/form-data; boundary=${boundary}`, body: concat(blocks, size) };
}

/** An id that nothing else has: of a request, or between the parts of a body. */
export function newId(): string {
  // Not crypto.randomUUID, which pages that came over http from another machine do not have.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
