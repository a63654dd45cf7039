"use strict";

// What a command service does with a command, seen from a bare ROUTER: no shell, and limits.

const assert = require("node:assert/strict");
const { spawnSync } = require("node:child_process");
const { test } = require("node:test");

const { CmdService } = require("..");
const { BareRouter, until } = require("./peers");

/** The answer of a command to a request with these frames. */
async function answer([command, ...options], frames = [], settings = {}) {
  const router = await new BareRouter().bind();
  const service = new CmdService("run", command, "127.0.0.1", router.port, options, settings);
  await service.connect();
  const [worker] = await router.receive();
  await router.send(worker, "", "MDPW01", "\x02", "token", "", ...frames);
  const [, message] = await router.receive(["", "MDPW01", "\x04"]);
  await service.shutdown();
  router.close();
  assert.deepEqual(message.slice(0, 5), ["", "MDPW01", "\x03", "token", ""]);
  return message.slice(5);
}

test("each frame is one argument and no shell sees it", async () => {
  const frames = ["a b", "$(id)", ";ls", "", "*"];
  assert.deepEqual(await answer(["printf", "[%s]"], frames), ["[a b][$(id)][;ls][][*]"]);
});

test("failure is two frames", async () => {
  const failing = ["sh", "-c", "echo out; echo no good >&2; exit 3"];
  assert.deepEqual(await answer(failing), ["Error", "no good"]);
  assert.deepEqual(await answer(["false"]), ["Error", "the command ended with status 1"]);
  for (const [command, frames] of [[["/no/such/program"], []], [["echo"], ["a\0b"]], [["echo"], ["\xff"]]]) {
    const [error, text] = await answer(command, frames);
    assert.ok(error === "Error" && text.length > 0);
  }
});

test("time is bounded and what the command started ends with it", async () => {
  for (const script of ["sleep 4712.4712 & wait", "exec >&- 2>&-; sleep 4712.4712", "sleep 4712.4712 &"]) {
    const text = "the command took longer than 0.2 s";
    assert.deepEqual(await answer(["sh", "-c", script], [], { timeMax: 200 }), ["Error", text]);
  }
  await until(() => spawnSync("pgrep", ["-f", "sleep 4712[.]4712"]).status === 1);
});

test("output is bounded", async () => {
  const text = "the command wrote more than 1000 bytes";
  assert.deepEqual(await answer(["yes"], [], { outputMax: 1000 }), ["Error", text]);
  const [exact] = await answer(["head", "-c", "1000", "/dev/zero"], [], { outputMax: 1000 });
  assert.equal(exact.length, 1000);
  const [, complaint] = await answer(["sh", "-c", "head -c 1000000 /dev/zero >&2; exit 1"]);
  assert.ok(complaint.length <= 4096);
});
