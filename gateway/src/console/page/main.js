// The frame of the console: signing in, and which view is shown. A view is a function that fills an
// element; it gets a signal that is aborted when another view takes its place.

import { Refused, get, useToken } from "./api.js";
import { button, el } from "./dom.js";
import { buses } from "./views/buses.js";
import { caps } from "./views/caps.js";
import { messages } from "./views/messages.js";
import { overview } from "./views/overview.js";
import { push } from "./views/push.js";
import { letters, routes } from "./views/routes.js";
import { services } from "./views/services.js";
import { message } from "./views/trace.js";

const VIEWS = {
  overview: { title: "Overview", show: overview },
  messages: { title: "Messages", show: messages },
  routes: { title: "Routes", show: routes },
  buses: { title: "Buses", show: buses },
  push: { title: "Push", show: push },
  services: { title: "Services", show: services },
  capabilities: { title: "Capabilities", show: caps },
};
// Views that are about one thing, and under which name they stand.
const INNER = { message: { show: message, of: "messages" }, letters: { show: letters, of: "routes" } };

const byId = (id) => document.getElementById(id);
let leaving = new AbortController();
let signedIn = false;

export function showProblem(error) {
  const box = byId("problem");
  box.textContent = error ? error.message || String(error) : "";
  box.hidden = !error;
}

// What went wrong in a view: a token that is refused leads back to the door.
function failed(error) {
  if (error.name === "AbortError") return;
  if (error instanceof Refused && error.status === 401) signOut("The token is not taken any more.");
  else showProblem(error);
}

async function showView() {
  if (!signedIn) return;
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  showProblem(null);
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const inner = INNER[name];
  const view = inner || VIEWS[name] || VIEWS.overview;
  const current = inner ? inner.of : VIEWS[name] ? name : "overview";
  for (const link of byId("nav").children) {
    if (link.dataset.view === current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${VIEWS[current].title} · Buswire console`;
  const content = el("div", { class: "view" });
  byId("main").replaceChildren(content);
  try {
    await view.show(content, { signal, failed, arguments: rest });
  } catch (error) {
    failed(error);
  }
}

function signOut(why) {
  useToken("");
  signedIn = false;
  leaving.abort();
  byId("nav").hidden = true;
  byId("sign-out").hidden = true;
  showSignIn(why);
}

function showSignIn(why) {
  showProblem(null);
  const token = el("input", {
    id: "token", type: "password", autocomplete: "off", required: true, spellcheck: "false",
  });
  const wrong = el("p", { class: "wrong", role: "alert" }, why || "");
  const enter = async (event) => {
    event.preventDefault();
    useToken(token.value.trim());
    try {
      await get("overview");
    } catch (error) {
      useToken("");
      wrong.textContent = error.status === 401 ? "This is not the admin token." : error.message;
      token.select();
      return;
    }
    token.value = "";
    signIn();
  };
  const form = el("form", { class: "card sign-in", onsubmit: enter },
    el("h1", {}, "Sign in"),
    el("label", { for: "token" }, "Admin token"), token,
    el("p", { class: "hint" }, "It is in ", el("code", {}, "admin.token"),
      " in the data directory of the gateway. This page keeps it in memory only."),
    wrong, el("button", { type: "submit" }, "Sign in"));
  byId("main").replaceChildren(form);
  token.focus();
}

function signIn() {
  signedIn = true;
  byId("nav").hidden = false;
  byId("sign-out").hidden = false;
  showView().then(() => byId("main").focus());
}

byId("nav").append(...Object.entries(VIEWS).map(([name, view]) =>
  el("a", { href: `#/${name}`, "data-view": name }, view.title)));
byId("sign-out").replaceWith(button("Sign out", () => signOut(), { id: "sign-out", class: "quiet", hidden: true }));
addEventListener("hashchange", showView);

// A client certificate needs no token.
get("overview").then(signIn, () => showSignIn());
