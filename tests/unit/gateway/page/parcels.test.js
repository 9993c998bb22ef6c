import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { Parcels } from "../../../../services/gateway/gateway/page/parcels.js";
import { Clock } from "./clock.js";

let clock;
let sent;
let parcels;

beforeEach(() => {
  clock = new Clock();
  sent = [];
  parcels = new Parcels((together) => sent.push(together));
});

function message(seq, producer = "p1", more = {}) {
  return { source: `/orders/${producer}`, streamseq: String(seq), time: `t${seq}`, ...more };
}

test("while there are few each message travels by itself, in order", () => {
  for (const seq of [1, 2, 3]) parcels.add(message(seq));
  assert.deepEqual(sent, []);
  clock.pass(150);
  const alone = (seq) => [{ producer: "p1", catchUp: false, seq, time: `t${seq}`, count: 1 }];
  assert.deepEqual(sent, [1, 2, 3].map(alone));
});

test("many travel as one parcel a producer, which has what its last message says", () => {
  for (const seq of [1, 2, 3]) parcels.add(message(seq));
  parcels.add(message(4, "p2"));
  parcels.add(message(5));
  clock.pass(150);
  assert.deepEqual(sent, [
    [
      { producer: "p1", catchUp: false, seq: 5, time: "t5", count: 4 },
      { producer: "p2", catchUp: false, seq: 4, time: "t4", count: 1 },
    ],
  ]);
});

test("messages from history are a parcel of their own", () => {
  for (const seq of [1, 2, 3]) parcels.add(message(seq, "p1", { catch_up: true }));
  parcels.add(message(4));
  clock.pass(150);
  assert.deepEqual(sent[0].map(({ catchUp, count }) => [catchUp, count]), [[true, 3], [false, 1]]);
});

test("a plain message has no producer and no place", () => {
  parcels.add({ plain: true, data: "hello" });
  clock.pass(150);
  assert.deepEqual(sent, [[{ producer: "", catchUp: false, seq: 0, time: undefined, count: 1 }]]);
});

test("more are collected at a time while it is busy, and fewer once it is calm", () => {
  for (const seq of [1, 2, 3, 4]) parcels.add(message(seq));
  clock.pass(150);
  parcels.add(message(5));
  clock.pass(399);
  assert.equal(sent.length, 1);
  clock.pass(1);
  assert.equal(sent.length, 2);
  parcels.add(message(6));
  clock.pass(150);
  assert.equal(sent.length, 3);
});

test("what waits for a channel that is no longer shown is forgotten", () => {
  parcels.add(message(1));
  parcels.clear();
  clock.pass(1000);
  assert.deepEqual(sent, []);
  parcels.add(message(2));
  clock.pass(150);
  assert.equal(sent[0][0].seq, 2);
});
