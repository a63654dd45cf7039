// The frame's socket to the relay (Belay §22.4): a tunnel over a WebSocket that is opened again after
// every loss, with the ids that are routed here. The messages are in `../../relay/README.md`.
// Never here: another tier, what an invocation means.

/** How long the socket may take to open, in milliseconds. */
const CONNECT_TIMEOUT = 10000;
/** Waits between two attempts, in milliseconds: the first, the longest. */
const RECONNECT = { first: 1000, longest: 60000 };
/** An id that somebody else has is asked for so often: an owner that goes away may still be there. */
const CLAIM_ATTEMPTS = 4;
const CLAIM_PAUSE = 400;
/** The longest message that the relay takes, in bytes. */
const RELAY_MESSAGE_MAX = 1024 * 1024;

/** Whether the relay would not take a message. A character is at most six bytes of it. */
function isTooLong(message) {
  const { data = "" } = message;
  if (data.length < RELAY_MESSAGE_MAX / 8) return false;
  return new TextEncoder().encode(JSON.stringify(message)).length > RELAY_MESSAGE_MAX;
}

/** Whether an instance is routed is asked by this method of any capability; its frame says so. */
const PROBE = "OPTIONS";
/** How long that may take, in milliseconds: a window that is too busy to say so is as good as gone. */
const PROBE_PATIENCE = 5000;
/** Where a window keeps what a reload proves its instance to the relay by. */
const RESUME = "belay.resume:";

/** What a frame and the relay have to say to each other. */
class Relay {
  /** `connect` opens a WebSocket; `tokens` keeps the resume token of each id. */
  constructor({ connect, tokens = new Map() }) {
    Object.assign(this, { connect, tokens, wait: RECONNECT.first, socket: null, tunnel: null });
    /** The pre-image, if there is one, of each id that is to be routed here. */
    this.proofs = new Map();
    this.claiming = new Set();
    this.answers = new Map();
    this.find = () => undefined;
  }

  /** Opens the socket. Invocations of others are for the interface that `find` has for an id. */
  serve(find) {
    this.find = find;
    this.resume();
  }

  /**
   * Claims `id`; `false` if it is another frame's. While the relay can't be reached it is not routed
   * there, which is no reason to refuse it: that is made up for once the socket is open.
   */
  async claim(id, proof) {
    this.proofs.set(id, proof);
    this.claiming.add(id);
    try {
      for (let attempt = 1; this.proofs.has(id) && (await this.ready); attempt += 1) {
        const { status } = await this.register(id);
        if (status !== 409) return true;
        if (attempt === CLAIM_ATTEMPTS) {
          this.proofs.delete(id);
          return false;
        }
        await new Promise((resolve) => setTimeout(resolve, CLAIM_PAUSE));
      }
      return true;
    } finally {
      this.claiming.delete(id);
    }
  }

  /** Gives an id up. */
  release(id) {
    if (!this.proofs.delete(id)) return;
    this.tokens.delete(id);
    this.say({ op: "unregister", id });
  }

  invoke(ser, method, data, succeed, fail) {
    // The number of the invocation is not known yet: the greatest is as long as any.
    if (isTooLong({ op: "invoke", txId: Number.MAX_SAFE_INTEGER, ser, method, data })) {
      fail(failure(413));
      return;
    }
    this.ready.then((isOpen) => {
      if (isOpen && this.tunnel) this.tunnel.sendInterface.invoke(ser, method, data, succeed, fail);
      else fail(failure(503));
    });
  }

  /** Whether the frame of an instance answers. */
  reaches(id) {
    return new Promise((resolve) => {
      setTimeout(() => resolve(false), PROBE_PATIENCE);
      const ser = encodeSerialization(id, newUUIDv4());
      this.invoke(ser, PROBE, undefined, () => resolve(true), () => resolve(false));
    });
  }

  /** An interface of this frame, for others: the instance itself is not asked whether it is there. */
  served(id) {
    const iface = this.find(id);
    return iface && {
      invoke: (ser, method, data, succeed, fail) => {
        if (method === PROBE) succeed();
        else iface.invoke(ser, method, data, succeed, fail);
      },
    };
  }

  /** One registration: what the relay says. A token that it refuses (403) is forgotten. */
  async register(id) {
    const token = this.tokens.get(id);
    const proof = token || this.proofs.get(id);
    const answer = await new Promise((resolve) => {
      this.answers.set(id, resolve);
      this.say(Object.assign({ op: "register", id }, proof === undefined ? {} : { proof }));
    });
    if (answer.resume) this.tokens.set(id, answer.resume);
    if (!token || answer.status !== 403) return answer;
    this.tokens.delete(id);
    return this.register(id);
  }

  say(message) {
    if (this.socket && this.socket.readyState === 1) this.socket.send(JSON.stringify(message));
  }

  /** Opens the socket; `ready` becomes whether it did. */
  resume() {
    clearTimeout(this.timer);
    const socket = this.connect();
    this.socket = socket;
    this.ready = new Promise((resolve) => {
      this.settle = resolve;
    });
    this.timer = setTimeout(() => socket.close(), CONNECT_TIMEOUT);
    socket.onopen = () => this.opened(socket);
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.lose();
      // Between half the time and all of it, so that frames do not come back at one moment.
      this.timer = setTimeout(() => this.resume(), this.wait * (0.5 + Math.random() / 2));
      this.wait = Math.min(this.wait * 2, RECONNECT.longest);
    };
  }

  /** Closes the socket until `resume`. */
  suspend() {
    const { socket } = this;
    this.say({ op: "bye" });
    this.lose();
    if (socket) socket.close();
  }

  lose() {
    clearTimeout(this.timer);
    const { tunnel, answers } = this;
    Object.assign(this, { socket: null, tunnel: null, answers: new Map() });
    if (tunnel) tunnel.handleClose();
    for (const resolve of answers.values()) resolve({ status: 503 });
    this.settle(false);
    this.ready = Promise.resolve(false);
  }

  opened(socket) {
    clearTimeout(this.timer);
    this.wait = RECONNECT.first;
    const answered = ({ op, txId }) => ({ op, txId, type: "failure", data: failure(413) });
    const fitting = (message) => (isTooLong(message) ? answered(message) : message);
    const port = { postMessage: (message) => this.say(fitting(message)), close: () => socket.close() };
    this.tunnel = new CapTunnel(port);
    this.tunnel.setLocalResolver((id) => this.served(id));
    socket.onmessage = ({ data }) => this.receive(JSON.parse(data), port);
    this.settle(true);
    for (const id of this.proofs.keys()) if (!this.claiming.has(id)) this.register(id);
  }

  receive(message, port) {
    const { op, id } = message;
    if (op === "registered" || op === "refused") {
      const resolve = this.answers.get(id);
      this.answers.delete(id);
      if (resolve) resolve(message);
    } else if (op === "unregistered") {
      this.proofs.delete(id);
      this.tokens.delete(id);
    } else if (port.onmessage) port.onmessage({ data: message });
  }
}

/** Resume tokens: in memory, and those of launched instances also where a reload finds them. */
class Tokens {
  constructor(session) {
    Object.assign(this, { session, memory: new Map(), launched: new Set() });
  }

  /** `id` is to survive a reload of its window. */
  keep(id) {
    this.launched.add(id);
    const token = this.session.get(RESUME + id);
    if (typeof token === "string") this.memory.set(id, token);
  }

  get(id) {
    return this.memory.get(id);
  }

  set(id, token) {
    this.memory.set(id, token);
    if (this.launched.has(id)) this.session.set(RESUME + id, token);
  }

  delete(id) {
    this.memory.delete(id);
    if (this.launched.has(id)) this.session.remove(RESUME + id);
  }
}
