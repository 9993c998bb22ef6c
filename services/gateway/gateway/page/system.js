/** The system as it is shown: the latest view, who is silent, who has just left. */

/** A replica whose record is older than that many seconds is silent. */
export const SILENT_AFTER = 3;
/** Who is missing from a view for that many seconds has left; records come back late when Redis does. */
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
  channels = {};

  /**
   * Takes in a view that came at `now`, in seconds of any clock that only goes forward. Where nothing changes no view
   * comes, so that the time since the last one says nothing of the replicas.
   */
  take(view, now) {
    const first = this.redis === "unknown";
    if (view.redis === "connected" && this.redis === "away") this.#backAt = now;
    this.#awayAt = view.redis === "connected" ? null : (this.#awayAt ?? now);
    this.redis = view.redis;
    this.#clockAhead = view.at - now;
    if (view.redis !== "connected" && !first) return; // it repeats what was last known
    this.channels = view.channels;
    const there = new Map(view.replicas.map((replica) => [replica.instance, replica]));
    for (const [instance, member] of this.#members) if (!there.has(instance)) member.leftAt ??= now;
    for (const [instance, replica] of there) this.#members.set(instance, { replica, leftAt: null });
  }

  /** Every replica, by service and name, with what is shown of it: `name`, `shown` (its state in words), `tone`. */
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
        // Nobody could write a record while Redis was away.
        const silent = !left && Math.min(replica.age_s + unheard, now - this.#backAt) > SILENT_AFTER;
        const shown = left ? "leaving" : silent ? "silent" : replica.state.replace("_", " ");
        return { ...replica, name: short.get(replica.instance), left, silent, shown, tone: TONES[shown] ?? "idle" };
      })
      .sort(byName);
  }

  /** Where each subscriber that takes this channel is in it: a Map of instance to streamseq. */
  positions(channel) {
    return new Map(this.#takers(channel).map((replica) => [replica.instance, replica.channels[channel]]));
  }

  /** The subscribers that must get a message of this channel and time: those that were there. */
  expected(channel, time) {
    const at = Date.parse(time) / 1000; // NaN where there is none, or none that is valid
    return this.#takers(channel).filter((replica) => !(replica.since > at)).map((replica) => replica.instance);
  }

  /** Seconds since 1970 as the gateway counts them. */
  wall(now) {
    return now + this.#clockAhead;
  }

  #takers(channel) {
    return [...this.#members.values()]
      .map(({ replica }) => replica)
      .filter((replica) => replica.service === "subscriber" && channel in replica.channels);
  }

  /** `fanout-subscriber-2` is `subscriber-2`, unless somebody else would be that too. */
  #shortNames() {
    const all = [...this.#members.keys()];
    const short = all.map((instance) => NAME.exec(instance)?.[1] ?? instance);
    const twice = new Set(short.filter((name, at) => short.indexOf(name) !== at));
    return new Map(all.map((instance, at) => [instance, twice.has(short[at]) ? instance : short[at]]));
  }
}

const SERVICES = ["publisher", "gateway", "subscriber"];
const TONES = { live: "good", "catching up": "catch", connecting: "wait", silent: "bad", leaving: "idle" };

function byName(a, b) {
  return (
    SERVICES.indexOf(a.service) - SERVICES.indexOf(b.service) ||
    a.instance.localeCompare(b.instance, "en", { numeric: true, sensitivity: "base" })
  );
}
