// Joins one UserAgent with its socket, its storage and the pages that use it. Runs in a shared worker, or
// in a page where there is none.

import { Agent, newState } from "./agent.mjs";

const TIMER_MAX = 2 ** 31 - 1;

export class Hub {
  #agent;
  #socket = null;
  #timer = 0;
  #pages = new Set();
  // Who waits for a registration: the page and its number for the request.
  #waiters = new Map();
  // What happens is dealt with one after another, so that nothing overtakes what is being saved.
  #queue;

  constructor(url, storage) {
    this.url = url;
    this.storage = storage;
    this.#queue = this.#start();
    const networkChanged = () => this.#do((agent, now) => agent.networkChanged(now));
    globalThis.addEventListener("online", networkChanged);
    globalThis.addEventListener("offline", networkChanged);
  }

  // Takes in a page that speaks through `port`.
  attach(port) {
    const page = { port, listens: {} };
    port.onmessage = ({ data }) => this.#do((agent, now) => this.#onPage(page, data, agent, now));
  }

  async #start() {
    const saved = await this.storage.load().catch(() => undefined);
    this.#agent = new Agent(saved ?? newState(), performance.now());
    this.#agent.timeout(performance.now());
    await this.#carryOut();
  }

  #do(work) {
    this.#queue = this.#queue
      .then(async () => {
        work(this.#agent, performance.now());
        await this.#carryOut();
      })
      .catch((error) => console.error("simplepush:", error));
  }

  async #carryOut() {
    for (const output of this.#agent.take()) await this.#perform(output);
    clearTimeout(this.#timer);
    const wait = Math.min(this.#agent.timeoutDue - performance.now(), TIMER_MAX);
    this.#timer = setTimeout(() => this.#do((agent, now) => agent.timeout(now)), Math.max(wait, 0));
  }

  async #perform(output) {
    switch (output.type) {
      case "connect":
        return this.#connect();
      case "disconnect":
        return this.#socket?.drop(1000);
      case "send":
        return this.#socket?.send(output.text);
      case "save":
        // A state that can't be kept still works until the browser is closed.
        return this.storage.save(this.#agent.state).catch((error) => console.warn("simplepush:", error));
      case "registered":
        return this.#answer(output.channelID, { result: output.pushEndpoint });
      case "refused":
        return this.#answer(output.channelID, { error: { name: "NetworkError", message: output.error } });
      case "push":
      case "push-register":
        return this.#tell(output);
    }
  }

  #connect() {
    const socket = new WebSocket(this.url, "push-notification");
    const drop = (code) => {
      if (this.#socket?.drop !== drop) return;
      this.#socket = null;
      socket.close();
      this.#do((agent, now) => agent.gone(now, code, Math.random()));
    };
    const send = (text) => socket.readyState === WebSocket.OPEN && socket.send(text);
    this.#socket = { drop, send };
    socket.onopen = () => this.#do((agent, now) => agent.opened(now));
    socket.onmessage = ({ data }) =>
      this.#socket?.drop === drop && this.#do((agent, now) => agent.text(now, String(data)));
    socket.onclose = ({ code }) => drop(code);
  }

  #onPage(page, message, agent, now) {
    const reply = (answer) => page.port.postMessage({ type: "reply", id: message.id, ...answer });
    switch (message.type) {
      case "register": {
        const channelID = crypto.randomUUID?.() ?? uuid();
        this.#waiters.set(channelID, reply);
        return agent.register(now, channelID);
      }
      case "unregister":
        return reply(
          agent.unregister(message.pushEndpoint)
            ? { result: message.pushEndpoint }
            : { error: { name: "NotRegisteredError", message: "No such registration" } },
        );
      case "registrations":
        return reply({ result: agent.registrations() });
      case "listen":
        return this.#listen(page, message.listens, agent);
      case "took":
        return message.what === "push-register"
          ? agent.tookLoss()
          : agent.took(message.pushEndpoint, message.version);
      case "network":
        return agent.networkChanged(now);
      case "bye":
        page.listens = {};
        return this.#pages.delete(page);
    }
  }

  // A page that begins to listen is told what waits.
  #listen(page, listens, agent) {
    const begins = (type) => listens[type] && !page.listens[type];
    const news = begins("push") ? agent.waiting.map((update) => ({ type: "push", ...update })) : [];
    if (begins("push-register") && agent.state.lost) news.unshift({ type: "push-register" });
    page.listens = listens;
    this.#pages.add(page);
    for (const message of news) this.#tellPage(page, message);
  }

  #answer(channelID, answer) {
    this.#waiters.get(channelID)?.(answer);
    this.#waiters.delete(channelID);
  }

  #tell(message) {
    for (const page of this.#pages) this.#tellPage(page, message);
  }

  // Only pages that listen are told: the others would not take it.
  #tellPage(page, message) {
    if (page.listens[message.type]) page.port.postMessage(message);
  }
}

// For pages without encryption, where browsers keep randomUUID back.
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
