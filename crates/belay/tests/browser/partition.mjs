// A storage partition without a browser: its channel, its locks, a clock that moves only when told, and
// frames that hold what the hosted frame is made of.

import { readFileSync } from "node:fs";

import { Clock, settle } from "./clock.mjs";

export { settle };

const SOURCE = readFileSync(process.env.BELAY_FRAME_PARTS, "utf8");
const NAMES = [
  "CapRouter", "Partition", "Relay", "Starts", "Tokens", "Services", "Station", "Remembered", "CapServer",
  "parseActivation", "parsePageUrl", "activateThere", "sha1InstanceId",
];

/** Web Locks as far as the frame uses them: exclusive, waiting in order, stolen, given up. */
class Locks {
  held = new Map();
  waiting = [];

  request(name, { steal = false, signal } = {}, callback) {
    return new Promise((resolve, reject) => {
      const request = { name, callback, resolve, reject };
      if (steal && this.held.has(name)) {
        this.held.get(name).reject(new Error("AbortError"));
        this.held.delete(name);
      }
      this.waiting.push(request);
      if (signal) signal.addEventListener("abort", () => this.abort(request));
      this.grant();
    });
  }

  abort(request) {
    if (!this.waiting.includes(request)) return;
    this.waiting = this.waiting.filter((other) => other !== request);
    request.reject(new Error("AbortError"));
  }

  grant() {
    const next = this.waiting.find(({ name }) => !this.held.has(name));
    if (!next) return;
    this.waiting = this.waiting.filter((other) => other !== next);
    this.held.set(next.name, next);
    const release = (value) => {
      if (this.held.get(next.name) === next) this.held.delete(next.name);
      next.resolve(value);
      this.grant();
    };
    setImmediate(async () => release(await next.callback({ name: next.name })));
    this.grant();
  }

  async query() {
    return { held: [...this.held.keys()].map((name) => ({ name })) };
  }
}

export class World {
  clock = new Clock();
  locks = new Locks();
  channels = new Set();
  messages = [];

  /** The classes of one frame, with the globals of this partition and `more`. */
  parts(more = {}) {
    const world = this;
    class BroadcastChannel {
      constructor(name) {
        this.name = name;
        world.channels.add(this);
      }
      postMessage(message) {
        const copy = structuredClone(message);
        world.messages.push(copy);
        for (const other of world.channels) {
          if (other !== this) setImmediate(() => other.onmessage && other.onmessage({ data: copy }));
        }
      }
      close() {
        world.channels.delete(this);
      }
    }
    // A window that is nobody's frame: there is no page to serve.
    const window = {};
    window.parent = window;
    const names = {
      window,
      BroadcastChannel,
      navigator: { locks: this.locks },
      self: { origin: "https://gw.example" },
      setTimeout: (callback, delay) => this.clock.start(callback, delay),
      setInterval: (callback, delay) => this.clock.start(callback, delay, delay),
      clearTimeout: (timer) => this.clock.timers.delete(timer),
      clearInterval: (timer) => this.clock.timers.delete(timer),
      ...more,
    };
    const source = `${SOURCE}\nreturn { ${NAMES.join(", ")} };`;
    return new Function(...Object.keys(names), source)(...Object.values(names));
  }

  /** A frame: its classes, and a router with whatever `relay` makes. */
  frame({ relay = () => null, timeout } = {}) {
    const parts = this.parts();
    const router = new parts.CapRouter({ relay: relay(parts), timeout });
    return { parts, router };
  }
}

/** A WebSocket that a test opens, reads and closes. */
export class Socket {
  readyState = 0;
  sent = [];

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  async open() {
    this.readyState = 1;
    this.onopen();
    await settle();
  }

  async say(...messages) {
    for (const message of messages) this.onmessage({ data: JSON.stringify(message) });
    await settle();
  }

  /** What was sent since the last time. */
  heard() {
    return this.sent.splice(0);
  }

  close() {
    if (this.readyState === 3) return;
    this.readyState = 3;
    setImmediate(() => this.onclose && this.onclose());
  }
}

/** What an interface answers: `["success", text]` or `["failure", status, message]`. */
export function outcome(iface, ser, method = "POST", wire = '{"value":1}') {
  return new Promise((resolve) => {
    iface.invoke(
      ser,
      method,
      wire,
      (text) => resolve(["success", text]),
      ({ status, message }) => resolve(["failure", status, message]),
    );
  });
}
