// The parts of /simplepush.js that need no browser.

import assert from "node:assert/strict";
import { test } from "node:test";

const library = new URL("../../crates/simplepush/src/browser/", import.meta.url);
const { Agent, newState } = await import(new URL("agent.mjs", library));
const { AdaptivePing, Backoff } = await import(new URL("pace.mjs", library));
const { read } = await import(new URL("protocol.mjs", library));

const UAID = "6f1c0b7a52d94e0c9b3ad41e8f27c650";
const A = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";
const TOKA = "https://push.example.net/update/TOKA";

const greeting = (uaid, status = 200) => `{"messageType":"hello","uaid":"${uaid}","status":${status}}`;
const registered = `{"messageType":"register","status":200,"channelID":"${A}","pushEndpoint":"${TOKA}"}`;
const notification = (version) =>
  `{"messageType":"notification","updates":[{"channelID":"${A}","version":${version}}]}`;
const sent = (outputs) => outputs.filter(({ type }) => type === "send").map(({ text }) => text);
const types = (outputs) => outputs.map(({ type }) => type);

function opened(state = newState()) {
  const agent = new Agent(state, 0);
  agent.timeout(0);
  assert.deepEqual(types(agent.take()), ["connect"]);
  agent.opened(0);
  return agent;
}

function ready() {
  const agent = opened();
  agent.text(0, greeting(UAID));
  agent.register(0, A);
  agent.text(0, registered);
  agent.take();
  return agent;
}

test("a first contact is that of the worked example", () => {
  const agent = opened();
  agent.register(0, A);
  assert.deepEqual(sent(agent.take()), ['{"messageType":"hello","uaid":"","channelIDs":[]}']);
  agent.text(0, greeting(UAID));
  const outputs = agent.take();
  assert.deepEqual(types(outputs), ["save", "send"]);
  assert.deepEqual(sent(outputs), [`{"messageType":"register","channelID":"${A}"}`]);
  agent.text(0, registered);
  assert.deepEqual(agent.take(), [
    { type: "save" },
    { type: "registered", channelID: A, pushEndpoint: TOKA },
  ]);
  agent.text(0, notification(7));
  assert.deepEqual(agent.take(), [
    { type: "save" },
    { type: "send", text: `{"messageType":"ack","updates":[{"channelID":"${A}","version":7}]}` },
    { type: "push", pushEndpoint: TOKA, version: 7 },
  ]);
});

test("a version is kept until a page has taken it, and told once", () => {
  const agent = ready();
  agent.text(0, notification(7));
  const again = new Agent(structuredClone(agent.state), 0);
  assert.deepEqual(again.waiting, [{ pushEndpoint: TOKA, version: 7 }]);
  again.took(TOKA, 7);
  assert.deepEqual(again.waiting, []);
  agent.take();
  agent.text(0, notification(5));
  assert.deepEqual(types(agent.take()), ["send"], "what is not greater is acknowledged and not told");
});

test("a new name loses every channel and says so until a page knows", () => {
  const agent = opened(ready().state);
  assert.match(sent(agent.take())[0], new RegExp(`"uaid":"${UAID}","channelIDs":\\["${A}"\\]`));
  agent.text(0, greeting("1f1c0b7a52d94e0c9b3ad41e8f27c650"));
  assert.deepEqual(types(agent.take()), ["save", "push-register"]);
  assert.deepEqual(agent.registrations(), []);
  assert.equal(agent.state.lost, true);
  agent.tookLoss();
  assert.equal(agent.state.lost, false);
});

test("a server that is not available keeps nobody from its name", () => {
  const agent = opened(ready().state);
  agent.take();
  agent.text(0, greeting("1f1c0b7a52d94e0c9b3ad41e8f27c650", 503));
  assert.deepEqual(types(agent.take()), ["disconnect"]);
  assert.equal(agent.state.uaid, UAID);
});

test("registrations that are open survive a lost connection", () => {
  const agent = opened();
  agent.text(0, greeting(UAID));
  agent.register(0, A);
  agent.take();
  agent.timeout(10_000);
  assert.deepEqual(types(agent.take()), ["disconnect"], "10 s without an answer");
  agent.gone(10_000, 1006, 1);
  assert.equal(agent.timeoutDue, 15_000);
  agent.timeout(15_000);
  agent.opened(15_000);
  agent.text(15_000, greeting(UAID));
  assert.deepEqual(sent(agent.take()).at(-1), `{"messageType":"register","channelID":"${A}"}`);
  agent.text(15_000, `{"messageType":"register","status":500,"channelID":"${A}","error":"Too many channels"}`);
  assert.deepEqual(agent.take(), [{ type: "refused", channelID: A, error: "Too many channels" }]);
});

test("channels are given up by endpoint", () => {
  const agent = ready();
  assert.equal(agent.unregister("https://push.example.net/update/other"), false);
  assert.equal(agent.unregister(TOKA), true);
  assert.deepEqual(sent(agent.take()), [`{"messageType":"unregister","channelID":"${A}"}`]);
  agent.text(0, notification(9));
  assert.deepEqual(types(agent.take()), ["send"], "versions of unknown channels are acknowledged");
});

test("a silent server is asked, then left; a change of the network asks at once", () => {
  const agent = ready();
  agent.timeout(179_999);
  assert.deepEqual(agent.take(), []);
  agent.timeout(180_000);
  assert.deepEqual(sent(agent.take()), ["{}"]);
  agent.text(180_100, "{}");
  assert.equal(agent.timeoutDue, 180_100 + 270_000, "a longer silence is tried");
  agent.networkChanged(190_000);
  assert.equal(agent.timeoutDue, 205_000, "25 s after the last ping");
  agent.timeout(205_000);
  agent.timeout(215_000);
  assert.deepEqual(types(agent.take()), ["send", "disconnect"]);
  agent.gone(215_000, 1000, 0);
  agent.networkChanged(215_001);
  assert.deepEqual(types(agent.take()), ["connect"]);
});

test("4774 means to wait for the network to change", () => {
  const agent = ready();
  agent.gone(0, 4774, 0);
  assert.equal(agent.timeoutDue, Infinity);
});

test("waits double up to a bound and begin again after a stable connection", () => {
  const backoff = new Backoff();
  const waits = Array.from({ length: 8 }, () => backoff.next(1));
  assert.deepEqual(waits, [5, 10, 20, 40, 80, 160, 300, 300].map((seconds) => seconds * 1000));
  backoff.connectedFor(59_999);
  assert.equal(backoff.next(0), 150_000);
  backoff.connectedFor(60_000);
  assert.equal(backoff.next(0), 2_500);
});

test("the interval of pings stays below what the network did not bear", () => {
  const ping = new AdaptivePing();
  for (let i = 0; i < 20; i++) ping.answered();
  assert.ok(ping.interval > 1_000_000 && ping.interval <= 1_740_000);
  const fatal = ping.interval;
  ping.unanswered();
  for (let i = 0; i < 20; i++) ping.answered();
  assert.ok(ping.interval < fatal);
  for (let i = 0; i < 20; i++) ping.unanswered();
  assert.equal(ping.interval, 60_000);
});

test("what a server may say is understood, whatever else it says", () => {
  assert.equal(read("").type, "");
  for (const text of ["{}", "[]", "null", "7", '{"messageType":7}']) assert.equal(read(text).type, "");
  assert.equal(read(greeting("x").replace("hello", "HELLO")).type, "hello");
  assert.equal(read('{"messageType":"hello","uaid":7}').uaid, null);
  assert.deepEqual(
    read('{"messageType":"notification","updates":[{"channelID":7,"version":1},{"channelID":"a"},null]}').updates,
    [],
  );
  assert.equal(
    JSON.stringify(read(notification("9223372036854775807")).updates[0].version),
    "9223372036854776000",
  );
});
