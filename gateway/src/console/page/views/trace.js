// One message: what it is, and its trace as a timeline.

import { get, part } from "../api.js";
import { badge, clock, el, heading, number } from "../dom.js";

const WORDS = {
  pending: "pending",
  delivered: "delivered",
  dead: "dead letter",
  skipped: "skipped: it came by this route",
  passed: "passed",
};

function facts(message) {
  const lines = [
    ["Id", el("code", {}, message.id)],
    ["Bus", message.bus],
    ["Channel", message.channel],
    ["Source", message.source],
    ["Came in by", message.door || (message.via.length ? `route ${message.via.join(", ")}` : "–")],
    ["Expires", message.expires_at],
    ["Answers", message.in_reply_to && messageLink(message.in_reply_to)],
    ["Trace", message.traceparent && el("code", {}, message.traceparent)],
  ];
  return el("dl", { class: "facts" }, lines.filter(([, value]) => value).map(([name, value]) =>
    [el("dt", {}, name), el("dd", {}, value)]));
}

function messageLink(id) {
  return el("a", { href: `#/message/${encodeURIComponent(id)}` }, id);
}

// Times are shown as milliseconds after the first message of the trace.
function hop(node, asked, start) {
  const { message, passages } = node;
  const after = Date.parse(message.published_at) - start;
  const name = message.id === asked ? el("b", {}, message.type) : el("a", {
    href: `#/message/${encodeURIComponent(message.id)}` }, message.type);
  return el("li", { class: "hop" },
    el("span", { class: "at" }, after ? `+${number(after)} ms` : clock(message.published_at)),
    name, ` on ${message.bus} `, message.door ? badge(message.door, "plain") : null,
    passages.length ? el("ol", {}, passages.map((passage) => way(passage, asked, start))) : null);
}

function way(passage, asked, start) {
  const ended = passage.ended_at && Date.parse(passage.ended_at) - start;
  const failures = passage.failures.map((failure) => el("li", { class: "failure" },
    el("span", { class: "at" }, `+${number(Date.parse(failure.at) - start)} ms`), failure.error));
  const results = passage.results.map((result) => hop(result, asked, start));
  const letter = passage.state === "dead"
    ? el("a", { href: `#/letters/${encodeURIComponent(passage.route)}` }, "look at it") : null;
  return el("li", { class: `way ${passage.state}` },
    el("span", { class: "at" }, ended === null ? "" : `+${number(ended)} ms`),
    `${passage.route} → ${passage.sink} `, badge(WORDS[passage.state], passage.state),
    passage.attempts > 1 ? ` after ${passage.attempts} attempts ` : " ", letter,
    failures.length + results.length ? el("ol", {}, failures, results) : null);
}

export function timeline(trace, asked) {
  return el("ol", { class: "timeline" }, hop(trace, asked, Date.parse(trace.message.published_at)));
}

export async function message(content, { signal, arguments: [id] }) {
  const [shown, trace] = await Promise.all([
    get(`messages/${part(id)}`, signal), get(`traces/${part(id)}`, signal)]);
  content.replaceChildren(
    heading(shown.type),
    el("section", { class: "card" }, facts(shown)),
    el("section", { class: "card", "aria-labelledby": "trace" },
      el("h2", { id: "trace" }, "Trace"), timeline(trace, id)),
    el("section", { class: "card", "aria-labelledby": "payload" },
      el("h2", { id: "payload" }, "Payload"),
      el("pre", { tabindex: "0" }, JSON.stringify(shown.payload, null, 2))));
}
