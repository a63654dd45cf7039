// Routes with what waits on them, and their dead letters.

import { get, part, post, remove, repeat } from "../api.js";
import { badge, button, el, heading, number, table } from "../dom.js";
import { timeline } from "./trace.js";

const EVERY_MS = 2000;

export async function routes(content, { signal, failed }) {
  const draw = (all) => {
    const rows = all.map((route) => {
      const running = route.state !== "paused";
      const change = () => post(`routes/${part(route.name)}/${running ? "pause" : "resume"}`).then(look).catch(failed);
      const dead = route.dead_letters
        ? el("a", { href: `#/letters/${part(route.name)}` }, number(route.dead_letters)) : "0";
      const sink = [route.sink, ...route.map.map((rule) => el("small", {}, rule))];
      return [
        el("b", {}, route.name), badge(route.state), route.scope, el("span", {}, sink),
        number(route.delivered), number(route.pending), dead,
        route.state === "blocked" ? route.blocked_reason
          : button(running ? "Pause" : "Resume", change, { "aria-label": `${running ? "Pause" : "Resume"} ${route.name}` }),
      ];
    });
    const columns = ["Route", "State", "Takes", "Leads to", "Delivered", "Waiting", "Dead letters", ""];
    content.replaceChildren(heading("Routes"), el("section", { class: "card" },
      table("Routes", columns, rows, "There is no route yet. Make one: buswire route create --help")));
  };
  const look = async () => draw((await get("overview", signal)).routes);
  // What has the focus is not taken away from under a finger.
  const again = async () => (content.contains(document.activeElement) ? undefined : look());
  await look();
  repeat(again, EVERY_MS, signal, failed);
}

export async function letters(content, { signal, failed, arguments: [route] }) {
  const path = `routes/${part(route)}/dead-letters`;
  const status = el("p", { class: "hint", role: "status", "aria-live": "polite" });
  const list = el("section", { class: "card" });
  const detail = el("div", {});
  let shown = [];

  const look = async () => {
    const page = await get(path, signal);
    shown = page.dead_letters;
    const rows = shown.map((letter) => {
      const { message } = letter;
      const error = letter.failures.length ? letter.failures[letter.failures.length - 1].error : "";
      return [
        button(message.type, () => open(message.id).catch(failed), { class: "link" }),
        message.channel, letter.given_up_at, String(letter.attempts), error,
        button("Replay", () => replay([message.id]).catch(failed), { "aria-label": `Replay ${message.id}` }),
      ];
    });
    const columns = ["Message", "Channel", "Given up", "Attempts", "Why", ""];
    list.replaceChildren(table(`Dead letters of ${route}`, columns, rows, "No dead letters."));
    all.hidden = shown.length < 2;
    return page;
  };

  const open = async (id) => {
    const letter = await get(`${path}/${part(id)}`, signal);
    // The message itself may have expired; then there is no trace any more.
    const trace = await get(`traces/${part(id)}`, signal).catch(() => null);
    const failures = letter.failures.map((failure) => [failure.at, failure.error]);
    const drop = button("Drop for good", async () => {
      try {
        await remove(`${path}/${part(id)}`);
        status.textContent = "Dropped.";
        detail.replaceChildren();
        await look();
      } catch (error) {
        failed(error);
      }
    }, { class: "danger" });
    detail.replaceChildren(el("section", { class: "card", "aria-labelledby": "letter" },
      el("h2", { id: "letter", tabindex: "-1" }, letter.message.type),
      el("p", { class: "hint" }, el("code", {}, id)),
      table("Every failure", ["When", "What it came to"], failures, "None is known."),
      trace ? [el("h3", {}, "Trace"), timeline(trace, id)] : null,
      el("h3", {}, "Payload"),
      el("pre", { tabindex: "0" }, JSON.stringify(letter.message.payload, null, 2)),
      el("div", { class: "row" }, button("Replay", () => replay([id]).catch(failed)), drop)));
    detail.querySelector("#letter").focus();
  };

  const replay = async (ids) => {
    let delivered = 0;
    let why = "";
    for (const [index, id] of ids.entries()) {
      status.textContent = `Replaying ${index + 1} of ${ids.length} …`;
      const result = await post(`${path}/${part(id)}/replay`);
      if (result.delivered) delivered += 1;
      else why = result.error;
    }
    const again = ids.length - delivered;
    status.textContent = `${delivered} delivered, ${again} failed again${why ? `: ${why}` : ""}.`;
    detail.replaceChildren();
    await look();
  };

  const all = button("Replay all", () =>
    replay(shown.map((letter) => letter.message.id)).catch(failed), { hidden: true });
  content.replaceChildren(heading(`Dead letters of ${route}`, all),
    el("p", { class: "hint" }, "Messages that the route gave up. A replay hands one to the sink as the route is now, once."),
    status, list, detail);
  await look();
}
