import assert from "node:assert/strict";
import { test } from "node:test";

import { Seen } from "../../../../services/gateway/gateway/page/seen.js";

const OURS = "/orders/0123456789abcdef";

/** An event of a Fanout publisher, which is in the history. */
function event(id, source = OURS) {
  return { source, id: String(id), streamid: "1-1" };
}

test("an event that comes again is dropped, and so is one from before it", () => {
  const seen = new Seen();
  assert.deepEqual([7, 8, 8, 7, 9].map((id) => seen.first(event(id))), [true, true, false, false, true]);
});

test("ids are compared as numbers", () => {
  const seen = new Seen();
  assert.deepEqual([9, 10, 9].map((id) => seen.first(event(id))), [true, true, false]);
});

test("each producer counts for itself", () => {
  const seen = new Seen();
  assert.ok(seen.first(event(5)));
  assert.ok(seen.first(event(5, "/orders/fedcba9876543210")));
});

test("a plain message is always new", () => {
  const seen = new Seen();
  for (let n = 0; n < 2; n++) assert.ok(seen.first({ plain: true, data: "hello" }));
});

test("an event that is in no history cannot hide those that are", () => {
  const seen = new Seen();
  assert.ok(seen.first({ source: OURS, id: "1000000" }));
  assert.ok(seen.first(event(1)));
});

test("ids of other sources are any text, in any order", () => {
  const seen = new Seen();
  const ids = ["b", "a", "b", "1", "0", "1"];
  assert.deepEqual(ids.map((id) => seen.first(event(id, "https://shop.example"))), [true, true, false, true, true, false]);
});

test("of other sources only the last ten thousand ids are kept", () => {
  const seen = new Seen();
  for (let id = 0; id <= 10_000; id++) assert.ok(seen.first(event(id, "shop")));
  assert.ok(!seen.first(event(1, "shop")));
  assert.ok(seen.first(event(0, "shop")));
});
