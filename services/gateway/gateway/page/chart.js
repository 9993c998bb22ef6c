/**
 * A small chart of a replica's latency over the last minutes: p99 as a line, p50 as the area below. The scale is
 * logarithmic, so that an outage of seconds does not flatten the milliseconds around it.
 */

import { milliseconds, seconds } from "./format.js";

/** The chart's span reaches back to its first point, within these bounds. */
const SHORTEST_S = 15;
const LONGEST_S = 180;
const WIDTH = 120;
const HEIGHT = 30;
const SVG = "http://www.w3.org/2000/svg";

export class Chart {
  #points = [];
  #last = null;
  #area = shape("path", "area");
  #line = shape("path", "line");
  element = shape("svg", "chart");

  constructor() {
    this.element.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.element.setAttribute("preserveAspectRatio", "none");
    this.element.setAttribute("role", "img");
    this.element.append(this.#area, this.#line);
    this.draw(0);
  }

  /** Adds a point from a replica's record at `now` (seconds), if it has received a message since the last one. */
  note(replica, now) {
    const { latency_p50_ms: p50, latency_p99_ms: p99, last_message_at: at } = replica;
    if (p50 === null || p99 === null || (at === this.#last?.at && p99 === this.#last.p99)) return;
    this.#last = { at, p99 };
    this.#points.push({ now, p50, p99 });
  }

  /** Draws the chart up to `now` (seconds). */
  draw(now) {
    while (this.#points.length && this.#points[0].now < now - LONGEST_S) this.#points.shift();
    const highest = Math.max(0, ...this.#points.map((point) => point.p99));
    const top = Math.max(10, highest);
    const span = Math.max(SHORTEST_S, now - (this.#points[0]?.now ?? now));
    const x = (point) => (WIDTH * (1 - (now - point.now) / span)).toFixed(1);
    const y = (value) => (HEIGHT - 1 - (Math.log1p(value) / Math.log1p(top)) * (HEIGHT - 3)).toFixed(1);
    const path = (name) => this.#points.map((point, at) => `${at ? "L" : "M"}${x(point)} ${y(point[name])}`).join("");
    const some = this.#points.length > 1;
    this.#line.setAttribute("d", some ? path("p99") : "");
    this.#area.setAttribute(
      "d",
      some ? `${path("p50")}L${x(this.#points.at(-1))} ${HEIGHT}L${x(this.#points[0])} ${HEIGHT}Z` : "",
    );
    const words = `Latency of the last ${seconds(Math.round(span))}: `;
    this.element.setAttribute("aria-label", words + (some ? `at most ${milliseconds(highest)}` : "not known yet"));
  }
}

function shape(name, className) {
  const element = document.createElementNS(SVG, name);
  element.setAttribute("class", className);
  return element;
}
