// Ids, serialisations and bcapJson (Belay §§2–4).

import assert from "node:assert/strict";
import { test } from "node:test";

import { Page, examples } from "./page.mjs";

const { belay } = new Page();
const { internals } = belay;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test("uuids_are_random_and_of_version_4", () => {
  const { uuid } = examples("identifiers");
  const made = Array.from({ length: 1000 }, () => belay.newUUIDv4());
  assert.equal(new Set(made).size, 1000);
  for (const text of made) assert.match(text, UUID);
  const original = crypto.getRandomValues;
  try {
    crypto.getRandomValues = (array) => { array.set(uuid.numbers.map((n) => parseInt(n, 16))); return array; };
    assert.equal(belay.newUUIDv4(), uuid.text);
    crypto.getRandomValues = undefined;
    assert.throws(() => belay.newUUIDv4(), TypeError);
  } finally {
    crypto.getRandomValues = original;
  }
});

test("instance_ids_are_hashes_of_pre_images", () => {
  const { pre_images, no_pre_images } = examples("identifiers");
  for (const { pre_image, sha256, sha1 } of pre_images) {
    assert.equal(internals.newInstanceId(pre_image), sha256);
    if (sha1) assert.equal(internals.sha1InstanceId(pre_image), sha1);
  }
  for (const text of [...no_pre_images, undefined, null, 7, {}]) {
    assert.throws(() => internals.newInstanceId(text), TypeError);
    assert.throws(() => internals.sha1InstanceId(text), TypeError);
  }
});

test("instance_ids_have_four_forms", () => {
  const good = [belay.newUUIDv4(), "f3522d294a20493303bd4c2ceb28d6aa", "66c6bd1f4cda24069debe0efa2193f64baeae867",
    "https://myserv.com", "https://myserv.com:8443", "http://127.0.0.1:8080"];
  for (const id of good) assert.equal(new belay.CapServer(id).instanceId, id);
  const bad = [null, 5, "", "bob", "00000000-0000-0000-0000-000000000000", "https://myserv.com/", "https://myserv.com:443",
    "https://MYSERV.com", "null", "ftp://myserv.com", "66C6BD1F4CDA24069DEBE0EFA2193F64BAEAE867"];
  for (const id of bad) {
    assert.throws(() => new belay.CapServer(id), (error) => {
      return error instanceof TypeError && error.message.startsWith("CapServer: bad instance identifier: ");
    });
  }
  assert.equal(new belay.CapServer().instanceId, undefined);
});

test("serialisations_are_read_from_the_right", () => {
  const { examples: read, unparsable } = examples("serialisations");
  const nobody = "00000000-0000-0000-0000-000000000000";
  for (const { text, instance, cap, length } of read) {
    assert.deepEqual(internals.decodeSerialization(text), [instance, cap]);
    assert.equal(internals.encodeSerialization(instance, cap), text);
    assert.equal(text.length, length);
  }
  for (const text of unparsable) assert.deepEqual(internals.decodeSerialization(text), [nobody, nobody]);
});

/** `{"$cap": text}` of the examples as a capability. */
function withCaps(server, value) {
  if (typeof value !== "object" || value === null) return value;
  if ("$cap" in value) return server.restore(value.$cap);
  if (Array.isArray(value)) return value.map((item) => withCaps(server, item));
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withCaps(server, item)]));
}

/** A value with its capabilities as `{"$cap": text}`. */
function withoutCaps(value) {
  if (typeof value !== "object" || value === null) return value;
  if (typeof value.serialize === "function") return { $cap: value.serialize() };
  if (Array.isArray(value)) return value.map(withoutCaps);
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, withoutCaps(item)]));
}

test("bcap_json_of_the_worked_examples", () => {
  const server = new belay.CapServer();
  for (const { value, text } of examples("bcap_json").examples) {
    assert.equal(server.dataPreProcess(withCaps(server, value)), text === "" ? undefined : text);
    assert.deepEqual(withoutCaps(server.dataPostProcess(text)), value);
  }
  for (const text of examples("bcap_json").rejected) {
    assert.throws(() => server.dataPostProcess(text), SyntaxError);
  }
});

test("bcap_json_refuses_what_it_is_not", () => {
  const { dataPreProcess } = new belay.CapServer();
  const cycle = { a: [] };
  cycle.a.push(cycle);
  const refused = [() => {}, { f() {} }, Symbol("s"), { s: Symbol("s") }, 10n, cycle, /x/, new Map(), new Set(), new Error("x"),
    Promise.resolve(), NaN, Infinity, [-Infinity], { "@": "https://gw.example/cap/x" }, { "@": "x", also: 1 }];
  for (const value of refused) assert.throws(() => dataPreProcess(value), TypeError);
  assert.throws(() => dataPreProcess(() => {}), /Passing a function/);
  assert.throws(() => dataPreProcess({ "@": "x" }), /forged reference/);
  assert.throws(() => dataPreProcess({ a: undefined }, { strict: true }), TypeError);
  assert.throws(() => dataPreProcess([undefined], { strict: true }), TypeError);
});

test("bcap_json_writes_what_json_does", () => {
  const { dataPreProcess } = new belay.CapServer();
  const shared = { x: 1 };
  const texts = [
    [{ a: undefined, b: 1 }, '{"value":{"b":1}}'],
    [[undefined, 1], '{"value":[null,1]}'],
    [new Date(0), '{"value":"1970-01-01T00:00:00.000Z"}'],
    [{ toJSON: () => ({ own: true }) }, '{"value":{"own":true}}'],
    [-0, '{"value":0}'],
    [[shared, shared], '{"value":[{"x":1},{"x":1}]}'],
    [Object.create(null, { k: { value: "é\n", enumerable: true } }), '{"value":{"k":"é\\n"}}'],
    [JSON.parse('{"__proto__":{"a":1}}'), '{"value":{"__proto__":{"a":1}}}'],
  ];
  for (const [value, text] of texts) assert.equal(dataPreProcess(value), text);
});

test("bcap_json_reads_strictly", () => {
  const { dataPostProcess } = new belay.CapServer();
  for (const text of [undefined, null, "", " \n\t\r "]) assert.equal(dataPostProcess(text), undefined);
  assert.equal(dataPostProcess('{"value":null}'), null);
  assert.equal(dataPostProcess('{"other":{"@":5},"value":3}'), 3);
  const malformed = ["{", '{"value":}', '{"valu":1}', "null", '"x"', '{"value":{"@":null}}', '{"value":[{"@":"x","y":1}]}'];
  for (const text of malformed) assert.throws(() => dataPostProcess(text), SyntaxError);
  const proto = dataPostProcess('{"value":{"__proto__":{"polluted":true}}}');
  assert.equal({}.polluted, undefined);
  assert.deepEqual(Object.keys(proto), ["__proto__"]);
});

test("bcap_json_is_bounded_both_ways", () => {
  const server = new belay.CapServer();
  const nested = (levels) => Array.from({ length: levels }).reduce((inner) => [inner], 1);
  const caps = (many) => Array.from({ length: many }, () => server.restore("https://gw.example/cap/x"));
  const text = (value) => JSON.stringify({ value });
  const refs = (many) => text(Array.from({ length: many }, () => ({ "@": "x" })));
  assert.deepEqual(server.dataPostProcess(server.dataPreProcess(nested(64))), nested(64));
  assert.equal(server.dataPostProcess(server.dataPreProcess(caps(256))).length, 256);
  assert.throws(() => server.dataPreProcess(nested(65)), TypeError);
  assert.throws(() => server.dataPreProcess(caps(257)), TypeError);
  assert.throws(() => server.dataPreProcess("x".repeat(1024 * 1024)), TypeError);
  assert.throws(() => server.dataPostProcess(text(nested(65))), SyntaxError);
  assert.throws(() => server.dataPostProcess(refs(257)), SyntaxError);
  assert.throws(() => server.dataPostProcess(text("x".repeat(1024 * 1024))), SyntaxError);
});

test("processors_have_two_names_and_bind_to_their_server", async () => {
  const server = new belay.CapServer(belay.newUUIDv4());
  assert.equal(server.dataPreProcessor, server.dataPreProcess);
  assert.equal(server.dataPostProcessor, server.dataPostProcess);
  assert.equal(server.dataPreProcess(undefined), undefined);
  assert.equal(server.dataPostProcess(undefined), undefined);
  const cap = server.grant(() => "here");
  const elsewhere = new belay.CapServer(belay.newUUIDv4()).dataPostProcess(server.dataPreProcess({ cap }));
  assert.equal(elsewhere.cap.serialize(), cap.serialize());
  await assert.rejects(elsewhere.cap.get(), { status: 404 });
  // Handed over as callbacks.
  const [back] = [server.dataPreProcess({ cap })].map(server.dataPostProcess);
  assert.equal(await back.cap.get(), "here");
});
