/** Remembers the messages of a channel by source and id, so that duplicates are dropped. */

const FANOUT_SOURCE = /^\/[^/]+\/[0-9a-f]{16}$/;
const OTHERS = 10_000;

export class Seen {
  #highest = new Map();
  #others = new Set();

  /** Notes a message and returns whether it is new. A plain message has no id and always counts as new. */
  first({ source, id, plain, streamid }) {
    if (plain || !source) return true;
    if (streamid && FANOUT_SOURCE.test(source) && /^\d+$/.test(id)) {
      // Fanout's ids are counted and in order, so the highest is enough. Without a streamid an event may carry any id.
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
