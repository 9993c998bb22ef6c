/** The moving part of the picture: lines between the boxes, and dots that travel along them. Draws only on changes. */

import { count } from "./format.js";
import { along, curve, gutter } from "./routes.js";

const TO_REDIS_MS = 420;
const TO_LANE_MS = 520;
const RECOVER_MS = 850;
const RING_MS = 450;
const STAGGER_MS = 70;
const HELD_AT_MOST_MS = 15_000;
const COLORS = ["wire", "traffic", "catch", "bad", "panel"];
const MOST_DOTS = 1500;

export class Picture {
  #canvas;
  #stage;
  #redis;
  #context;
  #sources = new Map();
  #lanes = new Map();
  #routes = new Map();
  #dots = [];
  #rings = [];
  #frame = null;
  #colors = {};
  #away = false;
  moving = true;

  constructor(stage, redis) {
    this.#stage = stage;
    this.#redis = redis;
    this.#canvas = stage.querySelector("canvas");
    this.#context = this.#canvas.getContext("2d");
    new ResizeObserver(() => this.#measure()).observe(stage);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#measure());
  }

  /** Sets the boxes: Maps of instance to {box: its element, tone, on: whether it takes the channel shown}. */
  show(sources, lanes, away) {
    const others = keys(sources) !== keys(this.#sources) || keys(lanes) !== keys(this.#lanes);
    this.#sources = sources;
    this.#lanes = lanes;
    this.#away = away;
    if (others) this.#measure();
    else this.#draw();
  }

  /**
   * Moves messages: `from` lists [instance, number] for each known publisher; from Redis, `number` messages go to each
   * lane. `arrived(instance)` says whether a subscriber has received them.
   */
  send(from, number, lanes, arrived) {
    const start = performance.now() + this.#stagger();
    for (const [source, n] of from) this.#travel({ route: `from ${source}`, start, length: TO_REDIS_MS, n });
    const onward = from.length ? start + TO_REDIS_MS : start;
    for (const lane of lanes) {
      this.#travel({ route: `to ${lane}`, start: onward, length: TO_LANE_MS, n: number, held: () => !arrived(lane) });
    }
  }

  /** Moves `n` messages that a replica has read from the history. */
  recover(lane, n) {
    this.#travel({ route: `to ${lane}`, start: performance.now(), length: RECOVER_MS, n, color: "catch" });
  }

  #stagger() {
    const now = performance.now();
    const waiting = this.#dots.filter((dot) => dot.start > now).length;
    return Math.min(waiting, 5) * STAGGER_MS;
  }

  #travel(dot) {
    if (!this.moving || document.hidden || this.#dots.length > MOST_DOTS) return;
    this.#dots.push({ color: "traffic", held: () => false, ...dot });
    if (this.#frame === null) this.#frame = requestAnimationFrame(() => this.#step());
  }

  #step() {
    this.#frame = null;
    const now = performance.now();
    this.#draw(now);
    if (this.#dots.length || this.#rings.length) this.#frame = requestAnimationFrame(() => this.#step());
  }

  #measure() {
    const styles = getComputedStyle(this.#stage);
    for (const name of COLORS) this.#colors[name] = styles.getPropertyValue(`--${name}`);
    const { left, top, width, height } = this.#stage.getBoundingClientRect();
    const scale = Math.min(devicePixelRatio, 2);
    this.#canvas.width = width * scale;
    this.#canvas.height = height * scale;
    this.#context.setTransform(scale, 0, 0, scale, 0, 0);
    const box = (element) => {
      const place = element.getBoundingClientRect();
      return { left: place.left - left, right: place.right - left, top: place.top - top, bottom: place.bottom - top };
    };
    const redis = box(this.#redis);
    const stacked = getComputedStyle(this.#stage).getPropertyValue("--stacked").trim() === "1";
    const way = stacked ? (from, to) => gutter(from, to, 8) : curve;
    this.#routes = new Map();
    for (const [instance, source] of this.#sources) this.#routes.set(`from ${instance}`, way(box(source.box), redis));
    for (const [instance, lane] of this.#lanes) this.#routes.set(`to ${instance}`, way(redis, box(lane.box)));
    this.#draw();
  }

  #draw(now = performance.now()) {
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    for (const [instance, source] of this.#sources) this.#line(this.#routes.get(`from ${instance}`), source);
    for (const [instance, lane] of this.#lanes) this.#line(this.#routes.get(`to ${instance}`), lane);
    const held = new Map();
    this.#dots = this.#dots.filter((dot) => this.#dot(dot, now, held));
    for (const [route, number] of held) this.#mark(this.#routes.get(route), 1, number, "traffic", true);
    this.#rings = this.#rings.filter((ring) => this.#ring(ring, now));
  }

  #line(route, { tone, on }) {
    if (!route) return;
    const context = this.#context;
    const whole = !this.#away && (tone === "good" || tone === "catch");
    context.globalAlpha = on ? 1 : 0.35;
    context.setLineDash(whole ? [] : [3, 5]);
    context.strokeStyle = this.#colors[this.#away ? "bad" : "wire"];
    context.lineWidth = 1.5;
    context.beginPath();
    for (const point of route.points) context.lineTo(point.x, point.y);
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  /** Draws a dot; returns whether it remains. A held one waits at the end until the view says that it has arrived. */
  #dot(dot, now, held) {
    const route = this.#routes.get(dot.route);
    const part = (now - dot.start) / dot.length;
    if (!route) return false;
    if (part < 0) return true;
    if (part >= 1) {
      if (dot.held() && now - dot.start < HELD_AT_MOST_MS) {
        held.set(dot.route, (held.get(dot.route) ?? 0) + dot.n);
        return true;
      }
      if (dot.route.startsWith("to ")) this.#rings.push({ route: dot.route, start: now, color: dot.color });
      return false;
    }
    this.#mark(route, part * part * (3 - 2 * part), dot.n, dot.color, false);
    return true;
  }

  /** Draws a dot, or a pill with a number if it stands for several messages; it never overlaps the boxes. */
  #mark(route, part, number, color, hollow) {
    const context = this.#context;
    const text = number > 1 ? count(number) : "";
    context.font = "600 11px Inter, system-ui, sans-serif";
    const half = text ? Math.max(9, context.measureText(text).width / 2 + 6) : 5;
    const tall = text ? 9 : 5;
    const { x, y } = along(route, (half + part * (route.length - 2 * half)) / route.length);
    context.beginPath();
    context.roundRect(x - half, y - tall, half * 2, tall * 2, tall);
    context.fillStyle = this.#colors[hollow ? "panel" : color];
    context.strokeStyle = this.#colors[color];
    context.lineWidth = 1.5;
    context.fill();
    context.stroke();
    context.fillStyle = this.#colors[hollow ? color : "panel"];
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(text, x, y + 0.5);
  }

  #ring({ route, start, color }, now) {
    const part = (now - start) / RING_MS;
    const way = this.#routes.get(route);
    if (part >= 1 || !way) return false;
    const { x, y } = along(way, 1);
    this.#context.globalAlpha = 1 - part;
    this.#context.strokeStyle = this.#colors[color];
    this.#context.lineWidth = 2;
    this.#context.beginPath();
    this.#context.arc(x, y, 4 + part * 10, 0, Math.PI * 2);
    this.#context.stroke();
    this.#context.globalAlpha = 1;
    return true;
  }
}

function keys(map) {
  return JSON.stringify([...map.keys()]);
}
