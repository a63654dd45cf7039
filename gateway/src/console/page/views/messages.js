// Messages of a scope: those of the last minutes, then each as it is published.

import { call, may, stream } from "../api.js";
import { form, nextStep, tell } from "../dialog.js";
import { ROWS_MAX, badge, button, card, el, heading, link } from "../dom.js";
import { bytes, clock, doorName, idAt, published } from "../format.js";
import { list } from "../listing.js";

// What the scope names at first, at most.
const BUSES_MAX = 16;
const PREVIEW = 90;
// A live stream that is so far behind goes on with what is published now.
const BEHIND_MS = 30_000;
const RETRY_MS = 1000;
const SINCE = [["60", "the last minute"], ["600", "the last 10 minutes"], ["3600", "the last hour"], ["", "everything that is kept"]];
const COLUMNS = ["Time", "Type", "Bus", "Channel", "Came in by", "Size", "Payload"];

function row(message) {
  const { id, headers, payload } = message;
  const preview = payload.length > PREVIEW ? `${payload.slice(0, PREVIEW)}…` : payload;
  const cells = [
    el("time", { datetime: published(id) }, clock(published(id))), link(message.type, "message", id), message.bus,
    message.channel, badge(headers.door ? doorName(headers.door) : headers.via.length ? `route ${headers.via.at(-1)}` : "–", "plain"),
    bytes(payload.length), el("code", { class: "preview" }, preview),
  ];
  return el("tr", { role: "row" }, cells.map((cell, index) =>
    el("td", { role: "cell", "data-name": COLUMNS[index], class: COLUMNS[index] === "Size" ? "number" : null }, cell)));
}

function publish(buses, failed) {
  form({
    title: "Publish a message", yes: "Publish",
    fields: [
      { name: "bus", label: "Bus", options: buses.map((name) => [name, name]) },
      { name: "channel", label: "Channel", value: "main", required: true, hint: "1 to 128 letters, digits, - and _" },
      { name: "type", label: "Type", required: true, hint: "Such as order/new" },
      { name: "payload", label: "Payload", rows: 5, value: "{}", required: true, hint: "One JSON text" },
      { name: "sticky", label: "Sticky: kept for late readers", type: "checkbox" },
    ],
    run: async (values) => {
      const { id } = await call("MessageService/Publish", values);
      tell(`Published as ${id}.`);
    },
  }, failed);
}

// What is followed, and how far it is.
class Follower {
  constructor({ signal, onMessages, onState, onRefused }) {
    Object.assign(this, { signal, onMessages, onState, onRefused });
    this.stopped = new AbortController();
  }

  stop() {
    this.stopped.abort();
    this.onState("paused");
  }

  get isStopped() {
    return this.stopped.signal.aborted;
  }

  // Follows `scope` from `since` on, however often the stream ends, until it is stopped or refused.
  async follow(scope, since) {
    this.stopped.abort();
    this.stopped = new AbortController();
    const signal = AbortSignal.any([this.signal, this.stopped.signal]);
    const { now } = await call("ActivityService/GetActivity", {}, signal);
    const offset = Date.parse(now) - Date.now();
    this.scope = scope;
    this.last = since ? idAt(Date.parse(now) - since * 1000) : "";
    this.isCurrent = false;
    await this.read(signal, offset);
  }

  async goOn() {
    this.stopped = new AbortController();
    await this.read(AbortSignal.any([this.signal, this.stopped.signal]), 0);
  }

  async read(signal, offset) {
    while (!signal.aborted) {
      this.onState("following");
      try {
        await stream("MessageService/Subscribe", { scope: this.scope, since: this.last }, signal, (answers) => {
          const messages = answers.map(({ message }) => message);
          this.last = messages.at(-1).id;
          const behind = Date.now() + offset - Date.parse(published(this.last));
          this.onMessages(messages);
          if (this.isCurrent && behind > BEHIND_MS) throw new Behind();
          this.isCurrent ||= behind < 1000;
        });
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Behind) this.last = "now";
        else if (error.code && error.code !== "Unavailable") {
          this.stopped.abort();
          this.onRefused(error);
          return;
        } else {
          this.onState("lost");
          await new Promise((resume) => setTimeout(resume, RETRY_MS));
        }
      }
    }
  }
}

class Behind extends Error {}

const STATES = {
  following: "Following: new messages come in on top.",
  paused: "Paused.",
  lost: "The gateway does not answer; following again as soon as it does.",
};

export async function messages(content, { signal, failed, given }) {
  const buses = (await list("BusService/ListBuses", "buses", {}, signal)).map(({ name }) => name);
  const everything = buses.slice(0, BUSES_MAX).map((name) => `bus:${name}`).join(" ");
  const scope = el("input", {
    id: "scope", value: given[0] || everything, spellcheck: "false", autocomplete: "off", required: true,
    "aria-describedby": "scope-problem scope-hint", class: "mono",
  });
  const since = el("select", { id: "since" }, SINCE.map(([value, text]) => el("option", { value, selected: value === "600" }, text)));
  const problem = el("p", { id: "scope-problem", class: "wrong", role: "alert" });
  const status = el("p", { class: "hint", role: "status" });
  const empty = el("p", { class: "empty" }, "No message yet.");
  const body = el("tbody", { role: "rowgroup" });

  const follower = new Follower({
    signal,
    onMessages: (arrived) => {
      empty.hidden = true;
      body.prepend(...arrived.slice(-ROWS_MAX).map(row).reverse());
      while (body.children.length > ROWS_MAX) body.lastChild.remove();
    },
    onState: (state) => {
      status.textContent = STATES[state];
      pause.textContent = state === "paused" ? "Go on" : "Pause";
    },
    onRefused: (error) => {
      if (error.status === 401) failed(error);
      status.textContent = "";
      pause.textContent = "Go on";
      scope.setAttribute("aria-invalid", "true");
      problem.textContent = [error.message, nextStep(error)].filter(Boolean).join(" ");
      scope.focus();
    },
  });
  const begin = () => {
    body.replaceChildren();
    empty.hidden = false;
    problem.textContent = "";
    scope.removeAttribute("aria-invalid");
    follower.follow(scope.value, since.value).catch(failed);
  };
  const pause = button("Pause", () => (follower.isStopped ? follower.goOn().catch(failed) : follower.stop()));
  const submit = (event) => {
    event.preventDefault();
    begin();
  };
  since.onchange = begin;
  const head = COLUMNS.map((name) => el("th", { scope: "col", role: "columnheader", class: name === "Size" ? "number" : null }, name));
  content.replaceChildren(
    heading("Messages", { actions: [may("MessageService/Publish") && buses.length
      ? button("Publish a message", () => publish(buses, failed)) : null] }),
    el("form", { class: "card filter", onsubmit: submit },
      el("div", { class: "row" },
        el("div", { class: "field wide" }, el("label", { for: "scope" }, "Scope"), scope),
        el("div", { class: "field" }, el("label", { for: "since" }, "From"), since),
        el("button", { type: "submit" }, "Show"), pause),
      problem,
      el("p", { class: "hint", id: "scope-hint" }, "Fields are ", el("code", {}, "bus: channel: type: source: sticky:"),
        ". Values of one field are alternatives; all fields must match."),
      status),
    card("Newest first", el("table", { role: "table", class: "messages" }, el("caption", {}, "Messages, newest first"),
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, head)), body), empty));
  if (scope.value) begin();
  else empty.textContent = "There is no bus yet. Make one under Buses.";
}
