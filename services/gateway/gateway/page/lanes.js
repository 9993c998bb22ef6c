/** The boxes of the picture: a source for each publisher, Redis, a lane for each subscriber. */

import { Chart } from "./chart.js";
import { ago, copy, count, fields, milliseconds, plural, rate, say, visible } from "./format.js";

/** Receipts that a lane shows; each stands for a message of the channel, or for a parcel of them. */
const RECEIPTS = 24;

/** A lag is highlighted above this many messages and seconds: records are always a little old. */
const LAGS_FROM = 10;
const LAGS_SECONDS = 2;

/** A list of boxes, one per replica, made from a template and kept in the order of the replicas. */
class Boxes {
  boxes = new Map();

  constructor(list, none, make) {
    this.list = list;
    this.none = none;
    this.make = make;
  }

  update(replicas, fill) {
    const there = new Set(replicas.map((replica) => replica.instance));
    for (const [instance, box] of this.boxes) {
      if (there.has(instance)) continue;
      box.element.remove();
      this.boxes.delete(instance);
    }
    replicas.forEach((replica, at) => {
      const box = this.boxes.get(replica.instance) ?? this.make();
      this.boxes.set(replica.instance, box);
      if (this.list.children[at] !== box.element) this.list.insertBefore(box.element, this.list.children[at] ?? null);
      box.element.dataset.instance = replica.instance;
      box.element.dataset.tone = replica.tone;
      box.element.title = visible(replica.instance);
      say(box.parts.name, replica.name);
      say(box.parts.state, replica.shown);
      say(box.parts.rate, rate(replica.rate));
      fill(box, replica);
    });
    this.none.hidden = replicas.length > 0;
  }
}

/** The publishers, and the gateways, which publish what this page sends. */
export class Sources {
  #boxes;

  constructor(list, none) {
    this.#boxes = new Boxes(list, none, () => made("source-template"));
  }

  /** Shows the sources; returns a Map of instance to what the picture needs. */
  show(replicas) {
    this.#boxes.update(replicas, ({ parts }, replica) => {
      const gateway = replica.service === "gateway";
      say(parts.waiting, count(replica.waiting));
      say(parts["extra-name"], gateway ? "Clients" : "Accepted");
      say(parts.extra, count(gateway ? replica.clients : replica.accepted));
    });
    return picturable(this.#boxes, replicas, () => true);
  }
}

export class Lanes {
  #boxes;

  constructor(list, none) {
    this.#boxes = new Boxes(list, none, () => ({ ...made("lane-template"), chart: new Chart() }));
  }

  /** Shows the subscribers at `now` (seconds) and `wall` (seconds since 1970); returns a Map as for the sources. */
  show(replicas, channel, now, wall) {
    this.#boxes.update(replicas, (lane, replica) => {
      const { parts, chart } = lane;
      if (!chart.element.parentNode) parts.chart.append(chart.element);
      say(parts.lag, replica.lag === null ? "–" : count(replica.lag));
      say(parts.p50, milliseconds(replica.latency_p50_ms));
      say(parts.p99, milliseconds(replica.latency_p99_ms));
      chart.note(replica, now);
      chart.draw(now);
      for (const name of ["reconnects", "lost", "failed", "duplicates"]) say(parts[name], count(replica[name]));
      parts.lag.classList.toggle("alert", replica.lag > Math.max(LAGS_FROM, LAGS_SECONDS * replica.rate));
      for (const name of ["lost", "failed"]) parts[name].classList.toggle("alert", replica[name] > 0);
      say(parts.last, replica.last_message_at === null ? "never" : ago(wall - replica.last_message_at));
      this.#confirm(lane, replica.channels.get(channel));
    });
    return picturable(this.#boxes, replicas, (replica) => replica.channels.has(channel));
  }

  /** Adds a receipt for `number` messages to these lanes, open until the replica's position has reached `seq`. */
  expect(seq, number, instances) {
    for (const instance of instances) {
      const lane = this.#boxes.boxes.get(instance);
      if (!lane) continue;
      const receipt = document.createElement("i");
      receipt.className = "receipt";
      receipt.dataset.seq = seq;
      receipt.dataset.count = number;
      lane.parts.receipts.append(receipt);
      while (lane.parts.receipts.children.length > RECEIPTS) lane.parts.receipts.firstElementChild.remove();
    }
  }

  /** Removes all receipts, because the channel has changed. */
  clear() {
    for (const { parts } of this.#boxes.boxes.values()) parts.receipts.replaceChildren();
  }

  #confirm({ parts }, position) {
    const receipts = [...parts.receipts.children];
    for (const receipt of receipts) {
      if (Number(receipt.dataset.seq) <= (position ?? 0)) receipt.classList.add("arrived");
    }
    const sum = (some) => some.reduce((n, receipt) => n + Number(receipt.dataset.count), 0);
    const arrived = sum(receipts.filter((receipt) => receipt.classList.contains("arrived")));
    parts.receipts.ariaLabel = `${count(arrived)} of the last ${plural(sum(receipts), "message")} have arrived`;
  }
}

/** Shows the state of Redis, and the number of messages so far if it is known. */
export function showRedis(element, state, messages) {
  const parts = fields(element);
  element.dataset.tone = { connected: "good", away: "bad" }[state] ?? "idle";
  say(parts.state, state);
  say(parts.count, messages === undefined ? "–" : count(messages));
}

function made(template) {
  const element = copy(template);
  return { element, parts: fields(element) };
}

function picturable({ boxes }, replicas, on) {
  const shown = replicas.map((replica) => [
    replica.instance,
    { box: boxes.get(replica.instance).element, tone: replica.tone, on: on(replica) },
  ]);
  return new Map(shown);
}
