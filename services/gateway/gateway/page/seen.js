/** Which messages of a channel were seen, by source and id, so that one that comes again is dropped. */

const FANOUT_SOURCE = /^\/[^/]+\/[0-9a-f]{16}$/;
const OTHERS = 10_000;

export class Seen {
  #highest = new Map();
  #others = new Set();

  /** Whether the message is new; notes it. A plain message has no id, and is always new. */
  first({ source, id, plain }) {
    if (plain || !source) return true;
    if (FANOUT_SOURCE.test(source) && /^\d+$/.test(id)) {
      // Fanout's ids count, and come in order: the highest says it all.
      if (Number(id) <= (this.#highest.get(source) ?? 0)) return false;
      this.#highest.set(source, Number(id));
      return true;
    }
    const key = JSON.stringify([source, id]);
    if (this.#others.has(key)) return false;
    this.#others.add(key);
    if (this.#others.size > OTHERS) this.#others.delete(this.#others.values().next().value);
    return true;
  }
}
