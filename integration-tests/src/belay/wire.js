// A page's side of the Belay frame in literal messages (Belay §§9, 11, 22.2), to see what a library hides.
// `wire.outpost` is the record that the frame sent; `wire.actions` what it asked of the page.

window.wire = (() => {
  // A page without an address of its own has its query in a variable.
  const query = new URLSearchParams(window.query || location.search);
  const gateway = query.get("gateway");
  const wire = { violations: [], actions: [], outpost: null, served: [], inits: 0, ids: new Map(), txId: 1000 };
  const pending = new Map();
  let tunnel;
  let action;

  addEventListener("securitypolicyviolation", ({ blockedURI }) => wire.violations.push(blockedURI));

  const frame = document.createElement("iframe");
  frame.src = `${gateway}/belay/frame.html`;
  frame.width = "100%";
  frame.height = "40";
  // A start id works once: it leaves the address at once (Belay §22.5).
  const startId = location.hash.split("belay-start=")[1] || null;
  if (startId) history.replaceState(null, "", location.href.split("#")[0]);
  const navigate = (to) => {
    const isHere = to.url === location.href;
    location.href = `${to.url}#belay-start=${to.startId}`;
    // To the browser that is a place in the same document.
    if (isHere) location.reload();
  };
  const begin = ([tunnelPort, actionPort]) => {
    [tunnel, action] = [tunnelPort, actionPort];
    tunnel.onmessage = ({ data }) => receive(data);
    action.onmessage = ({ data }) => {
      wire.actions.push(data);
      if (data.op === "navigate") navigate(data.args);
    };
    action.postMessage({ startId, location: location.href });
  };
  addEventListener("message", ({ source, origin, data, ports }) => {
    if (source !== frame.contentWindow || origin !== gateway) return;
    wire.inits += 1;
    wire.init = data;
    if (ports.length === 2 && (wire.inits === 1 || wire.takesEveryInit)) begin(ports);
  });
  wire.hello = (data = { belay: "hello", v: 1 }) => frame.contentWindow.postMessage(data, gateway);
  wire.takesEveryInit = query.get("hello") !== "at-once";
  frame.onload = () => {
    wire.isLoaded = true;
    if (query.get("hello") !== "late") wire.hello();
  };
  if (query.get("embed") !== "no") document.body.append(frame);

  const receive = (message) => {
    if (message.op === "outpost") wire.outpost = JSON.parse(message.outpostData).value;
    if (message.op === "invoke") serve(message);
    if (message.op === "response") pending.get(message.txId)(message);
  };
  const text = (value) => (value === undefined ? undefined : JSON.stringify({ value }));
  const serve = async ({ txId, ser, method, data }) => {
    wire.served.push({ ser, method, data });
    const handler = wire.ids.get(ser.slice(-36));
    const answer = handler && (await handler(data && JSON.parse(data).value, method));
    const type = handler ? "success" : "failure";
    const failure = { status: 404, message: "not found" };
    tunnel.postMessage({ op: "response", txId, type, data: handler ? text(answer) : failure });
  };

  /** The `response` to one invocation. */
  wire.call = (ser, method, value) => {
    const { txId } = wire;
    wire.txId += 1;
    tunnel.postMessage({ op: "invoke", txId, ser, method, data: text(value) });
    return new Promise((resolve) => pending.set(txId, resolve));
  };
  /** What a capability gives; a failure rejects. */
  wire.post = async (cap, value, method = "POST") => {
    const { type, data } = await wire.call(cap["@"], method, value);
    if (type === "failure") throw data;
    return data === undefined ? undefined : JSON.parse(data).value;
  };
  /** A capability of this page's own instance, or of another that it routes. */
  wire.grant = (handler, instanceId = wire.outpost.instanceId) => {
    // A UUID where there is no secure context, too.
    const capId = URL.createObjectURL(new Blob()).slice(-36);
    wire.ids.set(capId, handler);
    return { "@": `urn:x-cap:${instanceId}:${capId}` };
  };
  wire.doubler = (instanceId) => wire.grant((n) => 2 * n, instanceId)["@"];
  wire.double = (ser) => wire.post({ "@": ser }, 21).catch(({ status }) => status);
  wire.send = (message) => tunnel.postMessage(message);
  wire.remove = () => frame.remove();
  return wire;
})();
