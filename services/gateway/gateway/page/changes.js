/** Describes in words what changed between two views of the system. */

import { count, plural, seconds } from "./format.js";

/** Up to this many replicas with the same change get a line each; more of them share one line. */
const ONE_BY_ONE = 3;

const COUNTERS = [
  ["reconnects", "wait", (n) => (n === 1 ? "reconnected" : `reconnected ${n} times`)],
  ["caught_up", "catch", (n) => `caught up ${count(n)}`],
  ["lost", "bad", (n) => `lost ${count(n)}`],
  ["duplicates", "idle", (n) => `dropped ${plural(n, "duplicate")}`],
  ["replayed", "catch", (n) => `sent ${count(n)} again that Redis had lost`],
  ["failed", "bad", (n) => `failed on ${plural(n, "message")}`],
];

export class Changes {
  #before = null;
  #awaySince = null;
  #silent = new Set();

  /**
   * Compares the system at `now` (seconds), its `redis` and the replicas shown, with the last call.
   * Returns the changes, oldest first: {kind, tone, text, who, n}; changes of one kind for the same replica may be
   * added up.
   */
  since(redis, replicas, now) {
    const found = [...this.#ofRedis(redis, now)];
    const after = new Map(replicas.filter((replica) => !replica.left).map((replica) => [replica.instance, replica]));
    const present = new Map(replicas.map((replica) => [replica.instance, replica]));
    if (this.#before) {
      found.push(...this.#ofReplicas(after, present, redis));
    } else {
      const services = ["publisher", "subscriber"].map((service) => {
        return plural(replicas.filter((replica) => replica.service === service).length, service);
      });
      found.push({ kind: "first", tone: "good", text: `Watching: ${services.join(", ")}`, who: "", n: 0 });
    }
    this.#before = new Map([...(this.#before ?? []), ...after].filter(([instance]) => present.has(instance)));
    return found;
  }

  *#ofRedis(redis, now) {
    if (redis === "away" && this.#awaySince === null) {
      this.#awaySince = now;
      yield { kind: "redis", tone: "bad", text: "Redis is away", who: "", n: 0 };
    } else if (redis === "connected" && this.#awaySince !== null) {
      const text = `Redis is back, after ${seconds(now - this.#awaySince)}`;
      this.#awaySince = null;
      yield { kind: "redis", tone: "good", text, who: "", n: 0 };
    }
  }

  #ofReplicas(after, present, redis) {
    const single = [];
    const counted = COUNTERS.map(() => []);
    for (const [instance, replica] of after) {
      const before = this.#before.get(instance);
      const restarted = before && before.since !== replica.since;
      if (!before) single.push({ kind: "joined", tone: "good", verb: "joined", replica });
      else if (restarted) single.push({ kind: "joined", tone: "wait", verb: "restarted", replica });
      if (replica.silent !== this.#silent.has(instance) && redis === "connected") {
        const [tone, verb] = replica.silent ? ["bad", "went silent"] : ["good", "is heard again"];
        single.push({ kind: "silent", tone, verb, replica });
        if (replica.silent) this.#silent.add(instance);
        else this.#silent.delete(instance);
      }
      COUNTERS.forEach(([name], at) => {
        const n = replica[name] - (restarted ? 0 : (before ?? replica)[name]);
        if (n > 0) counted[at].push({ replica, n });
      });
    }
    for (const [instance, replica] of this.#before) {
      if (present.has(instance)) continue;
      single.push({ kind: "left", tone: "idle", verb: "left", replica });
      this.#silent.delete(instance);
    }
    return [...grouped(single), ...COUNTERS.flatMap((counter, at) => summed(counter, counted[at]))];
  }
}

function grouped(single) {
  const lines = [];
  for (const kind of new Set(single.map((one) => `${one.kind} ${one.verb}`))) {
    const same = single.filter((one) => `${one.kind} ${one.verb}` === kind);
    const { tone, verb } = same[0];
    if (same.length > ONE_BY_ONE) {
      lines.push({ kind, tone, text: `${same.length} replicas ${verb.replace(/^is /, "are ")}`, who: "", n: 0 });
    } else {
      lines.push(...same.map(({ replica }) => ({ kind, tone, text: `${replica.name} ${verb}`, who: "", n: 0 })));
    }
  }
  return lines;
}

function summed([kind, tone, words], all) {
  if (all.length > ONE_BY_ONE) {
    const n = all.reduce((sum, one) => sum + one.n, 0);
    const once = kind === "reconnects" && n === all.length;
    const say = (sum) => `${all.length} replicas ${once ? "reconnected" : `${words(sum)} in all`}`;
    return [{ kind, tone, text: say(n), who: `${all.length} replicas`, n, say }];
  }
  return all.map(({ replica, n }) => {
    const say = (sum) => `${replica.name} ${words(sum)}`;
    return { kind, tone, text: say(n), who: replica.instance, n, say };
  });
}
