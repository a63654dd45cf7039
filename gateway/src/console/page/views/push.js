// SimplePush: user agents with their channels, what they are told of, and inbound endpoints.

import { call, may } from "../api.js";
import { action, form, secret } from "../dialog.js";
import { badge, button, card, code, el, facts, heading, link, table, time } from "../dom.js";
import { counted, number } from "../format.js";
import { finder, list, live } from "../listing.js";

function createInbound(look) {
  form({
    title: "New inbound endpoint", yes: "Create", note: "What an application server PUTs to its URL becomes a message.",
    fields: [
      { name: "bus", label: "Bus", required: true },
      { name: "channel", label: "Channel", required: true, value: "main" },
      { name: "type", label: "Type", required: true, value: "push/inbound" },
      { name: "source", label: "Source", hint: "A URL; empty: the public URL of the gateway" },
    ],
    run: async (values) => {
      const { endpoint } = await call("InboundService/CreateInbound", values);
      secret("Inbound endpoint", [["Endpoint", endpoint]]);
      await look();
    },
  });
}

function drawAgents(agents, find) {
  const shown = agents.filter(({ id }) => find.stays(id));
  return table("User agents", [
    { name: "User agent", cell: ({ id }) => code(link(id, "agent", id)) },
    { name: "State", cell: ({ connected }) => badge(connected ? "connected" : "away") },
    { name: "Channels", number: true, cell: ({ channels }) => number(channels) },
    { name: "Not acknowledged", number: true, cell: ({ pending }) => number(pending) },
    { name: "Waiting since", cell: ({ pendingSince }) => time(pendingSince) },
    { name: "Last seen", cell: ({ seenAt }) => time(seenAt) },
  ], shown, agents.length ? "No user agent is like that." : "No user agent has a channel.", ({ id }) => id);
}

export async function push(content, context) {
  const { signal, failed } = context;
  const found = {};
  const load = async () => {
    const [status, agents, subscriptions, inbounds] = await Promise.all([
      call("PushService/GetPushStatus", {}, signal),
      list("PushService/ListAgents", "agents", {}, signal),
      list("SubscriptionService/ListSubscriptions", "subscriptions", {}, signal),
      list("InboundService/ListInbounds", "inbounds", {}, signal),
    ]);
    return { status, agents, subscriptions, inbounds };
  };
  await live(content, context, load, ({ status, agents, subscriptions, inbounds }, { look, redraw }) => {
    const find = finder(found, "Find a user agent", redraw);
    return [
      heading("Push", { actions: [find.input] }),
      status.storeUnavailable ? el("p", { class: "notice bad" }, `Versions can't be stored: ${status.storeUnavailable}.`) : null,
      card("User agents",
        el("p", { class: "hint" }, `${counted(status.connections, "connection")}, ${counted(status.agents, "user agent")} connected to this gateway.`,
          status.draining ? " It takes nothing new." : ""),
        drawAgents(agents, find)),
      card("Subscriptions", table("Subscriptions", [
        { name: "Told of", cell: ({ scope }) => scope },
        { name: "User agent", cell: (it) => code(link(it.agent, "agent", it.agent)) },
        { name: "Channel", cell: ({ channel }) => code(channel) },
        { name: "Made", cell: ({ createdAt }) => time(createdAt) },
        { name: "", cell: ({ id, scope }) => action("Remove", "SubscriptionService/DeleteSubscription", { id },
          { label: `Remove the subscription to ${scope}`, ask: "The endpoint is not told any more.", done: "Removed.", then: look, failed, danger: true }) },
      ], subscriptions, "No endpoint is told of messages. It asks for it with a capability of the kind push.subscribe.", ({ id }) => id)),
      card("Inbound endpoints",
        may("InboundService/CreateInbound") ? el("div", { class: "row" }, button("New inbound endpoint", () => createInbound(look))) : null,
        table("Inbound endpoints", [
          { name: "Publishes on", cell: (it) => link(it.bus, "bus", it.bus) },
          { name: "Channel", cell: ({ channel }) => channel },
          { name: "Type", cell: ({ type }) => type },
          { name: "Made", cell: ({ createdAt }) => time(createdAt) },
          { name: "", cell: ({ id, bus }) => action("Revoke", "InboundService/RevokeInbound", { id },
            { label: `Revoke the endpoint of ${bus}`, ask: "Its PUTs are answered 410 from then on.", done: "Revoked.", then: look, failed, danger: true }) },
        ], inbounds, "There is no inbound endpoint: a URL at which a PUT becomes a message.", ({ id }) => id)),
    ];
  });
}

export async function agent(content, context) {
  const { signal, failed, given: [id] } = context;
  const load = async () => {
    const [{ agent: it }, channels] = await Promise.all([
      call("PushService/GetAgent", { id }, signal),
      list("PushService/ListPushChannels", "channels", { agent: id }, signal),
    ]);
    return { it, channels };
  };
  await live(content, context, load, ({ it, channels }) => [
    heading(`User agent ${id}`, {
      back: { href: "#/push", text: "Push" }, note: badge(it.connected ? "connected" : "away"),
      actions: [action("Forget", "PushService/DropAgent", { id }, {
        label: `Forget ${id}`, danger: true, ask: "It goes with all its channels; the device registers anew when it connects.",
        done: "Forgotten.", then: () => { location.hash = "#/push"; }, failed,
      })],
    }),
    card("How it is", facts([
      ["Registered", time(it.createdAt)], ["Last seen", time(it.seenAt)],
      ["Channels", number(it.channels)], ["Not acknowledged", number(it.pending)],
    ])),
    card("Channels", table("Channels", [
      { name: "Channel", cell: ({ channel }) => code(channel) },
      { name: "Version not acknowledged", number: true, cell: ({ version }) => version },
      { name: "Waiting since", cell: ({ pendingSince }) => time(pendingSince) },
      { name: "", cell: ({ channel }) => action("Notify", "PushService/Notify", { agent: id, channel },
        { label: `Notify ${channel}`, done: ({ version }) => `Notified of version ${version}.`, failed }) },
    ], channels, "It has no channel.", ({ channel }) => channel)),
  ]);
}
