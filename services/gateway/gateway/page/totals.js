/** The totals of all replicas. */

import { count, fields, milliseconds, rate, say } from "./format.js";

export class Totals {
  #parts;

  constructor(element) {
    this.#parts = fields(element);
  }

  /** @param known whether the records are up to date */
  show(replicas, subscribers, known) {
    const sum = (all, name) => all.reduce((total, replica) => total + replica[name], 0);
    const most = (name) => Math.max(0, ...subscribers.map((replica) => replica[name] ?? 0));
    const live = subscribers.filter((replica) => replica.shown === "live").length;
    const lost = sum(subscribers, "lost");
    const parts = this.#parts;
    const publishers = replicas.filter((replica) => replica.service === "publisher");
    say(parts.published, known ? rate(sum(publishers, "rate")) : "–");
    say(parts.delivered, known ? rate(sum(subscribers, "rate")) : "–");
    say(parts.live, `${live} of ${subscribers.length}`);
    say(parts.lag, count(most("lag")));
    say(parts.p99, milliseconds(most("latency_p99_ms") || null));
    say(parts.lost, count(lost));
    parts.lost.classList.toggle("alert", lost > 0);
  }
}
