"use strict";

// The frames and the state machine of a worker, without sockets; times are made up.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const path = require("node:path");
const { test } = require("node:test");

const exported = require("..");
const { decodeReply, encodeRequest, endpointOf, toFrames, toService } = require("../lib/protocol");
const { Backoff, TIMING, WorkerSession } = require("../lib/session");
const { texts } = require("./peers");

const { BackboneClientMessage, ProtocolError } = exported;

const ID = Buffer.of(0, 0, 0, 7);
const bytes = (...parts) => parts.map((part) => Buffer.from(part, "latin1"));
const session = (version = "0.1") => new WorkerSession(Buffer.from("echo"), version, TIMING, 100_000);
const give = (to, now, ...parts) => to.receive(bytes(...parts), now);
const ask = (of, now) => give(of, now, "", "MDPW01", "\x02", "token", "", "Hello");

test("what is declared is what is exported", () => {
  const declarations = fs.readFileSync(path.join(__dirname, "../index.d.ts"), "utf8");
  const classes = [...declarations.matchAll(/^export class (\w+)/gm)].map(([, name]) => name);
  assert.deepEqual(classes.sort(), Object.keys(exported).sort());
});

test("a request has the form of its version", () => {
  const encode = (version, body, id) => texts(encodeRequest(version, Buffer.from("echo"), toFrames(body), id));
  assert.deepEqual(encode("0.1", ["Hello", ""]), ["", "MDPC01", "echo", "Hello", ""]);
  assert.deepEqual(encode("0.2", ["Hello", ""]), ["MDPC02", "\x01", "echo", "Hello", ""]);
  assert.deepEqual(encode("0.1", [], ID), ["\0\0\0\x07", "", "MDPC01", "echo"]);
  assert.deepEqual(encode("0.2", [], ID), ["\0\0\0\x07", "", "MDPC02", "\x01", "echo"]);
});

test("an answer is told from anything else", () => {
  const read = (...parts) => {
    const reply = decodeReply(bytes(...parts));
    return reply && [...texts([reply.id, reply.service]), texts(reply.body), reply.final];
  };
  assert.deepEqual(read("id", "", "MDPC01", "echo", "A"), ["id", "echo", ["A"], true]);
  assert.deepEqual(read("", "MDPC01", "echo"), ["", "echo", [], true]);
  assert.deepEqual(read("id", "", "MDPC02", "\x02", "s", "1"), ["id", "s", ["1"], false]);
  assert.deepEqual(read("MDPC02", "\x03", "s", "", "2"), ["", "s", ["", "2"], true]);
  for (const garbage of [
    [], [""], ["id"], ["id", ""], ["MDPC01", "bare"], ["", "MDPC01"], ["MDPC02", "\x01", "s"],
    ["MDPC02", "\x03"], ["", "MDPC03", "s"], ["", "MDPC02", "\x03\x03", "s"], ["", "MDPW01", "\x04"],
  ]) {
    assert.equal(read(...garbage), null, garbage);
  }
});

test("the message class of the document", () => {
  const message = new BackboneClientMessage("ls-service", ["-l", "é"]);
  assert.deepEqual(message.serialize().map(String), ["MDPC01", "ls-service", "-l", "é"]);
  assert.deepEqual(new BackboneClientMessage("s", "one").serialize().map(String), ["MDPC01", "s", "one"]);
  assert.deepEqual(new BackboneClientMessage("s").serialize().map(String), ["MDPC01", "s"]);
  const head = ["MDPC01", "ls-service"];
  assert.equal(message.getReply(), undefined);
  assert.equal(message.parseReply([...head, "one"]), "one");
  assert.deepEqual(message.parseReply([...head, "one"], { simply_short_reply: false }), ["one"]);
  assert.deepEqual(message.parseResponse(bytes(...head, "one", "two")), ["one", "two"]);
  assert.deepEqual(message.parseReply(head), []);
  assert.deepEqual(message.getReply(), []);
  assert.throws(() => message.parseReply(["MDPC01", "other", "one"]), ProtocolError);
});

test("bodies, names and endpoints", () => {
  assert.deepEqual(texts(toFrames("text")), ["text"]);
  assert.deepEqual(texts(toFrames("")), [""]);
  assert.deepEqual(toFrames(), []);
  assert.deepEqual(texts(toFrames(["a", Buffer.from("b"), new Uint8Array([99])])), ["a", "b", "c"]);
  assert.equal(endpointOf("::1", 5555), "tcp://[::1]:5555");
  for (const name of ["", "a\0b", "x".repeat(256), "\x7f"]) {
    assert.throws(() => toService(name), TypeError);
  }
});

test("registration, request and reply", () => {
  const worker = session();
  assert.deepEqual(texts(worker.ready()), ["", "MDPW01", "\x01", "echo"]);
  assert.deepEqual(texts(ask(worker, 100_500)), ["Hello"]);
  assert.ok(worker.busy);
  const reply = worker.reply(bytes("HELLO"), true, 101_000);
  assert.deepEqual(texts(reply), ["", "MDPW01", "\x03", "token", "", "HELLO"]);
  assert.ok(!worker.busy);
  assert.deepEqual(texts(worker.disconnect()), ["", "MDPW01", "\x05"]);
});

test("the codes of 0.2", () => {
  const worker = session("0.2");
  assert.deepEqual(texts(worker.ready()), ["MDPW02", "\x01", "echo"]);
  for (const delimiter of [[], [""]]) {
    assert.deepEqual(give(worker, 100_000, ...delimiter, "MDPW02", "\x02", "token", ""), []);
    assert.deepEqual(texts(worker.reply(bytes("1"), false, 100_000)), ["MDPW02", "\x03", "token", "", "1"]);
    assert.deepEqual(texts(worker.reply(bytes("2"), true, 100_000)), ["MDPW02", "\x04", "token", "", "2"]);
  }
  assert.deepEqual(texts(worker.tick(101_000)), ["MDPW02", "\x05"]);
  assert.deepEqual(texts(worker.disconnect()), ["MDPW02", "\x06"]);
});

test("a whole address stack is echoed", () => {
  const worker = session();
  give(worker, 100_000, "", "MDPW01", "\x02", "client", "id", "", "x", "", "y");
  assert.deepEqual(texts(worker.reply(bytes("z"), true, 0)), ["", "MDPW01", "\x03", "client", "id", "", "z"]);
});

test("heartbeats at intervals, also while busy", () => {
  const worker = session();
  const heartbeat = ["", "MDPW01", "\x04"];
  assert.equal(worker.tick(100_999), null);
  assert.deepEqual(texts(worker.tick(101_000)), heartbeat);
  ask(worker, 101_500);
  assert.equal(worker.deadline(), 102_000);
  assert.deepEqual(texts(worker.tick(102_000)), heartbeat);
  worker.reply([], true, 102_500);
  assert.deepEqual(texts(worker.tick(103_000)), heartbeat);
});

test("silence ends an idle registration and not a busy one", () => {
  const worker = session();
  ask(worker, 101_000);
  worker.tick(200_000);
  assert.equal(worker.lost, null);
  worker.reply([], true, 200_000);
  worker.tick(207_400);
  assert.equal(worker.lost, null);
  give(worker, 207_400, "", "MDPW01", "\x04", "trailing");
  worker.tick(214_800);
  assert.equal(worker.lost, null);
  worker.tick(214_900);
  assert.equal(worker.lost, "the broker is silent");
});

test("DISCONNECT with and without the delimiter", () => {
  for (const parts of [["", "MDPW01", "\x05"], ["MDPW01", "\x05"], ["", "MDPW01", "\x05", "echo"]]) {
    const worker = session();
    give(worker, 100_000, ...parts);
    assert.equal(worker.lost, "the broker sent DISCONNECT");
    assert.ok(!worker.heard);
    assert.equal(ask(worker, 100_000), null);
  }
});

test("a second request at a time ends the registration", () => {
  const worker = session();
  ask(worker, 100_000);
  assert.equal(ask(worker, 100_000), null);
  assert.notEqual(worker.lost, null);
});

test("what is no message is ignored", () => {
  const worker = session();
  for (const garbage of [
    [], [""], ["", "MDPW01"], ["", "MDPW02", "\x02", "token", ""], ["", "MDPW01", "\x02"],
    ["", "MDPW01", "\x02", "", "x"], ["", "MDPW01", "\x02", "token", "x"], ["", "MDPW01", "c"],
    ["", "MDPW01", "\x04\x04"], ["", "MDPC01", "echo"],
  ]) {
    assert.equal(give(worker, 100_000, ...garbage), null, garbage);
  }
  assert.deepEqual([worker.busy, worker.lost, worker.heard], [false, null, false]);
});

test("waits double up to a limit and begin anew after traffic", () => {
  const backoff = new Backoff(TIMING);
  const waits = Array.from({ length: 7 }, () => backoff.next(0.5));
  assert.deepEqual(waits, [1000, 2000, 4000, 8000, 16_000, 32_000, 32_000]);
  backoff.reset();
  assert.equal(backoff.next(0), 750);
  assert.ok(backoff.next(0.999) < 2500);
});
