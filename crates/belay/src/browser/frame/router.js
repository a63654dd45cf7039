// The router of a frame (Belay §10.2): instances of this frame, then those of the same storage
// partition, then those at the relay, all behind `invoke(ser, method, wire, success, failure)`.
// Never here: a page, what a capability does, a message of one tier.

/** How long an instance elsewhere has to answer, in milliseconds. */
const ROUTER_TIMEOUT = 30000;
/** Routes of one frame: its own instance, its page's, and those that the page asks for. */
const ROUTES_MAX = 64;

/** Whether an instance id is an origin: those are not routed by the relay (Belay §22.4). */
const isOriginId = (id) => id.startsWith("http");

/** A call that ends once: with its answer, or because it took `timeout` milliseconds. */
class PendingCall {
  constructor(succeed, fail, timeout) {
    const once = (callback) => (value) => {
      if (this.isOver) return;
      this.isOver = true;
      clearTimeout(timer);
      callback(value);
    };
    Object.assign(this, { isOver: false, succeed: once(succeed), fail: once(fail) });
    this.forget = () => {};
    const timer = setTimeout(() => {
      this.forget();
      this.fail(failure(504, "Router Timeout"));
    }, timeout);
  }
}

/**
 * `partition` and `relay` are the tiers beyond this frame, or null where the browser or the gateway
 * has none; `starts` is the mailbox of the gateway.
 */
class CapRouter {
  constructor({ partition = Partition.ofBrowser(), relay = null, starts = null, timeout } = {}) {
    Object.assign(this, { partition, relay, starts, local: new Map() });
    this.timeout = timeout === undefined ? ROUTER_TIMEOUT : timeout;
    const find = (id) => this.local.get(id);
    if (partition) partition.serve(find);
    if (relay) relay.serve(find);
    this.sendInterface = Object.freeze({
      invoke: (ser, method, wire, succeed, fail) => this.send(ser, method, wire, succeed, fail),
    });
    /** What a tunnel or CapServer asks for the interface of an instance. */
    this.resolver = (id) => this.local.get(id) || this.sendInterface;
  }

  /**
   * Routes `id` to `iface`. `proof` is the pre-image of a hashed id. `false` if the id is routed
   * already, here or elsewhere; a frame that has too many routes fails 429.
   */
  async addInterface(id, iface, proof) {
    if (this.local.has(id)) return false;
    if (this.local.size >= ROUTES_MAX) throw failure(429);
    // Before anything is awaited, so that a second request for the same id sees it.
    this.local.set(id, iface);
    const isClaimed = await this.claim(id, proof);
    const isWanted = this.local.get(id) === iface;
    if (isClaimed && isWanted) return true;
    // Given up meanwhile, and perhaps wanted again by another.
    if (isWanted || !this.local.has(id)) this.removeInterface(id);
    else if (this.partition) this.partition.release(id);
    return false;
  }

  async claim(id, proof) {
    if (this.partition && !(await this.partition.claim(id))) return false;
    if (!this.relay || isOriginId(id)) return true;
    return this.relay.claim(id, proof);
  }

  /** The id is free again for others. */
  removeInterface(id) {
    this.local.delete(id);
    if (this.partition) this.partition.release(id);
    if (this.relay) this.relay.release(id);
  }

  /** Whether an instance can be reached now. */
  async isRoutable(id) {
    const tier = await this.tier(id);
    return tier !== null && (tier !== this.relay || this.relay.reaches(id));
  }

  /** Keeps a start record for pages of `origin`, or of any; gives its start id (Belay §22.5). */
  async storeStart(record, origin) {
    if (!this.starts) throw failure(503);
    return this.starts.store(record, origin);
  }

  /** The record of a start id, once; null if there is none for pages of `origin`. */
  async retrieveStart(startId, origin) {
    return this.starts ? this.starts.take(startId, origin) : null;
  }

  /** The original's: here no message is kept that could expire. */
  expireMessages() {}

  send(ser, method, wire, succeed, fail) {
    const [id] = decodeSerialization(ser);
    if (id === NULL_ID) {
      fail(failure(400, "Unparsable capability"));
      return;
    }
    const call = new PendingCall(succeed, fail, this.timeout);
    this.tier(id).then(
      (tier) => {
        if (call.isOver) return;
        if (!tier) call.fail(failure(404));
        else call.forget = tier.invoke(ser, method, wire, call.succeed, call.fail) || call.forget;
      },
      () => call.fail(failure(503)),
    );
  }

  /** The nearest interface that may reach an instance, or null. */
  async tier(id) {
    const local = this.local.get(id);
    if (local) return local;
    if (this.partition && (await this.partition.holds(id))) return this.partition.at(id);
    return this.relay && !isOriginId(id) ? this.relay : null;
  }

  /** The document may be kept for going back (Belay §22.1): nothing of it is routed meanwhile. */
  suspend() {
    if (this.partition) this.partition.close();
    if (this.relay) this.relay.suspend();
  }

  /** The document is shown again. Ids that others took in the meantime are theirs. */
  async resume() {
    if (this.partition) this.partition.open();
    if (this.relay) this.relay.resume();
    const claims = [...this.local.keys()].map(async (id) => {
      if (this.partition && !(await this.partition.claim(id))) this.removeInterface(id);
    });
    await Promise.all(claims);
  }

  /** Ends every tier. */
  close() {
    this.suspend();
    this.local.clear();
  }
}
