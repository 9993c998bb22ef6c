import { visible } from "./format.js";

/** The system as it is shown: the latest view, which replicas are silent, and which have just left. */

/** A replica whose record is older than this many seconds is silent. */
export const SILENT_AFTER = 3;
/** A replica that is missing for this many seconds has left; after an outage records return late. */
const LEFT_AFTER = 2;
const LEFT_AFTER_OUTAGE = 6;
const OUTAGE_FELT = 12;

const NAME = /^.+-([a-z]+-\d+)$/;

export class System {
  #members = new Map();
  #awayAt = null;
  #backAt = -Infinity;
  #clockAhead = 0;
  redis = "unknown";
  channels = new Map();

  /**
   * Takes a view that arrived at `now`, in seconds of a monotonic clock. No view arrives while nothing changes, so the
   * time since the last one says nothing about the replicas.
   */
  take(view, now) {
    const first = this.redis === "unknown";
    if (view.redis === "connected" && this.redis === "away") this.#backAt = now;
    this.#awayAt = view.redis === "connected" ? null : (this.#awayAt ?? now);
    this.redis = view.redis;
    this.#clockAhead = view.at - now;
    if (view.redis !== "connected" && !first) return; // it only repeats the last known state
    this.channels = new Map(Object.entries(view.channels)); // a Map: names may be constructor or __proto__
    const there = new Map(view.replicas.map((replica) => [replica.instance, mapped(replica)]));
    for (const [instance, member] of this.#members) if (!there.has(instance)) member.leftAt ??= now;
    for (const [instance, replica] of there) this.#members.set(instance, { replica, leftAt: null });
  }

  /** Returns the replicas, sorted by service and name, each with `name`, `shown` (its state in words) and `tone`. */
  replicas(now) {
    const patience = now - this.#backAt < OUTAGE_FELT ? LEFT_AFTER_OUTAGE : LEFT_AFTER;
    for (const [instance, { leftAt }] of this.#members) {
      if (leftAt !== null && now - leftAt > patience) this.#members.delete(instance);
    }
    const short = this.#shortNames();
    const unheard = this.#awayAt === null ? 0 : now - this.#awayAt;
    return [...this.#members.values()]
      .map(({ replica, leftAt }) => {
        const left = leftAt !== null;
        // Records could not be written while Redis was away.
        const silent = !left && Math.min(replica.age_s + unheard, now - this.#backAt) > SILENT_AFTER;
        const shown = left ? "leaving" : silent ? "silent" : replica.state.replace("_", " ");
        return { ...replica, name: visible(short.get(replica.instance)), left, silent, shown, tone: TONES[shown] ?? "idle" };
      })
      .sort(byName);
  }

  /** Returns the position of each subscriber of this channel: a Map of instance to streamseq. */
  positions(channel) {
    return new Map(this.#takers(channel).map((replica) => [replica.instance, replica.channels.get(channel)]));
  }

  /** Returns the subscribers that must receive a message of this channel and time: those that had started by then. */
  expected(channel, time) {
    const at = Date.parse(time) / 1000; // NaN if it is missing or invalid
    return this.#takers(channel).filter((replica) => !(replica.since > at)).map((replica) => replica.instance);
  }

  /** Returns seconds since 1970 by the gateway's clock. */
  wall(now) {
    return now + this.#clockAhead;
  }

  #takers(channel) {
    return [...this.#members.values()]
      .map(({ replica }) => replica)
      .filter((replica) => replica.service === "subscriber" && replica.channels.has(channel));
  }

  /** Shortens `fanout-subscriber-2` to `subscriber-2`, unless that would name two replicas. */
  #shortNames() {
    const all = [...this.#members.keys()];
    const short = all.map((instance) => NAME.exec(instance)?.[1] ?? instance);
    const twice = new Set(short.filter((name, at) => short.indexOf(name) !== at));
    return new Map(all.map((instance, at) => [instance, twice.has(short[at]) ? instance : short[at]]));
  }
}

const SERVICES = ["publisher", "gateway", "subscriber"];
const TONES = { live: "good", "catching up": "catch", connecting: "wait", silent: "bad", leaving: "idle" };

function mapped(replica) {
  return { ...replica, channels: new Map(Object.entries(replica.channels)) };
}

function byName(a, b) {
  return (
    SERVICES.indexOf(a.service) - SERVICES.indexOf(b.service) ||
    a.instance.localeCompare(b.instance, "en", { numeric: true, sensitivity: "base" })
  );
}
