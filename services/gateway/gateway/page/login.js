/** The box that takes a token when the gateway wants one; the gateway keeps it in a cookie that no script can read. */

import { reason } from "./answer.js";
import { say } from "./format.js";

const NOT_KEPT = "The browser did not keep the cookie: it does so only over HTTPS, or at localhost.";
const NO_DASHBOARD = 'This token does not permit the dashboard: that takes "fanout": {"dashboard": true}.';

export class LoginBox {
  #box;
  #token;
  #status;
  #out;
  #asking = false;

  /**
   * @param box the dialog, with a form and a status
   * @param out the button that logs out; hidden while nobody is logged in
   */
  constructor(box, out) {
    this.#box = box;
    this.#out = out;
    this.#token = box.querySelector("input");
    this.#status = box.querySelector("[role=status]");
    box.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#login(this.#token.value.trim());
    });
    box.addEventListener("cancel", (event) => event.preventDefault()); // there is nothing behind it to see
    out.addEventListener("click", () => this.#logout());
  }

  /** Asks the gateway who is logged in, and shows the box if that is nobody, or not for the dashboard. */
  async check() {
    if (this.#box.open || this.#asking) return;
    this.#asking = true;
    try {
      const answer = await fetch("login");
      if (answer.status === 401) this.#open("");
      else if (answer.ok) this.#show(await answer.json());
    } catch {
      // The gateway is away, which the page says elsewhere.
    } finally {
      this.#asking = false;
    }
  }

  #show(who) {
    this.#out.hidden = who.login !== "on";
    if (who.login !== "on") return;
    say(this.#out, who.token.sub ? `Log out ${who.token.sub}` : "Log out");
    if (!who.dashboard) this.#open(NO_DASHBOARD);
  }

  #open(why) {
    this.#report(why ? "bad" : "idle", why);
    if (!this.#box.open) this.#box.showModal();
  }

  async #login(token) {
    this.#report("idle", "Checking …");
    try {
      const answer = await fetch("login", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ token }),
      });
      if (!answer.ok) return this.#report("bad", await reason(answer));
      const kept = await fetch("login");
      if (!kept.ok) return this.#report("bad", NOT_KEPT);
      const who = await kept.json();
      if (!who.dashboard) return this.#report("bad", NO_DASHBOARD);
      this.#token.value = "";
      this.#box.close(); // the streams are there within two seconds
      return this.#show(who);
    } catch {
      return this.#report("bad", "The gateway cannot be reached.");
    }
  }

  async #logout() {
    await fetch("logout", { method: "POST" });
    location.reload(); // nothing that this user could see is left
  }

  #report(tone, text) {
    this.#status.dataset.tone = tone;
    say(this.#status, text);
  }
}
