// Capabilities as trees: what derives from a capability stands below it and goes with it.

import { get, part, query, remove } from "../api.js";
import { badge, button, el, heading, number } from "../dom.js";

function branch(capability, children, revoke) {
  const below = children.get(capability.handle) || [];
  const notes = [
    capability.uses_left === null ? null : `${number(capability.uses_left)} uses left`,
    capability.expires_at ? `until ${capability.expires_at}` : null,
  ].filter(Boolean).join(", ");
  const gone = capability.state === "revoked";
  return el("li", {},
    el("div", { class: "row" },
      el("b", {}, capability.label || capability.kind), el("code", {}, capability.handle),
      badge(capability.kind, "plain"), badge(capability.state), el("small", {}, notes),
      gone ? null : button("Revoke", () => revoke(capability), {
        class: "danger", "aria-label": `Revoke ${capability.label || capability.handle}` })),
    below.length ? el("ul", {}, below.map((child) => branch(child, children, revoke))) : null);
}

export async function caps(content, { signal, failed }) {
  const look = async () => {
    const all = [];
    let after = "";
    do {
      const page = await get(`capabilities?${query({ after })}`, signal);
      all.push(...page.capabilities);
      after = page.next || "";
    } while (after && all.length < 2000);
    const known = new Set(all.map((capability) => capability.handle));
    const children = new Map();
    const roots = [];
    for (const capability of all) {
      if (capability.parent && known.has(capability.parent)) {
        children.set(capability.parent, [...(children.get(capability.parent) || []), capability]);
      } else roots.push(capability);
    }
    const tree = roots.length
      ? el("ul", { class: "tree" }, roots.map((root) => branch(root, children, revoke)))
      : el("p", { class: "empty" }, "There is no capability yet. Make one: buswire cap grant KIND");
    list.replaceChildren(tree);
  };
  const revoke = async (capability) => {
    const name = capability.label || capability.handle;
    if (!confirm(`Revoke ${name} and everything below it? This can't be undone.`)) return;
    try {
      await remove(`capabilities/${part(capability.handle)}`);
      await look();
    } catch (error) {
      failed(error);
    }
  };
  const list = el("section", { class: "card" });
  content.replaceChildren(heading("Capabilities"), list);
  await look();
}
