// Small helpers for making elements. Text is always set as text, never as HTML.

export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children.flat());
  return element;
}

export function heading(text, ...more) {
  return el("div", { class: "heading" }, el("h1", {}, text), ...more);
}

export function badge(text, kind = text) {
  return el("span", { class: `badge ${kind.replaceAll(" ", "-")}` }, text);
}

// A table with a caption for screen readers; on a narrow screen each row becomes a card, in which the
// names of the columns stand beside the values.
export function table(caption, columns, rows, empty) {
  if (!rows.length) return el("p", { class: "empty" }, empty);
  const head = el("tr", {}, columns.map((name) => el("th", { scope: "col" }, name)));
  const body = rows.map((cells) =>
    el("tr", {}, cells.map((cell, index) =>
      el("td", { "data-name": columns[index] }, cell === null || cell === undefined ? "–" : cell))));
  return el("table", {}, el("caption", {}, caption), el("thead", {}, head), el("tbody", {}, body));
}

export function button(text, onclick, attributes = {}) {
  return el("button", { type: "button", onclick, ...attributes }, text);
}

export const number = (value) => value.toLocaleString("en");

export function counted(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

export function clock(time) {
  return new Date(time).toLocaleTimeString("en-GB") + "." + time.slice(20, 23);
}

// How long before `now` a time was, in words.
export function ago(time, now) {
  return lasting((Date.parse(now) - Date.parse(time)) / 1000) + " ago";
}

export function lasting(seconds) {
  if (seconds < 90) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}
