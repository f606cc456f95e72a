/** Time: how much of it a call has, and how its caller ends it early. */

/** setTimeout takes no more; 24 days. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Thrown inside when the time is up; what leaves this package is a DeadlineError. */
export class TimeUp extends Error {}

/** A moment, so many milliseconds after it was made, and the signal that may come before. */
export class Deadline {
  readonly #end: number;

  constructor(
    readonly ms: number,
    readonly signal: AbortSignal | undefined,
  ) {
    this.#end = performance.now() + ms;
  }

  /** Milliseconds; negative when it has passed. */
  remaining(): number {
    return this.#end - performance.now();
  }

  /** A deadline of so many milliseconds from now, with the same signal; never beyond this one. */
  within(ms: number): Deadline {
    return new Deadline(Math.min(ms, this.remaining()), this.signal);
  }

  /**
   * What the work gives. The signal that the work is handed is aborted when the time is up or the
   * caller's signal is; work that pays no attention to it is left behind all the same.
   *
   * @throws TimeUp, or the caller's reason for aborting.
   */
  async bound<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.signal?.throwIfAborted();
    if (this.remaining() <= 0) throw new TimeUp();
    const inner = new AbortController();
    const { promise: ended, resolve: end } = deferred();
    const outer = this.signal;
    const stop = () => {
      inner.abort(outer?.aborted ? outer.reason : new TimeUp());
      end();
    };
    const timer = setTimeout(stop, Math.min(LONGEST_TIMER, this.remaining()));
    outer?.addEventListener("abort", stop, { once: true });
    try {
      const result = work(inner.signal);
      await Promise.race([result, ended]);
      inner.signal.throwIfAborted();
      return await result;
    } catch (error) {
      // Whatever the work made of its end, the reason for it is what counts.
      inner.signal.throwIfAborted();
      throw error;
    } finally {
      clearTimeout(timer);
      outer?.removeEventListener("abort", stop);
    }
  }
}

/**
 * Returns after so many milliseconds.
 *
 * @throws the signal's reason, as soon as it is aborted.
 */
export function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(
      () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      },
      Math.min(LONGEST_TIMER, ms),
    );
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/** Rejects with the signal's reason when it is aborted; forgets it when `over` is. */
export function aborted(signal: AbortSignal | undefined, over: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true, signal: over });
  });
}

function deferred(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((given) => {
    resolve = given;
  });
  return { promise, resolve };
}
