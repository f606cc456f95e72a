/** Several pictures: as few requests as the limits allow, and one bad picture spoils no other. */

import { Deadline } from "./deadline.js";
import {
  APIStatusError,
  DeadlineError,
  InvalidPictureError,
  ItemError,
  PictureRejectedError,
} from "./errors.js";
import type { Answers } from "./gateway.js";
import { load, type PictureLike } from "./load.js";
import type { Picture } from "./pictures.js";
import type { Prediction } from "./prediction.js";

/** As many pictures as a server takes in one request unless it is told otherwise. */
export const MAX_IMAGES = 16;
const MAX_BYTES = 8_000_000;

/** What becomes of one picture of several. */
export type Result = Prediction | ItemError;

/** What becomes of pictures, by their places among all; what failed leaves gaps. */
export type Results = Map<number, Result>;

/** A picture with its place among all. */
export interface Placed<P> {
  readonly index: number;
  readonly picture: P;
}

/** One request: a gateway's, or something that asks it. */
export type Ask = (pictures: readonly Picture[], deadline: Deadline) => Promise<Answers>;

/** What one request may hold; a server that wants less is asked too much only once. */
class Limits {
  images = MAX_IMAGES;
  bytes = MAX_BYTES;

  /** Whether this picture must wait for the next request. */
  full(waiting: readonly Placed<Picture>[], picture: Picture): boolean {
    return waiting.length >= this.images || size(waiting) + picture.data.byteLength > this.bytes;
  }

  /** From a refusal of so many pictures. */
  learn(code: string, refused: readonly Placed<Picture>[]): void {
    const half = Math.max(1, Math.floor(refused.length / 2));
    if (code === "too_many_images") this.images = Math.min(this.images, half);
    if (code === "body_too_large") this.bytes = Math.min(this.bytes, size(refused) / 2);
  }
}

/** How pictures are asked about, and what every request shares. */
export interface Terms {
  readonly ask: Ask;
  readonly fetch: typeof fetch;
  /** Milliseconds for each request, and for each picture that is fetched or read. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
}

/** Cuts pictures into requests. Holds the bytes of one request's pictures at a time. */
export class Batch {
  readonly limits = new Limits();

  constructor(readonly terms: Terms) {}

  /** Puts what becomes of each picture under its place; if a request fails, what is there stays. */
  async collect(
    pictures: Iterable<Placed<PictureLike>> | AsyncIterable<Placed<PictureLike>>,
    results: Results,
  ): Promise<void> {
    let waiting: Placed<Picture>[] = [];
    for await (const { index, picture } of pictures) {
      const loaded = await this.#load(index, picture);
      if (loaded instanceof ItemError) {
        results.set(index, loaded);
        continue;
      }
      if (waiting.length > 0 && this.limits.full(waiting, loaded)) {
        await this.#send(waiting, results);
        waiting = [];
      }
      waiting.push({ index, picture: loaded });
    }
    if (waiting.length > 0) await this.#send(waiting, results);
  }

  async #load(index: number, picture: PictureLike): Promise<Picture | ItemError> {
    const { fetch, timeoutMs, signal } = this.terms;
    try {
      return await load(picture, fetch, new Deadline(timeoutMs, signal));
    } catch (error) {
      const late = error instanceof DeadlineError;
      if (!late && !(error instanceof InvalidPictureError)) throw error;
      return new ItemError(late ? "unreadable" : error.code, error.message, index);
    }
  }

  /**
   * One request; halved if the server refuses it for what is in it. Its limits may be lower than
   * ours, and "invalid_image" for a whole request does not say which picture it means: halving
   * finds out.
   */
  async #send(placed: readonly Placed<Picture>[], results: Results): Promise<void> {
    const answers = await this.#answers(placed);
    if (answers) {
      placed.forEach(({ index }, i) => {
        const item = answers[i];
        if (item) results.set(index, item instanceof ItemError ? moved(item, index) : item);
      });
      return;
    }
    const middle = Math.floor(placed.length / 2);
    await this.#send(placed.slice(0, middle), results);
    await this.#send(placed.slice(middle), results);
  }

  /** The answers; null if the request must be halved. */
  async #answers(placed: readonly Placed<Picture>[]): Promise<Answers | null> {
    const { ask, timeoutMs, signal } = this.terms;
    try {
      const pictures = placed.map(({ picture }) => picture);
      return await ask(pictures, new Deadline(timeoutMs, signal));
    } catch (error) {
      const refused = error instanceof APIStatusError && about(error);
      if (!refused) throw error;
      this.limits.learn(error.code, placed);
      if (placed.length > 1) return null;
      return [new ItemError(error.code, error.message, 0, error.requestId)];
    }
  }
}

/** Whether a refusal is about the pictures in the request. */
function about(error: APIStatusError): boolean {
  return error instanceof PictureRejectedError || error.code === "too_many_images";
}

function moved(item: ItemError, index: number): ItemError {
  return new ItemError(item.code, item.message, index, item.requestId);
}

function size(placed: readonly Placed<Picture>[]): number {
  return placed.reduce((sum, { picture }) => sum + picture.data.byteLength, 0);
}
