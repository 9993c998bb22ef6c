/** A gateway's channels in a browser, over one connection that comes back by itself and misses nothing. */

/**
 * @typedef {"connecting" | "live" | "waiting" | "closed"} State
 * @typedef {string | (() => string | Promise<string>)} Token a JWT, or how to fetch one
 * @typedef {{ channel: string, data?: any, data_base64?: string, source?: string, id?: string, type?: string,
 *   subject?: string, time?: string, streamid?: string, streamseq?: string, catch_up?: boolean,
 *   plain?: boolean }} Message
 * @typedef {{ channel: string, count: number, exact: boolean }} Gone messages that are lost
 * @typedef {object} Options
 * @property {string} [since] `now`, `earliest`, an age such as `10m`, or an id
 * @property {(gone: Gone) => void} [onGone]
 * @property {(error: FanoutError) => void} [onError] by default `fanout.onerror`
 * @property {boolean} [presence] to be a member of the channel
 * @property {(message: Message) => void} [onPresence] gets what comes on `{channel}.presence`
 */

const OPEN_WITHIN = 5000;
const ANSWER_WITHIN = 15_000;
/** The gateway sends something every 10 s. */
const QUIET = 25_000;
const FIRST_WAIT = 500;
const LONGEST_WAIT = 10_000;
const TRIES = 8;
/** Then a WebSocket is tried again, where one was possible before. */
const STREAM_FOR = 300_000;
const LONGEST_TIMER = 2 ** 31 - 1;
/** The gateway allows 20 a second. */
const COMMANDS = 50;
const PACE = 3000;
const REMEMBERED = 5000;
const PASSING = /too many|unexpected error|was closed/;
const UNITS = { ms: 0.001, "": 1, s: 1, m: 60, h: 3600, d: 86_400 };

/** `status` is HTTP's, or 0; `retrying` says that it is tried again by itself. */
export class FanoutError extends Error {
  constructor(message, status = 0, channel = "", retrying = false) {
    super(message);
    this.status = status;
    this.channel = channel;
    this.retrying = retrying;
  }
}

export class Fanout {
  /** @type {(state: State) => void} */
  onstate = () => {};
  /** @type {(error: FanoutError) => void} */
  onerror = (error) => console.warn("fanout:", error.message);

  /** @type {State} */
  #state = "closed";
  #base;
  #fetchToken;
  #token;
  #expires = 0;
  #asking;
  #renewal;
  #wanted = new Map();
  /** What is subscribed on this connection, or about to be. */
  #sent = new Map();
  #running;
  #end;
  #unopened = 0;
  #socketWorked = false;
  #send;
  #reopen;
  #left = COMMANDS;

  /**
   * @param {string | URL} [url] by default where this module is from
   * @param {{ token?: Token }} [options]
   */
  constructor(url = new URL(".", import.meta.url), options = {}) {
    this.#base = new URL(String(url).replace(/\/?$/, "/"), location.href);
    const { token } = options;
    if (typeof token === "function") this.#fetchToken = token;
    else this.#token = token;
  }

  /** `live` when all channels are subscribed. */
  get state() {
    return this.#state;
  }

  /**
   * Calls a function with each message, once and in order; `since` is the first listener's.
   * @param {string} name
   * @param {(message: Message) => void} onMessage
   * @param {Options} [options]
   * @returns {() => void} unsubscribes
   */
  subscribe(name, onMessage, options = {}) {
    const listener = { ...options, onMessage };
    const { since = "", onPresence, onError } = options;
    const channel = this.#wanted.get(name) ?? {
      name,
      since,
      at: "",
      asked: 0,
      failed: 0,
      resting: 0,
      listeners: new Set(),
      seen: new Map(),
    };
    channel.listeners.add(listener);
    this.#wanted.set(name, channel);
    const others = onPresence && this.subscribe(`${name}.presence`, inOrder(onPresence), { onError });
    if (this.#running) this.#sync();
    else this.#run((this.#running = {}));
    return () => {
      others?.();
      channel.listeners.delete(listener);
      if (!channel.listeners.size) this.#drop(channel);
      this.#sync();
    };
  }

  /**
   * Publishes JSON data once; tries for about half a minute.
   * @param {string} channel
   * @param {any} data
   * @returns {Promise<{ source: string, id: string, streamid?: string, streamseq?: string }>} what it became
   */
  publish(channel, data) {
    const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
    return this.#ask(channel, "messages", { method: "POST", headers, body: JSON.stringify(data) });
  }

  /**
   * Asks who is on a channel.
   * @param {string} channel
   * @returns {Promise<any>}
   */
  presence(channel) {
    return this.#ask(channel, "presence", {});
  }

  /** Ends all subscriptions and the connection. */
  close() {
    for (const channel of this.#wanted.values()) this.#drop(channel);
    this.#sent.clear();
    this.#running = undefined;
    this.#end?.();
    this.#say("closed");
  }

  #say(state) {
    if (this.#state === state) return;
    this.#state = state;
    call(this.onstate, state);
  }

  async #run(life) {
    const over = () => this.#running !== life;
    let [failed, refused] = [0, false];
    await undefined; // what is subscribed in one go is asked for at once
    while (this.#wanted.size && !over()) {
      this.#say("connecting");
      const began = Date.now();
      let problem;
      const overStream = this.#unopened && this.#unopened % 2 === 0;
      try {
        const token = await this.#getToken();
        if (over()) return;
        problem = await (overStream ? this.#stream(token, over) : this.#socket(token));
      } catch (error) {
        problem = error;
      }
      if (over()) return;
      this.#sent.clear();
      const lasted = Date.now() - began;
      if (lasted > LONGEST_WAIT) failed = 0;
      if (lasted > FIRST_WAIT && this.#state === "live") refused = false;
      if (problem?.status === 401) {
        if (overStream) this.#unopened = 2;
        this.#expires = 0;
        if (this.#fetchToken && !refused) {
          refused = true;
          continue;
        }
      }
      if (problem instanceof FanoutError) call(this.onerror, Object.assign(problem, { retrying: true }));
      if (!this.#wanted.size || over()) continue;
      this.#say("waiting");
      await pause(backoff(failed++), (end) => (this.#end = end));
    }
    if (over()) return;
    this.#running = undefined;
    this.#say("closed");
  }

  /** Holds a WebSocket until it is closed; resolves to the problem. */
  #socket(token) {
    return new Promise((resolve) => {
      this.#unopened++;
      const url = new URL("ws", this.#base);
      url.protocol = url.protocol.replace("http", "ws");
      const socket = new WebSocket(url);
      const end = (problem) => {
        clearTimeout(late);
        clearTimeout(this.#renewal);
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.close();
        this.#send = undefined;
        resolve(problem);
      };
      this.#end = end;
      const late = setTimeout(end, OPEN_WITHIN);
      const send = (command) => socket.send(JSON.stringify(command));
      const live = () => {
        clearTimeout(late);
        this.#unopened = 0;
        this.#socketWorked = true;
        this.#send = send;
        this.#sync(true);
        this.#settle();
      };
      socket.onopen = () => (token ? send({ token }) : live());
      socket.onclose = ({ code, reason }) => {
        if (code !== 4401) return end();
        this.#unopened = 0;
        return end(new FanoutError(reason || "the token was refused", 401));
      };
      socket.onmessage = ({ data }) => {
        const frame = JSON.parse(data);
        if (frame.token) this.#renewBefore(frame.token.exp);
        else this.#take(frame);
        // Where there is no login, the answer to a token is an error.
        if (!this.#send) live();
      };
    });
  }

  #renewBefore(exp) {
    clearTimeout(this.#renewal);
    this.#expires = exp ? exp * 1000 : Infinity;
    if (!exp || !this.#fetchToken) return;
    const left = this.#expires - Date.now();
    // It has just been accepted: if it seems to be over, this clock is wrong.
    const wait = left > 0 ? Math.max(1000, left * (0.75 + Math.random() * 0.1)) : QUIET;
    const renew = async () => {
      if (wait > LONGEST_TIMER) return this.#renewBefore(exp);
      try {
        const token = await this.#fresh();
        this.#send?.({ token });
      } catch (error) {
        call(this.onerror, error);
        if (this.#send) this.#renewBefore(exp);
      }
    };
    this.#renewal = setTimeout(renew, Math.min(wait, LONGEST_TIMER));
  }

  /** Reads an event stream until it ends; begins again for other channels. */
  async #stream(token, over) {
    this.#unopened++;
    for (let again = true; again && this.#wanted.size && !over(); ) {
      again = false;
      const stop = new AbortController();
      const end = (this.#end = () => stop.abort());
      const timers = [setTimeout(end, QUIET)];
      if (this.#socketWorked) timers.push(setTimeout(end, STREAM_FOR));
      const reopen = (this.#reopen = () => {
        if (!again) timers.push(setTimeout(end, 20));
        again = true;
      });
      try {
        const channels = [...this.#wanted.values()];
        this.#sent = new Map(channels.map((channel) => [channel.name, { ...asNow(channel), live: true }]));
        const answer = await fetch(this.#address(), { headers: bearer(token), signal: stop.signal });
        if (!answer.ok) throw await refusal(answer);
        this.#unopened = 1;
        this.#say("live");
        for (const { channel, asked } of this.#sent.values()) channel.asked ||= asked;
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let text = ""; ; ) {
          const { done, value } = await reader.read();
          if (done) break;
          clearTimeout(timers[0]);
          timers[0] = setTimeout(end, QUIET);
          const events = (text + value).split("\n\n");
          text = events.pop();
          for (const event of events) this.#event(event, channels);
        }
      } catch (error) {
        if (error instanceof FanoutError ? !this.#refused(error) : !again) throw error;
        again = true;
      } finally {
        for (const timer of timers) clearTimeout(timer);
        if (this.#reopen === reopen) this.#reopen = undefined;
        end();
      }
    }
  }

  #address() {
    const asked = [...this.#sent].flatMap(([channel, { since, presence }]) =>
      Object.entries({ channel, since, presence }).filter(([, value]) => value),
    );
    return new URL(`events?${new URLSearchParams(asked)}`, this.#base);
  }

  #event(text, channels) {
    const lines = text.split("\n").map((line) => /^(.*?)(?:: ?(.*))?$/s.exec(line).slice(1));
    const { id = "", event, data } = Object.fromEntries(lines);
    if (event === "expired") throw new FanoutError("the token has expired", 401);
    if (event === "gone") this.#take({ gone: JSON.parse(data) });
    if (event === "message") this.#take({ message: JSON.parse(data) });
    // An id has the place of each channel, and `-` where there is none yet.
    const places = id.split(",");
    for (const [index, channel] of channels.entries()) if (/\d/.test(places[index])) channel.at = places[index];
  }

  /** Gives up the channel that an event stream was refused for, if it is named. */
  #refused({ status, message }) {
    if (status !== 400 && status !== 403) return false;
    const named = [...this.#sent.keys()].filter((name, _, { length }) => length === 1 || message.includes(name));
    const [channel] = named.sort((a, b) => b.length - a.length);
    if (!channel) return false;
    this.#take({ error: message, channel });
    return true;
  }

  #take(frame) {
    const name = frame.subscribed ?? frame.unsubscribed ?? (frame.message ?? frame.gone ?? frame).channel;
    if (name === undefined) return frame.error && call(this.onerror, new FanoutError(frame.error));
    const sent = this.#sent.get(name);
    const channel = this.#wanted.get(name);
    if (frame.error || frame.unsubscribed !== undefined) this.#sent.delete(name);
    if (sent && sent.channel === channel) {
      if (frame.event_id) channel.at = frame.event_id;
      if (frame.subscribed !== undefined) {
        sent.live = true;
        channel.asked ||= sent.asked;
      }
      if (frame.message && isNew(frame.message, channel.seen)) {
        channel.failed = 0;
        for (const { onMessage } of channel.listeners) call(onMessage, frame.message);
      }
      if (frame.gone) for (const { onGone } of channel.listeners) call(onGone, frame.gone);
      if (frame.error) this.#givenUp(channel, frame.error);
    }
    if (!this.#sent.has(name)) this.#sync();
    this.#settle();
  }

  #settle() {
    if (this.#state === "connecting" && [...this.#sent.values()].every(({ live }) => live)) this.#say("live");
  }

  #givenUp(channel, why) {
    const retrying = PASSING.test(why);
    const again = () => {
      channel.resting = 0;
      this.#sync();
    };
    if (retrying) channel.resting = setTimeout(again, backoff(channel.failed++));
    else this.#drop(channel);
    const error = new FanoutError(why, 0, channel.name, retrying);
    for (const { onError } of channel.listeners) call(onError ?? this.onerror, error);
  }

  #drop(channel) {
    clearTimeout(channel.resting);
    if (this.#wanted.get(channel.name) === channel) this.#wanted.delete(channel.name);
  }

  /** Brings the connection to what is wanted. */
  #sync(first = false) {
    const send = this.#send;
    if (this.#reopen) {
      const [sent, wanted] = [this.#sent, [...this.#wanted]];
      const same = wanted.every(([name, channel]) => isAsWanted(sent.get(name), channel));
      if (!same || sent.size > wanted.length) this.#reopen();
    }
    if (!send) return;
    const may = () => {
      if (first) return true;
      if (!this.#left) return false;
      this.#left--;
      setTimeout(() => {
        this.#left++;
        this.#sync();
      }, PACE);
      return true;
    };
    for (const [name, sent] of this.#sent) {
      if (sent.leaving || isAsWanted(sent, this.#wanted.get(name))) continue;
      if (!may()) return;
      sent.leaving = true;
      send({ unsubscribe: name });
    }
    for (const [name, channel] of this.#wanted) {
      if (this.#sent.has(name) || channel.resting) continue;
      if (!may()) return;
      const sent = asNow(channel);
      this.#sent.set(name, sent);
      send({ subscribe: name, since: sent.since, presence: sent.presence });
    }
  }

  async #getToken() {
    return this.#fetchToken && Date.now() > this.#expires - 1000 ? this.#fresh() : this.#token;
  }

  /** Once, however many ask. */
  async #fresh() {
    const fetched = async () => this.#fetchToken();
    this.#asking ??= fetched().finally(() => (this.#asking = undefined));
    try {
      this.#token = await this.#asking;
    } catch (error) {
      throw new FanoutError(`no token: ${error?.message ?? error}`);
    }
    this.#expires = Infinity;
    return this.#token;
  }

  async #ask(channel, what, init) {
    const url = new URL(`channels/${encodeURIComponent(channel)}/${what}`, this.#base);
    for (let tries = 1, refused = false; ; tries++) {
      const token = await this.#getToken();
      const late = new AbortController();
      setTimeout(() => late.abort(), ANSWER_WITHIN);
      let error;
      try {
        const headers = { ...init.headers, ...bearer(token) };
        const answer = await fetch(url, { ...init, headers, signal: late.signal });
        if (answer.ok) return await answer.json();
        error = await refusal(answer);
      } catch {
        error = new FanoutError("the gateway cannot be reached");
      }
      const { status } = error;
      if (status === 401 && this.#fetchToken && !refused) {
        refused = true;
        if (token === this.#token) this.#expires = 0;
        continue;
      }
      if ((status && status < 500 && status !== 429) || tries >= TRIES) throw error;
      await pause(backoff(tries - 1));
    }
  }
}

/** Where to go on: an age counts from when it was first asked for. */
function from({ at, asked, since }) {
  const age = /^(?:now)?$|^([\d.]+)(ms|[smhd]?)$/.exec(since);
  if (at || !asked || !age) return at || since;
  return `${(Date.now() - asked) / 1000 + Number(age[1] ?? 0) * UNITS[age[2] ?? ""]}s`;
}

function asNow(channel) {
  return { channel, since: from(channel) || undefined, presence: isMember(channel), asked: Date.now() };
}

function isMember({ listeners }) {
  return [...listeners].some(({ presence }) => presence) || undefined;
}

function isAsWanted(sent, channel) {
  return sent?.channel === channel && sent.presence === isMember(channel);
}

/** Gateways may publish in another order than things happened: leaves out what a newer event has told. */
function inOrder(onPresence) {
  const told = new Map();
  let count;
  return (message) => {
    const { data } = message;
    const { version } = data;
    // Late by up to a minute; by more, a clock was wrong.
    const isNews = (of) => Math.ceil((told.get(of) - version) / 6e7) !== 1 && remember(told, of, version);
    if (isNews()) ({ count } = data);
    const members = (data.members ?? [null]).filter(isNews);
    const news = { ...data, count, members: data.members && members };
    if (members.length) onPresence({ ...message, data: news });
  };
}

/** After a crash of Redis the gateway may send some again. */
function isNew({ source, id }, seen) {
  const key = `${source} ${id}`;
  return !source || (!seen.has(key) && remember(seen, key));
}

function remember(known, key, value) {
  if (known.size > REMEMBERED) known.delete(known.keys().next().value);
  return known.set(key, value);
}

/** Who was cut off together does not come back together. */
function backoff(failed) {
  return Math.random() * Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failed);
}

/** Waits, at most until the network is back or `ending`'s argument is called. */
function pause(ms, ending) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    addEventListener("online", done);
    ending?.(done);
  });
}

function bearer(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function refusal(answer) {
  const { detail } = await answer.json().catch(() => ({}));
  return new FanoutError(detail ?? `the gateway answered ${answer.status}`, answer.status);
}

/** What a callback throws stops nothing here. */
function call(callback, value) {
  try {
    callback?.(value);
  } catch (error) {
    reportError(error);
  }
}
