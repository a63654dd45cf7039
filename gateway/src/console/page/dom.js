// Elements, and bringing what is shown up to date. Text is always set as text, never as HTML.

import { absolute, relative } from "./format.js";

// So many rows of a table are shown; the rest is found by narrowing the list down.
export const ROWS_MAX = 200;

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export const el = (name, attributes = {}, ...children) =>
  fill(document.createElement(name), attributes, children);

export const svg = (name, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

const HANDLERS = ["onclick", "onsubmit", "oninput", "onchange"];

// Makes `shown` like `wanted` and leaves in place what is the same: neither the focus, nor a selection,
// nor the place of a scroll bar is lost by bringing a view up to date.
export function morph(shown, wanted) {
  if (shown.nodeType === Node.TEXT_NODE) {
    if (shown.data !== wanted.data) shown.data = wanted.data;
    return;
  }
  for (const { name } of [...shown.attributes]) {
    // What a person opened stays open.
    if (!wanted.hasAttribute(name) && name !== "open") shown.removeAttribute(name);
  }
  for (const { name, value } of [...wanted.attributes]) {
    if (shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
  for (const handler of HANDLERS) shown[handler] = wanted[handler];
  morphChildren(shown, [...wanted.childNodes]);
}

export function morphChildren(parent, wanted) {
  const keyOf = (node) => node.dataset?.key;
  const keyed = new Map([...parent.children].filter(keyOf).map((child) => [keyOf(child), child]));
  let at = parent.firstChild;
  for (const next of wanted) {
    const same = keyOf(next) ? keyed.get(keyOf(next)) : at;
    if (!same || same.nodeName !== next.nodeName || keyOf(same) !== keyOf(next)) {
      parent.insertBefore(next, at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else parent.insertBefore(same, at);
    morph(same, next);
  }
  while (at) {
    const after = at.nextSibling;
    at.remove();
    at = after;
  }
}

// The top of a view: where it is, its name, and what can be done.
export function heading(text, { note = null, back = null, actions = [] } = {}) {
  return el("div", { class: "heading" },
    back ? el("p", { class: "back" }, el("a", { href: back.href }, `← ${back.text}`)) : null,
    el("h1", { tabindex: "-1" }, text), note,
    actions.some(Boolean) ? el("div", { class: "actions" }, actions) : null);
}

export function card(title, ...children) {
  const id = `card-${title.toLowerCase().replaceAll(/\W+/g, "-")}`;
  return el("section", { class: "card", "aria-labelledby": id }, el("h2", { id }, title), children);
}

const TONES = {
  good: ["ready", "serving", "running", "delivered", "live", "connected", "good", "active", "fine", "idle"],
  warn: ["paused", "pending", "suspended", "busy", "draining", "inactive", "unused", "stopping", "starting", "drained", "waiting"],
  bad: ["blocked", "dead letter", "revoked", "failed", "not ready", "void", "expired", "exhausted", "trouble"],
};

export function badge(text, tone = Object.keys(TONES).find((name) => TONES[name].includes(text)) || "plain") {
  return el("span", { class: `badge ${tone}` }, text);
}

export const code = (text) => el("code", {}, text);

export const time = (at) =>
  at ? el("time", { datetime: at, title: absolute(at) }, relative(at)) : "–";

export function link(text, ...path) {
  return el("a", { href: `#/${path.map(encodeURIComponent).join("/")}` }, text);
}

export function button(text, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, text);
}

// What is known of one thing, names and values.
export function facts(lines) {
  const known = lines.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el("dl", { class: "facts" },
    known.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

// A table: `columns` are `{ name, cell, number }`. Roles are said although the elements have them: on a
// narrow screen, where each row is a card with the names of the columns in it, they would lose them.
export function table(caption, columns, rows, empty, key = null) {
  if (!rows.length) return el("p", { class: "empty" }, empty);
  const kind = (column) => (column.number ? "number" : null);
  const head = el("tr", { role: "row" }, columns.map((column) =>
    el("th", { scope: "col", role: "columnheader", class: kind(column) },
      column.name || el("span", { class: "unseen" }, "Actions"))));
  const body = rows.slice(0, ROWS_MAX).map((row) =>
    el("tr", { role: "row", "data-key": key && key(row) }, columns.map((column) => {
      const shown = column.cell(row);
      const isEmpty = shown === null || shown === undefined || shown === "";
      return el("td", { role: "cell", class: column.name ? kind(column) : "actions", "data-name": column.name },
        isEmpty ? "–" : Array.isArray(shown) ? el("div", {}, shown) : shown);
    })));
  const rest = rows.length - body.length;
  return [
    el("table", { role: "table" }, el("caption", {}, caption),
      el("thead", { role: "rowgroup" }, head), el("tbody", { role: "rowgroup" }, body)),
    rest > 0 ? el("p", { class: "hint" }, `${rest} more are not shown.`) : null,
  ];
}
