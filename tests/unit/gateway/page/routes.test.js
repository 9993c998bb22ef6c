import assert from "node:assert/strict";
import { test } from "node:test";

import { along, curve, gutter } from "../../../../services/gateway/gateway/page/routes.js";

function box(left, top) {
  return { left, top, right: left + 100, bottom: top + 40 };
}

function near(point, x, y) {
  assert.ok(Math.hypot(point.x - x, point.y - y) < 1e-9, `${JSON.stringify(point)} is not at ${x}, ${y}`);
}

test("a curve leads from the right side of one box to the left side of the other", () => {
  const route = curve(box(0, 0), box(300, 200));
  near(along(route, 0), 100, 20);
  near(along(route, 1), 300, 220);
  near(along(route, 0.5), 200, 120);
});

test("a curve leaves and arrives level", () => {
  const { points } = curve(box(0, 0), box(300, 200));
  const [first, second] = points;
  assert.ok(second.x - first.x > 5 * (second.y - first.y));
});

test("a curve between boxes side by side is straight", () => {
  const route = curve(box(0, 0), box(300, 0));
  assert.ok(Math.abs(route.length - 200) < 1e-9);
  near(along(route, 0.25), 150, 20);
});

test("a way along the gutter goes out, down and in again, at an even pace", () => {
  const route = gutter(box(40, 0), box(40, 200), 10);
  assert.equal(route.length, 30 + 200 + 30);
  near(along(route, 0), 40, 20);
  near(along(route, 15 / 260), 25, 20);
  near(along(route, 0.5), 10, 120);
  near(along(route, 1), 40, 220);
});

test("past its end a way stays at its end", () => {
  near(along(gutter(box(40, 0), box(40, 200), 10), 1.5), 40, 220);
});

test("a way without length has a point all the same", () => {
  const route = gutter(box(0, 0), box(0, 0), 0);
  for (const part of [0, 0.5, 1]) near(along(route, part), 0, 20);
});
