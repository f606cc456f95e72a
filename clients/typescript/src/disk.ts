/** Files on disk, in Node. */

import type { Deadline } from "./deadline.js";
import { InvalidPictureError } from "./errors.js";
import { concat } from "./http.js";
import { fromBytes, MAX_BYTES, type Picture, tooLarge } from "./pictures.js";
import { type Files, files } from "./platform.js";
import { ENOUGH, mediaType } from "./sniff.js";
import { short } from "./words.js";

const BLOCK = 2 ** 20;

/**
 * The picture in a file: a path, or a file: URL.
 *
 * @throws InvalidPictureError, TimeUp, or the signal's reason.
 */
export function readFile(place: string, deadline: Deadline): Promise<Picture> {
  const what = short(place);
  const disk = files();
  if (!disk) {
    const message = `${what} is a file, which only Node (20.16 or newer) can read; give a File or a URL`;
    throw new InvalidPictureError(message);
  }
  const path = /^file:/i.test(place) ? new URL(place) : place;
  return deadline.bound(async (signal) => {
    try {
      return await read(disk, path, what, signal);
    } catch (error) {
      if (error instanceof InvalidPictureError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      const message = `${what} cannot be read: ${reason}`;
      throw new InvalidPictureError(message, "unreadable", { cause: error });
    }
  });
}

async function read(
  disk: Files,
  path: string | URL,
  what: string,
  signal: AbortSignal,
): Promise<Picture> {
  const kind = await disk.stat(path);
  if (!kind.isFile()) {
    // Opening a pipe may last for ever.
    const found = kind.isDirectory() ? "a folder" : "no regular file";
    throw new InvalidPictureError(`${what} cannot be read: it is ${found}`, "unreadable");
  }
  const file = await disk.open(path);
  try {
    const blocks: Uint8Array[] = [];
    let size = 0;
    while (size <= MAX_BYTES) {
      signal.throwIfAborted();
      const block = new Uint8Array(BLOCK);
      const { bytesRead } = await file.read(block);
      if (bytesRead === 0) break;
      // The first bytes come first: a film is not read into memory to be refused.
      if (size === 0 && bytesRead >= ENOUGH) mediaType(block.subarray(0, ENOUGH), what);
      blocks.push(block.subarray(0, bytesRead));
      size += bytesRead;
    }
    if (size > MAX_BYTES) throw tooLarge(what);
    return fromBytes(concat(blocks, size), what);
  } finally {
    await file.close();
  }
}
