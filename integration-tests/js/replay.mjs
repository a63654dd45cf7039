// Replays worked examples of SimplePush with the npm package `ws`, byte for byte.
//
// node replay.mjs ADDRESS FILE…
//
// The files are those of crates/simplepush/tests/examples; crates/simplepush/tests/examples.rs says what
// their lines mean. Each example begins with a UserAgent of its own, so they share a gateway.

import { readFileSync } from "node:fs";
import { request } from "node:http";
import WebSocket from "ws";

const DEADLINE = 20_000;
const [address, ...files] = process.argv.slice(2);

function inTime(what, promise) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`waited in vain: ${what}`)), DEADLINE).unref();
  });
  return Promise.race([promise, late]);
}

// A queue whose reader waits for what is not there yet.
class Inbox {
  items = [];
  #waiting = null;

  push(item) {
    if (this.#waiting) this.#waiting(item);
    else this.items.push(item);
    this.#waiting = null;
  }

  next(what) {
    if (this.items.length > 0) return this.items.shift();
    return inTime(what, new Promise((resolve) => (this.#waiting = resolve)));
  }
}

class Device {
  inbox = new Inbox();

  constructor() {
    this.socket = new WebSocket(`ws://${address}/push`, "push-notification");
    this.socket.on("message", (data, isBinary) => this.inbox.push(isBinary ? { binary: data } : String(data)));
    this.socket.on("close", (code) => this.inbox.push({ closed: code }));
    this.opened = inTime("open", new Promise((resolve) => this.socket.once("open", resolve)));
  }

  // The server answers a control frame behind everything that it had to say.
  async quiet() {
    const answered = new Promise((resolve) => this.socket.once("pong", resolve));
    this.socket.ping("quiet");
    await inTime("pong", answered);
    equal(this.inbox.items, []);
  }

  async close() {
    this.socket.close();
    while (!("closed" in Object(await this.inbox.next("close"))));
  }
}

function equal(actual, expected) {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new Error(`${JSON.stringify(actual)}\nis not\n${JSON.stringify(expected)}`);
  }
}

// What the server chose, by the name that stands for it.
class Bindings {
  #values = new Map();

  fill(pattern) {
    return pattern.replace(/\$([A-Z0-9]+)/g, (_, name) => this.#values.get(name));
  }

  expect(pattern, text) {
    const names = [];
    const parts = pattern.split(/\$([A-Z0-9]+)/).map((part, index) => {
      if (index % 2 === 0) return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
      names.push(part);
      return "([^\"/]+)";
    });
    const found = new RegExp(`^${parts.join("")}$`).exec(text);
    if (!found) throw new Error(`${text}\nis not\n${pattern}`);
    names.forEach((name, index) => {
      const value = found[index + 1];
      if (!this.#values.has(name)) this.#values.set(name, value);
      equal(value, this.#values.get(name));
    });
  }
}

function http(method, path, [kind, ...rest]) {
  let body = rest.join(" ");
  const headers = {};
  if (kind === "form") headers["Content-Type"] = "application/x-www-form-urlencoded";
  if (kind === "as") [, headers["Content-Type"], body] = /^(\S+) (.*)$/.exec(body);
  body = body.replaceAll("\\r\\n", "\r\n").replace("<4097>", "x".repeat(4097));
  headers["Content-Length"] = Buffer.byteLength(body);
  const [host, port] = address.split(":");
  return new Promise((resolve, reject) => {
    const sent = request({ host, port, method, path, headers }, (reply) => {
      let text = "";
      reply.on("data", (chunk) => (text += chunk));
      reply.on("end", () => resolve({ status: reply.statusCode, body: text }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

const SPACE = { "\\t": "\t", "\\r": "\r", "\\n": "\n", "\\s": " " };

class Replay {
  devices = new Map();
  bindings = new Bindings();
  answer = null;

  async step(line) {
    const [first, ...rest] = line.split(" ");
    if (["PUT", "POST", "GET", "DELETE", "OPTIONS"].includes(first)) {
      const path = this.bindings.fill(rest.shift());
      this.answer = await inTime(line, http(first, path, rest));
    } else if (first === "=") {
      equal(this.answer.status, Number(rest[0]));
      if (rest.length > 1) equal(this.answer.body, rest.slice(1).join(" "));
    } else if (first !== "wait") {
      // The time that an example lets pass is not waited for here.
      await this.#device(first, line);
    }
  }

  async #device(first, line) {
    const name = first.replace(/[<>]$/, "");
    const rest = line.slice(first.length + 1);
    if (rest === "open") {
      this.devices.set(name, new Device());
      return this.devices.get(name).opened;
    }
    const device = this.devices.get(name);
    if (first.endsWith(">")) {
      const text = this.bindings.fill(rest).replace(/\\[trns]/g, (space) => SPACE[space]);
      return device.socket.send(text);
    }
    if (first.endsWith("<")) return this.bindings.expect(rest, await device.inbox.next(rest));
    if (rest === "quiet") return device.quiet();
    if (rest === "close") return device.close();
    const [, code] = /^closed (\d+)$/.exec(rest);
    return equal(await device.inbox.next(rest), { closed: Number(code) });
  }
}

for (const file of files) {
  const replay = new Replay();
  for (const [index, raw] of readFileSync(file, "utf8").split("\n").entries()) {
    const line = raw.trimStart();
    if (line === "" || line.startsWith("#")) continue;
    try {
      await replay.step(line);
    } catch (error) {
      console.error(`${file}:${index + 1}: ${error.message}`);
      process.exit(1);
    }
  }
  for (const device of replay.devices.values()) device.socket.terminate();
  console.log(file);
}
