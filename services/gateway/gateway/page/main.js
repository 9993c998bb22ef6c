/** The dashboard: passes what the gateway sends to the parts that show it. */

import { Changes } from "./changes.js";
import { ChannelPicker } from "./channel.js";
import { Feed } from "./feed.js";
import { count, say, seconds } from "./format.js";
import { Happenings } from "./happenings.js";
import { Lanes, showRedis, Sources } from "./lanes.js";
import { LoginBox } from "./login.js";
import { Parcels } from "./parcels.js";
import { Picture } from "./picture.js";
import { Seen } from "./seen.js";
import { SendBox } from "./send.js";
import { Stream } from "./stream.js";
import { System } from "./system.js";
import { Totals } from "./totals.js";

const QUIET_S = 20;
/** Messages a second up to which the feed starts with those of the last minute. */
const CALM = 20;
const OUTAGE = "Redis is away: publishers keep their messages, and subscribers catch up when it is back.";
const WORDS = { open: ["good", "connected"], away: ["bad", "reconnecting"] };

const at = (id) => document.getElementById(id);
const now = () => performance.now() / 1000;

const system = new System();
const changes = new Changes();
const sources = new Sources(at("sources"), at("no-sources"));
const lanes = new Lanes(at("lanes"), at("no-lanes"));
const picture = new Picture(at("stage"), at("redis"));
const feed = new Feed(at("feed"), at("no-feed"));
const happenings = new Happenings(at("happenings"));
const picker = new ChannelPicker(at("channel"), show);
const parcels = new Parcels(deliver);
const login = new LoginBox(at("login"), at("logout"));
const totals = new Totals(at("totals"));

let viewAt = null;
let strange = 0;
let gateway = "connecting";
let positions = new Map();
let producers = new Map();
const caughtUp = new Map();
let stream = null;
let seen = new Seen();
/** Whether the feed was interrupted since the last live message; messages from history then are its catch-up. */
let cut = false;

new SendBox(at("send"), () => picker.current);
new Stream(() => "system/events", { view: take }, gatewayIs, QUIET_S);
login.check();
setInterval(render, 1000);
toggle(at("hold"), (held) => feed.hold(held));
toggle(at("motion"), (paused) => {
  picture.moving = !paused;
});
if (matchMedia("(prefers-reduced-motion: reduce)").matches) at("motion").click();

function take(view) {
  viewAt = now();
  system.take(view, viewAt);
  cut ||= view.redis === "away";
  if (view.strange > strange) tell("strange", "bad", `${count(view.strange)} roster records are not Fanout's`);
  strange = view.strange;
  picker.offer([...system.channels.keys()]);
  render();
}

function gatewayIs(state) {
  if (state === "away" && gateway === "open") tell("gateway", "bad", "The gateway is away");
  if (state === "open" && gateway === "away") tell("gateway", "good", "The gateway is back");
  if (state === "away") login.check(); // an EventSource does not tell a 401 from an outage
  gateway = state;
  pill(at("gateway"), state);
  render();
}

/** Shows a channel, with a new feed. */
function show(channel) {
  stream?.close();
  feed.clear();
  lanes.clear();
  parcels.clear();
  seen = new Seen();
  cut = false;
  positions = system.positions(channel);
  feed.reached(positions);
  const traffic = system.replicas(now()).filter((replica) => replica.service === "subscriber");
  const start = Math.max(0, ...traffic.map((replica) => replica.rate)) > CALM ? "now" : "1m";
  stream = new Stream(
    (lastId, elapsed) => {
      const since = lastId || (elapsed === null ? start : `${Math.ceil(elapsed) + 5}s`);
      return `channels/${encodeURIComponent(channel)}/events?since=${encodeURIComponent(since)}`;
    },
    { message, gone },
    (state) => {
      cut ||= state === "away";
      pill(at("feed-state"), state);
    },
  );
}

function message(one) {
  if (!seen.first(one)) return;
  if (!one.catch_up) cut = false;
  else if (cut) tell("feed", "catch", "The feed caught up 1", 1, (n) => `The feed caught up ${count(n)}`);
  feed.add(one, system.expected(picker.current, one.time));
  parcels.add(one);
}

function gone(what) {
  feed.gone(what);
  const lost = `${what.exact ? "" : "about "}${count(what.count)}`;
  tell("gone", "bad", `The feed lost ${lost}: the history no longer reaches back`);
}

/** Shows parcels of messages in the picture; see parcels.js. */
function deliver(together) {
  const total = (some) => some.reduce((sum, parcel) => sum + parcel.count, 0);
  const seq = Math.max(...together.map((parcel) => parcel.seq));
  const expected = system.expected(picker.current, together.at(-1).time);
  if (seq) lanes.expect(seq, total(together), expected);
  const live = together.filter((parcel) => !parcel.catchUp); // catch-ups are shown from the subscribers' counts
  if (!live.length) return;
  const known = live.filter((parcel) => producers.has(parcel.producer));
  const from = known.map((parcel) => [producers.get(parcel.producer), parcel.count]);
  picture.send(from, total(live), expected, (lane) => !seq || (positions.get(lane) ?? Infinity) >= seq);
}

function render() {
  if (viewAt === null) return;
  const cutOff = gateway !== "open";
  const stale = cutOff || system.redis === "away";
  const time = cutOff ? viewAt : now(); // replicas are not silent just because the gateway is
  const replicas = system.replicas(time);
  const subscribers = replicas.filter((replica) => replica.service === "subscriber");
  positions = system.positions(picker.current);
  producers = new Map(replicas.filter((one) => one.producer).map((one) => [one.producer, one.instance]));
  picture.show(
    sources.show(replicas.filter((replica) => replica.service !== "subscriber")),
    lanes.show(subscribers, picker.current, time, system.wall(time)),
    stale,
  );
  for (const { instance, caught_up: total } of subscribers) {
    const more = total - (caughtUp.get(instance) ?? total);
    if (more > 0) picture.recover(instance, more);
    caughtUp.set(instance, total);
  }
  feed.reached(positions);
  for (const happening of changes.since(system.redis, replicas, time)) happenings.add(happening);
  totals.show(replicas, subscribers, !stale);
  showRedis(at("redis"), system.redis, system.channels.get(picker.current));
  pill(at("redis-pill"), system.redis === "connected" ? "open" : "away", system.redis);
  warn(stale, cutOff);
}

/** Shows why the picture is out of date, if it is. */
function warn(stale, cutOff) {
  at("stage").classList.toggle("stale", stale);
  at("stale").hidden = !stale;
  say(at("stale"), cutOff ? `The gateway does not answer: this was so ${seconds(now() - viewAt)} ago.` : OUTAGE);
  document.title = stale ? "Fanout: away" : "Fanout";
}

function tell(kind, tone, text, n = 0, words = undefined) {
  happenings.add({ kind, tone, text, who: "page", n, say: words });
}

function pill(element, state, word = WORDS[state][1]) {
  element.dataset.tone = WORDS[state][0];
  say(element.querySelector("b"), word);
}

function toggle(button, change) {
  button.addEventListener("click", () => {
    const pressed = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(pressed));
    change(pressed);
  });
}
