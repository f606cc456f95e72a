/** The client: the verbs. */

import { type Ask, Batch, type Results, type Terms } from "./batch.js";
import { type ClientOptions, type Config, resolve } from "./config.js";
import { Deadline, sleep } from "./deadline.js";
import { APIConnectionError, DeadlineError, InvalidArgumentError, ItemError } from "./errors.js";
import { Gateway } from "./gateway.js";
import { load, type PictureLike } from "./load.js";
import { Many } from "./many.js";
import {
  type CallOptions,
  type PredictManyOptions,
  type PredictOptions,
  query,
  timeout,
} from "./options.js";
import { Patience } from "./patience.js";
import type { Health, ModelInfo, Prediction } from "./prediction.js";
import { numbered, type Pictures, Reader } from "./reader.js";
import { backoff } from "./retry.js";
import { statusError } from "./statuses.js";

const READY_MS = 60_000;
const HEALTH_MS = 5_000;
const LONGEST_POLL_MS = 2_000;

/**
 * Asks an attnvgg server. One client serves any number of calls at once; it holds nothing open.
 *
 * In Node and in browsers. In a browser the server of another origin must allow the page's
 * (ATTNVGG_CORS_ORIGINS).
 */
export class Client {
  readonly #config: Config;
  readonly #gateway: Gateway;

  /**
   * @param url where the server is. By default: in a browser the page's own folder, in Node
   * $ATTNVGG_URL or else http://127.0.0.1:3000.
   * @param options see ClientOptions.
   * @throws InvalidArgumentError: one of these cannot be right.
   */
  constructor(url?: string | URL, options: ClientOptions = {}) {
    this.#config = resolve(url, options);
    this.#gateway = new Gateway(this.#config);
  }

  /** Where the server is, without a slash at its end. */
  get url(): string {
    return this.#config.url;
  }

  /**
   * What the picture shows and, if asked, where the network looked.
   *
   * @throws InvalidArgumentError, InvalidPictureError: before anything is sent.
   * @throws APIConnectionError, DeadlineError, ProtocolError, APIStatusError: see AttnVGGError.
   * @throws the signal's reason, once it is aborted.
   */
  async predict(picture: PictureLike, options: PredictOptions = {}): Promise<Prediction> {
    const wanted = query(options);
    const deadline = this.#deadline(options);
    const loaded = await load(picture, this.#config.fetch, deadline);
    const [item] = await this.#gateway.ask([loaded], wanted, deadline);
    if (item && !(item instanceof ItemError)) return item;
    const { code = null, message = "no answer", requestId = null } = item ?? {};
    throw statusError(message, { status: 200, code, requestId });
  }

  /**
   * Predictions in the order of the pictures, with an ItemError in the place of one that cannot be
   * used. Sends up to 16 pictures a request, one request after the other, and no picture twice that
   * was answered. For many pictures, take `predictMany`: it is faster, and keeps the answers that
   * came before a failure.
   *
   * @param pictures a list or another iterable of what `predict` takes, asynchronous ones included.
   * @param options `timeoutMs` is for each request, and for each picture that is read or fetched.
   * @throws as `predict`, except that a bad picture throws nothing.
   */
  async predictBatch(
    pictures: Pictures,
    options: PredictOptions = {},
  ): Promise<(Prediction | ItemError)[]> {
    const wanted = query(options);
    const ask: Ask = (few, deadline) => this.#gateway.ask(few, wanted, deadline);
    const batch = new Batch(this.#terms(ask, options, options.signal));
    const results: Results = new Map();
    const reader = new Reader(pictures);
    try {
      await batch.collect(numbered(reader, options.signal), results);
    } finally {
      await reader.close();
    }
    return [...results].sort(([a], [b]) => a - b).map(([, result]) => result);
  }

  /**
   * The results for any number of pictures, one by one, in order, as soon as they are there; an
   * ItemError, whose index is the place among all, for a picture that cannot be used.
   *
   * Several requests are under way at once, of up to 16 pictures each. The pictures are read as
   * they are needed, at most (concurrency + 1) * 16 ahead of the results; nothing grows with their
   * number. A server that is busy slows everything down: all requests wait as long as it asks one
   * of them to, and each gives up only when its timeout has passed (at once with maxRetries 0).
   * Leaving the loop ends the requests that are under way.
   *
   * @param options `timeoutMs` is for each request, and for each picture that is read or fetched.
   * @throws InvalidArgumentError: at once.
   * @throws as `predictBatch` while iterating, after the results that came before: their number
   * says where to go on. So does an error of the iterable itself.
   */
  predictMany(
    pictures: Pictures,
    options: PredictManyOptions = {},
  ): AsyncGenerator<Prediction | ItemError, void, void> {
    const { concurrency = 4, onProgress, signal } = options;
    if (!Number.isSafeInteger(concurrency) || concurrency < 1) {
      const given = String(concurrency);
      throw new InvalidArgumentError(`concurrency is ${given}; it must be 1 or more, and whole`);
    }
    const insistent = this.#config.maxRetries > 0;
    const patience = new Patience(this.#gateway, query(options), insistent);
    const stop = new AbortController();
    const batch = new Batch(this.#terms(patience.ask, options, stop.signal));
    const many = new Many(batch, new Reader(pictures), concurrency);
    return results(many, stop, signal, onProgress);
  }

  /** The models that the server has. Throws as `predict`. */
  async models(options: CallOptions = {}): Promise<ModelInfo[]> {
    return await this.#gateway.models(this.#deadline(options));
  }

  /**
   * Whether the server would answer now; asked once, without retries.
   *
   * @throws APIConnectionError, DeadlineError: nobody is there.
   * @throws APIStatusError: something is there that is no attnvgg server.
   */
  async health(options: CallOptions = {}): Promise<Health> {
    return await this.#gateway.health(this.#deadline(options));
  }

  /**
   * Returns as soon as the server would answer; waits 60 s for that unless `timeoutMs` says
   * otherwise.
   *
   * @throws DeadlineError: it would not, and why.
   * @throws APIStatusError: something is there that is no attnvgg server.
   */
  async waitUntilReady(options: CallOptions = {}): Promise<void> {
    const deadline = new Deadline(timeout(options, READY_MS), options.signal);
    let reason = "no answer";
    for (let attempt = 0; deadline.remaining() > 0; attempt++) {
      const found = await this.#reachable(deadline.within(HEALTH_MS));
      if (found.ready) return;
      if (found.detail) reason = found.detail;
      const wait = Math.min(backoff(attempt), LONGEST_POLL_MS, deadline.remaining());
      await sleep(Math.max(0, wait), deadline.signal);
    }
    const seconds = deadline.ms / 1000;
    throw new DeadlineError(`the server was not ready within ${seconds} s: ${reason}`);
  }

  async #reachable(deadline: Deadline): Promise<Health> {
    try {
      return await this.#gateway.health(deadline);
    } catch (error) {
      const away = error instanceof APIConnectionError || error instanceof DeadlineError;
      if (!away) throw error;
      // An attempt that the end of the wait cut short says nothing about the server.
      if (error instanceof DeadlineError && deadline.ms < HEALTH_MS)
        return { ready: false, detail: "" };
      return { ready: false, detail: error.message };
    }
  }

  #terms(ask: Ask, options: CallOptions, signal: AbortSignal | undefined): Terms {
    const { fetch, timeoutMs } = this.#config;
    return { ask, fetch, timeoutMs: timeout(options, timeoutMs), signal };
  }

  #deadline(options: CallOptions): Deadline {
    return new Deadline(timeout(options, this.#config.timeoutMs), options.signal);
  }
}

/** The results of a run of predictMany, which ends with the iteration or with the signal. */
async function* results(
  many: Many,
  stop: AbortController,
  signal: AbortSignal | undefined,
  onProgress: PredictManyOptions["onProgress"],
): AsyncGenerator<Prediction | ItemError, void, void> {
  const abort = () => stop.abort(signal?.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort, { once: true });
  let done = 0;
  try {
    for await (const result of many.results()) {
      stop.signal.throwIfAborted();
      onProgress?.(++done, many.reader.total);
      yield result;
    }
  } finally {
    signal?.removeEventListener("abort", abort);
    stop.abort();
    await many.close();
  }
}
