// One capability for each transport, used with the library of Belay; and one of this window, which the
// gateway uses. `../api/…` stands for the back end, which holds the rights to grant them.
"use strict";

const byId = (id) => document.getElementById(id);

function showProblem(error) {
  const box = byId("problem");
  box.textContent = `${error.message || error} Reload the page to try again.`;
  box.hidden = false;
}

async function backEnd(path, body) {
  const reply = await fetch(`../api/${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!reply.ok) throw new Error(`The demo's back end answered ${reply.status} to ${path}.`);
  return reply.json();
}

// What the gateway invokes: it gets a message, and its answer goes back to the route.
function delivered({ type, payload }) {
  const item = document.createElement("li");
  item.className = "order";
  item.append(`New order: ${payload.item}`, document.createElement("time"));
  item.lastChild.textContent = new Date().toLocaleTimeString();
  const small = document.createElement("small");
  small.textContent = type;
  item.append(small);
  byId("window").prepend(item);
  while (byId("window").children.length > 4) byId("window").lastChild.remove();
}

// A button that uses a capability, and says what came of it.
function use(id, invoke, tell) {
  const result = byId(`${id}-result`);
  const show = (kind, text) => {
    result.className = `result ${kind}`;
    result.textContent = text;
  };
  byId(id).disabled = false;
  byId(id).addEventListener("click", () => {
    invoke().then(
      (value) => show("good", tell(value)),
      ({ status, message }) => show("bad", `${status} ${message}`),
    );
  });
}

let orders = 0;
let rings = 0;

async function start(capServer) {
  const endpoint = await navigator.push.register();
  navigator.setMessageHandler("push", ({ pushEndpoint, version }) => {
    if (pushEndpoint === endpoint) byId("ring-result").textContent = `The device was told: version ${version}.`;
  });
  addEventListener("pagehide", () => navigator.push.unregister(endpoint));

  const { session, caps } = await backEnd("links", {
    channel: crypto.randomUUID(),
    endpoint,
    window: capServer.grant(delivered).serialize(),
  });
  const cap = (name) => capServer.restore(caps[name]);
  const [publish, read, call, ring] = ["publish", "read", "call", "ring"].map(cap);

  use("publish", () => {
    orders += 1;
    return publish.post({ type: "demo/order", payload: { item: `ticket ${orders}` } });
  }, ({ id }) => `It is message ${id}.`);
  use("read", () => read.get(), ({ messages }) => {
    return `${messages.length} messages: ${messages.map(({ type }) => type).join(", ")}`;
  });
  use("call", () => call.post({ item: "a seat" }), ({ confirmed }) => `Confirmed: ${confirmed.item}.`);
  use("ring", () => {
    rings += 1;
    return ring.put({ version: rings });
  }, () => byId("ring-result").textContent);

  byId("revoke").disabled = false;
  byId("revoke").addEventListener("click", () => {
    byId("revoke").disabled = true;
    backEnd("revoke", { session }).catch(showProblem);
  });
}

belay.start((capServer) => { start(capServer).catch(showProblem); }, showProblem);
