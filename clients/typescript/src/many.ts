/**
 * Any number of pictures: what predictMany reads when, sends in which pieces, and yields. The
 * pictures are cut into chunks, and each chunk is a promise of its own.
 */

import type { Batch, Placed, Result, Results } from "./batch.js";
import { aborted, sleep } from "./deadline.js";
import type { PictureLike } from "./load.js";
import type { Reader } from "./reader.js";

const FIRST_CHUNK = 4;
/** Milliseconds for which a chunk may wait to fill: pictures from a slow source go as they come. */
const LINGER_MS = 50;

interface Failure {
  readonly error: unknown;
}

/** What became of a chunk: its results in order, and why there are no more, if there are not. */
interface Answer {
  readonly results: readonly Result[];
  readonly failure: Failure | null;
}

/** One call of predictMany: reads the pictures and keeps the chunks. */
export class Many {
  readonly #jobs: Promise<Answer>[] = [];
  #chunk: Placed<PictureLike>[] = [];
  #started = 0;
  #chunks = 0;
  #count = 0;
  #ended = false;
  #failure: Failure | null = null;
  /** Whether the source keeps us waiting: then results go out before more is read. */
  #slow = false;

  constructor(
    readonly batch: Batch,
    readonly reader: Reader,
    readonly concurrency: number,
  ) {}

  /** The results in order; throws after those of what came before. */
  async *results(): AsyncGenerator<Result, void, void> {
    await this.#fill();
    for (let job = this.#jobs[0]; job; job = this.#jobs[0]) {
      const { results, failure } = await job;
      this.#jobs.shift();
      // Before the results are handed out: the server has work while they are looked at.
      if (!failure && !this.#slow) await this.#fill();
      yield* results;
      if (failure) throw failure.error;
      await this.#fill();
    }
    if (this.#failure) throw this.#failure.error;
  }

  /** Returns when nothing is under way any more; for when nobody wants more results. */
  async close(): Promise<void> {
    await this.reader.close();
    await Promise.all(this.#jobs);
  }

  /** Reads and starts what there is room for; returns early where the source is slower than the
   * first answer. */
  async #fill(): Promise<void> {
    while (!this.#ended && this.#jobs.length < this.concurrency) {
      if (this.#chunk.length === 0) this.#started = performance.now();
      const event = await this.#wait();
      if (event === "picture" && !this.#full()) continue;
      this.#slow = event === "answer" || this.#linger() <= 0;
      if (this.#chunk.length > 0) this.#start();
      if (event === "answer") return;
    }
  }

  /** Until a picture is taken into the chunk, there are no more, the chunk has waited long enough,
   * or the first answer is there and the source is slow. */
  async #wait(): Promise<"picture" | "end" | "late" | "answer"> {
    const over = new AbortController();
    try {
      const found = await Promise.race([this.reader.next(), ...this.#alarms(over.signal)]);
      if (typeof found === "string") return found;
      this.reader.taken();
      if ("picture" in found) {
        this.#chunk.push({ index: this.#count++, picture: found.picture });
        return "picture";
      }
      this.#ended = true;
      this.#failure = found.failure ?? null;
      return "end";
    } finally {
      over.abort();
    }
  }

  /** What else ends a wait for the next picture; nothing of it is left once `over` is aborted. */
  #alarms(over: AbortSignal): Promise<"late" | "answer">[] {
    const alarms: Promise<"late" | "answer">[] = [aborted(this.batch.terms.signal, over)];
    const [first] = this.#jobs;
    if (first && this.#slow) alarms.push(first.then(() => "answer"));
    // With nothing to send, and no answer that could be handed out, being late means nothing.
    if (this.#chunk.length > 0 || (first && !this.#slow)) {
      alarms.push(sleep(Math.max(0, this.#linger()), over).then(() => "late"));
    }
    return alarms;
  }

  #linger(): number {
    return this.#started + LINGER_MS - performance.now();
  }

  #full(): boolean {
    return this.#chunk.length >= this.#size() || this.#linger() <= 0;
  }

  /** As large as one request where there are plenty of pictures, smaller where that would leave
   * some of the requests that may be under way without work. */
  #size(): number {
    const most = this.batch.limits.images;
    const { total } = this.reader;
    if (total) {
      const rounds = Math.ceil(total / (most * this.concurrency));
      return Math.min(most, Math.ceil(total / (rounds * this.concurrency)));
    }
    const doublings = Math.min(8, Math.floor(this.#chunks / this.concurrency));
    return Math.min(most, FIRST_CHUNK * 2 ** doublings);
  }

  #start(): void {
    this.#jobs.push(answer(this.batch, this.#chunk));
    this.#chunks += 1;
    this.#chunk = [];
  }
}

/** Never rejects: why there are no more results belongs to whoever waits for them. */
async function answer(batch: Batch, chunk: readonly Placed<PictureLike>[]): Promise<Answer> {
  const results: Results = new Map();
  let failure: Failure | null = null;
  try {
    await batch.collect(chunk, results);
  } catch (error) {
    failure = { error };
  }
  return { results: upToTheFirstGap(chunk, results), failure };
}

function upToTheFirstGap(chunk: readonly Placed<PictureLike>[], results: Results): Result[] {
  const found: Result[] = [];
  for (const { index } of chunk) {
    const result = results.get(index);
    if (!result) break;
    found.push(result);
  }
  return found;
}
