/** Reads pictures from any kind of iterable, one at a time, without ever losing one. */

import type { Placed } from "./batch.js";
import { aborted } from "./deadline.js";
import { InvalidArgumentError } from "./errors.js";
import type { PictureLike } from "./load.js";
import { short } from "./words.js";

/** What predictBatch and predictMany take. */
export type Pictures = Iterable<PictureLike> | AsyncIterable<PictureLike>;

/** What a read gave: a picture, the end, or what the iterable threw. */
export type Read =
  | { readonly picture: PictureLike }
  | { readonly ended: true; readonly failure?: { readonly error: unknown } };

/** One pass through an iterable. A read that nobody waited for is there for the next who asks. */
export class Reader {
  /** How many pictures there are, where the iterable says it. */
  readonly total: number | null;
  readonly #source: AsyncIterator<PictureLike> | Iterator<PictureLike>;
  #pending: Promise<Read> | null = null;
  #ended = false;

  /** @throws InvalidArgumentError: a lone picture, or nothing that can be iterated. */
  constructor(pictures: Pictures) {
    const given: unknown = pictures; // JavaScript's callers have no types
    this.#source = iterator(given);
    this.total = count(given);
  }

  /** The next picture; of calls before it is there, all get the same. Never rejects. */
  next(): Promise<Read> {
    this.#pending ??= this.#read();
    return this.#pending;
  }

  /** Says that what `next` gave was taken. */
  taken(): void {
    this.#pending = null;
  }

  /** Tells the iterable that nobody wants more, as leaving a `for await` does. */
  async close(): Promise<void> {
    if (this.#ended) return;
    const busy = this.#pending !== null;
    this.#ended = true;
    const closed = Promise.resolve(this.#source.return?.()).catch(() => {});
    // An asynchronous generator closes after the read that it is in, which may last for ever.
    if (!busy) await closed;
  }

  async #read(): Promise<Read> {
    try {
      const { done, value } = await this.#source.next();
      if (!done) return { picture: value };
      this.#ended = true;
      return { ended: true };
    } catch (error) {
      this.#ended = true;
      return { ended: true, failure: { error } };
    }
  }
}

/**
 * All that is left of a reader, with places from 0.
 *
 * @throws what the iterable throws, or the signal's reason.
 */
export async function* numbered(
  reader: Reader,
  signal: AbortSignal | undefined,
): AsyncGenerator<Placed<PictureLike>, void, void> {
  for (let index = 0; ; index++) {
    const read = await next(reader, signal);
    if ("picture" in read) {
      yield { index, picture: read.picture };
      continue;
    }
    if (read.failure) throw read.failure.error;
    return;
  }
}

async function next(reader: Reader, signal: AbortSignal | undefined): Promise<Read> {
  const over = new AbortController();
  try {
    const read = await Promise.race([reader.next(), aborted(signal, over.signal)]);
    reader.taken();
    return read;
  } finally {
    over.abort();
  }
}

function iterator(given: unknown): AsyncIterator<PictureLike> | Iterator<PictureLike> {
  // A string and a typed array can be iterated, and are lone pictures: the likeliest mistake.
  const several = typeof given === "object" && given !== null && !ArrayBuffer.isView(given);
  if (several && isAsync(given)) return given[Symbol.asyncIterator]();
  if (several && isPlain(given)) return given[Symbol.iterator]();
  throw new InvalidArgumentError(
    `pictures is ${short(given)}; it must be a list or another iterable of pictures ` +
      "(predict takes a lone one)",
  );
}

function count(given: unknown): number | null {
  if (typeof given !== "object" || given === null) return null;
  const found: unknown = Reflect.get(given, "length") ?? Reflect.get(given, "size");
  return typeof found === "number" && Number.isSafeInteger(found) && found >= 0 ? found : null;
}

function isAsync(value: object): value is AsyncIterable<PictureLike> {
  return Symbol.asyncIterator in value;
}

function isPlain(value: object): value is Iterable<PictureLike> {
  return Symbol.iterator in value;
}
