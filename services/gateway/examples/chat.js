/** A chat: a room is a channel, and its members are those who have it open. */

import { Fanout } from "http://localhost:8080/fanout.js"; // your gateway

const [enter, say] = document.forms;
const [title, state, members, list] = ["title", "state", "members", "list"].map((id) => document.getElementById(id));

let asking;

// With a login, new Fanout(undefined, { token: async () => (await (await fetch("/token")).json()).token }).
const fanout = new Fanout();
fanout.onstate = (now) => {
  state.textContent = state.dataset.state = now;
};
fanout.onerror = (error) => note(error.message);

enter.addEventListener("submit", (event) => {
  event.preventDefault();
  const room = `room:${enter.room.value}`;
  title.textContent = enter.room.value;
  enter.hidden = true;
  document.querySelector("main").hidden = false;
  say.text.focus();
  fanout.subscribe(room, show, {
    since: "1h",
    presence: true,
    onPresence: () => {
      clearTimeout(asking);
      asking = setTimeout(showMembers, 200, room); // once for all who come in at the same time
    },
    onGone: () => note("Older messages are no longer kept."),
    onError: (error) => note(error.message),
  });
  showMembers(room);
  say.addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    const { value: text } = say.text;
    say.text.value = "";
    fanout.publish(room, { from: enter.who.value, text }).catch((error) => note(`Not sent: ${text}: ${error.message}`));
  });
});

function show({ data, time }) {
  const [at, from] = [document.createElement("time"), document.createElement("b")];
  at.textContent = time ? new Date(time).toLocaleTimeString([], { timeStyle: "short" }) : "";
  from.textContent = data?.from ?? "somebody";
  append(at, from, data?.text ?? String(data));
}

async function showMembers(room) {
  try {
    const found = await fanout.presence(room);
    members.textContent = `Here: ${found.members?.map(({ sub }) => sub).join(", ") ?? found.count}`;
  } catch (error) {
    members.textContent = error.message;
  }
}

function note(text) {
  append(text).className = "note";
}

function append(...content) {
  const item = document.createElement("li");
  item.append(...content);
  list.append(item);
  item.scrollIntoView({ block: "end" });
  return item;
}
