/** Passes messages to the picture: one by one while there are few, several as one parcel when there are many. */

const WINDOW_MS = 150;
const BUSY_WINDOW_MS = 400;
const ONE_BY_ONE = 3;

export class Parcels {
  #send;
  #waiting = [];
  #timer = null;
  #window = WINDOW_MS;

  /**
   * @param send called with parcels that travel together, one per producer: {producer, catchUp, count, seq, time}; seq
   * is the streamseq of the last message, 0 if it has none, and time is the time of that message
   */
  constructor(send) {
    this.#send = send;
  }

  /** Adds a message of the feed. */
  add(message) {
    this.#waiting.push(message);
    this.#timer ??= setTimeout(() => this.#flush(), this.#window);
  }

  /** Drops what waits, because the channel has changed. */
  clear() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#waiting = [];
  }

  #flush() {
    const messages = this.#waiting;
    this.clear();
    const busy = messages.length > ONE_BY_ONE;
    this.#window = busy ? BUSY_WINDOW_MS : WINDOW_MS;
    if (busy) this.#send([...groupBy(messages, kind).values()].map((group) => parcel(group.at(-1), group.length)));
    else messages.forEach((message) => this.#send([parcel(message, 1)]));
  }
}

function kind(message) {
  return `${producerOf(message)} ${message.catch_up ?? false}`;
}

function parcel(message, count) {
  return {
    producer: producerOf(message),
    catchUp: message.catch_up ?? false,
    seq: Number(message.streamseq ?? 0),
    time: message.time,
    count,
  };
}

/** Returns the producer's name, the last part of an event's source; a plain message has none. */
function producerOf(message) {
  return message.source?.split("/").at(-1) ?? "";
}

function groupBy(items, key) {
  const groups = new Map();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}
