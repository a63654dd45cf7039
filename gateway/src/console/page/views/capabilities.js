// Capabilities as trees: what derives from a capability stands below it and goes with it.

import { call, may } from "../api.js";
import { action, form, secret, tell } from "../dialog.js";
import { ROWS_MAX, badge, button, card, code, el, heading, time } from "../dom.js";
import { counted, state } from "../format.js";
import { finder, list, live } from "../listing.js";

const KINDS = ["bus.publish", "bus.read", "push.notify", "push.subscribe", "push.inbound", "rpc.call"];

function grant(look) {
  form({
    title: "New capability", yes: "Grant", note: "A link that may do one thing and no other, until it is revoked.",
    fields: [
      { name: "kind", label: "Kind", options: KINDS.map((kind) => [kind, kind]) },
      { name: "target", label: "What it operates on", rows: 3, value: "{}", hint: 'A JSON object, such as {"bus": "example.com", "channel": "news"}' },
      { name: "limits", label: "Limits", rows: 2, value: "", hint: 'A JSON object, such as {"uses": 10}; empty: none' },
      { name: "label", label: "Label", hint: "What to call it in this list" },
    ],
    run: async (values) => {
      const { cap, control } = await call("CapabilityService/GrantCapability", values);
      secret("Capability", [["Link that invokes it", cap], ["Link that controls it", control]]);
      await look();
    },
  });
}

function relabel({ handle, label }, look) {
  form({
    title: "Label", yes: "Change", fields: [{ name: "label", label: "What to call it", value: label }],
    run: async ({ label: wanted }) => {
      await call("CapabilityService/UpdateCapability", { handle, label: wanted });
      tell("Changed.");
      await look();
    },
  });
}

function actions(capability, name, look, failed) {
  const { handle } = capability;
  const isSuspended = capability.state === "CAPABILITY_STATE_SUSPENDED";
  if (capability.state === "CAPABILITY_STATE_REVOKED") return null;
  return el("span", { class: "actions" },
    may("CapabilityService/UpdateCapability")
      ? button("Label", () => relabel(capability, look), { "aria-label": `Label ${name}` }) : null,
    action(isSuspended ? "Resume" : "Suspend", "CapabilityService/UpdateCapability", { handle, suspended: !isSuspended }, {
      label: `${isSuspended ? "Resume" : "Suspend"} ${name}`, done: isSuspended ? "Resumed." : "Suspended.", then: look, failed }),
    action("Revoke", "CapabilityService/RevokeCapability", { handle }, {
      label: `Revoke ${name}`, danger: true, ask: "It is revoked with everything below it. This can't be undone.", done: "Revoked.", then: look, failed }));
}

function branch(capability, children, show) {
  const below = children.get(capability.handle) || [];
  const name = capability.label || capability.handle;
  const { usesLeft, expiresAt, lastUsedAt, invocations, target, limits } = capability;
  const notes = [
    counted(invocations, "invocation"), lastUsedAt ? ["last ", time(lastUsedAt)] : null,
    usesLeft === undefined || usesLeft === null ? null : counted(usesLeft, "use left", "uses left"),
    expiresAt ? ["expires ", time(expiresAt)] : null,
  ].filter(Boolean).flatMap((note, index) => [index ? ", " : "", note]);
  return el("li", { "data-key": capability.handle },
    el("div", { class: "leaf" },
      el("div", {},
        el("p", {}, el("b", {}, capability.label || capability.kind), " ", badge(state(capability.state, "CAPABILITY_STATE")), " ",
          capability.label ? badge(capability.kind, "plain") : null),
        el("p", { class: "hint" }, code(capability.handle), " · ", notes),
        el("p", { class: "hint" }, code(target), limits && limits !== "{}" ? [" limits ", code(limits)] : null)),
      show(capability, name)),
    below.length ? el("ul", {}, below.map((child) => branch(child, children, show))) : null);
}

export async function capabilities(content, context) {
  const { signal, failed } = context;
  const found = {};
  const load = () => list("CapabilityService/ListCapabilities", "capabilities", {}, signal);
  await live(content, context, load, (all, { look, redraw }) => {
    const find = finder(found, "Find a capability", redraw);
    const known = new Set(all.map(({ handle }) => handle));
    const children = Map.groupBy(all.filter(({ parent }) => known.has(parent)), ({ parent }) => parent);
    const isShown = (it) => find.stays(it.label, it.handle, it.kind, it.target) || (children.get(it.handle) || []).some(isShown);
    const roots = all.filter((it) => !known.has(it.parent) && isShown(it));
    const show = (capability, name) => actions(capability, name, look, failed);
    const rest = roots.length - ROWS_MAX;
    return [
      heading("Capabilities", { actions: [find.input,
        may("CapabilityService/GrantCapability") ? button("New capability", () => grant(look), { class: "primary" }) : null] }),
      card("Who may do what by a link", roots.length
        ? el("ul", { class: "tree" }, roots.slice(0, ROWS_MAX).map((root) => branch(root, children, show)))
        : el("p", { class: "empty" }, all.length ? "No capability is like that." : "There is no capability yet: a link that may do one thing and no other."),
      rest > 0 ? el("p", { class: "hint" }, `${rest} more are not shown.`) : null),
    ];
  });
}
