// How the gateway is: what needs attention, what comes in and goes out, and how long that takes.

import { call, callIfThere } from "../api.js";
import { action } from "../dialog.js";
import { badge, card, el, heading, link, svg, table, time } from "../dom.js";
import { bytes, counted, doorName, lasting, number, perSecond, seconds, state as valueOf } from "../format.js";
import { list, live } from "../listing.js";

// So many routes have a row here; the view of routes has all.
const ROUTES_MAX = 10;
const CHART = { width: 300, height: 56 };

export async function load(signal) {
  const [system, activity, routes, push, broker] = await Promise.all([
    call("SystemService/GetStatus", {}, signal),
    call("ActivityService/GetActivity", {}, signal),
    list("RouteService/ListRoutes", "routes", {}, signal),
    callIfThere("PushService/GetPushStatus", {}, signal),
    callIfThere("BrokerService/ListServices", {}, signal),
  ]);
  const counts = Object.fromEntries(system.counts.map(({ name, value }) => [name, Number(value)]));
  return { system, counts, activity, routes, push, services: broker?.services };
}

// Rates between two looks: of doors and routes by name, of buses by door and name.
export function rates(now, before) {
  const passed = before ? (Date.parse(now.activity.now) - Date.parse(before.activity.now)) / 1000 : 0;
  const moved = (current, earlier) => (passed > 0 && earlier !== undefined
    ? Math.max(0, Number(current) - Number(earlier)) / passed : 0);
  const numbers = ({ activity, routes }) => new Map([
    ...activity.doors.map((door) => [`door ${door.door}`, door.published]),
    ...activity.buses.flatMap((bus) => bus.doors.map((door) => [`bus ${bus.bus} ${door.door}`, door.published])),
    ...routes.map((route) => [`route ${route.name}`, route.delivered]),
  ]);
  const earlier = before ? numbers(before) : new Map();
  const found = new Map();
  for (const [name, count] of numbers(now)) found.set(name, moved(count, earlier.get(name)));
  return (name) => found.get(name) || 0;
}

const isDrained = ({ state: at }) => at === "SYSTEM_STATE_DRAINING" || at === "SYSTEM_STATE_DRAINED";

function troubles({ system, routes, push }) {
  const found = [];
  if (isDrained(system)) found.push("The gateway is out of service: its public listener takes nothing new.");
  else if (!system.ready) found.push("The gateway takes nothing new. Look at the store below, at its disk, and at the log.");
  if (push?.storeUnavailable) found.push(`Push versions can't be stored: ${push.storeUnavailable}`);
  for (const route of routes) {
    const name = link(route.name, "route", route.name);
    if (route.state === "ROUTE_STATE_BLOCKED") found.push(["Route ", name, ` can't deliver: ${route.blockedReason}`]);
    if (Number(route.deadLettersKept)) {
      found.push(["Route ", name, " gave up ", link(counted(route.deadLettersKept, "message"), "route", route.name),
        ". They are kept as dead letters and can be replayed."]);
    }
  }
  return found;
}

function health({ system, counts, routes, push, services }) {
  const line = (name, isFine, text) => el("li", {},
    badge(isFine ? "fine" : "trouble"), el("b", {}, name), el("span", {}, text));
  const blocked = routes.filter((route) => route.state === "ROUTE_STATE_BLOCKED").length;
  const queued = services?.reduce((sum, service) => sum + service.queued, 0);
  return el("ul", { class: "health" },
    line("Store", system.ready, `${system.store}, ${bytes(counts["store.disk_bytes"])} on disk, ${counted(counts["store.waiting"], "write")} waiting`),
    line("Routes", !blocked, `${number(routes.length)}, ${blocked ? `${number(blocked)} blocked` : "none blocked"}`),
    services ? line("Broker", true, `${counted(services.length, "service")}, ${counted(queued, "request")} waiting`) : null,
    push ? line("Push", !push.storeUnavailable && !push.draining,
      push.draining ? "takes nothing new" : `${counted(push.connections, "connection")}, ${counted(push.agents, "user agent")}`) : null,
    line("Capabilities", true, `${counted(counts["belay.relay.connections"], "window")} at the relay`));
}

// A line of the last minutes, and in words what it shows.
function chart(name, values, interval) {
  const most = Math.max(...values, 1);
  const step = CHART.width / Math.max(values.length - 1, 1);
  const y = (value) => (CHART.height - 4 - (value / most) * (CHART.height - 8)).toFixed(1);
  const points = values.map((value, index) => `${(index * step).toFixed(1)},${y(value)}`).join(" ");
  const minutes = lasting(values.length * interval);
  const sum = values.reduce((total, value) => total + value, 0);
  return el("figure", {},
    el("figcaption", {}, el("b", {}, name),
      el("span", {}, values.length ? `${number(sum)} in ${minutes}, at most ${perSecond(most > 1 || sum ? most / interval : 0)}` : "The first interval is not over yet.")),
    svg("svg", { viewBox: `0 0 ${CHART.width} ${CHART.height}`, preserveAspectRatio: "none", "aria-hidden": "true", class: "chart" },
      svg("polyline", { points: `0,${CHART.height} ${points} ${CHART.width},${CHART.height}`, class: "area" }),
      svg("polyline", { points, class: "line" })));
}

function tile(name, value, note) {
  return el("div", { class: "tile" }, el("dt", {}, name), el("dd", {}, value, note ? el("small", {}, note) : null));
}

const took = (latency) => [latency ? lasting(seconds(latency.p50)) : "–", latency ? lasting(seconds(latency.p99)) : "–"];

// Takes the gateway out of service, or back.
function draining(system, look, failed) {
  return isDrained(system)
    ? action("Take into service", "SystemService/Undrain", {}, { label: "Take into service", done: "It is in service.", then: look, failed })
    : action("Drain", "SystemService/Drain", {}, {
      label: "Drain the gateway", danger: true, ask: "Its public listener takes nothing new until it is taken into service again.",
      done: "It is drained.", then: look, failed });
}

function draw(state, { before, look }, failed) {
  const { system, activity, routes } = state;
  const rate = rates(state, before);
  const doors = activity.doors.filter(({ door }) => door !== "route");
  const accepted = doors.reduce((sum, { door }) => sum + rate(`door ${door}`), 0);
  const delivered = routes.reduce((sum, { name }) => sum + rate(`route ${name}`), 0);
  const waiting = routes.reduce((sum, route) => sum + Number(route.pending), 0);
  const [p50, p99] = took(activity.latency);
  const found = troubles(state);
  const interval = seconds(activity.interval);
  const series = (field) => activity.intervals.map((each) => Number(each[field]));
  const latencies = new Map(activity.routes.map(({ route, latency }) => [route, latency]));
  const busiest = [...routes].sort((a, b) => Number(b.delivered) - Number(a.delivered)).slice(0, ROUTES_MAX);
  return [
    heading("Overview", {
      note: badge(system.state ? valueOf(system.state, "SYSTEM_STATE") : system.ready ? "ready" : "not ready"),
      actions: [draining(system, look, failed)],
    }),
    card("Needs attention", found.length
      ? el("ul", { class: "troubles" }, found.map((each) => el("li", {}, each)))
      : el("p", { class: "fine" }, "Nothing needs attention.")),
    card("Now", el("dl", { class: "tiles" },
      tile("Accepted", perSecond(accepted), `${number(doors.reduce((sum, door) => sum + Number(door.published), 0))} since the start`),
      tile("Delivered", perSecond(delivered), `${counted(waiting, "message")} waiting`),
      tile("Half delivered within", p50, "from accepted to taken by the sink"),
      tile("99 of 100 within", p99, activity.latency ? `of the last ${counted(activity.latency.deliveries, "delivery", "deliveries")}` : "nothing delivered yet"))),
    card("Last five minutes", el("div", { class: "charts" },
      chart("Accepted", series("accepted"), interval), chart("Delivered", series("delivered"), interval),
      chart("Failed attempts", series("failedAttempts"), interval))),
    el("div", { class: "columns" },
      card("Doors", table("Messages by door", [
        { name: "Door", cell: ({ door }) => doorName(door) },
        { name: "Now", number: true, cell: ({ door }) => perSecond(rate(`door ${door}`)) },
        { name: "Since the start", number: true, cell: ({ published }) => number(published) },
      ], doors, "There is no door.")),
      card("Health", health(state),
        el("p", { class: "hint" }, `Version ${system.version}, started `, time(system.startedAt), "."))),
    card("Busiest routes", table("Busiest routes", [
      { name: "Route", cell: ({ name }) => link(name, "route", name) },
      { name: "Now", number: true, cell: ({ name }) => perSecond(rate(`route ${name}`)) },
      { name: "Delivered", number: true, cell: (route) => number(route.delivered) },
      { name: "Waiting", number: true, cell: (route) => number(route.pending) },
      { name: "Half within", number: true, cell: ({ name }) => took(latencies.get(name))[0] },
      { name: "99 of 100 within", number: true, cell: ({ name }) => took(latencies.get(name))[1] },
    ], busiest, "There is no route yet. Make one under Routes: it hands messages of a bus to a sink.", ({ name }) => name)),
  ];
}

export async function overview(content, context) {
  await live(content, context, () => load(context.signal), (state, tools) => draw(state, tools, context.failed));
}
