// The demo page: what two widgets of different vendors, a push client and the holder of a capability
// do, each through the protocol that it would really use. `api/…` stands for the back ends of the two
// vendors, which hold the credentials that a browser must not have.
"use strict";

const bus = "demo";
const byId = (id) => document.getElementById(id);
const state = { token: "", channel: "", session: "", cap: "", sentAt: 0, hops: {} };

function showProblem(error) {
  const box = byId("problem");
  box.textContent = `${error.message || error} Reload the page to try again.`;
  box.hidden = false;
}

async function call(path, body) {
  const reply = await fetch(`api/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!reply.ok) throw new Error(`The demo's back end answered ${reply.status} to ${path}.`);
  return reply.json();
}

// Backplane 2.0: an anonymous token comes as a padded script, for pages that can do nothing else.
function anonymousToken() {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    window.gotToken = (token) => {
      script.remove();
      token.access_token ? resolve(token) : reject(new Error("No token was issued."));
    };
    script.onerror = () => reject(new Error("The gateway did not answer."));
    script.src = `/v2/token?bus=${bus}&callback=gotToken`;
    document.head.append(script);
  });
}

function mark(hop) {
  if (!state.sentAt || state.hops[hop]) return;
  state.hops[hop] = true;
  const item = document.querySelector(`[data-hop="${hop}"]`);
  item.classList.add("done");
  item.querySelector("time").textContent = `${(performance.now() - state.sentAt).toFixed(0)} ms`;
}

function addTo(list, kind, text, note) {
  const item = document.createElement("li");
  item.className = kind;
  const main = document.createElement("span");
  main.textContent = text;
  const time = document.createElement("time");
  time.textContent = new Date().toLocaleTimeString();
  const small = document.createElement("small");
  small.textContent = note;
  item.append(main, time, small);
  list.prepend(item);
  while (list.children.length > 4) list.lastChild.remove();
}

// Widget B: long poll. The header says that there is a message; only a back end may see the payload.
async function pollForever() {
  let url = `/v2/messages?block=20`;
  for (;;) {
    let page;
    try {
      const separator = url.includes("?") ? "&" : "?";
      const reply = await fetch(`${url}${separator}access_token=${encodeURIComponent(state.token)}`);
      if (!reply.ok) throw new Error(`The poll was answered with ${reply.status}.`);
      page = await reply.json();
    } catch (error) {
      showProblem(error);
      return;
    }
    for (const header of page.messages) await show(header);
    const next = new URL(page.nextURL, location.href);
    next.searchParams.set("block", "20");
    next.searchParams.delete("access_token");
    url = next.pathname + next.search;
  }
}

async function show(header) {
  const { payload } = await call("payload", { session: state.session, messageURL: header.messageURL });
  const isAnswer = header.type === "demo/answer";
  const text = isAnswer ? `Confirmed: ${payload.confirmed.item}` : `New order: ${payload.item}`;
  addTo(byId("received"), isAnswer ? "answer" : "order", text, `${header.type} from ${header.source}`);
  mark(isAnswer ? "answer" : "order");
}

// SimplePush, with the gateway's own library.
async function listenForPush() {
  const endpoint = await navigator.push.register();
  navigator.setMessageHandler("push", ({ pushEndpoint, version }) => {
    // Other tabs have other endpoints.
    if (pushEndpoint !== endpoint) return;
    byId("push-text").textContent = `push: version ${version}`;
    byId("push").classList.add("rang");
    setTimeout(() => byId("push").classList.remove("rang"), 900);
    mark("push");
    readCapability().catch(showProblem);
  });
  addEventListener("pagehide", () => navigator.push.unregister(endpoint));
  byId("push").classList.add("live");
  byId("push-text").textContent = "push: waiting";
  return endpoint;
}

// Belay: a GET on the link, nothing else needed.
async function readCapability() {
  const result = byId("cap-result");
  const reply = await fetch(state.cap, { referrerPolicy: "no-referrer" });
  const body = await reply.json();
  if (!reply.ok) {
    result.className = "result bad";
    result.textContent = `${reply.status} ${body.error.message}: this link does nothing any more.`;
    return;
  }
  const types = body.value.messages.map((message) => message.type);
  result.className = "result good";
  result.textContent = `200: ${types.length} messages (${types.join(", ")})`;
  if (types.includes("demo/order") && types.includes("demo/answer")) mark("cap");
}

byId("order").addEventListener("submit", async (event) => {
  event.preventDefault();
  const item = byId("item").value;
  state.sentAt = performance.now();
  state.hops = {};
  for (const step of document.querySelectorAll(".path li")) {
    step.classList.remove("done");
    step.querySelector("time").textContent = "";
  }
  try {
    await call("order", { session: state.session, item });
    mark("post");
    addTo(byId("sent"), "order", item, "accepted: it is on disk");
  } catch (error) {
    showProblem(error);
  }
});

byId("read").addEventListener("click", () => readCapability().catch(showProblem));
byId("revoke").addEventListener("click", async () => {
  try {
    await call("revoke", { session: state.session });
    byId("revoke").disabled = true;
    await readCapability();
  } catch (error) {
    showProblem(error);
  }
});

async function start() {
  const token = await anonymousToken();
  state.token = token.access_token;
  state.channel = token.scope.split("channel:")[1];
  const endpoint = await listenForPush();
  const session = await call("session", { channel: state.channel, endpoint });
  state.session = session.session;
  state.cap = session.cap;
  const shown = session.cap.length - 12;
  byId("cap").textContent = `${session.cap.slice(0, shown)}…`;
  for (const id of ["send", "read", "revoke"]) byId(id).disabled = false;
  pollForever();
}

start().catch(showProblem);
