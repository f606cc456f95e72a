/** Anything that can be a picture -> the bytes that travel. */

import { InvalidPictureError } from "./errors.js";
import type { Bytes } from "./http.js";
import { type MediaType, mediaType } from "./sniff.js";

/** A picture ready to travel: `data` is a whole JPEG, PNG or WebP file. */
export interface Picture {
  readonly data: Bytes;
  readonly mediaType: MediaType;
}

/** No picture has more bytes than this; checked before they are read where that is possible. */
export const MAX_BYTES = 64 * 2 ** 20;

/**
 * An encoded picture, its type told by its first bytes and by nothing else.
 *
 * @throws InvalidPictureError
 */
export function fromBytes(data: Bytes, what: string): Picture {
  if (data.byteLength > MAX_BYTES) throw tooLarge(what);
  return { data, mediaType: mediaType(data, what) };
}

/** More bytes than this client reads into memory for one picture. */
export function tooLarge(what: string): InvalidPictureError {
  const message = `${what} has more than ${MAX_BYTES} bytes, more than any picture here`;
  return new InvalidPictureError(message, "image_too_large");
}
