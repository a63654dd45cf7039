// The map: doors on the left, buses in the middle, sinks of routes on the right, lines between them.

import { el, svg } from "../dom.js";

const ROW = 44;
const BOX = { width: 190, height: 32 };
const COLUMNS = [0, 285, 570];
// So many of each are drawn; the tables have all.
const MOST = 12;

function box(x, y, text, kind, note) {
  const shown = text.length > 24 ? `${text.slice(0, 23)}…` : text;
  return svg("g", { class: `box ${kind}`, transform: `translate(${x} ${y})` },
    svg("title", {}, note ? `${text}: ${note}` : text),
    svg("rect", { width: BOX.width, height: BOX.height, rx: 6 }),
    svg("text", { x: 10, y: 21 }, shown));
}

function line(from, to, rate, label, perSecond) {
  const [x1, y1] = [from.x + BOX.width, from.y + BOX.height / 2];
  const [x2, y2] = [to.x, to.y + BOX.height / 2];
  const bend = (x2 - x1) / 2;
  const path = `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
  return svg("g", { class: rate > 0 ? "line moving" : "line" },
    svg("title", {}, `${label}: ${perSecond(rate)}`),
    svg("path", { d: path }),
    rate > 0 ? [svg("text", { x: (x1 + x2) / 2, y: (y1 + y2) / 2 - 6 }, perSecond(rate))] : []);
}

export function map(state, doorRates, routeRates, perSecond) {
  const doors = Object.keys(state.published).filter((door) => door !== "routes");
  const buses = state.buses.slice(0, MOST);
  const routes = state.routes.slice(0, MOST);
  const sinks = [...new Set(routes.map((route) => route.sink))].filter((sink) => !busOf(sink, buses));
  const places = new Map();
  const column = (x, names, kind) => names.map((name, index) => {
    places.set(`${kind}:${name}`, { x, y: index * ROW + 8 });
    return name;
  });
  column(COLUMNS[0], doors, "door");
  column(COLUMNS[1], buses.map((bus) => bus.name), "bus");
  column(COLUMNS[2], sinks, "sink");
  const rows = Math.max(doors.length, buses.length, sinks.length, 1);
  const lines = [];
  for (const door of doors) {
    // Which bus a message of a door is for is not counted: the door leads to the middle as a whole.
    const first = buses.length && places.get(`bus:${buses[Math.floor((buses.length - 1) / 2)].name}`);
    if (first && doorRates[door] > 0) {
      lines.push(line(places.get(`door:${door}`), first, doorRates[door], door, perSecond));
    }
  }
  for (const route of routes) {
    const to = busOf(route.sink, buses);
    const end = to ? places.get(`bus:${to.name}`) : places.get(`sink:${route.sink}`);
    for (const bus of buses.filter((other) => route.scope.includes(`bus:${other.name}`))) {
      const start = places.get(`bus:${bus.name}`);
      const aside = to ? { x: end.x, y: end.y } : end;
      lines.push(line(start, aside, routeRates[route.name] || 0, `route ${route.name}`, perSecond));
    }
  }
  const draw = (names, kind, note) => names.map((name) => {
    const { x, y } = places.get(`${kind}:${name}`);
    return box(x, y, name, kind, note && note(name));
  });
  const picture = svg("svg", {
    viewBox: `0 0 ${COLUMNS[2] + BOX.width + 2} ${rows * ROW + 8}`, role: "img",
    "aria-label": `${doors.length} doors, ${state.buses.length} buses, ${state.routes.length} routes`,
  }, lines, draw(doors, "door"), draw(buses.map((bus) => bus.name), "bus",
    (name) => `${buses.find((bus) => bus.name === name).messages} messages`), draw(sinks, "sink"));
  return el("div", { class: "map", tabindex: "0", role: "region", "aria-label": "Live map" }, picture);
}

function busOf(sink, buses) {
  const name = sink.startsWith("bus:") ? sink.slice(4) : null;
  return name && buses.find((bus) => name === bus.name || name.startsWith(`${bus.name}/`));
}
