// What a page writes; only compiled.

import belay, { CapServer, newUUIDv4, start, type BcapValue, type Capability, type StartError } from "../../src/browser/client";

const server = new CapServer(newUUIDv4());
const cap: Capability = server.grant((n: number) => n * 2);
server.grant(null);
server.grant("https://gw.example/cap/x");
server.grant(cap);
server.grant({ get: () => 1, remove() {} });
server.grant({ get(success) { success(1); }, put(value, success) { success(); } });
server.grant({ raw: true, invoke(method, text, success, failure) { success(text); } });
server.grant((request, success, failure) => failure({ status: 404, message: "not found" }));
// @ts-expect-error a number is no item
server.grant(5);
// @ts-expect-error a capability is not made by hand
const forged: Capability = { serialize: () => "urn:x-cap:x" };

const value: BcapValue = { caps: [cap], n: 1, none: undefined };
const text: string | undefined = server.dataPreProcessor(value);
const read = server.dataPostProcessor(text);
read.caps[0].get((result: unknown) => result, ({ status }: { status: number }) => status);
cap.put(1).then((nothing: void) => nothing);

start(({ grant }, util, launchInfo) => {
  grant(launchInfo.item);
  const handle = util.exchange.offer(document.body, { rc: ["a"], generate: async (rc) => ({ rc, cap }) });
  util.exchange.accept(document.body, { rc: "*", accept: (given, { rc, label }) => given.post(rc + label) });
  util.launch.expectLaunch({ ready: (activate) => activate.post({ close: true }) }).then(({ suffix }) => open(`/${suffix}`));
  util.belay.exepctLaunch({ ready: cap });
  handle.cancel();
}, explain);

function explain(error: StartError): string {
  switch (error.type) {
    case "CommunicationError": return error.message;
    case "OriginError": return error.origin + error.pageUrl;
    case "AlreadyRouted": return error.instanceId;
    case "NoLaunchInfo":
    case "NoSuchKey":
    case "BadSecret": return error.key;
  }
}

belay.startForOrigin({ origin: location.origin, pageUrl: location.href }).then(({ capServer }) => capServer.revokeAll());
belay.startForOrigin(location.origin, location.href, (capServer) => capServer.serialize());
belay.startForLaunch("key", undefined, explain);
belay.route(newUUIDv4(), (routed) => routed.instanceId, explain).grantNamed("name", 1, { cap });
window.belay.DEBUG = true;
// @ts-expect-error the version is not set by pages
belay.version = "2";
