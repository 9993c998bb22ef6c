/** Formats numbers and times, and puts them into the page. */

const whole = new Intl.NumberFormat("en-US");
const decimal = new Intl.NumberFormat("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** Formats a count: 1,234 or 1.2 M. */
export function count(number) {
  return Math.abs(number) < 1e6 ? whole.format(number) : `${decimal.format(number / 1e6)} M`;
}

/** Formats messages a second: 0.7/s, 120/s. */
export function rate(number) {
  return `${number && number < 10 ? decimal.format(number) : count(Math.round(number))}/s`;
}

/** Formats milliseconds, which may be unknown: 3.1 ms, 1.2 s, –. */
export function milliseconds(number) {
  if (number === null || number === undefined) return "–";
  if (number < 10) return `${decimal.format(number)} ms`;
  return number < 1000 ? `${whole.format(Math.round(number))} ms` : `${decimal.format(number / 1000)} s`;
}

/** Formats a duration in seconds: 4.2 s, 12 s, 3 min, 2 h, 5 d. */
export function seconds(number) {
  if (number < 10) return `${decimal.format(number)} s`;
  if (number < 100) return `${Math.round(number)} s`;
  if (number < 6000) return `${Math.round(number / 60)} min`;
  return number < 172_800 ? `${Math.round(number / 3600)} h` : `${Math.round(number / 86_400)} d`;
}

/** Formats how many seconds ago something was; coarse, so that the text does not flicker. */
export function ago(number) {
  return number < 1.5 ? "now" : `${seconds(Math.round(number)).replace(".0", "")} ago`;
}

/** Formats a number of things: plural(3, "replica") is "3 replicas". */
export function plural(number, word) {
  return `${count(number)} ${word}${number === 1 ? "" : "s"}`;
}

/** Formats the time of day of a Date, to the millisecond. */
export function clock(date) {
  const two = (number) => String(number).padStart(2, "0");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${time}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** Control, bidi and zero-width characters, except the visible signs (Arabic and others) in these categories. */
const HIDDEN = /(?![\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u{110bd}\u{110cd}])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Makes a foreign name safe to read: characters that reverse the text or are invisible become escapes. */
export function visible(name) {
  return name.replace(HIDDEN, (character) => `\\u{${character.codePointAt(0).toString(16)}}`);
}

/** Sets an element's text if it differs; always as text, never as HTML. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Returns the parts of an element by the name in their data-field. */
export function fields(element) {
  return Object.fromEntries([...element.querySelectorAll("[data-field]")].map((part) => [part.dataset.field, part]));
}

/** Returns a copy of a template's content. */
export function copy(template) {
  return document.getElementById(template).content.firstElementChild.cloneNode(true);
}
