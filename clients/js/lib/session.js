"use strict";

// One registration of a worker as a state machine: from READY to DISCONNECT, silence or stop. Frames and the
// time go in, frames come out. Times are milliseconds of a clock that never goes back.
// Never here: a socket, a clock, a timer.

const { EMPTY, WORKER } = require("./protocol");

/** Milliseconds between signs of life and between attempts. */
const TIMING = {
  /** Between two HEARTBEATs to the broker, also while a request is in hand. */
  heartbeat: 1000,
  /** Without a sign of the broker, while idle, until it counts as gone. */
  expiry: 7500,
  /** Before the first attempt to register again; doubled after each that hears nothing. */
  reconnectMin: 1000,
  /** The longest wait before an attempt. */
  reconnectMax: 32_000,
};

/** How long to wait before registering again: doubling, with jitter of a quarter either way. */
class Backoff {
  #timing;
  #delay;

  constructor(timing) {
    this.#timing = timing;
    this.reset();
  }

  /** The broker gave a sign of life. */
  reset() {
    this.#delay = this.#timing.reconnectMin;
  }

  /** The next wait; `random` is at least 0 and below 1. */
  next(random) {
    const delay = this.#delay;
    this.#delay = Math.min(delay * 2, this.#timing.reconnectMax);
    return delay * (0.75 + random / 2);
  }
}

/** A registration. It ends when `lost` says why; the next one begins on a new socket. */
class WorkerSession {
  #codes;
  #service;
  #timing;
  #heardAt;
  #heartbeatAt;
  #address = null;

  constructor(service, version, timing, now) {
    this.#codes = WORKER[version];
    this.#service = service;
    this.#timing = timing;
    this.#heardAt = now;
    this.#heartbeatAt = now + timing.heartbeat;
    /** Why the registration ended, or `null`. */
    this.lost = null;
    /** Whether the broker gave any sign of life. */
    this.heard = false;
  }

  /** Whether a request is in hand. */
  get busy() {
    return this.#address !== null;
  }

  /** READY, the first message, sent once. */
  ready() {
    return this.#message(this.#codes.ready, this.#service);
  }

  /** DISCONNECT, the last message. */
  disconnect() {
    return this.#message(this.#codes.disconnect);
  }

  /** An answer to the request in hand, or a part of it. */
  reply(body, final, now) {
    const code = final ? this.#codes.final : this.#codes.partial;
    const message = this.#message(code, ...this.#address, EMPTY, ...body);
    if (final) {
      this.#address = null;
      // Some brokers send nothing to a busy worker, so silence counts from here.
      this.#heardAt = now;
    }
    return message;
  }

  /** Takes a message of the broker in; returns the body of a request. What is no message is ignored. */
  receive(frames, now) {
    // Backbone's broker leaves the delimiter out of DISCONNECT; other 0.2 brokers put one in.
    const rest = frames[0]?.length === 0 ? frames.slice(1) : frames;
    const [header, command] = rest;
    if (this.lost !== null || command?.length !== 1 || !header.equals(this.#codes.header)) {
      return null;
    }
    switch (command[0]) {
      case this.#codes.disconnect:
        this.lost = "the broker sent DISCONNECT";
        return null;
      case this.#codes.heartbeat:
        this.#alive(now);
        return null;
      case this.#codes.request:
        return this.#request(rest.slice(2), now);
      default:
        return null;
    }
  }

  #request(rest, now) {
    const at = rest.findIndex((frame) => frame.length === 0);
    if (at < 1) {
      return null;
    }
    this.#alive(now);
    if (this.busy) {
      this.lost = "the broker sent a second request at a time";
      return null;
    }
    this.#address = rest.slice(0, at);
    return rest.slice(at + 1);
  }

  #alive(now) {
    this.#heardAt = now;
    this.heard = true;
  }

  /** Lets time pass; returns a HEARTBEAT when one is due, else `null`. */
  tick(now) {
    if (now >= this.#expiryAt()) {
      this.lost = "the broker is silent";
    }
    if (this.lost !== null || now < this.#heartbeatAt) {
      return null;
    }
    this.#heartbeatAt = now + this.#timing.heartbeat;
    return this.#message(this.#codes.heartbeat);
  }

  /** When `tick` is due if nothing else happens first. */
  deadline() {
    return Math.min(this.#heartbeatAt, this.#expiryAt());
  }

  #expiryAt() {
    return this.busy ? Infinity : this.#heardAt + this.#timing.expiry;
  }

  #message(code, ...rest) {
    return [...this.#codes.delimiter, this.#codes.header, Buffer.of(code), ...rest];
  }
}

module.exports = { Backoff, TIMING, WorkerSession };
