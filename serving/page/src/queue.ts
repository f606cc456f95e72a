/** Runs at most so many tasks at a time, the others in the order in which they came. */

/** A pool of `size` places. */
export class Pool {
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(private readonly size: number) {}

  /**
   * What `task` gives, once it has had a place.
   *
   * @throws the signal's reason if it aborts while the task waits; a task that runs looks at the
   *   signal itself.
   */
  async run<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    if (this.running < this.size) this.running++;
    else await this.turn(signal);
    try {
      return await task();
    } finally {
      // A place goes straight to the next in line, or nobody could tell that it is taken.
      const next = this.waiting.shift();
      if (next) next();
      else this.running--;
    }
  }

  private turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const go = () => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        this.waiting.splice(this.waiting.indexOf(go), 1);
        reject(signal.reason);
      };
      this.waiting.push(go);
      signal.addEventListener("abort", leave, { once: true });
    });
  }
}
