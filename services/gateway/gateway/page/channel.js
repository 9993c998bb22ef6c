/** The channel shown: chosen from those in the view, and kept in the page's address as #channel=name. */

import { visible } from "./format.js";

const USUAL = "notifications";
const HASH = "#channel=";

export class ChannelPicker {
  #select;
  #change;
  #wanted = decoded(location.hash);
  current = null;

  /** @param change called with the name of each channel that is chosen, the first one included */
  constructor(select, change) {
    this.#select = select;
    this.#change = change;
    select.addEventListener("change", () => this.#choose(select.value));
    addEventListener("hashchange", () => this.#choose(decoded(location.hash) || this.current));
  }

  /** Offers these channels. The channel shown stays, even if it is not among them. */
  offer(names) {
    const first = names.includes(USUAL) ? USUAL : (names[0] ?? USUAL);
    if (this.current === null) this.#choose(this.#wanted || first);
    const all = [...new Set([...names, this.current])].sort((a, b) => a.localeCompare(b));
    if (JSON.stringify(all) === JSON.stringify([...this.#select.options].map((option) => option.value))) return;
    this.#select.replaceChildren(...all.map((name) => new Option(visible(name), name, false, name === this.current)));
  }

  #choose(name) {
    if (name === this.current) return;
    const first = this.current === null;
    this.current = name;
    if (!first) location.hash = HASH + encodeURIComponent(name);
    this.offer([...this.#select.options].map((option) => option.value));
    this.#select.value = name;
    this.#change(name);
  }
}

function decoded(hash) {
  if (!hash.startsWith(HASH)) return "";
  try {
    return decodeURIComponent(hash.slice(HASH.length));
  } catch {
    return "";
  }
}
