import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { System } from "../../../../services/gateway/gateway/page/system.js";

let system;

beforeEach(() => {
  system = new System();
});

function replica(instance, more = {}) {
  return { instance, service: "subscriber", state: "live", age_s: 0.5, since: 100, channels: { orders: 7 }, ...more };
}

function view(replicas, more = {}) {
  return { redis: "connected", at: 1000, channels: { orders: 7 }, replicas, ...more };
}

function shown(now) {
  return system.replicas(now).map((one) => [one.name, one.shown]);
}

test("replicas have short names, but for those that would be alike", () => {
  system.take(view(["a-subscriber-1", "b-subscriber-1", "b-subscriber-2", "laptop"].map((name) => replica(name))), 0);
  const names = system.replicas(0).map((one) => one.name);
  assert.deepEqual(names, ["a-subscriber-1", "b-subscriber-1", "subscriber-2", "laptop"]);
});

test("they stand by service, and by number rather than by letter", () => {
  const instances = ["x-subscriber-10", "x-subscriber-9", "x-publisher-1"];
  const services = ["subscriber", "subscriber", "publisher"];
  system.take(view(instances.map((name, at) => replica(name, { service: services[at] }))), 0);
  assert.deepEqual(system.replicas(0).map((one) => one.name), ["publisher-1", "subscriber-9", "subscriber-10"]);
});

test("a replica whose record is old is silent", () => {
  system.take(view([replica("a", { age_s: 3.5 }), replica("b", { state: "catching_up" })]), 0);
  assert.deepEqual(shown(0), [["a", "silent"], ["b", "catching up"]]);
});

test("a replica that is missing from the view is leaving for a moment, then gone", () => {
  system.take(view([replica("a"), replica("b")]), 0);
  system.take(view([replica("a")]), 1);
  assert.deepEqual(shown(1), [["a", "live"], ["b", "leaving"]]);
  assert.deepEqual(shown(3.5), [["a", "live"]]);
});

test("during an outage what was last known stays, and nobody is silent right after it", () => {
  system.take(view([replica("a")]), 0);
  system.take(view([], { redis: "away", channels: {} }), 1);
  assert.deepEqual(shown(2), [["a", "live"]]);
  assert.equal(system.channels.get("orders"), 7);
  system.take(view([replica("a", { age_s: 30 })]), 30);
  assert.deepEqual(shown(31), [["a", "live"]]);
  assert.deepEqual(shown(34), [["a", "silent"]]);
});

test("a message is expected by the subscribers of its channel that were there before it", () => {
  const late = replica("late", { since: 2_000_000_000 });
  system.take(view([replica("a"), late, replica("other", { channels: { news: 1 } })]), 0);
  assert.deepEqual(system.expected("orders", "2026-01-01T00:00:00Z"), ["a"]);
  assert.deepEqual(system.expected("orders", "no time"), ["a", "late"]);
  assert.deepEqual(system.positions("news"), new Map([["other", 1]]));
});

test("channels may have the names of an object's own parts", () => {
  const names = ["constructor", "__proto__"];
  const channels = JSON.parse('{"constructor": 1, "__proto__": 2}');
  system.take(view([replica("a", { channels })], { channels }), 0);
  assert.deepEqual(names.map((name) => system.channels.get(name)), [1, 2]);
  assert.deepEqual(names.map((name) => system.positions(name).get("a")), [1, 2]);
});
