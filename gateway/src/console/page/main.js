// The frame of the console: signing in, which view is shown, and shortcuts. A view is a function that
// fills an element; it gets a signal that is aborted when another view takes its place.

import { Unreachable, enter, leave, may } from "./api.js";
import { closeAll, nextStep, show } from "./dialog.js";
import { button, el } from "./dom.js";
import { access } from "./views/access.js";
import { administrators, audit, configuration } from "./views/administrators.js";
import { bus, buses } from "./views/buses.js";
import { capabilities } from "./views/capabilities.js";
import { letter } from "./views/letters.js";
import { map } from "./views/map.js";
import { messages } from "./views/messages.js";
import { overview } from "./views/overview.js";
import { agent, push } from "./views/push.js";
import { route, routes } from "./views/routes.js";
import { services } from "./views/services.js";
import { message } from "./views/trace.js";

// Every view that the menu leads to, in groups; `key` is its shortcut after `g`, `needs` a call without
// which there is nothing to see.
const MENU = [
  ["Watch", [
    { name: "overview", title: "Overview", view: overview, key: "o" },
    { name: "map", title: "Live map", view: map, key: "l" },
    { name: "messages", title: "Messages", view: messages, key: "m" },
  ]],
  ["Connect", [
    { name: "routes", title: "Routes", view: routes, key: "r" },
    { name: "buses", title: "Buses", view: buses, key: "b" },
    { name: "push", title: "Push", view: push, key: "p" },
    { name: "services", title: "Services", view: services, key: "s" },
  ]],
  ["Allow", [
    { name: "access", title: "Access", view: access, key: "a" },
    { name: "capabilities", title: "Capabilities", view: capabilities, key: "c" },
  ]],
  ["Govern", [
    { name: "administrators", title: "Administrators", view: administrators, key: "t",
      needs: "AdminTokenService/ListAdminTokens" },
    { name: "audit", title: "Audit", view: audit, key: "u", needs: "SystemService/ListAudit" },
    { name: "configuration", title: "Configuration", view: configuration, key: "f",
      needs: "SystemService/GetConfiguration" },
  ]],
];
// Views that are about one thing, and under which name they stand.
const INNER = {
  message: { view: message, of: "messages" },
  route: { view: route, of: "routes" },
  letter: { view: letter, of: "routes" },
  bus: { view: bus, of: "buses" },
  agent: { view: agent, of: "push" },
};
// How long after `g` the second key of a shortcut may come.
const CHORD_MS = 1500;

const byId = (id) => document.getElementById(id);
const items = () => MENU.flatMap(([, views]) => views).filter(({ needs }) => !needs || may(needs));
let leaving = new AbortController();
let signedIn = false;
let useShortcuts = true;
let chord = 0;

function problem(error) {
  const box = byId("problem");
  box.textContent = error ? [error.message, nextStep(error)].filter(Boolean).join(" ") : "";
  box.hidden = !error;
  box.dataset.kind = error instanceof Unreachable ? "unreachable" : "";
}

// The gateway answered: that it did not is over.
function fine() {
  if (byId("problem").dataset.kind) problem(null);
}

// What went wrong in a view: a token that is refused leads back to the door.
function failed(error) {
  if (error.name === "AbortError") return;
  if (error.status === 401) signOut("The token is not taken any more.");
  else problem(error);
}

function setMenu(isOpen) {
  document.body.classList.toggle("menu-open", isOpen);
  byId("menu").setAttribute("aria-expanded", String(isOpen));
}

async function showView() {
  if (!signedIn) return;
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  problem(null);
  closeAll();
  setMenu(false);
  const [name, ...given] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const inner = INNER[name];
  const current = items().find((item) => item.name === (inner ? inner.of : name)) || items()[0];
  for (const link of byId("nav").querySelectorAll("a")) {
    if (link.dataset.view === current.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${[...given].reverse().concat(current.title).join(" · ")} · Buswire console`;
  const content = el("div", { class: "view" });
  byId("main").replaceChildren(content);
  try {
    await (inner || current).view(content, { signal, failed, fine, given });
    if (!signal.aborted) (content.querySelector("h1") || byId("main")).focus();
  } catch (error) {
    failed(error);
  }
}

function signOut(why) {
  leave();
  signedIn = false;
  leaving.abort();
  closeAll();
  setMenu(false);
  for (const id of ["nav", "menu", "who"]) byId(id).hidden = true;
  showSignIn(why);
}

function showSignIn(why) {
  problem(null);
  document.title = "Sign in · Buswire console";
  const token = el("input", {
    id: "token", type: "password", autocomplete: "off", required: true, spellcheck: "false",
    "aria-describedby": "token-hint",
  });
  const wrong = el("p", { class: "wrong", role: "alert" }, why || "");
  const submit = async (event) => {
    event.preventDefault();
    try {
      const session = await enter(token.value.trim());
      token.value = "";
      signIn(session);
    } catch (error) {
      wrong.textContent = error.status === 401 ? "This is not a token of this gateway." : error.message;
      token.select();
    }
  };
  byId("main").replaceChildren(el("form", { class: "card sign-in", onsubmit: submit },
    el("h1", {}, "Sign in"),
    el("label", { for: "token" }, "Token"), token,
    el("p", { class: "hint", id: "token-hint" }, "The admin token is in ", el("code", {}, "admin.token"),
      " in the data directory of the gateway; an administrator can make others. This page keeps it in memory only."),
    wrong, el("button", { type: "submit" }, "Sign in")));
  token.focus();
}

function signIn({ name, role }) {
  signedIn = true;
  byId("nav").replaceChildren(...MENU.map(([group, views]) => {
    const shown = views.filter((view) => items().includes(view));
    const links = shown.map(({ name, title }) =>
      el("li", {}, el("a", { href: `#/${name}`, "data-view": name }, title)));
    if (!links.length) return "";
    return el("div", { class: "group" }, el("p", { "aria-hidden": "true" }, group), el("ul", { "aria-label": group }, links));
  }));
  byId("who").replaceChildren(el("p", {}, "Signed in as ", el("b", {}, name), name === role ? null : `, ${role}`),
    button("Sign out", () => signOut()), button("Shortcuts", showShortcuts));
  for (const id of ["nav", "menu", "who"]) byId(id).hidden = false;
  showView();
}

function showShortcuts() {
  const row = (keys, what) => el("div", {}, el("dt", {}, keys.map((key) => el("kbd", {}, key))), el("dd", {}, what));
  const toggle = el("input", { type: "checkbox", id: "use-shortcuts", checked: useShortcuts,
    onchange: (event) => { useShortcuts = event.target.checked; } });
  show("Shortcuts", el("dl", { class: "keys" },
    items().map(({ key, title }) => row(["g", key], title)),
    row(["/"], "Find in a list, or the scope of messages"), row(["?"], "This list"), row(["Esc"], "Close")),
  el("div", { class: "field check" }, el("label", { for: "use-shortcuts" }, "Use shortcuts"), toggle));
}

function pressed(event) {
  if (!signedIn) return;
  if (event.key === "Escape") setMenu(false);
  const typing = event.target.closest("input, textarea, select, dialog");
  if (!useShortcuts || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const chosen = Date.now() - chord < CHORD_MS && items().find(({ key }) => key === event.key);
  chord = event.key === "g" ? Date.now() : 0;
  if (chosen) location.hash = `#/${chosen.name}`;
  else if (event.key === "?") showShortcuts();
  else if (event.key === "/") byId("main").querySelector("#scope, input[type=search]")?.focus();
  else return;
  event.preventDefault();
}

byId("menu").onclick = () => setMenu(!document.body.classList.contains("menu-open"));
addEventListener("hashchange", showView);
addEventListener("keydown", pressed);

// A client certificate needs no token.
enter("").then(signIn, () => showSignIn());
