/** The messages of one channel, newest first, each with how many subscribers have it. */

import { clock, copy, count, fields, plural, say } from "./format.js";

const ROWS = 200;
/** Milliseconds between updates of the list; longer while each update replaces more than a quarter of it. */
const EVERY_MS = 100;
const BUSY_EVERY_MS = 600;
const LONGEST = 500;

export class Feed {
  #list;
  #none;
  #waiting = [];
  #timer = null;
  #every = EVERY_MS;
  #open = new Map();
  #positions = new Map();
  #held = false;

  constructor(list, none) {
    this.#list = list;
    this.#none = none;
  }

  /** Adds a message; `expected` are the subscribers that must receive it. */
  add(message, expected) {
    this.#queue({ message, expected: message.streamseq ? new Set(expected) : null });
  }

  /** Adds a line that says that messages are missing here. */
  gone({ count: number, exact }) {
    const missing = `${exact ? "" : "about "}${plural(number, "message")} missing`;
    this.#queue({ gone: `${missing}: the history no longer reaches back` });
  }

  /** Updates each message with the number of subscribers that have it, from the subscribers' positions. */
  reached(positions) {
    this.#positions = positions;
    for (const [row, { seq, expected, element }] of this.#open) {
      for (const instance of expected) if (!positions.has(instance)) expected.delete(instance);
      const have = [...expected].filter((instance) => positions.get(instance) >= seq).length;
      if (expected.size) say(element, `${count(have)} of ${count(expected.size)}`);
      element.classList.toggle("whole", have === expected.size && have > 0);
      if (have === expected.size) this.#open.delete(row);
    }
  }

  /** Holds the list still, or releases it and shows the last messages that arrived meanwhile. */
  hold(held) {
    this.#held = held;
    if (!held) this.#flush();
  }

  clear() {
    this.#waiting = [];
    this.#open.clear();
    this.#list.replaceChildren();
    this.#none.hidden = false;
  }

  #queue(entry) {
    this.#waiting.push(entry);
    if (this.#waiting.length > ROWS * 2) this.#waiting.splice(0, this.#waiting.length - ROWS);
    this.#timer ??= setTimeout(() => this.#flush(), this.#every);
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#held || !this.#waiting.length) return;
    const rows = this.#waiting.slice(-ROWS).map((entry) => (entry.gone ? hole(entry.gone) : this.#row(entry)));
    this.#every = this.#waiting.length > ROWS / 4 ? BUSY_EVERY_MS : EVERY_MS;
    this.#waiting = [];
    this.#list.prepend(...rows.reverse());
    while (this.#list.children.length > ROWS) {
      this.#open.delete(this.#list.lastElementChild);
      this.#list.lastElementChild.remove();
    }
    this.#none.hidden = true;
    this.reached(this.#positions);
  }

  #row({ message, expected }) {
    const row = copy("row-template");
    const parts = fields(row);
    const text = shown(message);
    const at = Number.isNaN(Date.parse(message.time)) ? new Date() : new Date(message.time);
    row.dataset.seq = message.streamseq ?? "";
    say(parts.time, clock(at));
    parts.time.dateTime = at.toISOString();
    say(parts.seq, message.streamseq ? `#${message.streamseq}` : "plain");
    say(parts.data, text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);
    parts.tag.hidden = !message.catch_up;
    say(parts.tag, "from history");
    const unfold = () => say(parts.event, JSON.stringify(message, null, 2));
    row.firstElementChild.addEventListener("toggle", unfold, { once: true });
    if (expected?.size) this.#open.set(row, { seq: Number(message.streamseq), expected, element: parts.reach });
    return row;
  }
}

function shown({ data, data_base64: bytes }) {
  if (typeof data === "string") return data;
  return data === undefined ? (bytes ?? "") : JSON.stringify(data);
}

function hole(text) {
  const row = document.createElement("li");
  row.className = "row hole";
  row.textContent = text;
  return row;
}
