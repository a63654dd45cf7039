// Capability objects, items and the rules around them, errors (Belay §§5, 6.2–6.8, 7).

import assert from "node:assert/strict";
import { test } from "node:test";

import { Page, failureOf, outcomes, settle } from "./page.mjs";

const page = new Page();
const { belay } = page;
const newServer = () => new belay.CapServer(belay.newUUIDv4());
const server = newServer();
const wire = (value) => JSON.stringify({ value });

/** What the public interface answers for an item. */
const answers = (item, method, data) => outcomes(server.publicInterface, server.grant(item).serialize(), method, data);
const BAD = [["failure", { status: 400, message: "bad request" }]];
const DEAD = [["failure", { status: 404, message: "not found" }]];
const NOT_ALLOWED = [["failure", { status: 405, message: "method not allowed" }]];
const BROKEN = [["failure", { status: 500, message: "internal server error" }]];

/** Errors that items made the page report since the last time. */
const reported = () => page.errors.splice(0).map((error) => error.message);

test("capabilities_tell_nothing", () => {
  const cap = server.grant(() => 1);
  const serialization = cap.serialize();
  assert.ok(Object.isFrozen(cap) && Object.isFrozen(Object.getPrototypeOf(cap)));
  assert.deepEqual(Object.getOwnPropertyNames(cap), []);
  assert.throws(() => JSON.stringify({ cap }), TypeError);
  assert.equal(String(cap), "[capability]");
  assert.equal(server.restore(serialization).serialize(), serialization);
  assert.throws(() => cap.serialize.call({}), TypeError);
});

test("invoke_encodes_data_and_decodes_results", async () => {
  const seen = [];
  const item = {
    get() { seen.push(["get", arguments.length]); return { n: 1 }; },
    put(data) { seen.push(["put", data]); },
    post(data) { seen.push(["post", data]); return data; },
    remove() { seen.push(["remove", arguments.length]); },
  };
  const cap = server.grant(item);
  assert.deepEqual(await cap.get(), { n: 1 });
  assert.equal(await cap.put([1]), undefined);
  assert.equal(await cap.post(null), null);
  assert.equal(await cap.remove(), undefined);
  assert.equal(await cap.post(undefined), undefined);
  assert.deepEqual(seen, [["get", 0], ["put", [1]], ["post", null], ["remove", 0], ["post", undefined]]);
  for (const method of ["GET", "DELETE", "PATCH"]) {
    for (const data of [null, 0, {}]) assert.throws(() => cap.invoke(method, data), TypeError);
  }
  assert.throws(() => cap.post(() => {}), TypeError);
  assert.throws(() => cap.put(10n), TypeError);
  assert.equal(seen.length, 5);
});

test("void_methods_give_undefined_whatever_came_back", async () => {
  const raw = server.grant({ raw: true, invoke(method, text, success, failure) { success(wire("x")); } });
  assert.equal(await raw.put(1), undefined);
  assert.equal(await raw.remove(), undefined);
  assert.equal(await raw.get(), "x");
});

test("callbacks_come_later_once_and_alone", async () => {
  const order = [];
  server.grant(() => "now").get((value) => order.push(value));
  order.push("after");
  await settle();
  assert.deepEqual(order, ["after", "now"]);

  const both = [];
  const thrower = () => { throw new Error("mine"); };
  server.grant(() => 1).get(thrower, (error) => both.push(error));
  server.grant(null).get((value) => both.push(value), thrower);
  await settle();
  assert.deepEqual(both, []);
  assert.deepEqual(reported(), ["mine", "mine"]);

  const several = [];
  const eager = server.grant((request, success, failure) => {
    success(1);
    success(2);
    failure({ status: 400 });
    throw new Error("late");
  });
  eager.get((value) => several.push(value), (error) => several.push(error));
  await settle();
  assert.deepEqual(several, [1]);
  assert.deepEqual(reported(), ["late"]);
});

test("a_missing_callback_is_ignored", async () => {
  const dead = server.grant(null);
  const told = [];
  // A rejection that surfaces fails the test.
  dead.get(() => told.push("success"));
  dead.get(undefined, ({ status }) => told.push(status));
  dead.get().catch(({ status }) => told.push(status));
  server.grant(() => 1).get(undefined, () => told.push("failure"));
  await settle();
  assert.deepEqual(told, [404, 404]);
});

test("items_are_recognised_in_order", async () => {
  const post = wire(3);
  assert.deepEqual(await answers(null, "GET"), DEAD);
  assert.deepEqual(await answers((n) => n * 2, "POST", post), [["success", wire(6)]]);
  assert.deepEqual(await answers(function (request, success) { success(request * 3); }, "POST", post), [["success", wire(9)]]);
  assert.deepEqual(await answers(server.grant(() => 5), "GET"), [["success", wire(5)]]);
  const invoke = { invoke(method, request, success, failure) { success([method, request]); } };
  assert.deepEqual(await answers(invoke, "POST", post), [["success", wire(["POST", 3])]]);
  // With another number of parameters `invoke` is no invoke handler.
  assert.deepEqual(await answers({ invoke() {}, get: () => 1 }, "GET"), [["success", wire(1)]]);

  const refused = [
    [{ get() {}, put(value, success) { success(value); } }, "Inconsistent handlers"],
    [{}, "Object with no handlers"], [[], "Object with no handlers"], [{ get: 1 }, "Object with no handlers"],
    [undefined, "Unusable handler"], [5, "Unusable handler"], [true, "Unusable handler"],
    ["urn:x-cap:x", "Unusable handler"], ["ftp://x", "Unusable handler"], ["HTTPS://x", "Unusable handler"],
  ];
  for (const [item, message] of refused) assert.throws(() => server.grant(item), { name: "TypeError", message });
  const [one, two] = [server.grant(null), server.grant(null)];
  assert.notEqual(one.serialize(), two.serialize());
});

test("a_server_without_an_id_restores_but_does_not_grant", async () => {
  const radish = new belay.CapServer();
  const cap = server.grant(() => 1);
  for (const grant of [() => radish.grant(() => 1), () => radish.wrap(cap), () => radish.grantNamed("n")]) {
    assert.throws(grant, { message: "CapServer: no instanceId in mint()" });
  }
  radish.setResolver((id) => (id === server.instanceId ? server.publicInterface : undefined));
  assert.equal(await radish.restore(cap.serialize()).get(), 1);
});

test("functions_are_called_by_arity", async () => {
  let given;
  const none = function () { given = [...arguments]; return "r"; };
  const one = function (request) { given = [...arguments]; return request; };
  const two = function (request, success) { given = [...arguments]; success("two"); };
  const three = function (request, success, failure) { given = [...arguments]; failure({ status: 418, message: "teapot" }); };
  assert.deepEqual(await answers(none, "GET"), [["success", wire("r")]]);
  assert.deepEqual(given, []);
  assert.deepEqual(await answers(none, "POST", wire(1)), [["success", wire("r")]]);
  assert.deepEqual(await answers(one, "GET"), [["success", undefined]]);
  assert.equal(given.length, 0);
  assert.deepEqual(await answers(one, "POST", undefined), [["success", undefined]]);
  assert.deepEqual(await answers(two, "GET"), [["success", wire("two")]]);
  assert.equal(given[0], undefined);
  assert.deepEqual(await answers(three, "POST", wire(1)), [["failure", { status: 418, message: "teapot" }]]);
  for (const item of [none, one, two, three]) assert.deepEqual(await answers(item, "DELETE"), NOT_ALLOWED);
});

test("synchronous_items_answer_inside_the_call", () => {
  const seen = [];
  const cap = server.grant(() => 1);
  server.publicInterface.invoke(cap.serialize(), "GET", undefined, (text) => seen.push(text), () => {});
  assert.deepEqual(seen, [wire(1)]);
});

test("a_promise_of_a_function_is_waited_for", async () => {
  assert.deepEqual(await answers(async (n) => n + 1, "POST", wire(1)), [["success", wire(2)]]);
  const refuse = async () => { throw { status: 403, message: "no", stack: "secret" }; };
  assert.deepEqual(await answers(refuse, "GET"), [["failure", { status: 403, message: "no" }]]);
  assert.deepEqual(await answers(async () => { throw new Error("inside"); }, "GET"), BROKEN);
  assert.deepEqual(reported(), ["inside"]);
});

test("handlers_are_methods_of_their_object", async () => {
  const handler = { n: 7, get() { return this.n; }, put(n) { this.n = n; }, note: "ignored" };
  assert.deepEqual(await answers(handler, "PUT", wire(8)), [["success", undefined]]);
  assert.deepEqual(await answers(handler, "GET"), [["success", wire(8)]]);
  assert.deepEqual(await answers(handler, "POST", wire(1)), NOT_ALLOWED);
  assert.deepEqual(await answers(handler, "DELETE"), NOT_ALLOWED);
  assert.deepEqual(await answers(handler, "PATCH"), NOT_ALLOWED);
  const later = {
    get(success) { success("g"); },
    put(value, success) { success(); },
    post(value, success, failure) { failure({ status: 409, message: "twice" }); },
    remove(success, failure) { success(); },
  };
  assert.deepEqual(await answers(later, "GET"), [["success", wire("g")]]);
  assert.deepEqual(await answers(later, "PUT", wire(1)), [["success", undefined]]);
  assert.deepEqual(await answers(later, "POST", wire(1)), [["failure", { status: 409, message: "twice" }]]);
  assert.deepEqual(await answers(later, "DELETE"), [["success", undefined]]);
  assert.deepEqual(await answers({ remove() {} }, "DELETE"), [["success", undefined]]);
});

test("rules_around_every_item", async () => {
  let calls = 0;
  const handler = { get() { calls += 1; }, post() { calls += 1; }, remove() { calls += 1; } };
  assert.deepEqual(await answers(handler, "GET", wire(null)), BAD);
  assert.deepEqual(await answers(handler, "DELETE", wire(0)), BAD);
  assert.deepEqual(await answers(handler, "POST", "{"), BAD);
  assert.deepEqual(await answers(handler, "POST", "[1]"), BAD);
  assert.equal(calls, 0);
  assert.deepEqual(await answers(handler, "GET", " "), [["success", undefined]]);

  assert.deepEqual(await answers(() => { throw new Error("bug"); }, "GET"), BROKEN);
  assert.deepEqual(await answers({ put: () => true }, "PUT", wire(1)), BROKEN);
  assert.deepEqual(await answers({ remove: () => null }, "DELETE"), BROKEN);
  assert.deepEqual(await answers({ remove(success) { success(1); } }, "DELETE"), BROKEN);
  assert.deepEqual(await answers(() => () => {}, "GET"), BROKEN);
  assert.equal(reported().length, 5);
});

test("errors_of_items_are_made_standard", async () => {
  const failing = (error) => answers((request, success, failure) => failure(error), "GET");
  const expected = [
    [{ status: 409, message: "m", stack: "s", extra: 1 }, { status: 409, message: "m" }],
    [{ status: 404 }, { status: 404, message: "not found" }],
    [{ message: "why" }, { status: 500, message: "why" }],
    [{ status: "404" }, { status: 500, message: "internal server error" }],
    ["text", { status: 500, message: "internal server error" }],
    [undefined, { status: 500, message: "internal server error" }],
    [{ status: 0, message: "", reason: "network" }, { status: 0, message: "", reason: "network" }],
  ];
  for (const [given, error] of expected) assert.deepEqual(await failing(given), [["failure", error]]);
});

test("invoke_handlers_get_values_or_texts", async () => {
  const seen = [];
  const values = { invoke(method, request, success, failure) { seen.push([method, request]); success(); } };
  const texts = { raw: true, invoke(method, text, success, failure) { seen.push([method, text]); success(text); } };
  assert.deepEqual(await answers(values, "PUT", wire({ a: 1 })), [["success", undefined]]);
  assert.deepEqual(await answers(values, "PATCH"), [["success", undefined]]);
  assert.deepEqual(await answers(values, "GET", wire(1)), BAD);
  assert.deepEqual(await answers(texts, "POST", wire(1)), [["success", wire(1)]]);
  assert.deepEqual(await answers({ raw: true, invoke(m, t, success, f) { success(5); } }, "GET"), BROKEN);
  assert.deepEqual(await answers({ invoke(m, r, success, f) { success(5); } }, "PUT", wire(1)), BROKEN);
  assert.deepEqual(seen, [["PUT", { a: 1 }], ["PATCH", undefined], ["POST", wire(1)]]);
  reported();
});

test("urls_are_invoked_by_http", async () => {
  const replies = [];
  const web = new Page({ fetch: async () => replies.shift() });
  const reply = (status, text, statusText = "") => replies.push({ status, statusText, text: async () => text });
  const mine = new web.belay.CapServer(web.belay.newUUIDv4());
  const cap = mine.restore("https://gw.example/cap/abc");
  reply(200, wire({ id: 7 }));
  assert.deepEqual(await cap.post({ n: 1 }), { id: 7 });
  reply(200, "");
  assert.equal(await mine.grant("https://gw.example/cap/abc").put(1), undefined);
  reply(204, "");
  assert.equal(await cap.get(), undefined);
  reply(404, '{"error":{"status":404,"message":"gone"}}', "Not Found");
  assert.deepEqual(await failureOf(cap.get()), { status: 404, message: "gone" });
  reply(409, "nonsense", "Conflict");
  assert.deepEqual(await failureOf(cap.get()), { status: 409, message: "Conflict" });
  reply(405, "");
  assert.deepEqual(await failureOf(cap.remove()), { status: 405, message: "method not allowed" });
  reply(200, "<html>");
  assert.deepEqual(await failureOf(cap.get()), { status: 502, message: "bad response" });

  assert.deepEqual(web.requests[0], ["https://gw.example/cap/abc", {
    mode: "cors", credentials: "omit", referrerPolicy: "no-referrer", cache: "no-store", redirect: "error",
    method: "POST", body: wire({ n: 1 }),
  }]);
  assert.equal(web.requests[2][1].body, undefined);
  assert.ok(web.requests.every(([, { headers }]) => headers === undefined));
  const offline = page.belay.CapServer;
  const unreached = { status: 0, message: "", reason: "network" };
  assert.deepEqual(await failureOf(new offline().restore("https://gw.example/x").get()), unreached);
  // Relative to the page it would be another resource.
  const asked = web.requests.length;
  assert.deepEqual(await failureOf(mine.restore("https:").get()), unreached);
  assert.equal(web.requests.length, asked);
});

test("the_transport_can_be_replaced", async () => {
  const web = new Page();
  const { internals, CapServer } = web.belay;
  const sent = [];
  internals.setTransport((url, method, text, success, failure) => {
    sent.push([url, method, text]);
    success(wire("by other means"));
  });
  assert.equal(await new CapServer().restore("http://127.0.0.1:8080/cap/x").get(), "by other means");
  assert.deepEqual(sent, [["http://127.0.0.1:8080/cap/x", "GET", undefined]]);
  assert.throws(() => internals.setTransport("fetch"), TypeError);

  class Request {
    open(...given) { sent.push(given); }
    send(body) {
      Object.assign(this, { status: 503, statusText: "", responseText: "" });
      sent.push(body);
      this.onload();
    }
  }
  globalThis.XMLHttpRequest = Request;
  internals.setTransport(internals.xhrTransport);
  assert.deepEqual(await failureOf(new CapServer().restore("https://x.example/").post(1)), { status: 503, message: "unavailable" });
  assert.deepEqual(sent.slice(1), [["POST", "https://x.example/"], wire(1)]);
  Request.prototype.send = function () { this.onerror(); };
  assert.deepEqual(await failureOf(new CapServer().restore("https://x.example/").get()), { status: 0, message: "", reason: "network" });
  delete globalThis.XMLHttpRequest;
});

test("wrapping_hides_and_is_revoked_alone", async () => {
  const outer = newServer();
  const inner = server.grant({ get: () => "in", put() {}, post: (x) => [x], remove() {} });
  for (const wrapper of [outer.wrap(inner), outer.grant(inner)]) {
    assert.notEqual(wrapper.serialize(), inner.serialize());
    assert.equal(await wrapper.get(), "in");
    assert.deepEqual(await wrapper.post(1), [1]);
    assert.equal(await wrapper.put(1), undefined);
    assert.equal(await wrapper.remove(), undefined);
    outer.revoke(wrapper);
    await assert.rejects(wrapper.get(), { status: 404 });
    assert.equal(await inner.get(), "in");
  }
  const chain = outer.wrap(outer.wrap(inner));
  assert.equal(await chain.get(), "in");
  server.revoke(inner);
  await assert.rejects(inner.get(), { status: 404 });
  await assert.rejects(chain.get(), { status: 404 });

  const again = server.grant(() => 1);
  const wrapped = outer.wrap(again);
  outer.revokeAll();
  await assert.rejects(wrapped.get(), { status: 404 });
  assert.equal(await again.get(), 1);
  assert.throws(() => outer.wrap("urn:x"), TypeError);
});
