/** What a file is, told by its first bytes: names lie, and so do content types. */

import { InvalidPictureError } from "./errors.js";

/** The formats that the server takes. */
export type MediaType = "image/jpeg" | "image/png" | "image/webp";

/** So many first bytes are enough to tell. */
export const ENOUGH = 512;

const REFUSED: readonly (readonly [offset: number, magic: string, name: string])[] = [
  [0, "GIF8", "a GIF picture"],
  [0, "BM", "a BMP picture"],
  [0, "II*\0", "a TIFF picture"],
  [0, "MM\0*", "a TIFF picture"],
  [4, "ftypavif", "an AVIF picture"],
  [4, "ftyphei", "a HEIC picture"],
  [4, "ftypmif1", "a HEIC picture"],
  [4, "ftyp", "an MP4 film"],
  [4, "jP  ", "a JPEG 2000 picture"],
  [4, "JXL ", "a JPEG XL picture"],
  [0, "\xff\x0a", "a JPEG XL picture"],
  [0, "\0\0\x01\0", "an icon"],
  [0, "%PDF", "a PDF document"],
  [0, "PK\x03\x04", "a ZIP archive"],
  [0, "\x1f\x8b", "gzip-compressed data"],
];

/**
 * The type of an encoded picture.
 *
 * @throws InvalidPictureError: it is none of these; says what it looks like instead.
 */
export function mediaType(data: Uint8Array, what: string): MediaType {
  const head = latin1(data);
  if (head.startsWith("\xff\xd8\xff")) return "image/jpeg";
  if (head.startsWith("\x89PNG\r\n\x1a\n")) return "image/png";
  if (head.startsWith("RIFF") && head.startsWith("WEBP", 8)) return "image/webp";
  if (!head) throw new InvalidPictureError(`${what}: empty, 0 bytes`, "invalid_image");
  throw new InvalidPictureError(
    `${what}: ${looksLike(data, head)}; accepted are JPEG, PNG and WebP`,
    "unsupported_media_type",
  );
}

function looksLike(data: Uint8Array, head: string): string {
  for (const [offset, magic, name] of REFUSED) if (head.startsWith(magic, offset)) return name;
  if (head.trimStart().startsWith("<")) {
    return head.includes("<svg") ? "an SVG drawing" : "an HTML or XML page";
  }
  if (!head.includes("\0") && isText(data)) return "text";
  const start = [...data.subarray(0, 8)].map((byte) => byte.toString(16).padStart(2, "0"));
  return `data of an unknown kind (it starts with the bytes ${start.join(" ")})`;
}

function isText(data: Uint8Array): boolean {
  try {
    // As a stream: a character cut in two at the end is no mistake.
    new TextDecoder("utf-8", { fatal: true }).decode(data.subarray(0, ENOUGH), { stream: true });
    return true;
  } catch {
    return false;
  }
}

/** The first bytes as characters of the same numbers. */
function latin1(data: Uint8Array): string {
  return String.fromCharCode(...data.subarray(0, ENOUGH));
}
