// User agents of SimplePush.

import { get } from "../api.js";
import { badge, el, heading, number, table } from "../dom.js";

export async function push(content, { signal }) {
  const state = await get("push", signal);
  const rows = state.agents.map((agent) => [
    el("code", {}, agent.id), badge(agent.connected ? "connected" : "away"),
    number(agent.channels), number(agent.pending), agent.pending_since, agent.seen_at,
  ]);
  const columns = ["User agent", "State", "Channels", "Unacknowledged", "Waiting since", "Last seen"];
  const notes = [
    `${number(state.connections)} connections, ${number(state.connected)} user agents connected.`,
    state.draining ? "Takes nothing new." : "",
    state.store_unavailable ? `Versions can't be stored: ${state.store_unavailable}.` : "",
    state.more ? "The first 200 are shown; buswire push list has all." : "",
  ];
  content.replaceChildren(heading("Push"), el("p", { class: "hint" }, notes.join(" ")),
    el("section", { class: "card" },
      table("User agents", columns, rows, "No user agent has a channel.")));
}
