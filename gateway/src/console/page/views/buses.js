// Buses: how full they are, how long they keep what, and making, changing and deleting one.

import { call, callIfThere, may } from "../api.js";
import { action, form, tell } from "../dialog.js";
import { button, card, el, facts, heading, link, table, time } from "../dom.js";
import { counted, duration, expecting, lasting, number, seconds, written } from "../format.js";
import { finder, list, live } from "../listing.js";

const fields = (retention) => [
  { name: "default_time", label: "Keeps messages for", value: retention && written(retention.defaultTime), hint: "60s to 7d; empty: what is usual at this gateway" },
  { name: "sticky_time", label: "Keeps sticky messages for", value: retention && written(retention.stickyTime), hint: "60s to 7d, and the longest that any message may ask for; empty: what is usual" },
  { name: "messages_per_channel_max", label: "Most messages of a channel", type: "number", value: retention?.messagesPerChannelMax, hint: "More are refused; empty: what is usual" },
];

const retentionOf = (values) => ({
  defaultTime: duration(values, "default_time"),
  stickyTime: duration(values, "sticky_time"),
  messagesPerChannelMax: values.messages_per_channel_max ? Number(values.messages_per_channel_max) : undefined,
});

function create(look) {
  form({
    title: "New bus", yes: "Create",
    fields: [
      { name: "name", label: "Name", required: true, hint: "Such as example.com; v1/example.com is one of Backplane 1.x" },
      ...fields(null),
    ],
    run: async (values) => {
      const { existed } = await call("BusService/CreateBus", { name: values.name, retention: retentionOf(values) });
      tell(existed ? `There was a bus ${values.name} already; it stays as it is.` : `Bus ${values.name} is there.`);
      await look();
    },
  });
}

function change(it, look) {
  const { name, retention } = it;
  form({
    title: `Change ${name}`, yes: "Change", note: "It holds for messages that are published from then on.", fields: fields(retention),
    run: async (values) => {
      await call("BusService/UpdateBusRetention", {
        name, retention: retentionOf(values), updateMask: "retention", ...expecting(it) });
      tell(`Bus ${name} is changed.`);
      await look();
    },
  });
}

export async function buses(content, context) {
  const found = {};
  const load = () => list("BusService/ListBuses", "buses", {}, context.signal);
  await live(content, context, load, (all, { look, redraw }) => {
    const find = finder(found, "Find a bus", redraw);
    return [
      heading("Buses", { actions: [find.input,
        may("BusService/CreateBus") ? button("New bus", () => create(look), { class: "primary" }) : null] }),
      card("What is kept", table("Buses", [
        { name: "Bus", cell: ({ name }) => el("b", {}, link(name, "bus", name)) },
        { name: "Live messages", number: true, cell: ({ messages }) => number(messages) },
        { name: "Channels", number: true, cell: ({ channels }) => number(channels) },
        { name: "Kept for", number: true, cell: ({ retention }) => lasting(seconds(retention.defaultTime)) },
        { name: "Sticky for", number: true, cell: ({ retention }) => lasting(seconds(retention.stickyTime)) },
        { name: "Most per channel", number: true, cell: ({ retention }) => number(retention.messagesPerChannelMax) },
        { name: "", cell: ({ name }) => link("Messages", "messages", `bus:${name}`) },
      ], all.filter(({ name }) => find.stays(name)),
      all.length ? "No bus is like that." : "There is no bus yet. Messages are published on buses, in the order in which they came.",
      ({ name }) => name)),
    ];
  });
}

export async function bus(content, context) {
  const { signal, failed, given: [name] } = context;
  const load = async () => {
    const [{ bus: it }, channels, routes] = await Promise.all([
      call("BusService/GetBus", { name }, signal),
      // Only buses of Backplane 2.0 have channels of visits.
      name.startsWith("v1/") ? null : callIfThere("AccessService/ListChannels", { bus: name, pageSize: 200 }, signal),
      list("RouteService/ListRoutes", "routes", {}, signal),
    ]);
    return { it, channels: channels?.channels, routes: routes.filter(({ scope }) => scope.split(/\s+/).includes(`bus:${it.name}`)) };
  };
  await live(content, context, load, ({ it, channels, routes }, { look }) => [
    heading(name, {
      back: { href: "#/buses", text: "Buses" },
      actions: [
        link("Messages", "messages", `bus:${name}`),
        may("BusService/UpdateBusRetention") ? button("Change", () => change(it, look)) : null,
        action("Delete", "BusService/DeleteBus", { name }, {
          label: `Delete ${name}`, danger: true, ask: "It goes with every right to it. Its messages stay until they expire.",
          done: `Bus ${name} is gone.`, then: () => { location.hash = "#/buses"; }, failed,
        }),
      ],
    }),
    card("How it is", facts([
      ["Live messages", `${number(it.messages)} in ${counted(it.channels, "channel")}`],
      ["Keeps messages for", lasting(seconds(it.retention.defaultTime))],
      ["Keeps sticky messages for", lasting(seconds(it.retention.stickyTime))],
      ["Most of a channel", counted(it.retention.messagesPerChannelMax, "message")],
      ["Made", time(it.createdAt)],
    ])),
    card("Routes that take from it", table("Routes", [
      { name: "Route", cell: ({ name: route }) => link(route, "route", route) },
      { name: "Leads to", cell: ({ sink }) => sink },
      { name: "Waiting", number: true, cell: ({ pending }) => number(pending) },
    ], routes, "No route takes from it.", ({ name: route }) => route)),
    channels ? card("Channels of visits", table("Channels", [
      { name: "Channel", cell: (channel) => channel.name },
      { name: "Live messages", number: true, cell: ({ messages }) => number(messages) },
      { name: "Ends", cell: ({ expiresAt }) => time(expiresAt) },
    ], channels, "No visit has a channel here.", (channel) => channel.name)) : null,
  ]);
}
