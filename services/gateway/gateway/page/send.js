/** The box that sends a message to the channel shown. */

import { reason } from "./answer.js";
import { say, visible } from "./format.js";

const ANSWER_WITHIN_MS = 15_000;

export class SendBox {
  #form;
  #status;
  #text;
  #json;
  #tried = { what: "", key: "" };

  /** @param channel returns the name of the channel that is shown */
  constructor(form, channel) {
    this.#form = form;
    this.#text = form.querySelector("#message");
    this.#json = form.querySelector("#json");
    this.#status = form.querySelector("[role=status]");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send(channel(), this.#text.value, this.#json.checked);
    });
  }

  async #send(channel, text, json) {
    if (json && !isJson(text)) return this.#report("bad", "This is not JSON: text and names need double quotes.");
    this.#report("idle", "Sending …");
    this.#form.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(`channels/${encodeURIComponent(channel)}/messages`, {
        method: "POST",
        headers: {
          "Content-Type": json ? "application/json" : "text/plain; charset=utf-8",
          "Idempotency-Key": this.#keyFor(JSON.stringify([channel, text, json])),
        },
        body: text,
        signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
      });
      if (!answer.ok) return this.#report("bad", `Not sent: ${await reason(answer)}`);
      this.#tried = { what: "", key: "" };
      this.#text.value = "";
      return this.#report("good", `Sent to ${visible(channel)}.`);
    } catch (error) {
      const why = error.name === "TimeoutError" ? "there was no answer in time" : "the gateway cannot be reached";
      return this.#report("bad", `Not sent: ${why}. Sending the same again is safe.`);
    } finally {
      this.#form.removeAttribute("aria-busy");
    }
  }

  /** Returns the same key for the same message until it is sent, so that trying again publishes it only once. */
  #keyFor(what) {
    if (this.#tried.what !== what) {
      const random = crypto.getRandomValues(new Uint32Array(4));
      this.#tried = { what, key: `page-${[...random].map((word) => word.toString(16).padStart(8, "0")).join("")}` };
    }
    return this.#tried.key;
  }

  #report(tone, text) {
    this.#status.dataset.tone = tone;
    say(this.#status, text);
  }
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
