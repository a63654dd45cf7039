// Dead letters: messages that a route gave up, why, and trying them again.

import { call } from "../api.js";
import { action } from "../dialog.js";
import { badge, card, el, heading, link, table, time } from "../dom.js";
import { absolute, counted } from "../format.js";
import { live } from "../listing.js";
import { factsOf, payloadOf, timeline } from "./trace.js";

const REPLAY = "DeadLetterService/ReplayDeadLetters";

// What became of a replay, in words.
function outcome({ replays }) {
  const failures = replays.filter(({ error }) => error);
  const delivered = replays.length - failures.length;
  if (!failures.length) return `${counted(delivered, "message")} delivered.`;
  const why = `${failures.length} failed again: ${failures.at(-1).error}`;
  return delivered ? `${counted(delivered, "message")} delivered, ${why}` : why;
}

const lastError = (letter) => letter.failures.at(-1)?.error || "It could not be tried.";

// The dead letters of a route, for its page.
export function letters(route, { deadLetters, nextPageToken }, look, failed) {
  if (!deadLetters.length) return null;
  const ids = deadLetters.map(({ message }) => message.id);
  const all = `Replay ${nextPageToken ? "these" : "all"} ${ids.length}`;
  const replayAll = ids.length > 1 ? action(all, REPLAY, { route: route.name, ids },
    { label: `${all} dead letters of ${route.name}`, done: outcome, then: look, failed }) : null;
  return card("Dead letters",
    el("p", {}, "The route gave these messages up. Mend what the errors name, then replay them: each is handed to the sink once more, as the route is now."),
    replayAll ? el("div", { class: "row" }, replayAll) : null,
    table("Dead letters", [
      { name: "Message", cell: ({ message }) => link(message.type, "letter", route.name, message.id) },
      { name: "Channel", cell: ({ message }) => message.channel },
      { name: "Given up", cell: ({ givenUpAt }) => time(givenUpAt) },
      { name: "Attempts", number: true, cell: ({ attempts }) => attempts },
      { name: "Last error", cell: lastError },
      { name: "", cell: ({ message }) => action("Replay", REPLAY, { route: route.name, ids: [message.id] },
        { label: `Replay ${message.type}`, done: outcome, then: look, failed }) },
    ], deadLetters, "", ({ message }) => message.id),
    nextPageToken ? el("p", { class: "hint" }, "These are the first; the rest comes up as they are replayed or dropped.") : null);
}

export async function letter(content, context) {
  const { signal, failed, given: [route, id] } = context;
  const back = { href: `#/route/${encodeURIComponent(route)}`, text: `Route ${route}` };
  const load = async () => {
    try {
      const { deadLetter } = await call("DeadLetterService/GetDeadLetter", { route, id }, signal);
      // The message may have expired on its bus; then there is no trace any more.
      const trace = await call("TraceService/GetTrace", { id }, signal).catch(() => null);
      return { deadLetter, trace: trace?.first };
    } catch (error) {
      if (error.code === "NotFound") return { deadLetter: null };
      throw error;
    }
  };
  const leave = () => { location.hash = back.href; };
  await live(content, context, load, ({ deadLetter, trace }) => {
    if (!deadLetter) {
      return [heading("Dead letter", { back }), card("It is gone",
        el("p", {}, "It was replayed or dropped, or it was kept long enough. "), link("Look at the message", "message", id))];
    }
    const { message } = deadLetter;
    return [
      heading(message.type, {
        back, note: badge("dead letter"),
        actions: [
          action("Replay", REPLAY, { route, ids: [id] }, {
            label: `Replay ${message.type}`, done: outcome, failed,
            then: ({ replays }) => { if (replays.some(({ error }) => !error)) leave(); },
          }),
          action("Drop", "DeadLetterService/DropDeadLetters", { route, ids: [id] }, {
            label: `Drop ${message.type}`, danger: true, ask: "It is dropped for good and can't be replayed any more.",
            done: "Dropped.", then: leave, failed,
          }),
        ],
      }),
      card("Why it was given up",
        el("p", { class: "notice bad" }, lastError(deadLetter)),
        el("p", {}, `Tried ${counted(deadLetter.attempts, "time")}, given up `, time(deadLetter.givenUpAt),
          ". Mend what the error names; then Replay hands the message to the sink of the route once more."),
        table("Every failure that is kept", [
          { name: "When", cell: ({ at }) => absolute(at) },
          { name: "What it came to", cell: ({ error }) => error },
        ], deadLetter.failures, "No attempt is known.")),
      trace ? card("Trace", timeline(trace, id)) : null,
      card("Message", factsOf(message)),
      card("Payload", payloadOf(message)),
    ];
  });
}
