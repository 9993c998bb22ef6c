/** The list of changes in the system, newest first. */

import { clock, say } from "./format.js";

const LINES = 100;
/** Seconds within which repeated changes of one replica are added up in one line. */
const ADD_UP_S = 5;

export class Happenings {
  #list;
  #open = new Map();

  constructor(list) {
    this.#list = list;
  }

  /** Adds a line {kind, tone, text, who, n, say}; see changes.js. */
  add({ kind, tone, text, who, n, say: words }) {
    const key = `${kind} ${who}`;
    const open = this.#open.get(key);
    const now = performance.now() / 1000;
    if (words && open && now - open.at < ADD_UP_S) {
      open.n += n;
      open.at = now;
      say(open.element, words(open.n));
      return;
    }
    const line = document.createElement("li");
    const time = document.createElement("time");
    const what = document.createElement("span");
    line.dataset.tone = tone;
    time.textContent = clock(new Date()).slice(0, 8);
    what.textContent = text;
    line.append(time, what);
    this.#list.prepend(line);
    if (words) this.#open.set(key, { n, at: now, element: what });
    while (this.#list.children.length > LINES) this.#list.lastElementChild.remove();
  }
}
