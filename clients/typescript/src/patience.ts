/** Many requests at once: when the server asks one of them to wait, all wait. */

import type { Ask } from "./batch.js";
import { Deadline, sleep } from "./deadline.js";
import { APIStatusError } from "./errors.js";
import type { Answers, Gateway } from "./gateway.js";
import type { Picture } from "./pictures.js";
import { pause } from "./retry.js";
import { worthRetrying } from "./statuses.js";

/** Slows down for a server that is busy (429, 503). */
export class Patience {
  readonly #gateway: Gateway;
  readonly #query: URLSearchParams;
  readonly #insistent: boolean;
  /** Nothing is sent before this moment (of performance.now), whoever asks. */
  #until = 0;

  /**
   * @param insistent where the gateway's own attempts are used up, go on for as long as the
   * deadline allows: a long job can wait.
   */
  constructor(gateway: Gateway, query: URLSearchParams, insistent: boolean) {
    this.#gateway = gateway;
    this.#query = query;
    this.#insistent = insistent;
  }

  /** As Gateway.ask. The time spent waiting for others does not count. */
  readonly ask: Ask = async (pictures, given) => {
    await this.#hold(given.signal);
    const deadline = new Deadline(given.ms, given.signal);
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#once(pictures, deadline);
      } catch (error) {
        const busy = this.#insistent && error instanceof APIStatusError && worthRetrying(error);
        const wait = busy ? pause(attempt, error.retryAfterMs) : Number.POSITIVE_INFINITY;
        if (wait >= deadline.remaining()) throw error;
        this.#close(wait);
        await sleep(wait, deadline.signal);
      }
    }
  };

  #once(pictures: readonly Picture[], deadline: Deadline): Promise<Answers> {
    return this.#gateway.ask(pictures, this.#query, deadline, (ms) => this.#close(ms));
  }

  async #hold(signal: AbortSignal | undefined): Promise<void> {
    for (let left = this.#left(); left > 0; left = this.#left()) await sleep(left, signal);
  }

  #left(): number {
    return this.#until - performance.now();
  }

  #close(ms: number): void {
    this.#until = Math.max(this.#until, performance.now() + ms);
  }
}
