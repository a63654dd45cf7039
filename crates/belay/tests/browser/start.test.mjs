// Start functions, the handshake, routes, actions of the frame (Belay §§8, 11, 12, 22.2, 22.5, 22.6).

import assert from "node:assert/strict";
import { test } from "node:test";

import { Element, Page, failureOf, settle } from "./page.mjs";

const PRE_IMAGE = "eba68eea-75f2-4b05-b87a-08365cc58043";
const HASHED = "66c6bd1f4cda24069debe0efa2193f64baeae867";
const ROUTED_AGAIN = `route: ${HASHED} already has a route.`;

/** Arguments of all calls of a callback. */
function recorder() {
  const calls = [];
  return Object.assign((...given) => { calls.push(given); }, { calls });
}

/** Routes as the frame does, for pages that are entitled. */
const frameRoutes = (page, routed = []) => ({
  routeWithHash: (preImage) => {
    const id = page.belay.internals.sha1InstanceId(preImage);
    if (routed.includes(id)) throw Object.assign(new Error("taken"), { status: 500 });
    routed.push(id);
    return id;
  },
});

test("the_library_is_one_frozen_object", () => {
  const page = new Page();
  const { belay } = page;
  assert.ok(Object.isFrozen(belay) && Object.isFrozen(belay.internals));
  const names = ["start", "startForOrigin", "startForLaunch", "route", "routeOrigin", "newUUIDv4", "CapServer", "onBelayReady"];
  for (const name of names) assert.equal(typeof belay[name], "function", name);
  assert.match(belay.version, /^\d+\.\d+\.\d+$/);
  assert.equal(page.window.newUUIDv4, belay.newUUIDv4);
  assert.equal(new Page({ names: { newUUIDv4: "theirs" } }).window.newUUIDv4, "theirs");
  page.run();
  assert.equal(page.belay, belay);
  assert.equal(page.elements.length, 1);
});

test("another_library_is_left_alone", () => {
  const native = { start() {} };
  const page = new Page({ belay: native, isFramed: false });
  assert.equal(page.belay, native);
  assert.equal(page.elements.length, 0);
});

test("a_stand_in_is_heard_in_order", async () => {
  const order = [];
  const standIn = [
    ["start", [() => order.push("first")]], ["onBelayReady", [() => order.push("ready")]],
    ["start", [() => order.push("second")]], ["route", ["no pre-image"]],
  ];
  const page = new Page({ belay: { standIn } });
  assert.equal(page.errors.length, 1);
  await page.up();
  assert.deepEqual(order.filter((name) => name !== "ready"), ["first", "second"]);
  assert.ok(order.includes("ready"));
});

test("the_frame_is_above_the_page_and_hidden", () => {
  const { frame, belay } = new Page();
  assert.equal(frame.src, "https://gw.example/belay/frame.html");
  assert.equal(frame.id, "belay-frame");
  const { position, top, height, width, zIndex, visibility } = frame.style;
  assert.deepEqual({ position, top, height, width, zIndex, visibility }, {
    position: "absolute", top: "-40px", height: "40px", width: "100%", zIndex: "2000", visibility: "hidden",
  });
  assert.equal(frame.getAttribute("sandbox"), null);
  assert.equal(frame.getAttribute("style"), null);
  const elsewhere = (script) => new Page({ script }).frame.src;
  assert.equal(elsewhere({ "data-belay-frame": "https://other.example/f.html" }), "https://other.example/f.html");
  assert.equal(elsewhere({ "data-belayframe": "old.html" }), "https://gw.example/belay/old.html");
  belay.DEBUG = true;
  assert.ok(belay.DEBUG);
  assert.equal(new Page().belay.DEBUG, false);
});

test("the_page_says_hello_to_the_gateway_alone", async () => {
  const { frame } = new Page();
  const hello = { data: { belay: "hello", v: 1 }, origin: "https://gw.example" };
  frame.fire("load");
  frame.fire("load");
  assert.deepEqual(frame.contentWindow.heard, [hello, hello]);
});

test("only_the_frame_can_answer_and_once", async () => {
  const page = new Page();
  const strangers = [
    { source: page.window }, { source: null }, { origin: "https://site.example" }, { origin: "null" }, { ports: [] },
    { data: null }, { data: { belay: "init", v: 2 } }, { data: { belay: "hello", v: 1 } },
  ];
  for (const stranger of strangers) {
    await page.init(stranger);
    assert.deepEqual(page.heard, { tunnel: [], action: [] });
  }
  await page.init();
  assert.equal(page.heard.action.length, 1);
  page.frame.fire("load");
  assert.deepEqual(page.frame.contentWindow.heard, []);
  await page.init();
  assert.equal(page.heard.action.length, 0);
});

test("the_start_id_leaves_the_address_first", async () => {
  const id = "Qm2vR8xK1tZ4yLw0nS7dJc9fHb3aUe6gPiToXkVh5Yk";
  const addresses = [
    [`https://site.example/p?q#belay-start=${id}`, "https://site.example/p?q"],
    [`https://site.example/p#a=1&belay-start=${id}&b`, "https://site.example/p#a=1&b"],
    [`https://site.example/p#section&belay-start=${id}`, "https://site.example/p#section"],
  ];
  for (const [href, left] of addresses) {
    const page = new Page({ href });
    assert.equal(page.location.href, left);
    await page.init();
    // Fragments hold secrets; the frame is told of none.
    assert.deepEqual(page.heard.action, [{ startId: id, location: left.split("#")[0], DEBUG: false }]);
  }
  const plain = new Page({ href: "https://site.example/p#other" });
  assert.equal(plain.location.href, "https://site.example/p#other");
  await plain.init();
  assert.equal(plain.heard.action[0].startId, null);
});

test("start_gives_the_same_capserver_to_all_in_order", async () => {
  const page = new Page();
  const order = [];
  const seen = recorder();
  const promise = page.belay.start((...given) => { order.push(1); seen(...given); });
  page.belay.start(() => order.push(2));
  page.belay.start(() => { throw new Error("theirs"); });
  assert.equal(page.belay.outpost, undefined);
  await page.up({ temporaryInstance: true }, { hello: () => "from the frame" });
  page.belay.start((...given) => { order.push(3); seen(...given); });
  assert.deepEqual(order, [1, 2]);
  await settle();
  assert.deepEqual(order, [1, 2, 3]);
  const [[capServer, util, launchInfo], [again]] = seen.calls;
  assert.equal(capServer, again);
  assert.equal(capServer.instanceId, page.instanceId);
  assert.equal(launchInfo, undefined);
  assert.equal((await promise).capServer, capServer);
  assert.equal(page.belay.outpost.temporaryInstance, true);
  assert.equal(await page.belay.outpost.hello.get(), "from the frame");
  // Members of the outpost are members of util.
  assert.equal(await util.hello.get(), "from the frame");
  assert.ok(Object.isFrozen(util));
  assert.deepEqual(page.errors.map(({ message }) => message), ["theirs"]);
});

test("invocations_travel_to_and_from_the_page", async () => {
  const page = new Page();
  await page.up();
  const { capServer } = await page.belay.start();
  const cap = capServer.grant((n) => n * 2);
  assert.equal(await page.server.restore(cap.serialize()).post(21), 42);
  const foreign = page.server.grant((text) => text.toUpperCase());
  assert.equal(await capServer.restore(foreign.serialize()).post("hi"), "HI");
  assert.deepEqual(page.heard.tunnel, []);
  assert.deepEqual(await failureOf(capServer.restore("urn:x-cap:nobody:x").get()), { status: 404, message: "not found" });
});

test("a_launched_page_gets_its_info_and_its_grants", async () => {
  const page = new Page();
  const old = new page.belay.CapServer(page.belay.newUUIDv4());
  const kept = old.grantNamed("n");
  await page.up({ instanceId: old.instanceId, info: { snapshot: old.serialize(), colour: "blue" } });
  const { capServer, launchInfo, util } = await page.belay.start();
  assert.equal(launchInfo.colour, "blue");
  assert.equal(util.info, launchInfo);
  capServer.setNamedHandler("n", () => () => "alive");
  assert.equal(await page.server.restore(kept.serialize()).get(), "alive");
  const broken = new Page();
  await broken.up({ info: { snapshot: "{" } });
  assert.ok((await broken.belay.start()).capServer);
  assert.equal(broken.errors.length, 1);
});

test("launch_info_is_bound_to_the_capserver_of_the_page", async () => {
  const page = new Page();
  const old = new page.belay.CapServer(page.belay.newUUIDv4());
  const own = old.grantNamed("n");
  await page.up({ instanceId: old.instanceId, info: { snapshot: old.serialize(), own } });
  const { capServer, launchInfo } = await page.belay.start();
  capServer.setNamedHandler("n", () => () => "here");
  // The frame could not say: it routes nothing.
  assert.equal(await launchInfo.own.get(), "here");
});

test("a_frame_that_does_not_answer_is_a_communication_error", async () => {
  const expected = { type: "CommunicationError", status: 504, message: "the frame of Belay did not answer" };
  const cases = [[{}, 10000], [{ script: { "data-belay-timeout": "250" } }, 250]];
  for (const [options, timeout] of cases) {
    const page = new Page(options);
    const [handler, failed] = [recorder(), recorder()];
    page.belay.start(handler, failed);
    page.belay.startForLaunch("key", handler, failed);
    page.belay.startForOrigin({ origin: "https://site.example", pageUrl: page.location.href }, handler, failed);
    page.belay.route(PRE_IMAGE, handler, failed);
    page.belay.start(handler);
    await page.clock.pass(timeout - 1);
    assert.deepEqual(failed.calls, []);
    await page.clock.pass(1);
    assert.deepEqual(failed.calls, Array(4).fill([expected]));
    page.belay.start(handler, failed);
    await settle();
    assert.equal(failed.calls.length, 5);
    assert.deepEqual(handler.calls, []);
    assert.deepEqual(page.logged, ["belay: the frame of Belay did not answer"]);
    // What comes too late is told so.
    await page.up();
    assert.equal(page.belay.outpost, undefined);
  }
});

test("a_policy_that_blocks_the_frame_is_a_communication_error_at_once", async () => {
  const page = new Page();
  const violation = (effectiveDirective, blockedURI) => {
    page.document.fire("securitypolicyviolation", { effectiveDirective, blockedURI });
    return settle();
  };
  const failed = recorder();
  page.belay.start(() => {}, failed);
  await violation("img-src", "https://gw.example/x.png");
  await violation("frame-src", "https://ads.example/");
  assert.deepEqual(failed.calls, []);
  await violation("frame-src", "https://gw.example/belay/frame.html");
  assert.equal(failed.calls[0][0].type, "CommunicationError");
});

test("an_outpost_without_an_instance_is_a_communication_error", async () => {
  const page = new Page();
  await page.up({ instanceId: "bob" });
  assert.equal((await failureOf(page.belay.start())).type, "CommunicationError");
});

test("start_for_launch_routes_the_secret_of_its_key", async () => {
  const page = new Page();
  const [handler, failed] = [recorder(), recorder()];
  page.belay.startForLaunch("secret", handler, failed);
  const info = { secret: PRE_IMAGE, short: "bob", n: 5 };
  await page.up({ info }, frameRoutes(page));
  await settle();
  const [[capServer, util, launchInfo]] = handler.calls;
  assert.equal(capServer.instanceId, HASHED);
  assert.equal(launchInfo.secret, PRE_IMAGE);
  assert.ok(util.exchange);
  page.belay.startForLaunch("missing", handler, failed);
  page.belay.startForLaunch("toString", handler, failed);
  page.belay.startForLaunch("short", handler, failed);
  page.belay.startForLaunch("n", handler, failed);
  page.belay.startForLaunch("secret", handler, failed);
  await settle();
  assert.deepEqual(failed.calls.map(([error]) => error), [
    { type: "NoSuchKey", key: "missing", status: 404, message: "startForLaunch: Key missing not found." },
    { type: "NoSuchKey", key: "toString", status: 404, message: "startForLaunch: Key toString not found." },
    { type: "BadSecret", key: "short", status: 400, message: "startForLaunch: Key short holds no pre-image." },
    { type: "BadSecret", key: "n", status: 400, message: "startForLaunch: Key n holds no pre-image." },
    { type: "AlreadyRouted", instanceId: HASHED, status: 500, message: ROUTED_AGAIN },
  ]);
  assert.equal(handler.calls.length, 1);
});

test("start_for_launch_needs_a_launch", async () => {
  const page = new Page();
  await page.up({ temporaryInstance: true });
  assert.deepEqual(await failureOf(page.belay.startForLaunch("k")), {
    type: "NoLaunchInfo", key: "k", status: 404, message: "startForLaunch: this page was not launched.",
  });
});

test("route_gives_a_capserver_at_once", async () => {
  const page = new Page();
  const [success, failed] = [recorder(), recorder()];
  const capServer = page.belay.route(PRE_IMAGE, success, failed);
  assert.equal(capServer.instanceId, HASHED);
  const cap = capServer.grant(() => "routed");
  assert.equal(await cap.get(), "routed");
  await page.up({}, frameRoutes(page));
  await settle();
  assert.deepEqual(success.calls, [[capServer]]);
  assert.equal(await page.server.restore(cap.serialize()).get(), "routed");
  // Its resolver reaches others: through the frame, and in the same page without it.
  const foreign = page.server.grant(() => "far");
  assert.equal(await capServer.restore(foreign.serialize()).get(), "far");
  const main = (await page.belay.start()).capServer;
  assert.equal(await main.restore(cap.serialize()).get(), "routed");
  for (const wrong of ["bob", PRE_IMAGE.toUpperCase(), undefined, HASHED]) assert.throws(() => page.belay.route(wrong), TypeError);
});

test("what_a_route_invokes_before_the_frame_is_up_waits_for_it", async () => {
  const page = new Page();
  const capServer = page.belay.route(PRE_IMAGE);
  const id = page.belay.newUUIDv4();
  const waiting = capServer.restore(`urn:x-cap:${id}:${page.belay.newUUIDv4()}`).get();
  const failed = failureOf(waiting);
  await page.up({}, frameRoutes(page));
  assert.deepEqual(await failed, { status: 404, message: "not found" });
  const never = new Page({ script: { "data-belay-timeout": "5" } });
  const lost = failureOf(never.belay.route(PRE_IMAGE).restore(`urn:x-cap:${id}:${id}`).get());
  await never.clock.pass(5);
  assert.equal((await lost).status, 504);
});

test("an_id_is_routed_once", async () => {
  const page = new Page();
  const routed = [page.belay.internals.sha1InstanceId("c0ffee00-1234-4abc-8def-0123456789ab")];
  await page.up({}, frameRoutes(page, routed));
  const [success, failed] = [recorder(), recorder()];
  page.belay.route(PRE_IMAGE, success, failed);
  page.belay.route(PRE_IMAGE, success, failed);
  const elsewhere = page.belay.route("c0ffee00-1234-4abc-8def-0123456789ab", success, failed);
  await settle();
  assert.equal(success.calls.length, 1);
  assert.deepEqual(failed.calls.map(([{ type, status, instanceId, message }]) => [type, status, instanceId, message]), [
    ["AlreadyRouted", 500, HASHED, ROUTED_AGAIN],
    ["AlreadyRouted", 500, routed[0], `route: ${routed[0]} already has a route.`],
  ]);
  // It works here, and nothing from outside reaches it.
  const cap = elsewhere.grant(() => "local");
  assert.equal(await cap.get(), "local");
  await assert.rejects(page.server.restore(cap.serialize()).get(), { status: 404 });
});

test("a_route_is_built_from_its_own_snapshot", async () => {
  const page = new Page();
  const old = new page.belay.CapServer(HASHED);
  const kept = old.grantNamed("n", 5);
  const early = page.belay.route(PRE_IMAGE);
  early.setNamedHandler("n", (n) => () => n);
  await page.up({ info: { snapshot: old.serialize() } }, frameRoutes(page));
  assert.equal(await early.restore(kept.serialize()).get(), 5);
  const other = page.belay.route("c0ffee00-1234-4abc-8def-0123456789ab");
  assert.deepEqual(JSON.parse(other.serialize()).map, {});
});

test("route_origin_is_for_the_origin_of_the_page", async () => {
  const href = "https://site.example/page#part";
  const page = new Page({ href });
  const asked = [];
  const [success, failed] = [recorder(), recorder()];
  const capServer = page.belay.routeOrigin("https://site.example", "https://site.example/page#other", success, failed);
  assert.equal(capServer.instanceId, "https://site.example");
  await page.up({}, { routeOrigin: (claim) => { asked.push(claim); return claim.origin; } });
  await settle();
  assert.deepEqual(success.calls, [[capServer]]);
  assert.deepEqual(asked, [{ origin: "https://site.example", pageUrl: "https://site.example/page#other" }]);
  const wrong = [
    ["https://other.example", "https://other.example/page"], ["https://site.example", "https://other.example/page"],
    ["https://site.example/", href], ["null", href], ["https://site.example", "no url"], [undefined, undefined],
  ];
  for (const [origin, pageUrl] of wrong) page.belay.routeOrigin(origin, pageUrl, success, failed);
  await page.clock.pass(0);
  const errors = failed.calls.map(([{ message, ...rest }]) => rest);
  assert.deepEqual(errors, wrong.map(([origin, pageUrl]) => ({ type: "OriginError", status: 403, origin, pageUrl })));
  assert.deepEqual([asked.length, page.visits], [1, []]);
  page.belay.routeOrigin("https://site.example", href, success, failed);
  await settle();
  assert.equal(failed.calls.pop()[0].type, "AlreadyRouted");
});

test("route_origin_goes_to_the_page_that_it_names", async () => {
  const page = new Page();
  const told = [];
  page.belay.routeOrigin("https://site.example", "https://site.example/home", undefined, ({ type }) => told.push(type, page.visits.length));
  await settle();
  assert.deepEqual(told, ["OriginError", 0]);
  await page.clock.pass(0);
  assert.deepEqual(page.visits, ["https://site.example/home"]);
});

test("the_frame_may_refuse_an_origin", async () => {
  for (const [status, type] of [[403, "OriginError"], [500, "AlreadyRouted"], [503, "CommunicationError"]]) {
    const page = new Page();
    await page.up({}, { routeOrigin: async () => { throw { status, message: "" }; } });
    assert.equal((await failureOf(page.belay.startForOrigin("https://site.example", page.location.href))).type, type);
  }
});

test("start_for_origin_takes_both_shapes", async () => {
  const { href } = new Page().location;
  for (const shape of [[{ origin: "https://site.example", pageUrl: href }], ["https://site.example", href]]) {
    const page = new Page();
    const [handler, failed] = [recorder(), recorder()];
    page.belay.startForOrigin(...shape, handler, failed);
    await page.up({}, { routeOrigin: ({ origin }) => origin });
    await settle();
    assert.deepEqual(failed.calls, []);
    const [[capServer, util]] = handler.calls;
    assert.equal(capServer.instanceId, "https://site.example");
    assert.ok(util.exchange);
  }
});

test("the_page_obeys_the_frame", async () => {
  const page = new Page();
  const [target, other, any] = [["a b"], ["c"], ["*"]].map(([rc]) => page.element("div", { class: "belay-cap-target", "data-rc": rc }));
  await page.up();
  const action = async (data) => { page.action.postMessage(data); await settle(); };
  await action("showButterBar");
  assert.deepEqual([page.frame.style.top, page.frame.style.visibility], ["0px", "visible"]);
  await action("hideButterBar");
  assert.deepEqual([page.frame.style.top, page.frame.style.visibility], ["-40px", "hidden"]);
  page.belay.DEBUG = true;
  assert.deepEqual([page.frame.style.height, page.frame.style.visibility], ["300px", "visible"]);
  const possible = () => page.elements.filter((element) => element.classes.includes("belay-possible"));
  const highlight = (rc) => action({ op: "highlight", args: { className: "belay-cap-target", rc } });
  await highlight("b");
  assert.deepEqual(possible(), [target, any]);
  await highlight(["x", "c"]);
  assert.deepEqual(possible(), [other, any]);
  await highlight("*");
  assert.deepEqual(possible(), [target, other, any]);
  await action("unhighlight");
  assert.deepEqual(possible(), []);
  await action("close");
  assert.deepEqual(page.visits.splice(0), ["close"]);
  const unknown = ["dance", { op: "close" }, { op: "toString" }, null, 5];
  for (const data of unknown) await action(data);
  assert.equal(page.logged.length, unknown.length);
  assert.ok(other instanceof Element);
});

test("the_frame_sends_the_window_to_pages_of_the_web_only", async () => {
  const page = new Page();
  await page.up();
  const go = async (url, startId) => {
    page.action.postMessage({ op: "navigate", args: { url, startId } });
    await settle();
    return page.visits.splice(0);
  };
  assert.deepEqual(await go("https://app.example/start", "S1"), ["https://app.example/start#belay-start=S1"]);
  assert.deepEqual(await go("https://app.example/start#view", "S1"), ["https://app.example/start#view&belay-start=S1"]);
  assert.deepEqual(await go("https://app.example/"), ["https://app.example/"]);
  assert.deepEqual(await go("https://site.example/page", "S1"), ["https://site.example/page#belay-start=S1", "reload"]);
  for (const url of ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd"]) assert.deepEqual(await go(url, "S1"), []);
});

test("a_page_that_goes_says_bye", async () => {
  const page = new Page();
  await page.up();
  page.window.fire("pagehide", { persisted: true });
  await settle();
  assert.ok(!page.far.isClosed);
  page.window.fire("pagehide", { persisted: false });
  await settle();
  assert.ok(page.far.isClosed);
});
