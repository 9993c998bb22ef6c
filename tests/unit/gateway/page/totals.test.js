import assert from "node:assert/strict";
import { test } from "node:test";

import { Totals } from "../../../../services/gateway/gateway/page/totals.js";
import { text, withFields } from "./dom.js";

const NAMES = ["published", "delivered", "live", "lag", "p99", "lost"];
const PUBLISHER = { service: "publisher", rate: 12 };
const GATEWAY = { service: "gateway", rate: 500 };

function subscriber(more = {}) {
  return { service: "subscriber", shown: "live", rate: 10, lag: 0, latency_p99_ms: 2, lost: 0, ...more };
}

function totals(subscribers, known = true) {
  const element = withFields(...NAMES);
  new Totals(element).show([PUBLISHER, GATEWAY, ...subscribers], subscribers, known);
  return element;
}

test("rates and losses are summed, lag and latency are the worst", () => {
  const element = totals([subscriber({ lag: 3, lost: 2 }), subscriber({ lag: 40, latency_p99_ms: 31, lost: 5 })]);
  assert.deepEqual(NAMES.map((name) => text(element, name)), ["12/s", "20/s", "2 of 2", "40", "31 ms", "7"]);
});

test("a subscriber that is not live counts among all, and its unknown figures for nothing", () => {
  const element = totals([subscriber(), subscriber({ shown: "connecting", lag: null, latency_p99_ms: null })]);
  assert.deepEqual(["live", "lag", "p99"].map((name) => text(element, name)), ["1 of 2", "0", "2.0 ms"]);
});

test("without subscribers there is no latency", () => {
  assert.deepEqual(["live", "p99"].map((name) => text(totals([]), name)), ["0 of 0", "–"]);
});

test("rates of a moment ago are not shown as those of now", () => {
  const element = totals([subscriber()], false);
  assert.deepEqual(["published", "delivered"].map((name) => text(element, name)), ["–", "–"]);
});

test("a loss is an alert", () => {
  const alerts = [0, 1].map((lost) => {
    const parts = totals([subscriber({ lost })]).querySelectorAll();
    return parts.at(-1).classList.contains("alert");
  });
  assert.deepEqual(alerts, [false, true]);
});
