import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Feed } from "../../../../services/gateway/gateway/page/feed.js";
import { Clock } from "./clock.js";
import { Element, installDocument, text } from "./dom.js";

let clock;
let list;
let none;
let feed;

beforeEach(() => {
  installDocument(["time", "seq", "data", "tag", "reach", "event"]);
  clock = new Clock();
  list = new Element();
  none = new Element();
  feed = new Feed(list, none);
});

function message(seq, more = {}) {
  return { streamseq: String(seq), time: "2026-01-01T00:00:00Z", data: `m${seq}`, ...more };
}

function shown(field = "data") {
  return list.children.map((row) => text(row, field));
}

function add(...messages) {
  for (const one of messages) feed.add(one, []);
  clock.pass(600);
}

test("messages are shown together after a moment, the newest first", () => {
  for (const seq of [1, 2, 3]) feed.add(message(seq), []);
  assert.deepEqual(shown(), []);
  clock.pass(100);
  assert.deepEqual(shown(), ["m3", "m2", "m1"]);
  assert.ok(none.hidden);
});

test("the list keeps the last two hundred", () => {
  for (let start = 0; start < 450; start += 150) add(...Array.from({ length: 150 }, (_, n) => message(start + n)));
  assert.equal(list.children.length, 200);
  assert.deepEqual([shown().at(0), shown().at(-1)], ["m449", "m250"]);
});

test("it is said how many of the expected subscribers have a message", () => {
  feed.reached(new Map([["a", 4], ["b", 4]]));
  feed.add(message(5), ["a", "b"]);
  clock.pass(100);
  assert.deepEqual(shown("reach"), ["0 of 2"]);
  feed.reached(new Map([["a", 5], ["b", 4]]));
  assert.deepEqual(shown("reach"), ["1 of 2"]);
  assert.ok(!list.children[0].querySelectorAll()[4].classList.contains("whole"));
  feed.reached(new Map([["a", 5], ["b", 6]]));
  assert.deepEqual(shown("reach"), ["2 of 2"]);
  assert.ok(list.children[0].querySelectorAll()[4].classList.contains("whole"));
});

test("a subscriber that has gone is waited for no longer", () => {
  feed.reached(new Map([["a", 4], ["b", 4]]));
  feed.add(message(5), ["a", "b"]);
  clock.pass(100);
  feed.reached(new Map([["a", 5]]));
  assert.deepEqual(shown("reach"), ["1 of 1"]);
});

test("a message that was there before any subscriber claims nothing", () => {
  add(message(5));
  feed.reached(new Map([["a", 9]]));
  assert.deepEqual(shown("reach"), [""]);
});

test("while it is held nothing moves; afterwards what came meanwhile is there, as far as there is room", () => {
  add(message(0));
  feed.hold(true);
  for (let seq = 1; seq <= 500; seq++) feed.add(message(seq), []);
  clock.pass(1000);
  assert.deepEqual(shown(), ["m0"]);
  feed.hold(false);
  assert.equal(list.children.length, 200);
  assert.deepEqual([shown().at(0), shown().at(-1)], ["m500", "m301"]);
});

test("where messages are missing the feed says so in their place", () => {
  feed.add(message(1), []);
  feed.gone({ count: 3, exact: true });
  feed.gone({ count: 1, exact: false });
  clock.pass(100);
  assert.deepEqual(list.children.slice(0, 2).map((row) => row.textContent), [
    "about 1 message missing: the history no longer reaches back",
    "3 messages missing: the history no longer reaches back",
  ]);
});

test("data of any kind are text, and long ones are cut", () => {
  add({ data: "a" }, { data: { n: 1 } }, { data: null }, { data_base64: "AAE=" }, {}, { data: "x".repeat(501) });
  assert.deepEqual(shown().reverse(), ["a", '{"n":1}', "null", "AAE=", "", `${"x".repeat(500)}…`]);
});

test("a message without a place is plain, one of history has a tag, and a time that is none does no harm", () => {
  add({ data: "plain", time: "yesterday" }, message(2, { catch_up: true }));
  assert.deepEqual(shown("seq"), ["#2", "plain"]);
  const tags = list.children.map((row) => row.querySelectorAll()[3].hidden);
  assert.deepEqual(tags, [false, true]);
});

test("the whole event is written out when its row is opened", () => {
  add(message(1));
  assert.deepEqual(shown("event"), [""]);
  list.children[0].firstElementChild.dispatch("toggle");
  assert.deepEqual(JSON.parse(shown("event")[0]), message(1));
});

test("another channel begins with an empty list", () => {
  add(message(1));
  feed.add(message(2), []);
  feed.clear();
  clock.pass(1000);
  assert.deepEqual(shown(), []);
  assert.ok(!none.hidden);
});
