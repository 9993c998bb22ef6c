/** A stream of server-sent events that comes back by itself, from the last event that it had. */

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 2000;
/** A break that is mended within that time is not worth a word: browsers break when any network interface changes. */
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
   * @param address called with the last id and the seconds since the stream was first open (null before), returns a URL
   * @param handlers by the event's name, called with (data from its JSON)
   * @param state called with "open" or "away"
   * @param quietSeconds after that long without an event the connection is opened anew, in case it is dead; 0: never
   */
  constructor(address, handlers, state, quietSeconds = 0) {
    this.#address = address;
    this.#handlers = handlers;
    this.#state = state;
    this.#quietMs = quietSeconds * 1000;
    this.#open();
  }

  /** Ends it for good. */
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
      // The browser tries again by itself, with the last id, unless the answer was an error (503: too many
      // connections). Before the first id it would ask for what comes from then on, and miss what came meanwhile.
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
