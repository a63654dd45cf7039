// How the gateway is: what comes in by each door, what waits, and a live map.

import { get, repeat } from "../api.js";
import { ago, badge, counted, el, heading, number } from "../dom.js";
import { map } from "./map.js";

// How often it is looked at.
const EVERY_MS = 2000;
const DOORS = [
  ["backplane/1", "Backplane 1.x"],
  ["backplane/2", "Backplane 2.0"],
  ["simplepush", "SimplePush"],
  ["majordomo", "Majordomo"],
  ["belay", "Belay"],
  ["admin", "Administrators"],
];

function tile(label, value, note) {
  return el("div", { class: "tile" },
    el("dt", {}, label), el("dd", {}, value), note ? el("small", {}, note) : null);
}

// Messages a second since the look before.
function rates(now, before) {
  const seconds = before ? (Date.parse(now.system.now) - Date.parse(before.system.now)) / 1000 : 0;
  const rate = (current, earlier) => (seconds > 0 ? Math.max(0, current - earlier) / seconds : 0);
  const doors = {};
  for (const [door, count] of Object.entries(now.published)) {
    doors[door] = rate(count, before ? before.published[door] || 0 : count);
  }
  const routes = {};
  for (const route of now.routes) {
    const earlier = before && before.routes.find((other) => other.name === route.name);
    routes[route.name] = rate(route.delivered, earlier ? earlier.delivered : route.delivered);
  }
  return { doors, routes };
}

const perSecond = (rate) => `${rate < 10 ? rate.toFixed(1) : number(Math.round(rate))}/s`;

function troubles(state) {
  const found = [];
  if (!state.system.ready) found.push("The gateway takes no work.");
  for (const route of state.routes) {
    if (route.state === "blocked") found.push(`Route ${route.name}: ${route.blocked_reason}.`);
    if (route.dead_letters) {
      const link = el("a", { href: `#/letters/${encodeURIComponent(route.name)}` },
        counted(route.dead_letters, "dead letter"));
      found.push(el("span", {}, `Route ${route.name} has `, link, "."));
    }
  }
  return found;
}

function draw(content, state, before) {
  const { doors, routes } = rates(state, before);
  const { system } = state;
  const messages = state.buses.reduce((sum, bus) => sum + bus.messages, 0);
  const pending = state.routes.reduce((sum, route) => sum + route.pending, 0);
  const found = troubles(state);
  content.replaceChildren(
    heading("Overview", badge(system.ready ? "ready" : "not ready")),
    el("section", { class: "card", "aria-label": "Health" },
      found.length
        ? el("ul", { class: "troubles" }, found.map((trouble) => el("li", {}, trouble)))
        : el("p", { class: "fine" }, "Nothing needs attention."),
      el("dl", { class: "tiles" },
        tile("Live messages", number(messages), `on ${counted(state.buses.length, "bus", "buses")}`),
        tile("Waiting on routes", number(pending), counted(state.routes.length, "route")),
        tile("Push connections", number(system.counts["simplepush.connections"] || 0)),
        tile("Version", system.version, `since ${ago(system.started_at, system.now)}, ${system.store} store`))),
    el("section", { class: "card", "aria-labelledby": "doors" },
      el("h2", { id: "doors" }, "Messages by door"),
      el("dl", { class: "tiles" }, DOORS.map(([door, label]) =>
        tile(label, perSecond(doors[door] || 0), `${number(state.published[door] || 0)} in all`)))),
    el("section", { class: "card", "aria-labelledby": "map" },
      el("h2", { id: "map" }, "Live map"), map(state, doors, routes, perSecond)),
  );
}

export async function overview(content, { signal, failed }) {
  let before = null;
  const look = async () => {
    const state = await get("overview", signal);
    // What has the focus is not taken away from under a finger.
    if (!content.contains(document.activeElement)) draw(content, state, before);
    before = state;
  };
  await look();
  repeat(look, EVERY_MS, signal, failed);
}
