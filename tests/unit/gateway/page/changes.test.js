import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Changes } from "../../../../services/gateway/gateway/page/changes.js";

let changes;

beforeEach(() => {
  changes = new Changes();
});

function replica(instance, more = {}) {
  const counters = { reconnects: 0, caught_up: 0, lost: 0, duplicates: 0, replayed: 0, failed: 0 };
  return { instance, name: instance, service: "subscriber", since: 1, silent: false, left: false, ...counters, ...more };
}

function several(count, more = {}) {
  return Array.from({ length: count }, (_, n) => replica(`s${n}`, more));
}

/** What is said of the system as it is now. */
function said(replicas, redis = "connected", now = 0) {
  return changes.since(redis, replicas, now).map((line) => line.text);
}

test("the first look says what is watched, and counts nothing from before it", () => {
  const all = [replica("p", { service: "publisher", reconnects: 5 }), ...several(2, { lost: 9 })];
  assert.deepEqual(said(all), ["Watching: 1 publisher, 2 subscribers"]);
  assert.deepEqual(said(all), []);
});

test("an outage of Redis is told when it begins, and when it is over, with its length", () => {
  said([]);
  assert.deepEqual(said([], "away", 10), ["Redis is away"]);
  assert.deepEqual(said([], "away", 12), []);
  assert.deepEqual(said([], "connected", 14.2), ["Redis is back, after 4.2 s"]);
});

test("what a replica has counted since the last look is told", () => {
  said([replica("a", { caught_up: 100 })]);
  assert.deepEqual(said([replica("a", { reconnects: 1, caught_up: 1300, lost: 2 })]), [
    "a reconnected",
    "a caught up 1,200",
    "a lost 2",
  ]);
  assert.deepEqual(said([replica("a", { reconnects: 3, caught_up: 1300, lost: 2 })]), ["a reconnected 2 times"]);
});

test("a replica that started again has counted from zero", () => {
  said([replica("a", { caught_up: 100 })]);
  assert.deepEqual(said([replica("a", { since: 2, caught_up: 7 })]), ["a restarted", "a caught up 7"]);
});

test("replicas that come and go are told one by one, or together when there are many", () => {
  said([]);
  assert.deepEqual(said(several(3)), ["s0 joined", "s1 joined", "s2 joined"]);
  assert.deepEqual(said([]), ["s0 left", "s1 left", "s2 left"]);
  assert.deepEqual(said(several(4)), ["4 replicas joined"]);
  assert.deepEqual(said([]), ["4 replicas left"]);
});

test("what many replicas have counted is one sum", () => {
  said(several(4));
  assert.deepEqual(said(several(4, { caught_up: 10 })), ["4 replicas caught up 40 in all"]);
  assert.deepEqual(said(several(4, { caught_up: 10, reconnects: 1 })), ["4 replicas reconnected"]);
  assert.deepEqual(said(several(4, { caught_up: 10, reconnects: 3 })), ["4 replicas reconnected 8 times in all"]);
});

test("lines of one kind about one replica can be added up", () => {
  said([replica("a")]);
  const [line] = changes.since("connected", [replica("a", { lost: 2 })], 0);
  assert.equal(line.say(line.n + 3), "a lost 5");
});

test("a replica that falls silent is told once, and again when it speaks", () => {
  said([replica("a")]);
  assert.deepEqual(said([replica("a", { silent: true })]), ["a went silent"]);
  assert.deepEqual(said([replica("a", { silent: true })]), []);
  assert.deepEqual(said([replica("a")]), ["a is heard again"]);
});

test("nobody falls silent while Redis is away", () => {
  said([replica("a")]);
  assert.deepEqual(said([replica("a", { silent: true })], "away"), ["Redis is away"]);
});

test("a replica that is only leaving has not left yet", () => {
  said([replica("a")]);
  assert.deepEqual(said([replica("a", { left: true })]), []);
  assert.deepEqual(said([replica("a")]), []);
});
