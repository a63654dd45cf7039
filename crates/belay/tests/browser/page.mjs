// A page without a browser: elements that only remember, a clock that only moves when told, and a frame
// that answers as the test says.

import { readFileSync } from "node:fs";
import { after } from "node:test";
import { MessageChannel } from "node:worker_threads";

import { Clock, settle } from "./clock.mjs";

export { settle };

const SOURCE = readFileSync(process.env.BELAY_CLIENT, "utf8");
const DATA = process.env.BELAY_DATA;

/** The worked examples of one file. */
export const examples = (name) => JSON.parse(readFileSync(`${DATA}/${name}.json`, "utf8"));

/** Open ports would keep Node alive. */
const ports = [];
after(() => ports.forEach((port) => port.close()));

export function channel() {
  const { port1, port2 } = new MessageChannel();
  ports.push(port1, port2);
  return [port1, port2];
}

class Events {
  listeners = [];

  addEventListener(type, listener) {
    this.listeners.push([type, listener]);
  }

  removeEventListener(type, listener) {
    this.listeners = this.listeners.filter(([t, l]) => t !== type || l !== listener);
  }

  /** What a person or the browser does; scripts can't make trusted events. */
  fire(type, event = {}) {
    const full = {
      type,
      isTrusted: true,
      target: this,
      preventDefault() {
        this.isPrevented = true;
      },
      ...event,
    };
    for (const [t, listener] of [...this.listeners]) if (t === type) listener(full);
    return full;
  }
}

export class Element extends Events {
  attributes = new Map();
  style = {};
  textContent = "";

  constructor(tagName, attributes = {}) {
    super();
    this.tagName = tagName.toUpperCase();
    for (const [name, value] of Object.entries(attributes)) this.setAttribute(name, value);
  }

  getAttribute = (name) => this.attributes.get(name) ?? null;
  setAttribute = (name, value) => void this.attributes.set(name, String(value));
  hasAttribute = (name) => this.attributes.has(name);
  removeAttribute = (name) => void this.attributes.delete(name);
  get tabIndex() {
    return this.matches() ? 0 : Number(this.getAttribute("tabindex") ?? -1);
  }
  set tabIndex(index) {
    this.setAttribute("tabindex", index);
  }
  matches() {
    return this.tagName === "BUTTON";
  }

  get classes() {
    return (this.getAttribute("class") ?? "").split(" ").filter(Boolean);
  }

  get classList() {
    const set = (classes) => this.setAttribute("class", classes.join(" "));
    const without = (name) => this.classes.filter((other) => other !== name);
    return {
      add: (name) => set([...without(name), name]),
      remove: (name) => set(without(name)),
      toggle: (name, force) => set(force ? [...without(name), name] : without(name)),
    };
  }
}

/** The window of the iframe: keeps what it is told. */
class FrameWindow {
  heard = [];
  postMessage(data, origin) {
    this.heard.push({ data, origin });
  }
}

export class Page {
  clock = new Clock();
  window = new Events();
  document = new Events();
  elements = [];
  errors = [];
  logged = [];
  visits = [];
  requests = [];

  /** Loads the library; `script` are the attributes of its element. */
  constructor({
    href = "https://site.example/page",
    script = {},
    isFramed = true,
    hasBody = true,
    belay,
    fetch,
    names,
  } = {}) {
    this.location = {
      href,
      assign: (url) => this.visits.push(url),
      reload: () => this.visits.push("reload"),
    };
    Object.defineProperty(this.location, "origin", { get: () => new URL(this.location.href).origin });
    this.script = new Element("script", script);
    this.script.src = "https://gw.example/belay/client.js";
    Object.assign(this.window, { close: () => this.visits.push("close"), scrollY: 0 }, names);
    if (belay) this.window.belay = belay;
    this.fetch =
      fetch ??
      (async () => {
        throw new TypeError("no network");
      });
    this.makeDocument();
    this.document.body = hasBody ? this.body : null;
    this.run();
    if (!isFramed) return;
    this.frame = this.elements.find(({ tagName }) => tagName === "IFRAME");
    this.frame.contentWindow = new FrameWindow();
  }

  makeDocument() {
    const selected = (name) => this.elements.filter((element) => element.classes.includes(name));
    this.body = { appendChild: (element) => this.elements.push(element) };
    Object.assign(this.document, {
      currentScript: this.script,
      scripts: [this.script],
      createElement: (tag) => new Element(tag),
      getElementsByClassName: selected,
      querySelectorAll: (selector) => selected(selector.slice(1)),
    });
  }

  /** Observers of elements that come; `this.mutate` calls them. */
  makeObserver() {
    const page = this;
    page.observers = new Set();
    page.mutate = () => page.observers.forEach((callback) => callback());
    return class {
      constructor(callback) {
        this.callback = callback;
      }
      observe() {
        page.observers.add(this.callback);
      }
      disconnect() {
        page.observers.delete(this.callback);
      }
    };
  }

  globals() {
    const { clock, window, document, location } = this;
    return {
      window,
      document,
      location,
      Element,
      navigator: {},
      MutationObserver: this.makeObserver(),
      history: {
        state: null,
        replaceState: (state, _, url) => {
          location.href = url;
        },
      },
      addEventListener: (...given) => window.addEventListener(...given),
      removeEventListener: (...given) => window.removeEventListener(...given),
      setTimeout: (callback, delay) => clock.start(callback, delay),
      setInterval: (callback, delay) => clock.start(callback, delay, delay),
      clearTimeout: (timer) => clock.timers.delete(timer),
      clearInterval: (timer) => clock.timers.delete(timer),
      reportError: (error) => this.errors.push(error),
      console: {
        error: (...text) => this.logged.push(text.join(" ")),
        warn: (...text) => this.logged.push(text.join(" ")),
      },
      fetch: (...given) => {
        this.requests.push(given);
        return this.fetch(...given);
      },
    };
  }

  /** Runs the library, again too. */
  run() {
    const names = this.globals();
    new Function(...Object.keys(names), SOURCE)(...Object.values(names));
    this.belay = this.window.belay;
  }

  element(tag = "div", attributes = {}) {
    const element = new Element(tag, attributes);
    this.elements.push(element);
    return element;
  }

  /** The frame says init, as a message of the browser's: the far ports, and what the page posts there. */
  init(event = {}) {
    const [tunnel, action] = [channel(), channel()];
    this.tunnel = tunnel[0];
    this.action = action[0];
    this.heard = { tunnel: [], action: [] };
    this.tunnel.onmessage = ({ data }) => this.heard.tunnel.push(data);
    this.action.onmessage = ({ data }) => this.heard.action.push(data);
    this.window.fire("message", {
      source: this.frame.contentWindow,
      origin: "https://gw.example",
      data: { belay: "init", v: 1 },
      ports: [tunnel[1], action[1]],
      ...event,
    });
    return settle();
  }

  /** The frame as far as an outpost: `caps` are items of the frame, `record` is the rest. */
  async up(record = {}, caps = {}) {
    await this.init();
    const { CapServer, CapTunnel } = this.belay.internals;
    this.server = new CapServer(this.belay.newUUIDv4());
    this.far = new CapTunnel(this.tunnel);
    this.far.setLocalResolver((id) =>
      id === this.server.instanceId ? this.server.publicInterface : undefined,
    );
    this.server.setResolver(this.far.remoteResolverProxy);
    const granted = Object.entries(caps).map(([name, item]) => [name, this.server.grant(item)]);
    this.instanceId = record.instanceId ?? this.belay.newUUIDv4();
    this.far.sendOutpost({ instanceId: this.instanceId, ...record, ...Object.fromEntries(granted) });
    return settle();
  }
}

/** The outcome of an interface's call: `["success", text]` or `["failure", error]`, all that came. */
export async function outcomes(iface, ser, method, data) {
  const all = [];
  iface.invoke(
    ser,
    method,
    data,
    (text) => all.push(["success", text]),
    (error) => all.push(["failure", error]),
  );
  await settle();
  return all;
}

/** What a promise fails with. */
export const failureOf = (promise) =>
  promise.then(
    (value) => {
      throw new Error(`succeeded with ${JSON.stringify(value)}`);
    },
    (error) => error,
  );
