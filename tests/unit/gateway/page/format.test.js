import assert from "node:assert/strict";
import { test } from "node:test";

import { ago, clock, count, milliseconds, plural, rate, say, seconds, visible } from "../../../../services/gateway/gateway/page/format.js";

test("a count is written out, and from a million on in millions", () => {
  assert.deepEqual([0, 1234, 999_999, 1_000_000, 12_345_678].map(count), ["0", "1,234", "999,999", "1.0 M", "12.3 M"]);
});

test("only a small rate has a fraction, and none is a plain zero", () => {
  assert.deepEqual([0, 0.72, 9.9, 10.4, 1234.5].map(rate), ["0/s", "0.7/s", "9.9/s", "10/s", "1,235/s"]);
});

test("a latency that is not known is a dash, and a long one is in seconds", () => {
  assert.deepEqual([null, undefined].map(milliseconds), ["–", "–"]);
  assert.deepEqual([0, 3.14, 12.6, 1234].map(milliseconds), ["0.0 ms", "3.1 ms", "13 ms", "1.2 s"]);
});

test("a length of time grows from seconds to days", () => {
  const lengths = [4.2, 12, 99, 100, 5999, 6000, 172_800];
  assert.deepEqual(lengths.map(seconds), ["4.2 s", "12 s", "99 s", "2 min", "100 min", "2 h", "2 d"]);
});

test("how long ago something was does not flicker between fractions of a second", () => {
  assert.deepEqual([0, 1.4, 1.6, 2.4, 11.7].map(ago), ["now", "now", "2 s ago", "2 s ago", "12 s ago"]);
});

test("one thing is singular, none and several are plural", () => {
  assert.deepEqual([0, 1, 1200].map((n) => plural(n, "replica")), ["0 replicas", "1 replica", "1,200 replicas"]);
});

test("the time of day has leading zeros and milliseconds", () => {
  assert.equal(clock(new Date(2026, 0, 2, 3, 4, 5, 6)), "03:04:05.006");
});

test("what turns text around or is not seen is spelled out in a name", () => {
  assert.equal(visible("a\u202eb\u200bc\nd\u2028e"), "a\\u{202e}b\\u{200b}c\\u{a}d\\u{2028}e");
});

test("letters of any script stay as they are in a name, and so do marks of Arabic numbers", () => {
  for (const name of ["orders", "naïve", "注文", "طلبات", "\u0600\u0661", "🦊"]) assert.equal(visible(name), name);
});

test("a text that has not changed is not set again", () => {
  let sets = 0;
  const element = {
    shown: "old",
    get textContent() {
      return this.shown;
    },
    set textContent(text) {
      sets += 1;
      this.shown = text;
    },
  };
  for (const text of ["old", "<b>new</b>", "<b>new</b>"]) say(element, text);
  assert.deepEqual([element.shown, sets], ["<b>new</b>", 1]);
});
