"use strict";

// The other side of the tests: a bare ROUTER socket with literal frames, and the real broker.

const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { createInterface } = require("node:readline");
const { setTimeout: sleep } = require("node:timers/promises");

const { Router } = require("zeromq");

/** Milliseconds to wait for what must happen: long, since it only shows when something is broken. */
const DEADLINE = 20_000;

/** Waits for a condition. */
async function until(condition) {
  const end = performance.now() + DEADLINE;
  while (!(await condition())) {
    if (performance.now() > end) {
      throw new Error("waited in vain");
    }
    await sleep(5);
  }
}

/** Frames as bytes, and a received message as comparable text: one character for each byte. */
const frames = (...parts) => parts.map((part) => (typeof part === "string" ? Buffer.from(part, "latin1") : part));
const texts = (message) => message.map((frame) => frame.toString("latin1"));

/** A broker's socket, and nothing of a broker. */
class BareRouter {
  async bind(endpoint = "tcp://127.0.0.1:*") {
    this.socket = new Router({ linger: 0, mandatory: true, receiveTimeout: DEADLINE });
    await this.socket.bind(endpoint);
    this.endpoint = this.socket.lastEndpoint;
    this.port = this.endpoint.split(":").at(-1);
    return this;
  }

  /** The next message that is none of the ignored ones: `[peer, frames as text]`. */
  async receive(...ignored) {
    for (;;) {
      const [peer, ...rest] = await this.socket.receive();
      const message = texts(rest);
      if (!ignored.some((other) => other.join() === message.join())) {
        return [peer, message];
      }
    }
  }

  send(peer, ...parts) {
    return this.socket.send([peer, ...frames(...parts)]);
  }

  close() {
    this.socket.close();
  }
}

/** A program that prints lines. */
class Program {
  constructor(command, words) {
    this.process = spawn(command, words, { stdio: ["ignore", "pipe", "inherit"] });
    this.exit = once(this.process, "exit");
    this.lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }

  async line() {
    return (await this.lines.next()).value;
  }

  async stop(signal) {
    this.process.kill(signal);
    return (await this.exit)[0];
  }
}

/** Starts the built `buswire mdp broker`; on a free port unless told. */
async function startBroker(port = 0) {
  const broker = new Program(process.env.BUSWIRE_BIN, ["mdp", "broker", "--port", String(port)]);
  broker.endpoint = await broker.line();
  broker.port = broker.endpoint.split(":").at(-1);
  while ((await broker.line()) !== "Broker Started");
  return broker;
}

module.exports = { BareRouter, DEADLINE, Program, startBroker, texts, until };
