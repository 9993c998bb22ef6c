/** A stream of server-sent events that reconnects by itself and goes on after the last event that it had. */

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 2000;
/** Shorter interruptions are not reported: browsers cut connections when any network interface changes. */
const PATIENCE_MS = 1500;

export class Stream {
  #address;
  #handlers;
  #state;
  #quietMs;
  #source = null;
  #timer = null;
  #quiet = null;
  #away = null;
  #wait = FIRST_WAIT_MS;
  #lastId = "";
  #since = null;

  /**
   * @param address returns the URL; called with the last id and the seconds since the stream first opened (null before)
   * @param handlers functions by event name, called with the event's parsed JSON data
   * @param state called with "open" or "away"
   * @param quietSeconds seconds without an event after which it reconnects, in case the connection is dead; 0: never
   */
  constructor(address, handlers, state, quietSeconds = 0) {
    this.#address = address;
    this.#handlers = handlers;
    this.#state = state;
    this.#quietMs = quietSeconds * 1000;
    this.#open();
  }

  /** Closes the stream for good. */
  close() {
    clearTimeout(this.#timer);
    clearTimeout(this.#quiet);
    clearTimeout(this.#away);
    this.#source.close();
  }

  #open() {
    const elapsed = this.#since === null ? null : (performance.now() - this.#since) / 1000;
    const source = new EventSource(this.#address(this.#lastId, elapsed));
    this.#source = source;
    this.#watch();
    source.onopen = () => {
      this.#since ??= performance.now();
      this.#wait = FIRST_WAIT_MS;
      clearTimeout(this.#away);
      this.#away = null;
      this.#state("open");
    };
    source.onerror = () => {
      this.#broken();
      // The browser reconnects by itself with the last id, unless the answer was an error (503: too many connections).
      // But before the first id it would miss the messages of the meantime.
      if (source.readyState === EventSource.CLOSED || !this.#lastId) this.#again();
    };
    for (const [name, handler] of Object.entries(this.#handlers)) {
      source.addEventListener(name, (event) => {
        this.#lastId = event.lastEventId || this.#lastId;
        this.#watch();
        handler(JSON.parse(event.data));
      });
    }
  }

  #broken() {
    this.#away ??= setTimeout(() => this.#state("away"), PATIENCE_MS);
  }

  #again() {
    this.#broken();
    this.#source.close();
    clearTimeout(this.#timer);
    clearTimeout(this.#quiet);
    this.#timer = setTimeout(() => this.#open(), this.#wait * (0.5 + Math.random() / 2));
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT_MS);
  }

  #watch() {
    if (!this.#quietMs) return;
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => this.#again(), this.#quietMs);
  }
}
