"use strict";

// Clients and services with the real broker, `buswire mdp broker`, and the command line.

const assert = require("node:assert/strict");
const { spawnSync } = require("node:child_process");
const path = require("node:path");
const { test } = require("node:test");

const { BackboneClient, BackboneService } = require("..");
const { DEADLINE, Program, startBroker, until } = require("./peers");

const LONG = { timeout: DEADLINE };
const QUICK = { reconnectMin: 50, reconnectMax: 100 };
const PROGRAM = path.join(__dirname, "../bin/backbone.js");
const echo = (frames, reply) => reply(frames);

async function withBroker(context) {
  let broker = await startBroker();
  const ends = [];
  context.after(async () => {
    for (const end of ends.reverse()) {
      await end();
    }
    await broker.stop("SIGKILL");
  });
  const { port } = broker;
  return {
    port,
    restart: async () => {
      await broker.stop("SIGKILL");
      broker = await startBroker(port);
    },
    serve: async (name, handler, options) => {
      const service = new BackboneService(name, handler, { port, ...options });
      ends.push(() => service.shutdown({ timeout: 1000 }));
      return service.connect();
    },
    client: async (options) => {
      const client = new BackboneClient("127.0.0.1", port, options);
      ends.push(() => client.disconnect());
      return client.connect(LONG);
    },
    program: (...words) => {
      const program = new Program(process.execPath, [PROGRAM, ...words]);
      ends.push(() => program.stop("SIGKILL"));
      return program;
    },
  };
}

test("every client and every service understand each other", async (context) => {
  const { serve, client } = await withBroker(context);
  await serve("echo01", echo);
  await serve("echo02", echo, { version: "0.2" });
  const bodies = [[], [Buffer.alloc(0)], [Buffer.from("a"), Buffer.alloc(0), Buffer.alloc(100_000, 0xff)]];
  for (const version of ["0.1", "0.2"]) {
    for (const correlate of [true, false]) {
      const asker = await client({ version, correlate });
      for (const service of ["echo01", "echo02"]) {
        for (const body of bodies) {
          assert.deepEqual(await asker.request(service, body, LONG), body);
        }
      }
    }
  }
});

test("parts arrive one by one and a 0.1 client gets them in one", async (context) => {
  const { serve, client } = await withBroker(context);
  const lines = async ([count], reply) => {
    for (let number = 1; number < Number(count); number += 1) {
      await reply.partial(`line ${number}`);
    }
    await reply(`line ${count}`);
  };
  await serve("lines", lines, { version: "0.2" });
  const asker = await client();
  const parts = [];
  for await (const part of asker.sendStream("lines", "3", LONG)) {
    parts.push(part.map(String));
  }
  assert.deepEqual(parts, [["line 1"], ["line 2"], ["line 3"]]);
  assert.deepEqual(await asker.send("lines", "3", DEADLINE), ["line 1", "line 2", "line 3"]);
});

test("many requests in flight", async (context) => {
  const { serve, client } = await withBroker(context);
  for (let count = 0; count < 3; count += 1) {
    await serve("echo", echo);
  }
  const asker = await client();
  const numbers = Array.from({ length: 2000 }, (_, number) => String(number));
  const answers = await Promise.all(numbers.map((number) => asker.send("echo", number, DEADLINE)));
  assert.deepEqual(answers, numbers);
});

test("a service registers again after a crash of the broker", async (context) => {
  const { serve, client, restart } = await withBroker(context);
  await serve("echo", echo, { timing: QUICK });
  const asker = await client();
  assert.equal(await asker.send("echo", "before", DEADLINE), "before");
  await restart();
  assert.equal(await asker.send("echo", "after", DEADLINE), "after");
});

test("MMI knows who is there and who has signed off", async (context) => {
  const { serve, client } = await withBroker(context);
  const asker = await client();
  assert.equal(await asker.mmi("echo"), false);
  const service = await serve("echo", echo);
  await until(() => asker.mmi("echo"));
  await service.shutdown();
  await until(async () => !(await asker.mmi("echo")));
});

test("a rejected request is answered by the next try", async (context) => {
  const { serve, client } = await withBroker(context);
  let tries = 0;
  await serve("flaky", (frames, reply) => {
    tries += 1;
    return tries === 1 ? reply.reject() : reply("second try");
  });
  assert.equal(await (await client()).send("flaky", [], DEADLINE), "second try");
});

test("the command line offers a command and asks it", async (context) => {
  const { port, program } = await withBroker(context);
  const service = program("cmd-service", "print", "--port", port, "--", "printf", "<%s>");
  assert.equal(await service.line(), "Create Stream");
  assert.equal(await service.line(), 'Command Service: print ["printf","<%s>"]');
  assert.equal(await service.line(), `Starting Service: tcp://127.0.0.1:${port} print`);
  const run = (...words) => spawnSync(process.execPath, [PROGRAM, ...words], { encoding: "utf8" });
  const words = ["one", "--timeout=20000", "--", "--two", "three $(id)"];
  const done = run("request", "print", "--port", port, ...words);
  assert.deepEqual([done.stdout, done.stderr, done.status], ["<one><--two><three $(id)>\n", "", 0]);
  program("cmd-service", "listing", "--port", port, "ls", __dirname);
  const listing = run("request", "listing", "--port", port, "--timeout", "20000").stdout;
  assert.ok(listing.includes("broker.test.js\n") && !listing.endsWith("\n\n"));
  assert.equal(await service.stop("SIGTERM"), 0);
  assert.equal(run("request", "mmi.service", "--port", port, "print").stdout, "404\n");
  const late = run("request", "nobody", "--port", port, "--timeout", "100");
  assert.deepEqual([late.stdout, late.status], ["", 1]);
  assert.match(late.stderr, /^nobody: (Request|Connect) Timeout\n$/);
});

test("bad usage is status 2, help is status 0", () => {
  const run = (...words) => spawnSync(process.execPath, [PROGRAM, ...words]).status;
  for (const words of [
    [], ["request"], ["frob"], ["request", "x", "--frobnicate"], ["request", "x", "--port", "y"],
    ["request", "x", "--timeout", "soon"], ["cmd-service", "x"], ["cmd-service", "bad\nname", "ls"],
    ["cmd-service", "x", "ls", "-l"],
  ]) {
    assert.equal(run(...words), 2, words.join(" "));
  }
  assert.equal(run("--help"), 0);
  assert.equal(run("request", "--help"), 0);
});
