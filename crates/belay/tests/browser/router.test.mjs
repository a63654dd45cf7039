// The router that programs embed (Belay §10.1, §22.6). That of the frame is tested with the frame.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Page, failureOf } from "./page.mjs";

test("instances_of_a_document_reach_each_other", async () => {
  const { CapServer, CapRouter } = new Page().belay.internals;
  const { newUUIDv4 } = new Page().belay;
  const router = new CapRouter();
  const [here, there] = [new CapServer(newUUIDv4()), new CapServer(newUUIDv4())];
  for (const server of [here, there]) {
    server.setResolver(router.resolver);
    assert.equal(await router.isRoutable(server.instanceId), false);
    assert.equal(await router.addInterface(server.instanceId, server.publicInterface), true);
    assert.equal(await router.isRoutable(server.instanceId, 1000), true);
  }
  assert.equal(await router.addInterface(here.instanceId, there.publicInterface), false);
  const cap = there.grant((n) => n + 1);
  assert.equal(await here.restore(cap.serialize()).post(1), 2);
  const nobody = `urn:x-cap:${newUUIDv4()}:${newUUIDv4()}`;
  assert.deepEqual(await failureOf(here.restore(nobody).get()), { status: 404, message: "not found" });
});

test("a_mailbox_gives_each_record_once", () => {
  const { CapRouter, CapServer } = new Page().belay.internals;
  const router = new CapRouter();
  const cap = new CapServer().restore("https://gw.example/cap/x");
  const record = { cap, n: [1] };
  router.storeStart("a", record);
  record.n.push(2);
  assert.equal(router.retrieveStart("b"), null);
  const { cap: read, n } = router.retrieveStart("a");
  assert.deepEqual([read.serialize(), n], [cap.serialize(), [1]]);
  assert.equal(router.retrieveStart("a"), null);
  assert.throws(() => router.storeStart("a", () => {}), TypeError);
  for (let id = 0; id < 257; id += 1) router.storeStart(String(id), id);
  assert.equal(router.retrieveStart("0"), null);
  router.expireMessages(60000);
  assert.equal(router.retrieveStart("1"), 1);
  router.expireMessages(-1);
  assert.equal(router.retrieveStart("2"), null);
});
