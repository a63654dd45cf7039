// One message: what it is, and its trace as a timeline.

import { call } from "../api.js";
import { badge, card, code, el, facts, heading, link, time } from "../dom.js";
import { absolute, doorName, idAt, indented, lasting, published, state } from "../format.js";

// How a passage stands, and what that means where it does not say so itself.
const WORDS = {
  pending: ["pending"],
  delivered: ["delivered"],
  dead: ["dead letter"],
  skipped: ["skipped", "it came by this route"],
  passed: ["passed", "before the route looked for such messages"],
};

export function factsOf(message) {
  const { headers, id } = message;
  return facts([
    ["Id", code(id)],
    ["Published", time(published(id))],
    ["Bus", link(message.bus, "bus", message.bus)],
    ["Channel", message.channel],
    ["Source", message.source],
    ["Came in by", headers.door ? doorName(headers.door) : headers.via.map((route) => ["route ", link(route, "route", route), " "])],
    ["Sticky", message.sticky ? "yes" : null],
    ["Expires", time(message.expiresAt)],
    ["Answers", headers.inReplyTo && link(headers.inReplyTo, "message", headers.inReplyTo)],
    ["Content type", headers.contentType],
    ["Trace id", headers.traceparent && code(headers.traceparent)],
  ]);
}

export const payloadOf = (message) =>
  el("pre", { tabindex: 0, "aria-label": "Payload" }, indented(message.payload));

// When the last thing in a trace happened.
function endOf({ message, publishedAt, passages }) {
  const times = passages.flatMap((passage) => [
    passage.endedAt, ...passage.failures.map(({ at }) => at)].filter(Boolean).map((at) => Date.parse(at))
    .concat(passage.results.map(endOf)));
  return Math.max(Date.parse(publishedAt || published(message.id)), ...times);
}

// The axis that all bars of a trace share.
function axisOf(trace) {
  const start = Date.parse(trace.publishedAt);
  const length = Math.max(endOf(trace) - start, 1);
  return {
    start,
    after: (at) => `+${lasting(Math.max(0, Date.parse(at) - start) / 1000)}`,
    share: (at) => Math.min(1, Math.max(0, (Date.parse(at) - start) / length)),
  };
}

// A bar from one time to another, with a mark at each failure. What it shows is said in words beside it.
function bar(axis, from, to, kind, failures = []) {
  const place = (element, at, until = at) => {
    element.style.setProperty("--from", axis.share(at));
    element.style.setProperty("--length", axis.share(until) - axis.share(at));
    return element;
  };
  return el("span", { class: "track", "aria-hidden": "true" },
    place(el("span", { class: `bar ${kind}` }), from, to),
    failures.map(({ at }) => place(el("span", { class: "tick" }), at)));
}

function step(at, what, ...shown) {
  return el("div", { class: "step" }, el("span", { class: "at" }, at), el("span", { class: "what" }, what), shown);
}

function hop(node, asked, axis) {
  const { message, publishedAt, passages } = node;
  const name = message.id === asked ? el("b", {}, message.type) : link(message.type, "message", message.id);
  const what = [name, " on ", message.bus, message.headers.door ? [" ", badge(`by ${doorName(message.headers.door)}`, "plain")] : null];
  return el("li", {},
    step(axis.after(publishedAt), what.flat(), bar(axis, publishedAt, publishedAt, "hop")),
    passages.length ? el("ol", {}, passages.map((passage) => way(passage, publishedAt, asked, axis))) : null);
}

function way(passage, publishedAt, asked, axis) {
  const fate = state(passage.state, "PASSAGE_STATE");
  const end = passage.endedAt || passage.failures.at(-1)?.at || publishedAt;
  const [word, meaning] = WORDS[fate];
  const letter = fate === "dead" ? [" ", link("Look at the dead letter", "letter", passage.route, asked)] : null;
  const tries = passage.attempts > 1 ? ` after ${passage.attempts} attempts` : "";
  const failures = passage.failures.map((failure) =>
    el("li", { class: "failure" }, step(axis.after(failure.at), failure.error)));
  const results = passage.results.map((result) => hop(result, asked, axis));
  return el("li", { class: fate },
    step(passage.endedAt ? axis.after(passage.endedAt) : "", [
      "Route ", link(passage.route, "route", passage.route), ` → ${passage.sink} `, badge(word), meaning ? ` ${meaning}` : null, tries, letter],
    meaning ? null : bar(axis, publishedAt, end, fate, passage.failures)),
    failures.length + results.length ? el("ol", {}, failures, results) : null);
}

// The trace of the message `asked` as a timeline.
export function timeline(trace, asked) {
  return [
    el("p", { class: "hint" }, `Times count from ${absolute(trace.publishedAt)}, when the first message was durable.`),
    el("ol", { class: "timeline" }, hop(trace, asked, axisOf(trace))),
  ];
}

export async function message(content, { signal, given: [id] }) {
  const { first } = await call("TraceService/GetTrace", { id }, signal);
  const found = find(first, id);
  const back = { href: "#/messages", text: "Messages" };
  const whole = await read(found, signal);
  content.replaceChildren(
    heading(found.type, { back }),
    card("Trace", timeline(first, id)),
    card("Message", factsOf(found)),
    card("Payload", whole ? payloadOf(whole) : el("p", { class: "empty" }, "It expired in the meantime.")));
}

// The message of an id in a trace; the first one if it is beyond what is shown.
function find(node, id) {
  if (node.message.id === id) return node.message;
  const results = node.passages.flatMap(({ results: all }) => all);
  return results.map((result) => find(result, id)).find((found) => found?.id === id) || node.message;
}

// A trace has no payloads: the message itself is read where it is.
async function read({ id, bus, channel }, signal) {
  const scope = `bus:${bus} channel:${channel}`;
  let since = idAt(Date.parse(published(id)) - 1);
  for (;;) {
    const page = await call("MessageService/Read", { scope, since, pageSize: 100 }, signal);
    const found = page.messages.find((each) => each.id === id);
    if (found || !page.more || page.next > id) return found;
    since = page.next;
  }
}
