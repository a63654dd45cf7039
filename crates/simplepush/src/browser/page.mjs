// What a page sees: `navigator.push` and `navigator.setMessageHandler`, as the SimplePush web API had them.

// A request as the web API gave it: events and `result`. It can be awaited too.
export class PushRequest extends EventTarget {
  readyState = "pending";
  result = undefined;
  error = null;
  onsuccess = null;
  onerror = null;
  #promise;
  #settle;

  constructor() {
    super();
    this.#promise = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    // Whoever uses the events need not use the promise.
    this.#promise.catch(() => {});
    this.addEventListener("success", (event) => this.onsuccess?.(event));
    this.addEventListener("error", (event) => this.onerror?.(event));
  }

  // For this library: ends the request with what the hub answered.
  finish({ result, error }) {
    this.readyState = "done";
    this.result = result;
    this.error = error ? new DOMException(error.message, error.name) : null;
    if (error) this.#settle.reject(this.error);
    else this.#settle.resolve(result);
    this.dispatchEvent(new Event(error ? "error" : "success"));
  }

  then(onResult, onError) {
    return this.#promise.then(onResult, onError);
  }

  catch(onError) {
    return this.#promise.catch(onError);
  }

  finally(onEnd) {
    return this.#promise.finally(onEnd);
  }
}

const MESSAGES = ["push", "push-register"];

// Speaks with the hub for one page.
export class PushManager {
  #port = null;
  #last = 0;
  // What was asked and not answered, to be asked again if the hub is another one.
  #pending = new Map();
  #handlers = {};

  register() {
    return this.#ask({ type: "register" });
  }

  unregister(pushEndpoint) {
    return this.#ask({ type: "unregister", pushEndpoint: String(pushEndpoint) });
  }

  registrations() {
    return this.#ask({ type: "registrations" });
  }

  // For `navigator.setMessageHandler`.
  handle(type, handler) {
    if (!MESSAGES.includes(type)) throw new TypeError(`there is no message ${type}`);
    this.#handlers[type] = handler;
    this.listen();
  }

  // For this library: speaks with the hub behind `port` from now on.
  attach(port) {
    this.#port = port;
    port.onmessage = ({ data }) => this.#onMessage(data);
    this.listen();
    for (const { message } of this.#pending.values()) port.postMessage(message);
  }

  post(message) {
    this.#port?.postMessage(message);
  }

  #ask(message) {
    const id = ++this.#last;
    const request = new PushRequest();
    const numbered = { ...message, id };
    this.#pending.set(id, { message: numbered, request });
    this.post(numbered);
    return request;
  }

  // For this library: tells the hub what this page wants to be told.
  listen() {
    const listens = Object.fromEntries(MESSAGES.map((type) => [type, Boolean(this.#handlers[type])]));
    this.post({ type: "listen", listens });
  }

  #onMessage(message) {
    if (message.type === "reply") {
      const asked = this.#pending.get(message.id);
      this.#pending.delete(message.id);
      asked?.request.finish(message);
      return;
    }
    this.#deliver(message).catch((error) => globalThis.reportError(error));
  }

  // A message that the handler fails to take comes again, to the next page that listens.
  async #deliver({ type, pushEndpoint, version }) {
    const handler = this.#handlers[type];
    if (!handler) return;
    await handler(type === "push" ? { pushEndpoint, version } : {});
    this.post({ type: "took", what: type, pushEndpoint, version });
  }
}

// Puts the web API where pages look for it.
export function install(manager) {
  const define = (name, value) =>
    Object.defineProperty(navigator, name, { value, configurable: true, enumerable: true });
  define("push", manager);
  define("setMessageHandler", (type, handler) => manager.handle(type, handler));
}
