// The frames of one storage partition (Belay §10.2, §22.1): a broadcast channel carries messages, and
// whoever routes an id holds a Web Lock of its name, which the browser takes back when a document dies.
// Never here: another tier, what an invocation means.

const CHANNEL = "belay-router-1";
const LOCK = "belay:inst:";
/** How long a claim waits for a document that is just going away, in milliseconds. */
const CLAIM_PATIENCE = 1000;
/** Calls to other frames that wait for an answer, and calls of others that this frame works on. */
const PARTITION_PENDING_MAX = 256;

/** A frame's place in its partition. */
class Partition {
  constructor() {
    Object.assign(this, { locks: navigator.locks, replyId: newUUIDv4() });
    this.held = new Map();
    this.calls = new Map();
    this.serving = 0;
    this.find = () => undefined;
    this.onnotice = () => {};
    this.open();
  }

  /** A place in this browser's, or null: Web Locks need a secure context and a document's origin. */
  static ofBrowser() {
    return navigator.locks && self.origin !== "null" ? new Partition() : null;
  }

  /** Invocations of others are for the interface that `find` has for an instance id. */
  serve(find) {
    this.find = find;
  }

  open() {
    this.channel = new BroadcastChannel(CHANNEL);
    this.channel.onmessage = ({ data }) => this.receive(data);
  }

  /** Gives up every id, and fails what waits for an answer. */
  close() {
    this.channel.close();
    this.channel = null;
    for (const id of [...this.held.keys()]) this.release(id);
    const calls = [...this.calls.values()];
    this.calls.clear();
    for (const call of calls) call.fail(failure(504, "CapTunnel communication failed"));
  }

  /**
   * Becomes the owner of `id`; `false` if it is another frame's, who may just be going away. With
   * `steal` it is taken from whoever has it; `onstolen` tells that somebody did so.
   */
  claim(id, { steal = false, onstolen = () => {} } = {}) {
    const patience = new AbortController();
    // A lock that nobody holds is still to be granted, however busy the browser is.
    const timer = setInterval(async () => {
      if (await this.holds(id)) patience.abort();
    }, CLAIM_PATIENCE);
    return new Promise((resolve) => {
      let release;
      const hold = () => {
        clearInterval(timer);
        resolve(true);
        return new Promise((done) => {
          release = done;
          this.held.set(id, release);
        });
      };
      const lost = () => {
        clearInterval(timer);
        resolve(false);
        if (release === undefined || this.held.get(id) !== release) return;
        this.held.delete(id);
        onstolen();
      };
      const request = steal ? { steal } : { signal: patience.signal };
      this.locks.request(LOCK + id, request, hold).catch(lost);
    });
  }

  release(id) {
    const release = this.held.get(id);
    this.held.delete(id);
    if (release) release();
  }

  /** Whether a frame of the partition owns `id`. */
  async holds(id) {
    const { held } = await this.locks.query();
    return held.some(({ name }) => name === LOCK + id);
  }

  /** The interface by which the owner of `id` is reached; its `invoke` gives what forgets the call. */
  at(id) {
    return { invoke: (...call) => this.invoke(id, ...call) };
  }

  invoke(to, ser, method, data, succeed, fail) {
    if (this.calls.size >= PARTITION_PENDING_MAX) {
      fail(failure(429));
      return undefined;
    }
    const tx = newUUIDv4();
    this.calls.set(tx, { succeed, fail });
    this.post({ op: "invoke", to, tx, reply: this.replyId, ser, method, data });
    return () => this.calls.delete(tx);
  }

  /** Tells every other frame of the partition. */
  notify(notice) {
    this.post({ op: "notice", notice });
  }

  post(message) {
    if (this.channel) this.channel.postMessage(Object.assign({ v: 1 }, message));
  }

  receive(message) {
    if (message.v !== 1) return;
    if (message.op === "notice") this.onnotice(message.notice);
    else if (message.op === "invoke") this.answer(message);
    else if (message.op === "response" && message.to === this.replyId) this.answered(message);
  }

  answered({ tx, type, data }) {
    const call = this.calls.get(tx);
    this.calls.delete(tx);
    if (!call) return;
    if (type === "success") call.succeed(data);
    else call.fail(data);
  }

  answer({ to, tx, reply, ser, method, data }) {
    const iface = this.find(to);
    if (!iface) return;
    const respond = (type) => (result) => {
      this.serving -= 1;
      this.post({ op: "response", to: reply, tx, type, data: result });
    };
    this.serving += 1;
    if (this.serving > PARTITION_PENDING_MAX) respond("failure")(failure(429));
    else iface.invoke(ser, method, data, respond("success"), respond("failure"));
  }
}
