// A page without a browser: a clock that only moves when told, and requests that are only written down.

import { readFileSync } from "node:fs";
import vm from "node:vm";

const START = Date.parse("2024-03-09T14:00:00Z");
const FOLDER = process.env.BACKPLANE_SCRIPTS;

export class Page {
  /** A page that loads `scripts`; `storage` and `cookies` are those of an earlier page. */
  constructor(scripts, options = {}) {
    const { earlier, protocol = "https:", window = {}, readyState = "complete" } = options;
    this.now = earlier ? earlier.now : START;
    this.storage = earlier ? earlier.storage : new Map();
    this.cookies = earlier ? earlier.cookies : new Map();
    this.timers = [];
    this.requests = [];
    this.errors = [];
    this.listeners = {};
    this.lastCookie = "";
    this.document = this.makeDocument(readyState);
    this.context = vm.createContext({
      ...this.globals(),
      location: { protocol },
      document: this.document,
      ...window,
    });
    this.context.window = this.context;
    for (const script of scripts) this.run(readFileSync(`${FOLDER}/${script}`, "utf8"));
  }

  globals() {
    const now = () => this.now;
    const listen = (name, callback) => (this.listeners[name] = callback);
    return {
      addEventListener: listen,
      console: { log() {}, warn() {}, error: (...text) => this.errors.push(text.join(" ")) },
      Date: class extends Date {
        constructor(...parts) {
          super(...(parts.length > 0 ? parts : [now()]));
        }
        static now = now;
      },
      localStorage: {
        getItem: (name) => this.storage.get(name) ?? null,
        setItem: (name, value) => this.storage.set(name, value),
        removeItem: (name) => this.storage.delete(name),
      },
      setTimeout: (callback, ms) => {
        this.timers.push({ at: this.now + ms, callback });
        return this.timers[this.timers.length - 1];
      },
      clearTimeout: (timer) => {
        this.timers = this.timers.filter((other) => other !== timer);
      },
    };
  }

  makeDocument(readyState) {
    const page = this;
    return {
      readyState,
      hidden: false,
      addEventListener: (name, callback) => (this.listeners[name] = callback),
      createElement: () => ({ remove() {} }),
      head: { appendChild: ({ src }) => this.requests.push(src) },
      get cookie() {
        return [...page.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
      },
      set cookie(line) {
        page.lastCookie = line;
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
        const [, expires] = /expires=([^;]*)/.exec(line);
        if (Date.parse(expires) > page.now) page.cookies.set(name, value);
        else page.cookies.delete(name);
      },
    };
  }

  /** Runs a script, as one that was loaded. */
  run(text) {
    return vm.runInContext(text, this.context);
  }

  get library() {
    return this.context.Backplane;
  }

  /** Loads an answer: a script that calls an entry point. */
  answer(entry, value) {
    this.run(`Backplane.${entry}(${value === undefined ? "" : JSON.stringify(value)});`);
  }

  /** What was asked since the last call, without the random parameter that all requests end with. */
  asked() {
    return this.requests.splice(0).map((url) => {
      const [, rest] = /^(.*)&rnd=0\.[0-9]+(?:e-[0-9]+)?$/.exec(url) || [];
      if (rest === undefined) throw new Error(`no random parameter at the end of ${url}`);
      return rest;
    });
  }

  /** Lets time pass, with what is to happen meanwhile. */
  pass(seconds) {
    const end = this.now + seconds * 1000;
    for (;;) {
      const due = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.now = Math.max(this.now, due.at);
      this.timers = this.timers.filter((timer) => timer !== due);
      due.callback();
    }
    this.now = end;
  }

  /** Seconds until something is asked. */
  untilAsked() {
    this.requests.splice(0);
    const from = this.now;
    while (this.requests.length === 0) {
      if (this.timers.length === 0) return undefined;
      this.pass((Math.min(...this.timers.map(({ at }) => at)) - this.now) / 1000);
    }
    return (this.now - from) / 1000;
  }

  /** Counts what a function of the page is called with; the function and the list. */
  listener() {
    const got = [];
    // Copies, since what another realm made is never deeply equal.
    return [(...values) => got.push(...JSON.parse(JSON.stringify(values))), got];
  }
}
