// Revoking, names, restoring, saving, the two interfaces (Belay §6.9–6.13).

import assert from "node:assert/strict";
import { test } from "node:test";

import { Page, examples, outcomes, settle } from "./page.mjs";

const page = new Page();
const { belay } = page;
const newServer = (snapshot) => new belay.CapServer(belay.newUUIDv4(), snapshot);
const isDead = (cap) => assert.rejects(cap.get(), { status: 404, message: "not found" });
const capIdOf = (cap) => belay.internals.decodeSerialization(cap.serialize())[1];
const reported = () => page.errors.splice(0).map((error) => error.message);

test("revoking_is_final_and_only_for_own_grants", async () => {
  const server = newServer();
  const [one, two, three] = [server.grant(() => 1), server.grant(() => 2), server.grant(() => 3)];
  server.revoke(one);
  server.revoke(two.serialize());
  await isDead(one);
  await isDead(two);
  await isDead(server.restore(one.serialize()));
  // The cap id under another instance, garbage, and what is no serialization.
  server.revoke(belay.internals.encodeSerialization(belay.newUUIDv4(), capIdOf(three)));
  server.revoke("somekey");
  server.revoke("https://gw.example/cap/x");
  assert.equal(await three.get(), 3);
  for (const wrong of [undefined, null, 5, {}]) assert.throws(() => server.revoke(wrong), TypeError);
  const all = [server.grantNamed("n"), server.wrap(three)];
  server.setNamedHandler("n", () => () => "n");
  assert.equal(await all[0].get(), "n");
  server.revokeAll();
  for (const cap of [three, ...all]) await isDead(cap);
  assert.deepEqual(JSON.parse(server.serialize()).map, {});
});

test("an_invocation_in_progress_is_answered_after_a_revocation", async () => {
  const server = newServer();
  let finish;
  const cap = server.grant((request, success) => { finish = success; });
  const answer = cap.get();
  await settle();
  server.revoke(cap);
  finish("late");
  assert.equal(await answer, "late");
  await isDead(cap);
});

test("named_grants_are_built_when_they_are_invoked", async () => {
  const server = newServer();
  const calls = [];
  const cap = server.grantNamed("sum", 1, { n: [2] });
  await isDead(cap);
  server.setNamedHandler("sum", function (a) { calls.push([...arguments]); return () => a + arguments[1].n[0]; });
  assert.equal(calls.length, 0);
  assert.equal(await cap.get(), 3);
  assert.equal(await cap.get(), 3);
  assert.deepEqual(calls, [[1, { n: [2] }]]);
  // A later handler is for grants that are not built yet.
  server.setNamedHandler("sum", () => () => "new");
  assert.equal(await cap.get(), 3);
  assert.equal(await server.grantNamed("sum").get(), "new");
  for (const wrong of [undefined, {}, "f"]) {
    assert.throws(() => server.setNamedHandler("sum", wrong), { message: "NamedHandler generators must be functions" });
  }
  await isDead(server.grantNamed("toString"));
  await isDead(server.grantNamed("__proto__"));
});

test("a_named_handler_that_fails_is_tried_again", async () => {
  const server = newServer();
  const items = [() => { throw new Error("not yet"); }, () => 5, () => () => "at last"];
  server.setNamedHandler("n", () => items.shift()());
  const cap = server.grantNamed("n");
  await isDead(cap);
  await isDead(cap);
  assert.equal(await cap.get(), "at last");
  assert.deepEqual(reported(), ["not yet", "Unusable handler"]);
});

test("arguments_of_named_grants_are_copies", async () => {
  const server = newServer();
  const given = { list: [1], cap: server.grant(() => "inner") };
  const cap = server.grantNamed("n", given);
  given.list.push(2);
  const seen = [];
  server.setNamedHandler("n", (argument) => { seen.push(argument.list.length); argument.list.push(9); return argument.cap; });
  assert.equal(await cap.get(), "inner");
  const revived = new belay.CapServer(server.instanceId, server.serialize());
  revived.setNamedHandler("n", ({ list }) => () => list);
  assert.deepEqual(await revived.restore(cap.serialize()).get(), [1]);
  assert.deepEqual(seen, [1]);
  assert.throws(() => server.grantNamed("n", () => {}), TypeError);
});

test("revoke_named_asks_a_validator", async () => {
  const server = newServer();
  server.setNamedHandler("doc", (id) => () => id);
  server.setNamedHandler("other", (id) => () => id);
  const docs = [1, 2, 3].map((id) => server.grantNamed("doc", id, "x"));
  const other = server.grantNamed("other", 2);
  const seen = [];
  server.revokeNamed("doc", (...args) => { seen.push(args); return args[0] === 2; });
  assert.deepEqual(seen, [[1, "x"], [2, "x"], [3, "x"]]);
  assert.equal(await docs[0].get(), 1);
  await isDead(docs[1]);
  assert.equal(await other.get(), 2);
  let saved = 0;
  server.setSyncNotifier((state) => { saved += 1; });
  assert.throws(() => server.revokeNamed("doc", (id) => { if (id === 3) throw new Error("stop"); return true; }), /stop/);
  await isDead(docs[0]);
  assert.equal(await docs[2].get(), 3);
  assert.equal(saved, 1);
  server.revokeNamed("doc", () => false);
  assert.equal(saved, 1);
});

test("restoring_never_fails_until_it_is_invoked", async () => {
  const server = newServer();
  const asked = [];
  server.setResolver((id) => { asked.push(id); });
  for (const text of ["", "asdf", "urn:x-cap:x:y"]) await isDead(server.restore(text));
  assert.deepEqual(asked, []);
  const foreign = belay.newUUIDv4();
  await isDead(server.restore(belay.internals.encodeSerialization(foreign, belay.newUUIDv4())));
  assert.deepEqual(asked, [foreign]);
  for (const wrong of [undefined, null, 5, {}]) assert.throws(() => server.restore(wrong), TypeError);
});

test("the_snapshot_of_the_worked_example", async () => {
  const { text, id, named, name, args, wrap, inner } = examples("snapshot");
  const server = new belay.CapServer(id, text);
  assert.equal(server.serialize(), text);
  let given;
  server.setNamedHandler(name, (...all) => { given = all; return () => "read"; });
  assert.equal(await server.restore(named).get(), "read");
  assert.equal(given[0], args[0]);
  assert.equal(given[1].serialize(), args[1].$cap);
  const asked = [];
  server.setResolver(() => ({ invoke(ser, method, data, success) { asked.push(ser); success('{"value":"inner"}'); } }));
  assert.equal(await server.restore(wrap).get(), "inner");
  assert.deepEqual(asked, [inner]);
});

test("snapshots_hold_named_grants_and_wraps", async () => {
  const server = newServer();
  const inner = server.grant(() => 1);
  server.grant(inner);
  const [named, wrap] = [server.grantNamed("n", { cap: inner }), server.wrap(inner)];
  assert.deepEqual(JSON.parse(server.serialize()), {
    id: server.instanceId,
    map: {
      [capIdOf(named)]: { restoreName: "n", restoreArgs: [{ cap: { "@": inner.serialize() } }] },
      [capIdOf(wrap)]: { restoreCap: inner.serialize() },
    },
  });
  server.revoke(wrap);
  const revived = new belay.CapServer(server.instanceId, server.serialize());
  revived.setNamedHandler("n", () => () => "alive");
  assert.equal(await revived.restore(named.serialize()).get(), "alive");
  await isDead(revived.restore(wrap.serialize()));
  await isDead(revived.restore(inner.serialize()));
});

test("a_snapshot_of_another_id_is_an_alias", async () => {
  const old = newServer();
  const cap = old.grantNamed("n");
  const server = newServer(old.serialize());
  server.setNamedHandler("n", () => () => "moved");
  assert.equal(await server.restore(cap.serialize()).get(), "moved");
  assert.deepEqual(await outcomes(server.publicInterface, cap.serialize(), "GET"), [["success", '{"value":"moved"}']]);
  server.revoke(cap);
  await isDead(server.restore(cap.serialize()));
});

test("snapshots_are_read_leniently_and_kept_whole", () => {
  const id = belay.newUUIDv4();
  for (const text of ["{", "null", "{}", '{"map":5}', '{"map":null}']) assert.throws(() => new belay.CapServer(id, text), SyntaxError);
  const unknown = { v: 2, id, map: { a: { restoreLater: [1] } } };
  const server = new belay.CapServer(id, JSON.stringify(unknown));
  assert.deepEqual(JSON.parse(server.serialize()).map, unknown.map);
});

test("the_sync_notifier_is_called_inside_each_change", () => {
  const server = newServer();
  for (const wrong of [undefined, "f", () => {}]) {
    assert.throws(() => server.setSyncNotifier(wrong), {
      name: "TypeError", message: "the sync notifier must be a function that takes at least one argument",
    });
  }
  const states = [];
  server.setSyncNotifier((state) => states.push(state));
  const changes = [
    () => server.grant(() => 1), () => server.grantNamed("n"), () => server.wrap(server.restore("https://x.example/")),
    () => server.revoke("somekey"), () => server.revokeNamed("n", () => true), () => server.revokeAll(),
  ];
  changes.forEach((change, index) => {
    change();
    assert.equal(states.length, index + 1);
    assert.equal(states[index], server.serialize());
  });
});

test("the_persistifier_saves_once_for_many_changes", async () => {
  const server = newServer();
  const saved = [];
  server.grantNamed("before");
  server.setPersistifier((state) => { saved.push(Object.keys(JSON.parse(state).map).length); });
  await settle();
  assert.deepEqual(saved, [1]);
  const cap = server.grantNamed("n");
  server.wrap(cap);
  server.revoke(cap);
  assert.deepEqual(saved, [1]);
  await settle();
  assert.deepEqual(saved, [1, 2]);
  // What is not in the snapshot changes nothing.
  server.revoke(server.grant(() => 1));
  server.revoke("somekey");
  await settle();
  assert.deepEqual(saved, [1, 2]);
  server.revokeNamed("before", () => true);
  await settle();
  server.revokeAll();
  await settle();
  assert.deepEqual(saved, [1, 2, 1, 0]);
  for (const wrong of [undefined, {}, "f"]) assert.throws(() => server.setPersistifier(wrong), TypeError);
});

test("the_persistifier_waits_for_its_interval_from_the_first_change", async () => {
  const { belay: own, clock, window } = new Page();
  const server = new own.CapServer(own.newUUIDv4());
  let saved = 0;
  server.setPersistifier(() => { saved += 1; }, 500);
  server.grantNamed("a");
  await clock.pass(400);
  server.grantNamed("b");
  assert.equal(saved, 0);
  await clock.pass(100);
  assert.equal(saved, 1);
  server.grantNamed("c");
  window.fire("pagehide");
  await settle();
  assert.equal(saved, 2);
  await clock.pass(5000);
  assert.equal(saved, 2);
});

test("the_persistifier_does_not_overlap_and_tries_again", async () => {
  const own = new Page();
  const server = new own.belay.CapServer(own.belay.newUUIDv4());
  const calls = [];
  server.setPersistifier(() => new Promise((resolve, reject) => calls.push({ resolve, reject })));
  server.grantNamed("a");
  await settle();
  server.grantNamed("b");
  await settle();
  assert.equal(calls.length, 1);
  calls[0].reject(new Error("full"));
  await settle();
  await own.clock.pass(999);
  assert.equal(calls.length, 1);
  await own.clock.pass(1);
  assert.equal(calls.length, 2);
  calls[1].reject(new Error("full"));
  await settle();
  await own.clock.pass(1999);
  assert.equal(calls.length, 2);
  await own.clock.pass(1);
  assert.equal(calls.length, 3);
  calls[2].resolve();
  await own.clock.pass(100000);
  assert.equal(calls.length, 3);
  assert.deepEqual(own.errors.map(({ message }) => message), ["full", "full"]);
  // Another saver is told what the last one did not save.
  server.grantNamed("c");
  let later = 0;
  server.setPersistifier(() => { later += 1; });
  await settle();
  assert.equal(later, 1);
  assert.equal(calls.length, 3);
});

test("the_public_interface_is_for_own_grants_alone", async () => {
  const [server, other] = [newServer(), newServer()];
  const cap = server.grant(() => 1);
  assert.ok(Object.isFrozen(server.publicInterface) && Object.isFrozen(server.privateInterface));
  const foreign = belay.internals.encodeSerialization(other.instanceId, capIdOf(cap));
  const dead = [["failure", { status: 404, message: "not found" }]];
  for (const text of [foreign, "asdf", "https://gw.example/cap/x"]) {
    assert.deepEqual(await outcomes(server.publicInterface, text, "GET"), dead);
  }
  other.setResolver((id) => (id === server.instanceId ? server.publicInterface : null));
  assert.equal(await other.restore(cap.serialize()).get(), 1);
  assert.deepEqual(await outcomes(other.privateInterface, cap.serialize(), "GET"), [["success", '{"value":1}']]);
});
