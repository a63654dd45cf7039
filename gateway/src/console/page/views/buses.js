// Buses and how full they are.

import { get, part } from "../api.js";
import { el, heading, lasting, number, table } from "../dom.js";

export async function buses(content, { signal }) {
  const all = (await get("overview", signal)).buses;
  const rows = all.map((bus) => [
    el("a", { href: `#/messages/${part(`bus:${bus.name}`)}` }, bus.name),
    number(bus.messages), number(bus.channels),
    lasting(bus.retention_s), lasting(bus.sticky_retention_s), number(bus.max_messages),
  ]);
  const columns = ["Bus", "Messages", "Channels", "Kept", "Sticky kept", "Most per channel"];
  content.replaceChildren(heading("Buses"), el("section", { class: "card" },
    table("Buses", columns, rows, "There is no bus yet. Make one: buswire bus create NAME")));
}
