// The tunnel, message by message (Belay §9, §25.4).

import assert from "node:assert/strict";
import { test } from "node:test";

import { Page, channel, failureOf, outcomes, settle } from "./page.mjs";

const SER = "urn:x-cap:926c0c63-b02a-40a9-a19f-edb19190c143:688a7f4e-4a1d-4c52-9e36-71b2d8a04b5e";
const ID = "926c0c63-b02a-40a9-a19f-edb19190c143";

/** A tunnel whose other end is a bare port. */
function tunnelTo() {
  const page = new Page({ isFramed: false });
  const [port, end] = channel();
  const tunnel = new page.belay.internals.CapTunnel(end);
  const heard = [];
  port.onmessage = ({ data }) => heard.push(data);
  const say = async (...messages) => {
    for (const message of messages) port.postMessage(message);
    await settle();
    return heard.splice(0);
  };
  return { page, tunnel, heard, say, pass: (ms) => page.clock.pass(ms) };
}

const invoke = (txId, method, data) => ({ op: "invoke", txId, ser: SER, method, data });
const response = (txId, type, data) => ({ op: "response", txId, type, data });

test("the_worked_example_as_asked", async () => {
  const { page, tunnel, say, heard } = tunnelTo();
  const server = new page.belay.CapServer();
  server.setResolver(tunnel.remoteResolverProxy);
  const cap = server.restore(SER);
  const answers = [cap.post(21), cap.put(1), cap.get(), cap.remove()];
  const failures = [failureOf(answers[1]), failureOf(answers[2])];
  await settle();
  assert.deepEqual(heard.splice(0), [
    invoke(1000, "POST", '{"value":21}'), invoke(1001, "PUT", '{"value":1}'), invoke(1002, "GET", undefined),
    invoke(1003, "DELETE", undefined),
  ]);
  await say(
    response(1003, "success"),
    response(1000, "success", '{"value":42}'),
    response(1001, "failure", { status: 405, message: "method not allowed" }),
    response(1002, "failure", { status: 404 }),
    response(1000, "success", '{"value":"twice"}'),
    response(77, "success"),
  );
  assert.equal(await answers[0], 42);
  assert.equal(await answers[3], undefined);
  assert.deepEqual(await failures[0], { status: 405, message: "method not allowed" });
  assert.deepEqual(await failures[1], { status: 404, message: "not found" });
});

test("the_worked_example_as_served", async () => {
  const { page, tunnel, say } = tunnelTo();
  const server = new page.belay.CapServer(ID);
  const asked = [];
  tunnel.setLocalResolver((id) => { asked.push(id); return id === ID ? server.publicInterface : null; });
  const double = server.grant((n) => n * 2).serialize();
  const handler = server.grant({ get: () => 1, remove() {} }).serialize();
  const foreign = "urn:x-cap:5f0c9b7e-4a1d-4c52-9e36-71b2d8a0c4f3:7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936";
  assert.deepEqual(await say({ op: "ping" }), [{ op: "pong" }]);
  assert.deepEqual(await say(
    { op: "invoke", txId: 1000, ser: double, method: "POST", data: '{"value":21}' },
    { op: "invoke", txId: 1001, ser: handler, method: "PUT", data: '{"value":1}' },
    { op: "invoke", txId: 1002, ser: foreign, method: "GET" },
    { op: "invoke", txId: 1003, ser: handler, method: "DELETE" },
  ), [
    response(1000, "success", '{"value":42}'),
    response(1001, "failure", { status: 405, message: "method not allowed" }),
    response(1002, "failure", { status: 404, message: "not found" }),
    response(1003, "success", undefined),
  ]);
  assert.deepEqual(asked, [ID, ID, "5f0c9b7e-4a1d-4c52-9e36-71b2d8a0c4f3", ID]);
});

test("what_is_not_understood_is_ignored", async () => {
  const { page, tunnel, say } = tunnelTo();
  tunnel.setLocalResolver(() => ({ invoke() { throw new Error("broken interface"); } }));
  assert.deepEqual(await say(null, 5, "pong", [], {}, { op: "dance" }, { op: "toString" }, { op: "invoke" },
    { op: "invoke", txId: "1", ser: SER, method: "GET" }, { op: "response" }, { op: "outpost", outpostData: "{" }), []);
  assert.deepEqual(await say({ op: "invoke", txId: 1, ser: 5, method: "GET" }, { op: "invoke", txId: 2, ser: SER, method: "GET", data: {} }), [
    response(1, "failure", { status: 400, message: "bad request" }), response(2, "failure", { status: 400, message: "bad request" }),
  ]);
  assert.deepEqual(await say(invoke(3, "GET")), [response(3, "failure", { status: 500, message: "internal server error" })]);
  assert.equal(page.errors.length, 2);
  assert.ok(!tunnel.isClosed);
});

test("a_malformed_answer_is_a_failure", async () => {
  const { tunnel, say } = tunnelTo();
  const answers = ["x", undefined].map(() => outcomes(tunnel.sendInterface, SER, "GET"));
  await say(response(1000, "success", { not: "text" }), response(1001, "neither", "text"));
  const bad = [["failure", { status: 502, message: "bad response" }]];
  assert.deepEqual(await Promise.all(answers), [bad, bad]);
});

test("silence_is_answered_by_a_ping_and_then_by_closing", async () => {
  const { tunnel, say, heard, pass } = tunnelTo();
  let closed = 0;
  tunnel.onclosed = () => { closed += 1; };
  await pass(29999);
  assert.deepEqual(heard, []);
  await pass(1);
  assert.deepEqual(heard.splice(0), [{ op: "ping" }]);
  await say({ op: "pong" });
  await pass(29999);
  assert.deepEqual(heard, []);
  await pass(1);
  assert.deepEqual(heard.splice(0), [{ op: "ping" }]);
  // Anything counts.
  await say(null);
  await pass(59999);
  assert.ok(!tunnel.isClosed);
  await pass(1);
  assert.ok(tunnel.isClosed);
  await pass(100000);
  assert.equal(closed, 1);
});

test("a_context_that_stood_still_does_not_close", async () => {
  const { page, tunnel } = tunnelTo();
  await page.clock.pass(30000);
  // One look after an hour: the timers of a frozen page do not fire meanwhile.
  page.clock.now += 3600000;
  for (const timer of page.clock.timers) timer.at = page.clock.now;
  await page.clock.pass(0);
  assert.ok(!tunnel.isClosed);
});

test("closing_fails_what_is_under_way", async () => {
  const { tunnel, say } = tunnelTo();
  const order = [];
  const call = outcomes(tunnel.sendInterface, SER, "GET");
  tunnel.onclosed = () => order.push("closed");
  tunnel.sendInterface.invoke(SER, "GET", undefined, () => {}, ({ status }) => order.push(status));
  await settle();
  tunnel.handleClose();
  tunnel.handleClose();
  const timedOut = [["failure", { status: 504, message: "CapTunnel communication failed" }]];
  assert.deepEqual(await call, timedOut);
  assert.deepEqual(order, [504, "closed"]);
  assert.deepEqual(await outcomes(tunnel.sendInterface, SER, "GET"), timedOut);
  await say(response(1000, "success", '{"value":1}'));
  assert.deepEqual(await call, timedOut);
});

test("bye_closes_both_ends", async () => {
  const near = tunnelTo();
  near.tunnel.bye();
  await settle();
  assert.deepEqual(near.heard, [{ op: "bye" }]);
  assert.ok(near.tunnel.isClosed);
  const far = tunnelTo();
  await far.say({ op: "bye" });
  assert.ok(far.tunnel.isClosed);
  const cut = tunnelTo();
  cut.tunnel.port.onclose();
  assert.ok(cut.tunnel.isClosed);
});

test("calls_under_way_are_bounded_in_each_direction", async () => {
  const { tunnel, say } = tunnelTo();
  const failures = [];
  for (let call = 0; call < 257; call += 1) {
    tunnel.sendInterface.invoke(SER, "GET", undefined, () => {}, (error) => failures.push(error));
  }
  assert.deepEqual(failures, [{ status: 429, message: "too many requests" }]);
  await say(response(1000, "success"));
  tunnel.sendInterface.invoke(SER, "GET", undefined, () => {}, (error) => failures.push(error));
  assert.equal(failures.length, 1);

  const waiting = [];
  tunnel.setLocalResolver(() => ({ invoke: (ser, method, data, success) => waiting.push(success) }));
  const flood = Array.from({ length: 257 }, (_, txId) => invoke(txId, "GET"));
  const busy = [response(256, "failure", { status: 429, message: "too many requests" })];
  assert.deepEqual((await say(...flood)).filter(({ op }) => op === "response"), busy);
  waiting[0]('{"value":0}');
  assert.deepEqual(await say(invoke(300, "GET")), [response(0, "success", '{"value":0}')]);
  assert.equal(waiting.length, 257);
});

test("an_answer_is_sent_once", async () => {
  const { tunnel, say } = tunnelTo();
  tunnel.setLocalResolver(() => ({ invoke(ser, method, data, success, failure) { success("1"); success("2"); failure({ status: 400 }); } }));
  assert.deepEqual(await say(invoke(1, "GET")), [response(1, "success", "1")]);
});

test("outposts_reach_their_handler_early_or_late", async () => {
  const { page, tunnel, say, heard } = tunnelTo();
  const outpost = (record) => ({ op: "outpost", outpostData: JSON.stringify({ value: record }) });
  const seen = [];
  await say(outpost({ instanceId: ID, cap: { "@": SER } }));
  tunnel.setOutpostHandler((record) => seen.push(record));
  assert.equal(seen[0].instanceId, ID);
  // Its capabilities are invoked through the tunnel.
  const answer = seen[0].cap.get();
  await settle();
  assert.deepEqual(heard.splice(0), [invoke(1000, "GET", undefined)]);
  await say(response(1000, "success", '{"value":"far"}'));
  assert.equal(await answer, "far");
  await say(outpost("later"));
  assert.equal(seen[1], "later");
  tunnel.sendOutpost({ cap: new page.belay.CapServer().restore(SER) });
  await settle();
  assert.deepEqual(heard, [outpost({ cap: { "@": SER } })]);
});

test("two_tunnels_carry_capabilities_back_and_forth", async () => {
  const page = new Page({ isFramed: false });
  const { CapServer, CapTunnel } = page.belay.internals;
  const [port1, port2] = channel();
  const side = (port) => {
    const server = new CapServer(page.belay.newUUIDv4());
    const tunnel = new CapTunnel(port);
    tunnel.setLocalResolver((id) => (id === server.instanceId ? server.publicInterface : undefined));
    server.setResolver(tunnel.remoteResolverProxy);
    return { server, tunnel };
  };
  const [near, far] = [side(port1), side(port2)];
  const counter = far.server.grant((notify) => notify.post("hello").then((answer) => `${answer}!`));
  const seen = [];
  const notify = near.server.grant((text) => { seen.push(text); return text.toUpperCase(); });
  const counterHere = near.server.restore(counter.serialize());
  assert.equal(await counterHere.post(notify), "HELLO!");
  assert.deepEqual(seen, ["hello"]);
  far.server.revoke(counter);
  await assert.rejects(counterHere.post(notify), { status: 404, message: "not found" });
  near.tunnel.bye();
});
