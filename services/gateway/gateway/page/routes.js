/** The routes of messages through the picture, as lists of points. */

const STEPS = 28;

/** Makes a curved route from the right side of one box to the left side of another. */
export function curve(from, to) {
  const [a, b] = [{ x: from.right, y: middle(from) }, { x: to.left, y: middle(to) }];
  const bend = (b.x - a.x) / 2;
  const points = [];
  for (let step = 0; step <= STEPS; step++) {
    const t = step / STEPS;
    const u = 1 - t;
    points.push({
      x: u ** 3 * a.x + 3 * u * u * t * (a.x + bend) + 3 * u * t * t * (b.x - bend) + t ** 3 * b.x,
      y: u ** 3 * a.y + 3 * u * u * t * a.y + 3 * u * t * t * b.y + t ** 3 * b.y,
    });
  }
  return measured(points);
}

/** Makes a route between the left sides of two boxes, one above the other, along a line at `x`, left of both. */
export function gutter(from, to, x) {
  const [top, bottom] = [middle(from), middle(to)];
  return measured([
    { x: from.left, y: top },
    { x, y: top },
    { x, y: bottom },
    { x: to.left, y: bottom },
  ]);
}

/** Returns the point at a part of the route, 0 to 1. */
export function along(route, part) {
  const goal = part * route.length;
  const at = route.ends.findIndex((end) => end >= goal);
  if (at <= 0) return route.points[at < 0 ? route.points.length - 1 : 0];
  const [a, b] = [route.points[at - 1], route.points[at]];
  const t = (goal - route.ends[at - 1]) / (route.ends[at] - route.ends[at - 1] || 1);
  return { x: a.x + (b.x - a.x) * t, y: a.y + (b.y - a.y) * t };
}

function middle(box) {
  return (box.top + box.bottom) / 2;
}

function measured(points) {
  const ends = [0];
  for (let at = 1; at < points.length; at++) {
    ends.push(ends[at - 1] + Math.hypot(points[at].x - points[at - 1].x, points[at].y - points[at - 1].y));
  }
  return { points, ends, length: ends.at(-1) };
}
