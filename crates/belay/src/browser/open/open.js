// The user form of a capability, /belay/open#ID (Belay §21.7).
//
// The id leaves the address bar before anything else happens and is kept in memory alone. Nothing is
// invoked until a person presses a button: looking at a link, as mail scanners do, takes no use of it.
(() => {
"use strict";

const KINDS = {
  "bus.publish": "Posts messages on a bus.",
  "bus.read": "Reads the messages of a bus.",
  "push.inbound": "Turns the ringing of a push endpoint into messages.",
  "push.notify": "Rings at a push endpoint.",
  "push.subscribe": "Has a device rung when there are messages.",
  "rpc.call": "Calls a service.",
  "url": "Reaches another address.",
  "record": "Holds other links together.",
  "grantor": "Makes further links.",
  "control": "Controls another link: shows how it stands, and can end it.",
  "station": "A station: your memberships in one place.",
};
/** An id as the gateway takes them (Belay §21.2). */
const ID = /^[A-Za-z0-9_-]{22,128}$/;
/** Items of an array or object that are shown. */
const SHOWN_MAX = 500;

/** The URL of the capability that the page is about. */
let current = null;

function takeFragment() {
  const id = location.hash.slice(1);
  if (location.hash !== "") history.replaceState(null, "", location.pathname);
  return id;
}

let opened = takeFragment();
document.addEventListener("DOMContentLoaded", () => begin(opened));
// Somebody pasted another link into the same tab.
window.addEventListener("hashchange", () => {
  const id = takeFragment();
  if (id !== "") begin(id);
});

const at = (id) => document.getElementById(id);

function el(name, properties, ...children) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
}

const caps = () => document.documentElement.dataset.caps;

function begin(id) {
  opened = "";
  if (id === "") {
    return tell("Nothing to open", "This page opens links. It was opened without one, or loaded again: open the link once more.");
  }
  if (!ID.test(id)) return dead();
  const home = new URL(caps());
  // Elsewhere the gateway would not know its own capabilities.
  if (home.origin !== location.origin) {
    location.replace(`${home.origin}${location.pathname}#${id}`);
    return undefined;
  }
  return look(caps() + id);
}

/** Invokes a URL as the library does (Belay §6.6); fails with `{status, message}`. */
async function invoke(method, url, value) {
  const request = { method, credentials: "omit", referrerPolicy: "no-referrer", cache: "no-store", redirect: "error" };
  if (value !== undefined) {
    request.body = JSON.stringify({ value });
    request.headers = { "Content-Type": "text/plain;charset=UTF-8" };
  }
  let response;
  try {
    response = await fetch(url, request);
  } catch {
    throw { status: 0, message: "the gateway does not answer" };
  }
  const text = await response.text();
  if (!response.ok) {
    let message = "";
    try {
      message = JSON.parse(text).error.message;
    } catch {
      message = response.statusText;
    }
    throw { status: response.status, message };
  }
  return text === "" ? undefined : JSON.parse(text).value;
}

/** Shows what a capability is. */
async function look(url) {
  current = url;
  at("main").setAttribute("aria-busy", "true");
  clear();
  try {
    const described = await invoke("POST", "/belay/describe", { "@": url });
    if (current === url) describe(url, described);
  } catch (error) {
    if (current === url) failed(error, () => look(url));
  }
}

function clear() {
  for (const id of ["facts", "warning", "actions", "result"]) at(id).hidden = true;
  for (const id of ["facts", "actions", "value", "status", "warning", "about"]) at(id).replaceChildren();
}

function tell(title, about) {
  clear();
  at("main").setAttribute("aria-busy", "false");
  document.title = title;
  at("title").textContent = title;
  at("about").textContent = about;
  at("title").focus({ preventScroll: true });
}

function dead() {
  tell("This link does nothing", "It was ended, it ran out, or it never worked. Ask whoever gave it to you for another.");
}

function failed(error, again) {
  if (error.status === 404) return dead();
  tell("The link can't be looked at now", `${error.message} (${error.status}).`);
  at("actions").hidden = false;
  at("actions").append(button("Try again", "", again));
  return undefined;
}

function button(text, className, pressed) {
  const made = el("button", { type: "button", className, textContent: text });
  made.addEventListener("click", pressed);
  return made;
}

function describe(url, { kind, label, methods, expires, usesLeft }) {
  tell(label || KINDS[kind] || kind, label ? KINDS[kind] || "" : "");
  const facts = [["Kind", kind], ["Methods", methods.join(", ")]];
  if (expires) facts.push(["Works until", new Date(expires).toLocaleString()]);
  if (typeof usesLeft === "number") facts.push(["Uses left", String(usesLeft)]);
  at("facts").append(...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  at("facts").hidden = false;
  const readable = methods.includes("GET");
  if (usesLeft === 1 && readable) {
    at("warning").textContent = "It works once more. Opening it uses it up.";
    at("warning").hidden = false;
  }
  const actions = at("actions");
  if (kind === "station") {
    const id = url.slice(caps().length);
    actions.append(button("Open my station", "", () => location.assign(`/belay/station#${id}`)));
  } else if (readable) {
    actions.append(button("Open", "", () => read(url)));
  } else {
    at("about").append(" There is nothing in it to look at: it is for programs.");
  }
  if (kind === "control" && methods.includes("DELETE")) actions.append(revoke(url));
  actions.append(button("Copy address for programs", "quiet", copy));
  actions.hidden = false;
}

async function copy() {
  try {
    await navigator.clipboard.writeText(current);
    at("status").textContent = "Copied. Whoever has the address can use the link.";
  } catch {
    at("status").textContent = "The browser does not let this page copy.";
  }
}

/** A button that ends what a control capability controls; pressed twice, since it can't be undone. */
function revoke(url) {
  let sure = false;
  const made = button("End the link", "danger", async () => {
    if (!sure) {
      sure = true;
      made.textContent = "Really end it, for everybody";
      return;
    }
    try {
      await invoke("DELETE", url);
      tell("Ended", "The link and everything that was made of it does nothing any more.");
    } catch (error) {
      failed(error, () => look(url));
    }
  });
  return made;
}

/** GETs the capability, because a person asked for it. */
async function read(url) {
  at("status").textContent = "Opening …";
  for (const one of at("actions").children) one.disabled = true;
  try {
    const value = await invoke("GET", url);
    await refresh(url, show(value));
  } catch (error) {
    if (error.status === 404) return dead();
    at("status").textContent = `It answered ${error.status}: ${error.message}.`;
    for (const one of at("actions").children) one.disabled = false;
  }
  return undefined;
}

/** Says how the capability stands after a use, and what it showed. */
async function refresh(url, shown) {
  try {
    describe(url, await invoke("POST", "/belay/describe", { "@": url }));
    at("status").textContent = "Opened.";
  } catch ({ status }) {
    tell(status === 404 ? "The link is used up" : document.title, "What it showed is below.");
  }
  at("value").replaceChildren(shown);
  at("result").hidden = false;
}

/** A value as elements; capabilities show as such, never as addresses. */
function show(value) {
  if (value === undefined) return el("span", { className: "empty" }, "nothing");
  if (value === null || typeof value !== "object") return el("span", {}, String(value));
  if (typeof value["@"] === "string") return showCap(value["@"]);
  const entries = Object.entries(value);
  if (entries.length === 0) return el("span", { className: "empty" }, "empty");
  const list = el("ul", {});
  for (const [name, member] of entries.slice(0, SHOWN_MAX)) {
    const label = Array.isArray(value) ? `${Number(name) + 1}.` : name;
    list.append(el("li", {}, el("span", { className: "name" }, label), show(member)));
  }
  if (entries.length > SHOWN_MAX) {
    list.append(el("li", { className: "empty" }, `and ${entries.length - SHOWN_MAX} more`));
  }
  return list;
}

function showCap(text) {
  if (text.startsWith(caps()) && ID.test(text.slice(caps().length))) {
    return button("A link: look at it", "quiet", () => look(text));
  }
  return el("span", { className: "chip" }, "a link of another place");
}
})();
