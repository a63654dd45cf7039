// An instance of the library for pages, spoken to in messages of the tunnel (Belay §9), one JSON text a line.

import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const source = readFileSync(process.env.BELAY_CLIENT, "utf8");
const script = { src: "https://gw.example/belay/client.js", getAttribute: () => null };
const page = { window: {}, document: { currentScript: script }, location: new URL("https://site.example/") };
page.addEventListener = () => {};
// What an item throws is the page's, and does not end it.
page.reportError = () => {};
page.history = { state: null, replaceState() {} };
new Function(...Object.keys(page), source)(...Object.values(page));
const { newUUIDv4, internals: { CapServer, CapTunnel } } = page.window.belay;

const port = {
  postMessage: (message) => process.stdout.write(`${JSON.stringify(message)}\n`),
  close: () => process.exit(),
};
const tunnel = new CapTunnel(port);

/** Public interfaces by instance. */
const reachable = new Map();
tunnel.setLocalResolver((instanceId) => reachable.get(instanceId));

function serve(snapshot) {
  const server = new CapServer(newUUIDv4(), snapshot);
  server.setResolver(tunnel.remoteResolverProxy);
  server.setNamedHandler("both", (...args) => ({ get: () => args, post: (other) => [args, other] }));
  reachable.set(server.instanceId, server.publicInterface);
  if (snapshot) reachable.set(JSON.parse(snapshot).id, server.publicInterface);
  return server;
}

const server = serve();
const teapot = { status: 418, message: "short and stout", stack: "at secret.js" };
/** One item of each kind; the other language has the same. */
const items = {
  dead: null,
  echo: (value) => value,
  later: async (value) => value,
  silent: () => undefined,
  nothing: () => null,
  throws: () => { throw new Error("oops"); },
  fails: (value, success, failed) => failed(teapot),
  reader: { get: () => "read" },
  writer: { put: () => undefined, remove: () => undefined },
  chatty: { put: () => 1, remove: () => null, get: () => 1 },
  invoked: { invoke: (method, value, success, failed) => {
    if (method === "PUT" || method === "DELETE") success(undefined);
    else success([method, value === undefined ? null : value]);
  } },
};
const grant = (item) => server.grant(item);
const granted = Object.fromEntries(Object.entries(items).map(([name, item]) => [name, grant(item)]));
granted.wrapped = server.wrap(granted.echo);
const revoked = grant(items.echo);
server.revoke(revoked);
granted.revoked = revoked;

tunnel.sendOutpost({
  items: granted,
  wrap: grant((capability) => server.wrap(capability)),
  revoke: grant({ put: (capability) => server.revoke(capability) }),
  double: grant((number) => number * 2),
  relay: grant(({ capability, method, data }) => capability.invoke(method, data)),
  snapshot: grant(({ args, inner }) => {
    const kept = serve();
    return { named: kept.grantNamed("both", ...args), wrap: kept.wrap(inner), text: kept.serialize() };
  }),
  revive: grant((text) => { serve(text); }),
});

createInterface({ input: process.stdin })
  .on("line", (line) => port.onmessage({ data: JSON.parse(line) }))
  .on("close", () => process.exit());
