/** The channel that is shown: chosen from those that the view names, kept in the address as #channel=name. */

const USUAL = "notifications";
const HASH = "#channel=";

export class ChannelPicker {
  #select;
  #change;
  #wanted = decoded(location.hash);
  current = null;

  /** @param change called with the name, at first too */
  constructor(select, change) {
    this.#select = select;
    this.#change = change;
    select.addEventListener("change", () => this.#choose(select.value));
    addEventListener("hashchange", () => this.#choose(decoded(location.hash) || this.current));
  }

  /** The channels that there are. The one that is shown stays, whether it is among them or not. */
  offer(names) {
    const first = names.includes(USUAL) ? USUAL : (names[0] ?? USUAL);
    if (this.current === null) this.#choose(this.#wanted || first);
    const all = [...new Set([...names, this.current])].sort((a, b) => a.localeCompare(b));
    if (JSON.stringify(all) === JSON.stringify([...this.#select.options].map((option) => option.value))) return;
    this.#select.replaceChildren(...all.map((name) => new Option(name, name, false, name === this.current)));
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
