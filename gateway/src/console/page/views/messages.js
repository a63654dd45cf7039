// Messages of a scope: those that are kept, then each as it is published.

import { get, query, stream } from "../api.js";
import { badge, button, clock, el, heading, number } from "../dom.js";

// So many are shown; the oldest go.
const SHOWN = 300;

function row(message) {
  const link = el("a", { href: `#/message/${encodeURIComponent(message.id)}` }, clock(message.published_at));
  return el("tr", {},
    el("td", { "data-name": "Time" }, link),
    el("td", { "data-name": "Type" }, message.type),
    el("td", { "data-name": "Bus" }, message.bus),
    el("td", { "data-name": "Channel" }, message.channel),
    el("td", { "data-name": "From" }, badge(message.door || (message.via.length ? "route" : "?"), "plain")),
    el("td", { "data-name": "Bytes", class: "number" }, number(message.bytes)));
}

export async function messages(content, { signal, failed, arguments: [given] }) {
  const buses = (await get("overview", signal)).buses.map((bus) => `bus:${bus.name}`);
  const scope = el("input", {
    id: "scope", value: given || buses.join(" "), spellcheck: "false", autocomplete: "off", required: true,
  });
  const body = el("tbody");
  const status = el("p", { class: "hint", role: "status", "aria-live": "polite" });
  let following = new AbortController();
  const stop = () => {
    following.abort();
    pause.textContent = "Follow";
  };
  const add = (message) => {
    body.prepend(row(message));
    while (body.children.length > SHOWN) body.lastChild.remove();
  };
  const follow = async (from) => {
    following.abort();
    following = new AbortController();
    const mine = AbortSignal.any([signal, following.signal]);
    pause.textContent = "Pause";
    let since = from;
    while (!mine.aborted) {
      status.textContent = "Following: new messages come in on top.";
      await stream(`messages/stream?${query({ scope: scope.value, since: since || "now" })}`, mine, (message) => {
        since = message.id;
        add(message);
      });
      status.textContent = "The stream ended; it is begun anew.";
      await new Promise((resume) => setTimeout(resume, 1000));
    }
  };
  const show = async () => {
    body.replaceChildren();
    following.abort();
    const page = await get(`messages?${query({ scope: scope.value })}`, signal);
    page.messages.forEach(add);
    follow(page.next).catch(trouble);
  };
  const trouble = (error) => {
    if (error.name === "AbortError") {
      status.textContent = "Paused.";
      return;
    }
    status.textContent = error.message;
    if (error.status === 401) failed(error);
  };
  const pause = button("Pause", () => (following.signal.aborted ? show().catch(trouble) : stop()));
  const form = el("form", { class: "card filter", onsubmit: (event) => {
    event.preventDefault();
    show().catch(trouble);
  } },
    el("label", { for: "scope" }, "Scope"),
    el("div", { class: "row" }, scope, el("button", { type: "submit" }, "Show"), pause),
    el("p", { class: "hint" }, "Fields: ", el("code", {}, "bus: channel: type: source: sticky:"),
      ". Values of one field are alternatives, fields must all match."), status);
  const head = ["Time", "Type", "Bus", "Channel", "From", "Bytes"].map((name) => el("th", { scope: "col" }, name));
  content.replaceChildren(heading("Messages"), form,
    el("section", { class: "card" }, el("table", { class: "wide" },
      el("caption", {}, "Messages, newest first"), el("thead", {}, el("tr", {}, head)), body)));
  if (!scope.value) {
    status.textContent = "There is no bus yet.";
    return;
  }
  await show().catch(trouble);
}
