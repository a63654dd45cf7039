// What the hosted frame is made of, without a browser: router, partition, relay (Belay §10.2, §22.4),
// activate records (§13.2), services (§14.2), station (§13.6).

import assert from "node:assert/strict";
import { test } from "node:test";

import { Socket, World, outcome, settle } from "./partition.mjs";

const ID = "926c0c63-b02a-40a9-a19f-edb19190c143";
const OTHER = "0b9e3d3c-2a0f-4f7e-8a65-9c1d6f1f2e11";
const CAP = "d859f7a0-4008-4c35-a99a-b7a23a5fc35d";
const SER = `urn:x-cap:${ID}:${CAP}`;
const PRE_IMAGE = "eba68eea-75f2-4b05-b87a-08365cc58043";
const HASHED = "66c6bd1f4cda24069debe0efa2193f64baeae867";

const echo = { invoke: (ser, method, wire, succeed) => succeed(`${method} ${wire}`) };
const silent = { invoke() {} };
const answer = ["success", 'POST {"value":1}'];

/** A frame whose relay's sockets the test drives. */
function relayed(world, options = {}) {
  const sockets = [];
  const connect = () => {
    const socket = new Socket();
    sockets.push(socket);
    return socket;
  };
  const made = world.frame({ relay: ({ Relay }) => new Relay({ connect }), ...options });
  return { ...made, sockets };
}

test("local_then_partition_then_404", async () => {
  const world = new World();
  const [here, there] = [world.frame(), world.frame()];
  const nobody = await outcome(here.router.sendInterface, SER);
  assert.deepEqual(nobody, ["failure", 404, "not found"]);
  assert.equal(await there.router.addInterface(ID, echo), true);
  assert.deepEqual(await outcome(here.router.sendInterface, SER), answer);
  // The message of the partition, member by member.
  const [request, response] = world.messages;
  const { tx, reply, ...rest } = request;
  assert.deepEqual(rest, { v: 1, op: "invoke", to: ID, ser: SER, method: "POST", data: '{"value":1}' });
  assert.deepEqual(response, { v: 1, op: "response", to: reply, tx, type: "success", data: answer[1] });
  // Its own interface is asked without any message.
  world.messages.length = 0;
  assert.deepEqual(await outcome(there.router.sendInterface, SER), answer);
  assert.equal(there.router.resolver(ID), echo);
  assert.equal(here.router.resolver(ID), here.router.sendInterface);
  assert.equal(world.messages.length, 0);
  for (const bad of ["", "asdf", "urn-x-cap:66c6:0664", "https://gw.example/cap/x"]) {
    const told = await outcome(here.router.sendInterface, bad);
    assert.deepEqual(told, ["failure", 400, "Unparsable capability"]);
  }
});

test("an_id_has_one_owner", async () => {
  const world = new World();
  const [here, there] = [world.frame(), world.frame()];
  assert.equal(await here.router.addInterface(ID, echo), true);
  assert.equal(await here.router.addInterface(ID, silent), false, "not twice in a frame");
  assert.equal(await there.router.isRoutable(ID), true);
  const late = there.router.addInterface(ID, silent);
  await world.clock.pass(999);
  await world.clock.pass(1);
  assert.equal(await late, false, "not in another one");
  // An owner that is just going away leaves it to whoever waits.
  const next = there.router.addInterface(ID, echo);
  await world.clock.pass(500);
  here.router.removeInterface(ID);
  assert.equal(await next, true);
  assert.equal(await here.router.isRoutable(OTHER), false);
  // Whoever gives up waiting has nothing, also when the id becomes free.
  const waiting = here.router.addInterface(ID, echo);
  await settle();
  here.router.removeInterface(ID);
  there.router.removeInterface(ID);
  assert.equal(await waiting, false);
  await settle();
  assert.equal(await there.router.isRoutable(ID), false);
  assert.equal(await there.router.addInterface(ID, echo), true);
  // Going back to a page: whatever was free is its own again.
  there.router.suspend();
  await settle();
  assert.equal(await here.router.isRoutable(ID), false);
  await there.router.resume();
  assert.equal(await here.router.isRoutable(ID), true);
  assert.deepEqual(await outcome(here.router.sendInterface, SER), answer);
});

test("a_call_takes_thirty_seconds_at_most", async () => {
  const world = new World();
  const [here, there] = [world.frame(), world.frame()];
  await there.router.addInterface(ID, silent);
  let told;
  const call = outcome(here.router.sendInterface, SER).then((result) => { told = result; });
  await settle();
  await world.clock.pass(29999);
  assert.equal(told, undefined);
  await world.clock.pass(1);
  await call;
  assert.deepEqual(told, ["failure", 504, "Router Timeout"]);
  assert.equal(here.router.partition.calls.size, 0, "nothing of it is kept");
  // A late answer changes nothing.
  const [{ tx, reply }] = world.messages;
  here.router.partition.receive({ v: 1, op: "response", to: reply, tx, type: "success", data: "" });
  const quick = world.frame({ timeout: 50 });
  const soon = outcome(quick.router.sendInterface, SER);
  await settle();
  await world.clock.pass(50);
  assert.deepEqual(await soon, ["failure", 504, "Router Timeout"]);
});

test("calls_and_routes_are_bounded", async () => {
  const world = new World();
  const [here, there] = [world.frame(), world.frame()];
  await there.router.addInterface(ID, silent);
  for (let n = 0; n < 256; n += 1) here.router.sendInterface.invoke(SER, "GET", undefined, () => {}, () => {});
  await settle();
  assert.deepEqual(await outcome(here.router.sendInterface, SER), ["failure", 429, "too many requests"]);
  // A second frame asks as much again: the callee refuses.
  const third = world.frame();
  assert.deepEqual(await outcome(third.router.sendInterface, SER), ["failure", 429, "too many requests"]);
  const { sha1InstanceId } = here.parts;
  const add = (n) => {
    const preImage = `eba68eea-75f2-4b05-b87a-${String(n).padStart(12, "0")}`;
    return third.router.addInterface(sha1InstanceId(preImage), echo, preImage);
  };
  for (let n = 0; n < 64; n += 1) assert.equal(await add(n), true);
  await assert.rejects(add(64), { status: 429 });
});

test("what_waits_fails_when_a_frame_is_put_away", async () => {
  const world = new World();
  const [here, there] = [world.frame(), world.frame()];
  await there.router.addInterface(ID, silent);
  const call = outcome(here.router.sendInterface, SER);
  await settle();
  here.router.suspend();
  assert.deepEqual(await call, ["failure", 504, "CapTunnel communication failed"]);
});

test("the_relay_is_the_last_tier", async () => {
  const world = new World();
  const { router, sockets } = relayed(world);
  const call = outcome(router.sendInterface, SER);
  await settle();
  await sockets[0].open();
  const [invoke] = sockets[0].heard();
  assert.deepEqual(invoke, { op: "invoke", txId: 1000, ser: SER, method: "POST", data: '{"value":1}' });
  await sockets[0].say({ op: "response", txId: 1000, type: "success", data: "x" });
  assert.deepEqual(await call, ["success", "x"]);
  // An origin is not routed there.
  const origin = `urn:x-cap:https://app.example:${CAP}`;
  assert.deepEqual(await outcome(router.sendInterface, origin), ["failure", 404, "not found"]);
  const large = await outcome(router.sendInterface, SER, "POST", "x".repeat(1024 * 1024 + 1));
  assert.deepEqual(large, ["failure", 413, "too large"]);
  assert.deepEqual(sockets[0].heard(), []);
  // What the relay asks goes to local interfaces alone.
  router.addInterface(OTHER, echo);
  await settle();
  const asked = (txId, id) => ({ op: "invoke", txId, ser: `urn:x-cap:${id}:${CAP}`, method: "GET" });
  sockets[0].heard();
  await sockets[0].say(asked(1000, OTHER), asked(1001, ID));
  assert.deepEqual(sockets[0].heard(), [
    { op: "response", txId: 1000, type: "success", data: "GET undefined" },
    { op: "response", txId: 1001, type: "failure", data: { status: 404, message: "not found" } },
  ]);
});

test("whether_an_instance_is_routed_its_frame_says", async () => {
  const world = new World();
  const { router, sockets } = relayed(world);
  await sockets[0].open();
  const asked = router.isRoutable(OTHER);
  await settle();
  const [{ txId, ser, ...probe }] = sockets[0].heard();
  assert.deepEqual(probe, { op: "invoke", method: "OPTIONS" });
  assert.equal(ser.slice(0, -36), `urn:x-cap:${OTHER}:`);
  await sockets[0].say({ op: "response", txId, type: "success" });
  assert.equal(await asked, true);
  const nobody = router.isRoutable(OTHER);
  await settle();
  await sockets[0].say({ op: "response", txId: txId + 1, type: "failure", data: { status: 404 } });
  assert.equal(await nobody, false);
  assert.equal(await router.isRoutable("https://app.example"), false);
  // The one who is asked answers for an instance that says nothing.
  router.addInterface(ID, silent);
  await settle();
  sockets[0].heard();
  await sockets[0].say({ op: "invoke", txId: 1000, ser: SER, method: "OPTIONS" });
  assert.deepEqual(sockets[0].heard(), [{ op: "response", txId: 1000, type: "success" }]);
});

test("ids_are_registered_with_what_proves_them", async () => {
  const world = new World();
  const { router, sockets } = relayed(world);
  await sockets[0].open();
  const temporary = router.addInterface(ID, echo);
  const hashed = router.addInterface(HASHED, echo, PRE_IMAGE);
  assert.equal(await router.addInterface("https://app.example", echo), true);
  await settle();
  assert.deepEqual(sockets[0].heard(), [
    { op: "register", id: ID },
    { op: "register", id: HASHED, proof: PRE_IMAGE },
  ]);
  await sockets[0].say({ op: "registered", id: ID, resume: "token-1" });
  await sockets[0].say({ op: "registered", id: HASHED, resume: "token-2" });
  assert.deepEqual(await Promise.all([temporary, hashed]), [true, true]);
  // A lost socket: what was under way fails, the next one comes after a pause, with the tokens.
  const call = outcome(router.sendInterface, `urn:x-cap:${OTHER}:${CAP}`);
  await settle();
  sockets[0].close();
  assert.deepEqual(await call, ["failure", 504, "CapTunnel communication failed"]);
  const meanwhile = await outcome(router.sendInterface, `urn:x-cap:${OTHER}:${CAP}`);
  assert.deepEqual(meanwhile, ["failure", 503, "unavailable"]);
  await world.clock.pass(1000);
  await sockets[1].open();
  assert.deepEqual(sockets[1].heard(), [
    { op: "register", id: ID, proof: "token-1" },
    { op: "register", id: HASHED, proof: "token-2" },
  ]);
  // A token that is refused is forgotten: the pre-image proves the id.
  await sockets[1].say({ op: "refused", id: HASHED, status: 403, message: "forbidden" });
  assert.deepEqual(sockets[1].heard(), [{ op: "register", id: HASHED, proof: PRE_IMAGE }]);
  router.removeInterface(ID);
  assert.deepEqual(sockets[1].heard(), [{ op: "unregister", id: ID }]);
});

test("an_id_that_another_has_is_refused", async () => {
  const world = new World();
  const { router, sockets } = relayed(world);
  await sockets[0].open();
  const claim = router.addInterface(HASHED, echo, PRE_IMAGE);
  for (let attempt = 0; attempt < 4; attempt += 1) {
    await settle();
    assert.deepEqual(sockets[0].heard(), [{ op: "register", id: HASHED, proof: PRE_IMAGE }]);
    await sockets[0].say({ op: "refused", id: HASHED, status: 409, message: "already routed" });
    await world.clock.pass(400);
  }
  assert.equal(await claim, false);
  assert.equal(await router.partition.holds(HASHED), false, "others of the partition may try");
  assert.deepEqual(sockets[0].heard(), [], "somebody else's id is not given up");
});

test("the_relay_is_asked_less_and_less_often", async () => {
  const world = new World();
  const { router, sockets } = relayed(world);
  // Without a relay an id is routed in the partition, at once when that is known.
  const added = router.addInterface(ID, echo);
  const waits = [];
  for (let attempt = 1; attempt <= 9; attempt += 1) {
    const before = world.clock.now;
    sockets[attempt - 1].close();
    await settle();
    while (sockets.length === attempt) await world.clock.pass(100);
    waits.push(world.clock.now - before);
  }
  assert.equal(await added, true);
  const longest = [1, 2, 4, 8, 16, 32, 60, 60, 60];
  for (const [at, wait] of waits.entries()) {
    const most = longest[at] * 1000 + 100;
    assert.ok(wait <= most && wait >= (longest[at] * 1000) / 2, `${at}: ${wait}`);
  }
  // A socket that does not open is given up.
  await world.clock.pass(10000);
  await settle();
  assert.equal(sockets[9].readyState, 3);
  while (sockets.length === 10) await world.clock.pass(100);
  await sockets[10].open();
  assert.deepEqual(sockets[10].heard(), [{ op: "register", id: ID }]);
  sockets[10].close();
  await settle();
  await world.clock.pass(1000);
  assert.equal(sockets.length, 12, "the first pause is short again");
});

test("a_silent_relay_is_left", async () => {
  const world = new World();
  const { sockets } = relayed(world);
  await sockets[0].open();
  await world.clock.pass(30000);
  assert.deepEqual(sockets[0].heard(), [{ op: "ping" }]);
  await sockets[0].say({ op: "pong" }, { op: "ping" });
  assert.deepEqual(sockets[0].heard(), [{ op: "pong" }]);
  await world.clock.pass(60000);
  assert.equal(sockets[0].readyState, 3);
});

test("a_token_of_a_launched_instance_outlives_a_reload", async () => {
  const world = new World();
  const { Tokens, Remembered } = world.parts();
  const area = { removeItem(key) { delete this[key]; } };
  const session = new Remembered(() => area);
  const before = new Tokens(session);
  before.keep(ID);
  before.set(ID, "token-1");
  before.set(OTHER, "token-2");
  const after = new Tokens(session);
  after.keep(ID);
  after.keep(OTHER);
  assert.deepEqual([after.get(ID), after.get(OTHER)], ["token-1", undefined]);
  after.delete(ID);
  assert.equal(new Tokens(session).get(ID), undefined);
  assert.deepEqual(Object.keys(area), ["removeItem"]);
  const denied = new Remembered(() => { throw new Error("SecurityError"); });
  denied.set("x", 1);
  denied.remove("x");
  assert.equal(denied.get("x"), null);
});

test("activate_records_are_parsed", () => {
  const { parseActivation, parsePageUrl, CapServer } = new World().parts();
  const server = new CapServer(OTHER);
  const relaunch = server.grant(null);
  const sound = { instanceId: ID, pageUrl: "https://app.example/x", outpostData: { info: 1 } };
  assert.deepEqual(parseActivation({ ...sound, extra: 1 }), { ...sound, relaunch: null, isStation: false });
  assert.equal(parseActivation({ ...sound, relaunch, isStation: true }).relaunch, relaunch);
  for (const bad of [
    null,
    "x",
    { ...sound, instanceId: HASHED },
    { ...sound, instanceId: "https://app.example" },
    { ...sound, pageUrl: "javascript:alert(1)" },
    { ...sound, pageUrl: "app.example" },
    { ...sound, isStation: 1 },
    { ...sound, relaunch: "urn:x-cap:x" },
    { ...sound, outpostData: null },
    { ...sound, outpostData: [] },
    { ...sound, outpostData: relaunch },
  ]) {
    assert.throws(() => parseActivation(bad), { status: 400 });
  }
  for (const bad of ["data:text/html,x", "file:///x", "//x", "", null]) {
    assert.throws(() => parsePageUrl(bad), { status: 400 });
  }
});

test("start_records_wait_at_the_gateway", async () => {
  const world = new World();
  const asked = [];
  const fetch = async (url, options) => {
    asked.push([String(url), options]);
    const [status, text] = replies.shift();
    return { ok: status < 300, status, text: async () => text };
  };
  const { CapRouter, CapServer, Starts } = world.parts({ fetch });
  const server = new CapServer(OTHER);
  const starts = new Starts(server, "https://gw.example/belay/frame.html");
  const router = new CapRouter({ starts });
  const cap = server.grant(null);
  const startId = "Qm2vR8xK1tZ4yLw0nS7dJc9fHb3aUe6gPiToXkVh5Yk";
  const wire = `{"@":"${cap.serialize()}"}`;
  const replies = [
    [200, `{"value":{"startId":"${startId}"}}`],
    [200, `{"value":{"startLaunch":${wire}}}`],
    [404, ""],
    [403, ""],
    [503, ""],
  ];
  assert.equal(await router.storeStart({ startLaunch: cap }, "https://app.example"), startId);
  const record = await router.retrieveStart(startId);
  assert.equal(record.startLaunch.serialize(), cap.serialize());
  assert.equal(await router.retrieveStart(startId, "https://app.example"), null);
  assert.equal(await router.retrieveStart(startId, "https://evil.example"), null);
  await assert.rejects(router.retrieveStart(startId), { status: 503 });
  const [put, take, bound] = asked;
  assert.equal(put[0], "https://gw.example/belay/start");
  assert.equal(put[1].body, `{"value":{"record":{"startLaunch":${wire}},"origin":"https://app.example"}}`);
  assert.deepEqual([put[1].method, put[1].credentials, put[1].redirect], ["POST", "omit", "error"]);
  assert.equal(take[0], "https://gw.example/belay/start/take");
  assert.equal(take[1].body, `{"value":{"startId":"${startId}"}}`);
  assert.equal(bound[1].body, `{"value":{"startId":"${startId}","origin":"https://app.example"}}`);
  const alone = new CapRouter();
  await assert.rejects(alone.storeStart({}), { status: 503 });
  assert.equal(await alone.retrieveStart(startId), null);
});

/** Frames with services; each has what its page was told. */
function withServices(world) {
  const { parts, router } = world.frame();
  const told = [];
  const server = new parts.CapServer(crypto.randomUUID());
  const services = new parts.Services(server, router, (action) => told.push(action));
  return { parts, router, server, services, told, grants: services.grants() };
}

const highlight = (rc, className = "belay-cap-target") => ({ op: "highlight", args: { className, rc } });

test("one_offer_is_armed_in_a_partition", async () => {
  const world = new World();
  const all = [withServices(world), withServices(world), withServices(world)];
  const [one, two, three] = all;
  const told = async () => {
    await settle();
    return all.map((frame) => frame.told.splice(0));
  };
  const gen = one.server.grant(() => 1);
  await assert.rejects(two.grants.take.post({ rc: ["note"] }), { status: 404 });
  await one.grants.offer.post({ rc: ["note", "card"], gen, label: "A note" });
  // Every page of the partition, this one too, sees what could be taken, whatever else is highlighted.
  const shown = highlight(["note", "card"]);
  assert.deepEqual(await told(), [[shown], [shown], [shown]]);
  await two.grants.highlightByRC.post({ className: "belay-cap-source", rc: "photo" });
  const other = highlight("photo", "belay-cap-source");
  assert.deepEqual(await told(), [[other], [other], [other]]);
  await two.grants.unhighlight.post();
  assert.deepEqual(await told(), all.map(() => ["unhighlight", shown]));
  await assert.rejects(two.grants.take.post({ rc: ["photo"] }), { status: 404 });
  const taken = await two.grants.take.post({ rc: ["photo", "card"] });
  assert.deepEqual([taken.rc, taken.label, taken.gen.serialize()], ["card", "A note", gen.serialize()]);
  assert.deepEqual(await told(), [["disarmed", "unhighlight"], ["unhighlight"], ["unhighlight"]]);
  await assert.rejects(three.grants.take.post({ rc: "*" }), { status: 404 });

  // A second one drops the first, wherever it is; 60 s drop the second.
  await one.grants.offer.post({ rc: ["note"], gen });
  await two.grants.offer.post({ rc: ["card"], gen: two.server.grant(null), label: "2" });
  const [first] = await told();
  assert.deepEqual(first, [highlight(["note"]), "disarmed", highlight(["card"])]);
  await world.clock.pass(59999);
  assert.notEqual(two.services.armed, null);
  await world.clock.pass(1);
  assert.deepEqual((await told())[1].slice(-2), ["disarmed", "unhighlight"]);
  await assert.rejects(three.grants.take.post({ rc: ["*"] }), { status: 404 });
  // So does a second one of the same page.
  await one.grants.offer.post({ rc: ["note"], gen, label: "3" });
  await one.grants.offer.post({ rc: ["note"], gen, label: "4" });
  assert.equal((await three.grants.take.post({ rc: ["note"] })).label, "4");
  await one.grants.offer.post({ rc: ["note"], gen, label: "5" });
  await one.grants.disarm.post();
  await assert.rejects(one.grants.take.post({ rc: ["note"] }), { status: 404 });
  for (const bad of [{}, { rc: [], gen }, { rc: ["x"] }, { rc: [5], gen }, { rc: ["x"], gen, label: 5 }]) {
    await assert.rejects(one.grants.offer.post(bad), { status: 400 });
  }
  for (const bad of [{ className: 5, rc: "x" }, { className: "x", rc: [] }, { className: "x" }]) {
    await assert.rejects(one.grants.highlightByRC.post(bad), { status: 400 });
  }
});

test("a_station_needs_the_person", async () => {
  const { parts, router } = new World().frame();
  const server = new parts.CapServer(OTHER);
  server.setResolver(router.resolver);
  const area = { removeItem(key) { delete this[key]; } };
  const memory = new parts.Remembered(() => area);
  const asked = [];
  let isAllowed = false;
  const consent = async (origin) => asked.push(origin) && isAllowed;
  const station = new parts.Station(server, memory, consent);
  const launched = [];
  const callbacks = {
    newInstHandler: server.grant((given) => void launched.push(given)),
    getSuggestions: server.grant((origin) => [
      { name: `At ${origin}`, doLaunch: server.grant(null) },
      { name: "x".repeat(99), doLaunch: server.grant(null) },
      { name: "no launch" },
      "nonsense",
    ]),
  };
  const description = { launch: "https://app.example/cap/x", name: "A", icon: "data:,", more: 1 };
  const activate = server.grant(null);
  await assert.rejects(station.newInstance(description, activate), { status: 404, message: "no station" });
  assert.deepEqual(await station.suggestions("https://app.example"), []);

  const origin = "https://station.example";
  await assert.rejects(station.register(null, callbacks), { status: 403 });
  await assert.rejects(station.register(origin, { newInstHandler: 1 }), { status: 400 });
  await assert.rejects(station.register(origin, callbacks), { status: 403 });
  assert.equal(station.isAllowed(origin), false);
  isAllowed = true;
  await station.register(origin, callbacks);
  isAllowed = false;
  await station.register(origin, callbacks);
  assert.deepEqual(asked, [origin, origin], "once it was allowed nobody is asked again");
  assert.deepEqual([station.isAllowed(origin), station.isAllowed(null)], [true, false]);

  await station.newInstance(description, activate);
  const [{ instanceDescription, activate: given }] = launched;
  assert.deepEqual(Object.keys(instanceDescription), ["launch", "name", "icon"]);
  assert.equal(instanceDescription.launch.serialize(), description.launch);
  assert.equal(given.serialize(), activate.serialize());
  await assert.rejects(station.newInstance({ launch: 5 }, activate), { status: 400 });
  const names = (await station.suggestions("https://app.example")).map(({ name }) => name);
  assert.deepEqual(names, ["At https://app.example", "x".repeat(60)]);
  assert.deepEqual(await station.suggestions(null), []);
});
