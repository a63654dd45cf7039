// The live map: doors, the buses that they publish on, the routes that take from these, and where those
// lead; and the same as tables.

import { card, el, heading, link, svg, table } from "../dom.js";
import { counted, doorName, number, perSecond } from "../format.js";
import { list, live } from "../listing.js";
import { load, rates } from "./overview.js";

// So many of each are drawn; the tables have all.
const MOST = 14;
const ROW = 52;
const BOX = { width: 176, height: 40 };
const COLUMN = 252;
const CHARACTERS = 22;
const TITLES = ["Doors", "Buses", "Routes", "Destinations"];
const KINDS = ["door", "bus", "route", "destination"];

const busesOf = (scope) => [...scope.matchAll(/(?:^|\s)bus:(\S+)/g)].map(([, name]) => name);

// What moves as boxes in columns and lines between them: `{ id, text, note, href, column }`,
// `{ from, to, rate }`.
function graph({ activity, buses, routes }, rate) {
  const doors = activity.doors.filter(({ door, published }) => door !== "route" && Number(published));
  const flows = activity.buses.flatMap(({ bus, doors: by }) => by
    .filter(({ door }) => door !== "route")
    .map(({ door, published }) => ({ bus, door, published, rate: rate(`bus ${bus} ${door}`) })));
  const sinks = [...new Set(routes.map(({ sink }) => sink))];
  const boxes = [
    ...doors.slice(0, MOST).map(({ door, published }) => ({
      id: `door ${door}`, column: 0, text: doorName(door), note: `${perSecond(rate(`door ${door}`))} · ${number(published)} in all`,
    })),
    ...buses.slice(0, MOST).map(({ name, messages }) => ({
      id: `bus ${name}`, column: 1, text: name, note: `${number(messages)} live`, href: `#/bus/${encodeURIComponent(name)}`,
    })),
    ...routes.slice(0, MOST).map(({ name, pending, deadLettersKept }) => ({
      id: `route ${name}`, column: 2, text: name, href: `#/route/${encodeURIComponent(name)}`, bad: Number(deadLettersKept) > 0,
      note: Number(deadLettersKept) ? counted(deadLettersKept, "dead letter") : `${perSecond(rate(`route ${name}`))} · ${number(pending)} waiting`,
    })),
    ...sinks.slice(0, MOST).map((sink) => ({ id: `sink ${sink}`, column: 3, text: sink, note: "" })),
  ];
  const lines = [
    ...flows.map((flow) => ({ from: `door ${flow.door}`, to: `bus ${flow.bus}`, rate: flow.rate })),
    ...routes.flatMap(({ name, scope, sink }) => [
      ...busesOf(scope).map((bus) => ({ from: `bus ${bus}`, to: `route ${name}`, rate: rate(`route ${name}`) })),
      { from: `route ${name}`, to: `sink ${sink}`, rate: rate(`route ${name}`) },
    ]),
  ];
  return { boxes, lines, flows };
}

function place(boxes) {
  const columns = TITLES.map((_, column) => boxes.filter((box) => box.column === column));
  const height = Math.max(...columns.map((column) => column.length), 1) * ROW;
  const places = new Map();
  columns.forEach((column, x) => column.forEach((box, y) => {
    const top = 34 + (height - column.length * ROW) / 2 + y * ROW;
    places.set(box.id, { x: x * COLUMN, y: top });
  }));
  return { places, height: height + 40 };
}

const shortened = (text) => (text.length > CHARACTERS ? `${text.slice(0, CHARACTERS - 1)}…` : text);

function box({ text, note, href, column, bad }, { x, y }) {
  const short = shortened(text);
  const drawn = [
    svg("rect", { width: BOX.width, height: BOX.height, rx: 8 }, svg("title", {}, text)),
    svg("text", { x: 12, y: note ? 17 : 25, class: "name" }, short), " ",
    note ? svg("text", { x: 12, y: 32, class: "note" }, note) : null,
  ];
  const attributes = { class: `box column-${column}${bad ? " bad" : ""}`, transform: `translate(${x} ${y})` };
  // What is to be seen, and then what that is.
  const name = `${[short, note].filter(Boolean).join(" ")}, ${KINDS[column]}${short === text ? "" : ` ${text}`}`;
  return href
    ? svg("a", { ...attributes, href, "aria-label": name }, drawn)
    : svg("g", { ...attributes, tabindex: 0, role: "img", "aria-label": name }, drawn);
}

function line({ rate }, from, to) {
  const [x1, y1] = [from.x + BOX.width, from.y + BOX.height / 2];
  const [x2, y2] = [to.x, to.y + BOX.height / 2];
  const bend = (x2 - x1) / 2;
  const path = svg("path", { d: `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` });
  return svg("g", { class: rate > 0 ? "line moving" : "line", "aria-hidden": "true" }, path);
}

function draw(state, { before }) {
  const rate = rates(state, before);
  const { boxes, lines, flows } = graph(state, rate);
  const { places, height } = place(boxes);
  const picture = svg("svg", {
    viewBox: `-4 0 ${3 * COLUMN + BOX.width + 8} ${height}`, role: "group", "aria-label": "Live map",
  },
    TITLES.map((title, column) => svg("text", { x: column * COLUMN, y: 18, class: "title", "aria-hidden": "true" }, title)),
    lines.filter(({ from, to }) => places.has(from) && places.has(to))
      .map((each) => line(each, places.get(each.from), places.get(each.to))),
    boxes.map((each) => box(each, places.get(each.id))));
  const drawn = Math.max(state.buses.length, state.routes.length) > MOST
    ? `The first ${MOST} of each are drawn; the tables have all. ` : "";
  return [
    heading("Live map"),
    card("What moves where",
      el("p", { class: "hint" }, `${drawn}A line that moves carries messages at this moment. Buses and routes lead to their pages.`),
      el("div", { class: "map", tabindex: 0, role: "region", "aria-label": "Drawing of the live map" }, picture)),
    card("From doors to buses", table("From doors to buses", [
      { name: "Door", cell: ({ door }) => doorName(door) },
      { name: "Bus", cell: ({ bus }) => link(bus, "bus", bus) },
      { name: "Now", number: true, cell: (flow) => perSecond(flow.rate) },
      { name: "Since the start", number: true, cell: ({ published }) => number(published) },
    ], flows, "Nothing came in yet. Publish a message under Messages, or through any door.")),
    card("From buses through routes", table("From buses through routes", [
      { name: "Takes", cell: ({ scope }) => scope },
      { name: "Route", cell: ({ name }) => link(name, "route", name) },
      { name: "Leads to", cell: ({ sink }) => sink },
      { name: "Now", number: true, cell: ({ name }) => perSecond(rate(`route ${name}`)) },
      { name: "Delivered", number: true, cell: ({ delivered }) => number(delivered) },
      { name: "Waiting", number: true, cell: ({ pending }) => number(pending) },
    ], state.routes, "There is no route yet. Make one under Routes.")),
  ];
}

export async function map(content, context) {
  const look = async () => {
    const [state, buses] = await Promise.all([
      load(context.signal), list("BusService/ListBuses", "buses", {}, context.signal)]);
    return { ...state, buses };
  };
  await live(content, context, look, draw);
}
