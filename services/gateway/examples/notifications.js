/** Notifications of one user, whose channel is user:NAME; notifications.html?user=bob is another's. */

import { Fanout } from "http://localhost:8080/fanout.js"; // your gateway

const user = new URLSearchParams(location.search).get("user") ?? "ann";
const channel = `user:${user}`;
const [state, list, form] = [document.getElementById("state"), document.getElementById("list"), document.forms[0]];
let unread = 0;
document.getElementById("user").textContent = user;

// With a login, new Fanout(undefined, { token: async () => (await (await fetch("/token")).json()).token }).
const fanout = new Fanout();
fanout.onstate = (now) => {
  state.textContent = state.dataset.state = now;
};
fanout.onerror = (error) => show(error.message);
fanout.subscribe(channel, ({ data, time }) => {
  show(typeof data === "string" ? data : (data?.text ?? JSON.stringify(data)), time);
  count(document.hidden ? unread + 1 : 0);
}, {
  since: "1d", // what came while this page was closed
  onGone: () => show("Older notifications are no longer kept."),
});
document.addEventListener("visibilitychange", () => count(0));

// Anyone with access may notify: this page, or `curl -d hello http://localhost:8080/channels/user:ann/messages`.
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const { value: text } = form.text;
  form.reset();
  try {
    await fanout.publish(channel, { text });
  } catch (error) {
    show(`Not sent: ${error.message}`);
  }
});

function show(text, time) {
  const [item, at] = [document.createElement("li"), document.createElement("time")];
  at.textContent = time ? new Date(time).toLocaleTimeString([], { timeStyle: "short" }) : "";
  item.append(at, text);
  list.prepend(item);
}

function count(number) {
  unread = number;
  document.title = unread ? `(${unread}) Notifications` : "Notifications";
}
