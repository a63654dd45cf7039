// Routes: what each does, and making, changing, pausing and removing one.

import { call, may } from "../api.js";
import { action, form, tell } from "../dialog.js";
import { badge, button, card, code, el, facts, heading, link, table } from "../dom.js";
import { counted, duration, expecting, lasting, number, perSecond, seconds, state, written } from "../format.js";
import { finder, list, live } from "../listing.js";
import { letters } from "./letters.js";

// So many dead letters are shown at once.
const LETTERS_MAX = 50;
const SINKS = "bus:NAME, bus:NAME/CHANNEL, mdp:SERVICE, push:URL, push:subscribers or cap:URL";

// An emptied field of a route that exists stays: only new routes get what is usual.
const empty = (route, usual) => (route ? "empty: as it is" : `empty: ${usual}`);

const fields = (route) => [
  { name: "scope", label: "Takes (scope)", value: route?.scope, required: true, hint: "Such as bus:example.com type:order/new; it names at least one bus" },
  { name: "sink", label: "Leads to", value: route?.sink, required: !route, hint: SINKS },
  { name: "reply_type", label: "Type of answers", value: route?.replyType, hint: "What the answers of a service or a capability are published as; empty drops them" },
  { name: "map", label: "Changes", rows: 3, value: route?.map.join("\n"), hint: "One a line: type:NEW, channel:NEW, field:NAME=/json/pointer; empty changes nothing" },
  { name: "first_delay", half: true, label: "First wait", value: route && written(route.retry.firstDelay), hint: `Before the second attempt; ${empty(route, "200ms")}` },
  { name: "longest_delay", half: true, label: "Longest wait", value: route && written(route.retry.longestDelay), hint: `Between two attempts; ${empty(route, "30s")}` },
  { name: "attempts_max", half: true, label: "Attempts", type: "number", value: route?.retry.attemptsMax, hint: `Then it becomes a dead letter; ${empty(route, "12")}` },
  { name: "timeout", half: true, label: "Time for an attempt", value: route && written(route.retry.timeout), hint: `10ms to 10m; ${empty(route, "10s")}` },
];

function described(values) {
  return {
    scope: values.scope,
    sink: values.sink,
    replyType: values.reply_type,
    map: values.map.split("\n").map((rule) => rule.trim()).filter(Boolean),
    retry: {
      firstDelay: duration(values, "first_delay"),
      longestDelay: duration(values, "longest_delay"),
      timeout: duration(values, "timeout"),
      attemptsMax: values.attempts_max ? Number(values.attempts_max) : undefined,
    },
  };
}

function create(look) {
  form({
    title: "New route", yes: "Create",
    note: "A route hands every message of a scope to a sink, in the order of each channel, until the sink has taken it.",
    fields: [
      { name: "name", label: "Name", required: true },
      ...fields(null),
      { name: "from", label: "Begins with", options: [["now", "what is published from now on"], ["beginning", "the oldest message that is kept"]] },
    ],
    run: async (values) => {
      await call("RouteService/CreateRoute", { name: values.name, from: values.from, ...described(values) });
      tell(`Route ${values.name} runs.`);
      await look();
    },
  });
}

function change(route, look) {
  form({
    title: `Change ${route.name}`, yes: "Change",
    note: "It goes on where it is. What is secret in its sink is not shown: leave the sink as it stands here, and it is not changed.",
    fields: fields(route),
    run: async (values) => {
      const updateMask = ["scope", "replyType", "map", "retry"].concat(values.sink === route.sink ? [] : "sink");
      await call("RouteService/UpdateRoute", {
        name: route.name, ...described(values), updateMask: updateMask.join(","), ...expecting(route) });
      tell(`Route ${route.name} is changed.`);
      await look();
    },
  });
}

function pausing(route, look, failed) {
  const isPaused = route.state === "ROUTE_STATE_PAUSED";
  const [text, name, done] = isPaused
    ? ["Resume", "RouteService/ResumeRoute", "runs"] : ["Pause", "RouteService/PauseRoute", "is paused"];
  return action(text, name, { name: route.name },
    { label: `${text} ${route.name}`, done: `Route ${route.name} ${done}.`, then: look, failed });
}

const stateOf = (route) => badge(state(route.state, "ROUTE_STATE"));

export async function routes(content, context) {
  const { signal, failed } = context;
  const found = {};
  const load = async () => ({ all: await list("RouteService/ListRoutes", "routes", {}, signal), at: Date.now() });
  await live(content, context, load, ({ all, at }, { before, look, redraw }) => {
    const find = finder(found, "Find a route", redraw);
    const earlier = new Map(before?.all.map((route) => [route.name, Number(route.delivered)]));
    const rate = ({ name, delivered }) => (earlier.has(name)
      ? Math.max(0, Number(delivered) - earlier.get(name)) / ((at - before.at) / 1000) : 0);
    const hasOwners = all.some((route) => route.owner);
    const shown = all.filter((route) => find.stays(route.name, route.scope, route.sink));
    return [
      heading("Routes", { actions: [find.input,
        may("RouteService/CreateRoute") ? button("New route", () => create(look), { class: "primary" }) : null] }),
      card("What leads where", table("Routes", [
        { name: "Route", cell: ({ name }) => el("b", {}, link(name, "route", name)) },
        { name: "State", cell: stateOf },
        { name: "Takes", cell: ({ scope }) => scope },
        { name: "Leads to", cell: ({ sink, map }) => [sink, map.map((rule) => el("small", {}, rule))] },
        hasOwners ? { name: "Runs at", cell: ({ owner }) => owner } : null,
        { name: "Now", number: true, cell: (route) => perSecond(rate(route)) },
        { name: "Delivered", number: true, cell: ({ delivered }) => number(delivered) },
        { name: "Waiting", number: true, cell: ({ pending }) => number(pending) },
        { name: "Dead letters", number: true, cell: ({ name, deadLettersKept }) =>
          (Number(deadLettersKept) ? link(number(deadLettersKept), "route", name) : "0") },
        { name: "", cell: (route) => pausing(route, look, failed) },
      ].filter(Boolean), shown, all.length ? "No route is like that." : "There is no route yet. A route hands the messages of a bus to a sink.",
      ({ name }) => name)),
    ];
  });
}

export async function route(content, context) {
  const { signal, failed, given: [name] } = context;
  const load = async () => {
    const [{ route: it }, dead, { routes: latencies }] = await Promise.all([
      call("RouteService/GetRoute", { name }, signal),
      call("DeadLetterService/ListDeadLetters", { route: name, pageSize: LETTERS_MAX }, signal),
      call("ActivityService/GetActivity", {}, signal),
    ]);
    return { it, dead, latency: latencies.find((each) => each.route === name)?.latency };
  };
  await live(content, context, load, ({ it, dead, latency }, { look }) => [
    heading(name, {
      back: { href: "#/routes", text: "Routes" }, note: stateOf(it),
      actions: [
        pausing(it, look, failed),
        may("RouteService/UpdateRoute") ? button("Change", () => change(it, look)) : null,
        action("Delete", "RouteService/DeleteRoute", { name }, {
          label: `Delete ${name}`, danger: true, ask: "It ends with its position and its dead letters. This can't be undone.",
          done: `Route ${name} is gone.`, then: () => { location.hash = "#/routes"; }, failed,
        }),
      ],
    }),
    it.blockedReason ? el("p", { class: "notice bad" }, `It can't deliver: ${it.blockedReason}.`) : null,
    letters(it, dead, look, failed),
    card("How it is", facts([
      ["Takes", code(it.scope)],
      ["Leads to", code(it.sink)],
      ["Runs at", it.owner],
      ["Answers", it.replyType ? `published as ${it.replyType}` : "dropped"],
      ["Changes", it.map.length ? el("ul", { class: "plain" }, it.map.map((rule) => el("li", {}, code(rule)))) : null],
      ["Delivered", `${number(it.delivered)} since the start`],
      ["Waiting", counted(it.pending, "message")],
      ["Failed attempts", number(it.failedAttempts)],
      ["Half delivered within", latency && lasting(seconds(latency.p50))],
      ["99 of 100 within", latency && `${lasting(seconds(latency.p99))}, of the last ${counted(latency.deliveries, "delivery", "deliveries")}`],
      ["Tries", `${it.retry.attemptsMax} times, ${written(it.retry.firstDelay)} to ${written(it.retry.longestDelay)} apart, ${written(it.retry.timeout)} each`],
    ])),
  ]);
}
