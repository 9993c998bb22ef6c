/** Timers that a test moves on by hand, in place of the real ones. */
export class Clock {
  #now = 0;
  #timers = new Map();
  #ids = 0;

  constructor() {
    globalThis.setTimeout = (action, delay) => {
      this.#ids += 1;
      this.#timers.set(this.#ids, { action, at: this.#now + delay });
      return this.#ids;
    };
    globalThis.clearTimeout = (id) => this.#timers.delete(id);
  }

  /** Lets that many milliseconds pass. */
  pass(milliseconds) {
    this.#now += milliseconds;
    for (const [id, { action, at }] of this.#timers) {
      if (at > this.#now) continue;
      this.#timers.delete(id);
      action();
    }
  }
}
