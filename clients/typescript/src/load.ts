/**
 * From what a caller has to a picture ready to travel.
 *
 * | given                                    | what travels                                |
 * |---|---|
 * | File, Blob, ArrayBuffer, typed array     | its bytes, untouched (of a view, its part)  |
 * | URL, or a string: http(s), data, blob    | what is there, untouched                    |
 * | in Node: a path, or a file: URL          | the file, untouched                         |
 * | canvas, OffscreenCanvas, ImageBitmap     | PNG                                         |
 * | ImageData                                | PNG                                         |
 */

import { isDrawn, type Pixels, toPng } from "./canvas.js";
import { type Deadline, TimeUp } from "./deadline.js";
import { readFile } from "./disk.js";
import { download } from "./download.js";
import { DeadlineError, InvalidPictureError } from "./errors.js";
import { fromBytes, MAX_BYTES, type Picture, tooLarge } from "./pictures.js";
import { pageAddress } from "./platform.js";
import { ENOUGH, mediaType } from "./sniff.js";
import { short } from "./words.js";

/** What can be a picture; see the README. Strings are addresses and, in Node, paths. */
export type PictureLike = Blob | ArrayBuffer | ArrayBufferView | URL | string | Pixels;

const ACCEPTED =
  "a File, a Blob, an ArrayBuffer, a typed array, a URL, a canvas, an ImageBitmap or an ImageData";
// Two letters at least, for C:/ is a drive.
const SCHEME = /^([a-z][a-z0-9+.-]+):/i;

/**
 * Reads, fetches or encodes a picture, and checks it.
 *
 * @throws InvalidPictureError: what was given, and what is accepted; DeadlineError: a file took too
 * long; the signal's reason.
 */
export async function load(
  picture: PictureLike,
  fetcher: typeof fetch,
  deadline: Deadline,
): Promise<Picture> {
  try {
    return await loaded(picture, fetcher, deadline);
  } catch (error) {
    if (!(error instanceof TimeUp)) throw error;
    const message = `${short(picture)} was not read within ${deadline.ms / 1000} s`;
    throw new DeadlineError(message);
  }
}

async function loaded(
  picture: PictureLike,
  fetcher: typeof fetch,
  deadline: Deadline,
): Promise<Picture> {
  const given: unknown = picture; // JavaScript's callers have no types
  if (typeof given === "string") return fromAddress(given, fetcher, deadline);
  if (isA(given, URL, "URL")) return fromAddress(given.href, fetcher, deadline);
  if (isA(given, Blob, "Blob", "File")) return deadline.bound(() => fromBlob(given));
  if (ArrayBuffer.isView(given) || isA(given, ArrayBuffer, "ArrayBuffer")) return fromMemory(given);
  if (isDrawn(given)) return fromBytes(await deadline.bound(() => toPng(given)), "the PNG made");
  throw new InvalidPictureError(
    `${short(given)} is no picture; accepted is ${ACCEPTED}${hint(given)}`,
  );
}

function fromAddress(text: string, fetcher: typeof fetch, deadline: Deadline): Promise<Picture> {
  const scheme = SCHEME.exec(text)?.[1]?.toLowerCase();
  const base = pageAddress();
  if (scheme === "file" || (scheme === undefined && base === undefined)) {
    return readFile(text, deadline);
  }
  if (scheme !== undefined && !["http", "https", "data", "blob"].includes(scheme)) {
    const message = `${short(text)} is a URL of a kind not fetched; http, https, data and blob are`;
    throw new InvalidPictureError(message);
  }
  return download(new URL(text, base), fetcher, deadline);
}

async function fromBlob(blob: Blob): Promise<Picture> {
  const name = "name" in blob && typeof blob.name === "string" ? blob.name : "";
  const what = name ? `the file ${short(name)}` : "the Blob given";
  if (blob.size > MAX_BYTES) throw tooLarge(what);
  try {
    // The first bytes come first: a film is not read into memory to be refused.
    mediaType(new Uint8Array(await blob.slice(0, ENOUGH).arrayBuffer()), what);
    return fromBytes(new Uint8Array(await blob.arrayBuffer()), what);
  } catch (error) {
    if (error instanceof InvalidPictureError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    const message = `${what} cannot be read: ${reason}`;
    throw new InvalidPictureError(message, "unreadable", { cause: error });
  }
}

function fromMemory(memory: ArrayBuffer | ArrayBufferView): Picture {
  const view = ArrayBuffer.isView(memory)
    ? new Uint8Array(memory.buffer, memory.byteOffset, memory.byteLength)
    : new Uint8Array(memory);
  if (view.byteLength > MAX_BYTES) throw tooLarge("the bytes given");
  // A copy: the caller may write into theirs while this waits, and a shared one cannot be sent.
  return fromBytes(new Uint8Array(view), "the bytes given");
}

function hint(given: unknown): string {
  const several = typeof given === "object" && given !== null && Symbol.iterator in given;
  return several ? ". predict takes one picture, predictBatch and predictMany take lists" : "";
}

/** `instanceof`, or the same thing of another window. */
function isA<T extends object>(
  value: unknown,
  kind: { new (...args: never[]): T },
  ...tags: string[]
): value is T {
  if (value instanceof kind) return true;
  return tags.some((tag) => Object.prototype.toString.call(value) === `[object ${tag}]`);
}
