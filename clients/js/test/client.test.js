"use strict";

// The client against a bare ROUTER: literal frames.

const assert = require("node:assert/strict");
const { once } = require("node:events");
const net = require("node:net");
const { test } = require("node:test");

const {
  AnswerTooLarge,
  BackboneClient,
  ConnectTimeout,
  Disconnected,
  InvalidStateError,
  RequestTimeout,
} = require("..");
const { BareRouter, DEADLINE } = require("./peers");

const SHORT = 50;
const LONG = { timeout: DEADLINE };

/** A connected client and the socket that it talks to. */
async function connected(context, options) {
  const router = await new BareRouter().bind();
  const client = new BackboneClient("127.0.0.1", router.port, options);
  context.after(async () => {
    await client.disconnect();
    router.close();
  });
  assert.equal(await client.connect(LONG), client);
  return { client, router };
}

test("a request carries an id in front of the delimiter", async (context) => {
  const { client, router } = await connected(context);
  assert.equal(client.getEndpoint(), router.endpoint);
  const one = client.send("echo", ["Hello", Buffer.of(0xff)], DEADLINE);
  const [peer, sent] = await router.receive();
  assert.deepEqual(sent, ["\0\0\0\x01", "", "MDPC01", "echo", "Hello", "\xff"]);
  await router.send(peer, ...sent.slice(0, 4), "HELLO", "");
  assert.deepEqual(await one, ["HELLO", ""]);
  const none = client.request("echo", [], LONG);
  assert.deepEqual((await router.receive())[1], ["\0\0\0\x02", "", "MDPC01", "echo"]);
  await router.send(peer, "\0\0\0\x02", "", "MDPC01", "echo");
  assert.deepEqual(await none, []);
  const text = client.send("echo", "x", DEADLINE);
  await router.receive();
  await router.send(peer, "\0\0\0\x03", "", "MDPC01", "echo", "one");
  assert.equal(await text, "one");
});

test("a timeout leaves the client usable and a late answer reaches nobody", async (context) => {
  const { client, router } = await connected(context);
  await assert.rejects(client.send("echo", "a", SHORT), { message: "Request Timeout", name: "RequestTimeout" });
  const [peer, late] = await router.receive();
  const next = client.send("echo", "b", DEADLINE);
  const [, sent] = await router.receive();
  await router.send(peer, ...late.slice(0, 4), "A");
  await router.send(peer, "MDPC01");
  await router.send(peer, ...sent.slice(0, 3), "other", "x");
  await router.send(peer, ...sent.slice(0, 4), "B");
  assert.equal(await next, "B");
});

test("without ids one request at a time, and a timeout costs the socket", async (context) => {
  const { client, router } = await connected(context, { correlate: false });
  const first = client.send("echo", "a", SHORT);
  await assert.rejects(client.send("echo", "b"), InvalidStateError);
  await assert.rejects(first, RequestTimeout);
  const [old, sent] = await router.receive();
  assert.deepEqual(sent, ["", "MDPC01", "echo", "a"]);
  const next = client.send("echo", "b", DEADLINE);
  const [peer] = await router.receive();
  assert.notDeepEqual(peer, old);
  await router.send(peer, "", "MDPC01", "echo", "B");
  assert.equal(await next, "B");
});

test("the plain form of 0.2 has no delimiter", async (context) => {
  const { client, router } = await connected(context, { version: "0.2", correlate: false });
  const answer = client.request("lines", [], LONG);
  const [peer, sent] = await router.receive();
  assert.deepEqual(sent, ["MDPC02", "\x01", "lines"]);
  await router.send(peer, "MDPC02", "\x02", "lines", "1");
  await router.send(peer, "MDPC02", "\x03", "lines", "2");
  assert.deepEqual((await answer).map(String), ["1", "2"]);
});

test("answers find their requests in any order", async (context) => {
  const { client, router } = await connected(context);
  const numbers = Array.from({ length: 50 }, (_, number) => String(number));
  const answers = Promise.all(numbers.map((number) => client.send("echo", number, DEADLINE)));
  const messages = [];
  for (const _ of numbers) {
    messages.unshift(await router.receive());
  }
  for (const [peer, sent] of messages) {
    await router.send(peer, ...sent);
  }
  assert.deepEqual(await answers, numbers);
});

test("an answer in parts", async (context) => {
  const { client, router } = await connected(context);
  const stream = client.sendStream("lines", "3", LONG);
  const first = stream.next();
  const [peer, sent] = await router.receive();
  const head = ["\0\0\0\x01", "", "MDPC02"];
  assert.deepEqual(sent, [...head, "\x01", "lines", "3"]);
  await router.send(peer, ...head, "\x02", "lines", "1");
  assert.deepEqual((await first).value.map(String), ["1"]);
  await router.send(peer, ...head, "\x02", "lines");
  await router.send(peer, ...head, "\x03", "lines", "3");
  const rest = [];
  for await (const part of stream) {
    rest.push(part.map(String));
  }
  assert.deepEqual(rest, [[], ["3"]]);
});

test("a stream that is not read is bounded", async (context) => {
  const { client, router } = await connected(context);
  const stream = client.sendStream("lines", [], LONG);
  const first = stream.next();
  const [peer] = await router.receive();
  for (let count = 0; count < 1002; count += 1) {
    await router.send(peer, "\0\0\0\x01", "", "MDPC02", "\x02", "lines", "x");
  }
  await first;
  const other = client.request("echo", [], LONG);
  await router.send(peer, ...(await router.receive())[1]);
  await other;
  await assert.rejects(async () => {
    for await (const _ of stream);
  }, AnswerTooLarge);
});

test("a request can be aborted, and disconnecting ends what is in flight", async (context) => {
  const { client, router } = await connected(context);
  const controller = new AbortController();
  const aborted = client.request("echo", "a", { ...LONG, signal: controller.signal });
  await router.receive();
  controller.abort(new Error("no longer wanted"));
  await assert.rejects(aborted, /no longer wanted/);
  const pending = client.send("echo", "b", DEADLINE);
  await router.receive();
  await client.disconnect();
  await assert.rejects(pending, Disconnected);
  await assert.rejects(client.send("echo", "c"), Disconnected);
});

test("connecting to a server that says nothing has an end", async (context) => {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = new BackboneClient("127.0.0.1", server.address().port);
  context.after(async () => {
    await client.disconnect();
    server.close();
  });
  await assert.rejects(client.connect({ timeout: SHORT }), ConnectTimeout);
  await assert.rejects(client.send("echo"), Disconnected);
});
