// Views that stay up to date, and lists that are longer than a page.

import { call } from "./api.js";
import { el, morphChildren } from "./dom.js";

// How often a view is brought up to date.
const EVERY_MS = 2000;
// So many items of a list are asked for.
const ITEMS_MAX = 2000;

// What a call lists in its field `items`, page by page.
export async function list(name, items, body, signal) {
  const found = [];
  let pageToken = "";
  do {
    const page = await call(name, { ...body, pageToken }, signal);
    found.push(...page[items]);
    pageToken = page.nextPageToken;
  } while (pageToken && found.length < ITEMS_MAX);
  return found;
}

// Draws what `load` gives, again and again until the view is left, as long as the page is looked at. A
// failure is told and tried again: the gateway may come back. `draw` gets what was loaded, and
// `{ before, look, redraw }`: what was loaded before that, and how to load or draw at once.
export async function live(content, { signal, failed, fine }, load, draw) {
  let state = null;
  let before = null;
  const redraw = () => {
    if (!signal.aborted) {
      const drawn = [draw(state, { before, look, redraw })].flat(Infinity);
      morphChildren(content, drawn.filter((child) => child !== null && child !== undefined));
    }
  };
  const look = async () => {
    const loaded = await load();
    [before, state] = [state, loaded];
    fine();
    redraw();
  };
  const again = async () => {
    if (signal.aborted) return;
    try {
      if (!document.hidden) await look();
    } catch (error) {
      failed(error);
    }
    setTimeout(again, EVERY_MS);
  };
  setTimeout(again, EVERY_MS);
  await look();
}

// A field that narrows a list down, and whether a row stays in it. `state.wanted` is what was entered.
export function finder(state, label, redraw) {
  const input = el("input", {
    type: "search", placeholder: label, "aria-label": label, autocomplete: "off", spellcheck: "false",
    oninput: (event) => {
      state.wanted = event.target.value.trim().toLowerCase();
      redraw();
    },
  });
  const stays = (...texts) => texts.flat().some((text) => String(text).toLowerCase().includes(state.wanted || ""));
  return { input, stays };
}
