"use strict";

// A service: a worker that registers with a broker and answers requests, one at a time.

const { EventEmitter } = require("node:events");

const { Dealer } = require("zeromq");

const { InvalidStateError } = require("./errors");
const { BYTES_MAX, DEFAULT_HOST, DEFAULT_PORT, endpointOf, toFrames, toService } = require("./protocol");
const { Backoff, TIMING, WorkerSession } = require("./session");

/** Messages that wait for the socket to take them. */
const OUTBOX_MAX = 1000;
/** Milliseconds that the socket may take no message before the broker counts as gone. */
const SEND_TIMEOUT = 5000;
/** Milliseconds that DISCONNECT and the last answer may take to leave. */
const LINGER = 500;
/** Why a registration ends when a request was handed back. The broker is well, so no wait follows. */
const REJECTED = "it handed a request back";

/** A registration with its socket and its timer. */
class Connection {
  #socket;
  #sending = Promise.resolve();
  #waiting = 0;
  #timer;
  #onTurn;
  #closing = false;

  constructor(endpoint, session, onTurn) {
    this.session = session;
    this.#onTurn = onTurn;
    this.#socket = new Dealer({
      linger: 0,
      ipv6: true,
      maxMessageSize: BYTES_MAX,
      sendTimeout: SEND_TIMEOUT,
    });
    this.#socket.connect(endpoint);
    this.send(session.ready());
    this.#arm();
  }

  /** Calls `onRequest` with the body of each request, until the registration ends. */
  async run(onRequest) {
    for await (const frames of this.#socket) {
      const body = this.isOpen ? this.session.receive(frames, performance.now()) : null;
      if (body !== null) {
        onRequest(body);
      }
      this.turn();
    }
    await this.#sending;
  }

  /** Resolves when the socket has taken the message. */
  send(frames) {
    this.#waiting += 1;
    this.#sending = this.#sending.then(async () => {
      try {
        await this.#socket.send(frames);
      } catch {
        this.session.lost ??= "the broker takes no messages";
      }
      this.#waiting -= 1;
    });
    return this.#sending;
  }

  get isFull() {
    return this.#waiting >= OUTBOX_MAX;
  }

  /** Whether answers reach the broker, and requests of it count. */
  get isOpen() {
    return this.session.lost === null && !this.#closing;
  }

  /** After anything happened: ends what is lost, and what the service wants to end. */
  turn() {
    this.#onTurn(this);
    if (this.session.lost !== null) {
      this.close(this.session.lost === REJECTED);
    } else if (this.isOpen) {
      this.#arm();
    }
  }

  /** Closes the socket, after DISCONNECT if the broker is to know. */
  close(signOff) {
    clearTimeout(this.#timer);
    if (this.#closing) {
      return;
    }
    this.#closing = true;
    if (signOff) {
      this.#socket.linger = LINGER;
      this.send(this.session.disconnect());
      this.#sending.then(() => this.#socket.close());
    } else {
      this.#socket.close();
    }
  }

  #arm() {
    clearTimeout(this.#timer);
    const left = Math.max(0, Math.ceil(this.session.deadline() - performance.now()));
    // After a stall what has arrived is taken in before silence is looked for.
    this.#timer = setTimeout(() => setImmediate(() => this.#tick()), left);
  }

  #tick() {
    const heartbeat = this.isOpen ? this.session.tick(performance.now()) : null;
    if (heartbeat !== null) {
      this.send(heartbeat);
    }
    this.turn();
  }
}

class BackboneService extends EventEmitter {
  #name;
  #service;
  #onRequest;
  #version;
  #timing;
  #connection = null;
  #handling = Promise.resolve();
  #running = null;
  #stopping = false;
  #wake = () => {};

  constructor(service, onRequest, options = {}) {
    super();
    const { host = DEFAULT_HOST, port = DEFAULT_PORT, version = "0.1", timing = {} } = options;
    this.endpoint = options.endpoint ?? endpointOf(host, port);
    this.#service = service;
    this.#name = toService(service);
    this.#onRequest = onRequest;
    this.#version = version;
    this.#timing = { ...TIMING, ...timing };
  }

  async connect() {
    this.#running ??= this.#run();
    return this;
  }

  async shutdown({ timeout = 10_000 } = {}) {
    this.#stopping = true;
    this.#wake();
    this.#connection?.turn();
    const timer = setTimeout(() => this.#connection?.close(true), timeout);
    await this.#running;
    clearTimeout(timer);
  }

  disconnect(options) {
    return this.shutdown(options);
  }

  async #run() {
    const backoff = new Backoff(this.#timing);
    while (!this.#stopping) {
      const session = await this.#register();
      if (session.lost === null) {
        continue;
      }
      this.emit("lost", session.lost);
      if (session.heard) {
        backoff.reset();
      }
      if (session.lost !== REJECTED) {
        await this.#pause(backoff.next(Math.random()));
      }
      // One at a time: not before the handler has done what it does for the old registration.
      await Promise.race([this.#handling, this.#stop()]);
    }
  }

  /** Registers on a new socket and serves until the registration ends or the service stops. */
  async #register() {
    const session = new WorkerSession(this.#name, this.#version, this.#timing, performance.now());
    this.#connection = new Connection(this.endpoint, session, (connection) => this.#endIfStopping(connection));
    this.emit("ready");
    const connection = this.#connection;
    await connection.run((body) => {
      this.#handling = this.#handling.then(() => this.#handle(connection, body));
    });
    this.#connection = null;
    return session;
  }

  #endIfStopping(connection) {
    if (this.#stopping && connection.isOpen && !connection.session.busy) {
      connection.close(true);
    }
  }

  async #handle(connection, body) {
    const reply = this.#responder(connection);
    try {
      await this.#onRequest(body, reply);
    } catch (error) {
      if (this.listenerCount("failed") > 0) {
        this.emit("failed", error);
      } else {
        process.emitWarning(`a request of the service ${this.#service} failed: ${error?.stack ?? error}`);
      }
      if (!reply.done) {
        reply.reject();
      }
    }
  }

  /** What answers one request. After the end of its registration answers are thrown away. */
  #responder(connection) {
    const { session } = connection;
    const step = (act) => {
      if (reply.done) {
        throw new InvalidStateError("the request is answered already");
      }
      return connection.isOpen ? act() : Promise.resolve();
    };
    const answer = (frames, final) => {
      const sent = connection.send(session.reply(frames, final, performance.now()));
      connection.turn();
      return sent;
    };
    const reply = (message) => {
      const frames = toFrames(message);
      const sent = step(() => answer(frames, true));
      reply.done = true;
      return sent;
    };
    reply.partial = (message) => {
      if (this.#version === "0.1") {
        throw new InvalidStateError("MDP/0.1 has no partial answers");
      }
      if (connection.isFull) {
        throw new InvalidStateError(`${OUTBOX_MAX} messages wait to be sent: await reply.partial()`);
      }
      const frames = toFrames(message);
      return step(() => answer(frames, false));
    };
    reply.reject = () => {
      step(() => {
        session.lost = REJECTED;
        connection.turn();
      });
      reply.done = true;
    };
    reply.done = false;
    return reply;
  }

  async #pause(delay) {
    let timer;
    const elapsed = new Promise((resolve) => {
      timer = setTimeout(resolve, delay);
    });
    await Promise.race([elapsed, this.#stop()]);
    clearTimeout(timer);
  }

  /** Resolves when the service is asked to stop. */
  #stop() {
    return new Promise((resolve) => {
      this.#wake = resolve;
      if (this.#stopping) {
        resolve();
      }
    });
  }
}

module.exports = { BackboneService };
