"use strict";

// The service against a bare ROUTER: literal frames.

const assert = require("node:assert/strict");
const { once } = require("node:events");
const { test } = require("node:test");
const { setTimeout: sleep } = require("node:timers/promises");

const { BackboneService, InvalidStateError } = require("..");
const { BareRouter, DEADLINE, until } = require("./peers");

/** Fast, so that the tests need not wait. Heartbeats that no test asks for never come. */
const QUICK = { heartbeat: 3_600_000, expiry: 3_600_000, reconnectMin: 10, reconnectMax: 20 };
const HEARTBEAT = ["", "MDPW01", "\x04"];
const READY = { "0.1": ["", "MDPW01", "\x01", "echo"], "0.2": ["MDPW02", "\x01", "echo"] };

/** A service that has registered at a bare ROUTER. */
async function serving(context, handler, { timing, version = "0.1" } = {}) {
  const router = await new BareRouter().bind();
  const service = new BackboneService("echo", handler, {
    port: router.port,
    version,
    timing: { ...QUICK, ...timing },
  });
  context.after(async () => {
    await service.shutdown({ timeout: 0 });
    router.close();
  });
  const registered = async () => {
    const [worker, message] = await router.receive(HEARTBEAT);
    assert.deepEqual(message, READY[version]);
    return worker;
  };
  const request = (worker, ...body) => router.send(worker, "", "MDPW01", "\x02", "token", "", ...body);
  const expect = async (worker, ...parts) =>
    assert.deepEqual(await router.receive(HEARTBEAT), [worker, ["", "MDPW01", ...parts]]);
  assert.equal(await service.connect(), service);
  return { router, service, registered, request, expect, worker: await registered() };
}

/** A promise and what settles it. */
function gate() {
  let open;
  const opened = new Promise((resolve) => {
    open = resolve;
  });
  return { open, opened };
}

test("requests are answered with text, frames or nothing", async (context) => {
  const answers = ["text", ["1", Buffer.from("2")], undefined];
  const seen = [];
  const { worker, request, expect } = await serving(context, (frames, reply) => {
    seen.push(frames.map((frame) => frame.toString("latin1")));
    reply(answers[seen.length - 1]);
  });
  await request(worker);
  await expect(worker, "\x03", "token", "", "text");
  await request(worker, "a", "");
  await expect(worker, "\x03", "token", "", "1", "2");
  await request(worker, "\xff");
  await expect(worker, "\x03", "token", "");
  assert.deepEqual(seen, [[], ["a", ""], ["\xff"]]);
});

test("heartbeats go on while a request is in hand", async (context) => {
  const { open, opened } = gate();
  const handler = async (frames, reply) => {
    await opened;
    reply("done");
  };
  const { worker, router, request, expect } = await serving(context, handler, { timing: { heartbeat: 10 } });
  await request(worker);
  for (let count = 0; count < 5; count += 1) {
    assert.deepEqual(await router.receive(), [worker, HEARTBEAT]);
  }
  open();
  await expect(worker, "\x03", "token", "", "done");
});

test("an answer may come later and only once", async (context) => {
  const held = [];
  const { worker, request, expect } = await serving(context, (frames, reply) => void held.push(reply));
  await request(worker);
  await until(() => held.length === 1);
  held[0]("later");
  await expect(worker, "\x03", "token", "", "later");
  assert.throws(() => held[0]("twice"), InvalidStateError);
});

test("DISCONNECT of a Backbone broker means a new socket", async (context) => {
  const { worker, router, service, registered, request, expect } = await serving(context, (frames, reply) =>
    reply("ok"),
  );
  const lost = once(service, "lost");
  await router.send(worker, "MDPW01", "\x05");
  assert.deepEqual(await lost, ["the broker sent DISCONNECT"]);
  const again = await registered();
  assert.notDeepEqual(again, worker);
  await request(again);
  await expect(again, "\x03", "token", "", "ok");
});

test("a silent broker means a new socket", async (context) => {
  const { worker, registered } = await serving(context, () => {}, { timing: { expiry: 50 } });
  assert.notDeepEqual(await registered(), worker);
});

test("a stall of the program is no silence of the broker", async (context) => {
  const { worker, request, expect } = await serving(context, (frames, reply) => reply("ok"), {
    timing: { expiry: 2000 },
  });
  await request(worker);
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2500);
  await expect(worker, "\x03", "token", "", "ok");
});

test("a result for an old registration is thrown away", async (context) => {
  const held = [];
  const { worker, router, registered, request, expect } = await serving(
    context,
    (frames, reply) => void held.push(reply),
  );
  await request(worker, "old");
  await until(() => held.length === 1);
  await router.send(worker, "", "MDPW01", "\x05");
  const again = await registered();
  held[0]("old result");
  await request(again, "new");
  await until(() => held.length === 2);
  held[1]("new result");
  await expect(again, "\x03", "token", "", "new result");
});

test("no registration while an old handler is at work", async (context) => {
  const { open, opened } = gate();
  const started = gate();
  const order = [];
  const { worker, router, registered, request } = await serving(context, async () => {
    started.open();
    await opened;
    order.push("handler ended");
  });
  await request(worker);
  await started.opened;
  await router.send(worker, "", "MDPW01", "\x05");
  const next = registered().then(() => order.push("registered"));
  await sleep(100);
  open();
  await next;
  assert.deepEqual(order, ["handler ended", "registered"]);
});

test("stop finishes the request in hand and signs off", async (context) => {
  const { open, opened } = gate();
  const started = gate();
  const { worker, service, request, expect } = await serving(context, async (frames, reply) => {
    started.open();
    await opened;
    reply("finished");
  });
  await request(worker);
  await started.opened;
  const stopped = service.shutdown({ timeout: DEADLINE });
  open();
  await expect(worker, "\x03", "token", "", "finished");
  await expect(worker, "\x05");
  await stopped;
});

test("a handler that takes too long is given up at stop", async (context) => {
  const held = [];
  const { worker, service, request, expect } = await serving(context, (frames, reply) => void held.push(reply));
  await request(worker);
  await until(() => held.length === 1);
  await service.shutdown({ timeout: 50 });
  await expect(worker, "\x05");
  held[0]("too late, and harmless");
});

test("a handler that throws hands the request back", async (context) => {
  const { worker, service, registered, request, expect } = await serving(context, (frames, reply) => {
    if (frames.length > 0) {
      throw new Error("made by a test");
    }
    reply("fine");
  });
  const failed = once(service, "failed");
  await request(worker, "fail");
  await expect(worker, "\x05");
  assert.match((await failed)[0].message, /made by a test/);
  const again = await registered();
  await request(again);
  await expect(again, "\x03", "token", "", "fine");
});

test("a second request at a time means a new socket", async (context) => {
  const { worker, registered, request } = await serving(context, () => {});
  await request(worker);
  await request(worker);
  assert.notDeepEqual(await registered(), worker);
});

test("parts over 0.2, as fast as the socket takes them", async (context) => {
  const handler = async (frames, reply) => {
    for (let number = 1; number < 20_000; number += 1) {
      await reply.partial(["line", String(number)]);
    }
    await reply("end");
  };
  const { worker, router } = await serving(context, handler, { version: "0.2" });
  await router.send(worker, "MDPW02", "\x02", "token", "", "3");
  for (let number = 1; number < 20_000; number += 1) {
    assert.deepEqual(await router.receive(), [worker, ["MDPW02", "\x03", "token", "", "line", String(number)]]);
  }
  assert.deepEqual(await router.receive(), [worker, ["MDPW02", "\x04", "token", "", "end"]]);
});

test("0.1 has no parts, and parts that are not awaited are bounded", async (context) => {
  const old = await serving(context, (frames, reply) => {
    assert.throws(() => reply.partial("part"), /no partial answers/);
    reply("whole");
  });
  await old.request(old.worker);
  await old.expect(old.worker, "\x03", "token", "", "whole");
  const { worker, router } = await serving(
    context,
    (frames, reply) => {
      assert.throws(() => {
        for (let number = 0; number < 2000; number += 1) {
          reply.partial("x");
        }
      }, /await reply.partial/);
      reply("end");
    },
    { version: "0.2" },
  );
  await router.send(worker, "MDPW02", "\x02", "token", "");
  await until(async () => (await router.receive())[1].at(-1) === "end");
});
