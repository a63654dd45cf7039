"use strict";

// A client: many requests at a time over one DEALER socket.

const { Dealer } = require("zeromq");

const {
  AnswerTooLarge,
  ConnectTimeout,
  Disconnected,
  InvalidStateError,
  RequestTimeout,
} = require("./errors");
const { BackboneClientMessage } = require("./message");
const {
  BYTES_MAX,
  DEFAULT_HOST,
  DEFAULT_PORT,
  EMPTY,
  decodeReply,
  encodeRequest,
  endpointOf,
  toFrames,
  toService,
} = require("./protocol");

const DEFAULT_TIMEOUT = 3000;
/** The longest that a timer of Node can wait, 24 days. */
const TIMEOUT_MAX = 2 ** 31 - 1;
/** Requests in flight of one client. */
const IN_FLIGHT_MAX = 10_000;
/** Parts of one answer that wait to be read. A stream that is not read ends with `AnswerTooLarge`. */
const PARTS_MAX = 1000;

/** A request in flight: the parts of its answer that nobody has read yet, or why there is none. */
class Pending {
  #parts = [];
  #error;
  #wake = () => {};

  constructor(service, deadline) {
    this.service = service;
    this.deadline = deadline;
  }

  push(reply) {
    if (this.#error === undefined && this.#parts.length >= PARTS_MAX) {
      this.fail(new AnswerTooLarge(`${PARTS_MAX} parts of the answer were not read`));
    } else if (this.#error === undefined) {
      this.#parts.push(reply);
      this.#wake();
    }
  }

  fail(error) {
    this.#error ??= error;
    this.#wake();
  }

  async next() {
    for (;;) {
      if (this.#parts.length > 0) {
        return this.#parts.shift();
      }
      if (this.#error !== undefined) {
        throw this.#error;
      }
      await new Promise((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

class BackboneClient {
  #endpoint;
  #version;
  #correlate;
  #socket = null;
  #count = 0;
  #pending = new Map();
  #sending = Promise.resolve();

  constructor(host = DEFAULT_HOST, port = DEFAULT_PORT, options = {}) {
    this.#endpoint = endpointOf(host, port);
    this.#version = options.version ?? "0.1";
    this.#correlate = options.correlate ?? true;
  }

  getEndpoint() {
    return this.#endpoint;
  }

  async connect({ timeout = DEFAULT_TIMEOUT } = {}) {
    if (this.#socket !== null) {
      return this;
    }
    const socket = this.#open();
    let timer;
    try {
      await new Promise((resolve, reject) => {
        socket.events.on("handshake", resolve);
        socket.events.on("end", () => reject(new Disconnected()));
        timer = setTimeout(() => reject(new ConnectTimeout()), timeout);
        socket.connect(this.#endpoint);
      });
    } catch (error) {
      await this.disconnect();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    return this;
  }

  async disconnect() {
    this.#socket?.close();
    this.#socket = null;
    for (const pending of this.#pending.values()) {
      pending.fail(new Disconnected());
    }
  }

  async send(service, message = [], timeout = DEFAULT_TIMEOUT) {
    const request = new BackboneClientMessage(service, message);
    const [header, name] = request.serialize();
    const body = await this.request(service, message, { timeout });
    return request.parseReply([header, name, ...body]);
  }

  async request(service, message = [], options = {}) {
    const frames = [];
    let size = 0;
    for await (const part of this.#parts(this.#version, service, message, options)) {
      for (const frame of part) {
        frames.push(frame);
        size += frame.length;
      }
      if (size > BYTES_MAX) {
        throw new AnswerTooLarge("the answer has more than 64 MiB");
      }
    }
    return frames;
  }

  sendStream(service, message = [], options = {}) {
    return this.#parts("0.2", service, message, options);
  }

  async mmi(service) {
    const [code] = await this.request("mmi.service", service);
    return code?.toString() === "200";
  }

  async *#parts(version, service, message, { timeout = DEFAULT_TIMEOUT, signal } = {}) {
    const [name, body] = [toService(service), toFrames(message)];
    const patience = Math.min(timeout, TIMEOUT_MAX);
    signal?.throwIfAborted();
    const id = this.#nextId();
    const key = id.toString("hex");
    const pending = new Pending(name, performance.now() + patience);
    this.#pending.set(key, pending);
    const timer = setTimeout(() => pending.fail(new RequestTimeout()), patience);
    const abort = () => pending.fail(signal.reason);
    signal?.addEventListener("abort", abort);
    let answered = false;
    try {
      this.#send(pending, key, encodeRequest(version, name, body, id));
      while (!answered) {
        const reply = await pending.next();
        answered = reply.final;
        yield reply.body;
      }
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.#pending.delete(key);
      if (!answered && !this.#correlate && this.#socket !== null) {
        // Without ids a late answer would count for the next request: this socket is done.
        this.#socket.close();
        this.#open().connect(this.#endpoint);
      }
    }
  }

  #nextId() {
    if (this.#socket === null) {
      throw new Disconnected();
    }
    if (this.#pending.size >= (this.#correlate ? IN_FLIGHT_MAX : 1)) {
      throw new InvalidStateError("too many requests are in progress");
    }
    if (!this.#correlate) {
      return EMPTY;
    }
    this.#count = (this.#count + 1) >>> 0;
    const id = Buffer.alloc(4);
    id.writeUInt32BE(this.#count);
    return id;
  }

  /** Sends one request after another: a socket that is not connected takes none until it is. */
  #send(pending, key, frames) {
    this.#sending = this.#sending.then(async () => {
      const left = pending.deadline - performance.now();
      if (this.#socket === null || left <= 0 || this.#pending.get(key) !== pending) {
        return;
      }
      try {
        this.#socket.sendTimeout = Math.ceil(left);
        await this.#socket.send(frames);
      } catch (error) {
        // Out of time, of which the timer tells; or closed, which the client tells.
        if (error.code !== "EAGAIN") {
          pending.fail(error);
        }
      }
    });
  }

  #open() {
    this.#socket = new Dealer({
      linger: 0,
      immediate: true,
      ipv6: true,
      maxMessageSize: BYTES_MAX,
      reconnectMaxInterval: 1000,
    });
    this.#read(this.#socket);
    return this.#socket;
  }

  async #read(socket) {
    for await (const frames of socket) {
      const reply = decodeReply(frames);
      const pending = reply && this.#pending.get(reply.id.toString("hex"));
      if (pending?.service.equals(reply.service)) {
        pending.push(reply);
      }
    }
  }
}

module.exports = { BackboneClient };
