// Grants, revokes, restores, and dispatches what is invoked (Belay §6).
// Never here: how another instance is reached; a resolver says so.

/** The state of each CapServer. */
const servers = new WeakMap();

/** `new CapServer([instanceId], [snapshot])`; without an id it restores and encodes but can't grant. */
class CapServer {
  constructor(instanceId, snapshot) {
    if (instanceId !== undefined && !isInstanceId(instanceId)) {
      throw new TypeError(`CapServer: bad instance identifier: ${String(instanceId)}`);
    }
    const state = new Grants(this, instanceId, snapshot);
    servers.set(this, state);
    this.instanceId = instanceId;
    this.publicInterface = Object.freeze({ invoke: (...call) => state.invokeOwn(...call) });
    this.privateInterface = Object.freeze({ invoke: (...call) => state.invoke(...call) });
    // Pages hand these two over as callbacks.
    this.dataPreProcess = (value, options) => encodeData(value, options);
    this.dataPostProcess = (text) => decodeData(text, (serialization) => this.restore(serialization));
    this.dataPreProcessor = this.dataPreProcess;
    this.dataPostProcessor = this.dataPostProcess;
    Object.freeze(this);
  }

  /** A new capability whose invocations go to `item`; a TypeError if that is unusable. */
  grant(item) {
    const state = servers.get(this);
    const capability = state.mint((capId) => state.built.set(capId, build(this, item)));
    state.notify();
    return capability;
  }

  /** A new capability that stands for another, and outlives this page where the state is kept. */
  wrap(capability) {
    const state = servers.get(this);
    const restoreCap = partsOf(capability).serialization;
    const wrapper = state.mint((capId) => {
      state.built.set(capId, proxyItem(this, capability));
      state.kept.set(capId, { restoreCap });
    });
    state.changed();
    return wrapper;
  }

  /** A new capability that is described by a name and arguments, which are copied. */
  grantNamed(name, ...args) {
    if (typeof name !== "string") throw new TypeError("the name of a grant must be a string");
    const state = servers.get(this);
    const restoreArgs = JSON.parse(this.dataPreProcess(args)).value;
    const capability = state.mint((capId) => {
      state.kept.set(capId, { restoreName: name, restoreArgs });
    });
    state.changed();
    return capability;
  }

  /** `handler(...args)` gives the item for grants of this name when they are first invoked. */
  setNamedHandler(name, handler) {
    if (typeof handler !== "function") {
      throw new TypeError("NamedHandler generators must be functions");
    }
    servers.get(this).handlers.set(name, handler);
  }

  /** After this no new invocation succeeds; one of another server changes nothing. */
  revoke(capability) {
    const serialization = isCapability(capability) ? capability.serialize() : capability;
    if (typeof serialization !== "string") throw new TypeError("revoke needs a capability");
    const state = servers.get(this);
    const [instanceId, capId] = decodeSerialization(serialization);
    if (state.isOwn(instanceId) && state.remove(capId)) state.changed();
    else state.notify();
  }

  revokeAll() {
    const state = servers.get(this);
    const hadKept = state.kept.size > 0;
    state.built.clear();
    state.kept.clear();
    if (hadKept) state.changed();
    else state.notify();
  }

  /** Revokes the grants of this name for whose arguments `validator` is true. */
  revokeNamed(name, validator) {
    const state = servers.get(this);
    const named = [...state.kept].filter(([, entry]) => entry.restoreName === name);
    let hasRevoked = false;
    try {
      for (const [capId, entry] of named) {
        if (validator(...state.argumentsOf(entry))) hasRevoked = state.remove(capId) || hasRevoked;
      }
    } finally {
      if (hasRevoked) state.changed();
    }
  }

  /** A capability bound to this server; what it is worth shows when it is invoked. */
  restore(serialization) {
    if (typeof serialization !== "string") throw new TypeError("restore needs a serialization");
    return new Capability(serialization, this);
  }

  /** What must survive a restart: named grants and wraps. As secret as they are. */
  serialize() {
    return servers.get(this).snapshot();
  }

  /**
   * Has `saver(snapshot)` called within `maxInterval` milliseconds of a change, 0 being the end of the
   * task. If it returns a promise, no call overlaps another; a failure is tried again.
   */
  setPersistifier(saver, maxInterval = 0) {
    if (typeof saver !== "function") throw new TypeError("the persistifier must be a function");
    servers.get(this).persistWith(saver, maxInterval);
  }

  /** The original's hook: called with the snapshot inside each call that grants or revokes. */
  setSyncNotifier(notifier) {
    if (typeof notifier !== "function" || notifier.length < 1) {
      throw new TypeError(
        "the sync notifier must be a function that takes at least one argument",
      );
    }
    servers.get(this).notifier = notifier;
  }

  /** `resolver(instanceId)` gives the interface of another instance, or nothing. */
  setResolver(resolver) {
    servers.get(this).resolver = resolver;
  }
}
Object.freeze(CapServer.prototype);

/** Adds the grants of a snapshot to a CapServer; a SyntaxError if it is none. */
function reviveInto(server, snapshot) {
  servers.get(server).revive(snapshot);
}

/** What a CapServer has granted. `built` has implementations, `kept` what the snapshot holds, by cap id. */
class Grants {
  constructor(server, instanceId, snapshot) {
    Object.assign(this, { server, instanceId, built: new Map(), kept: new Map() });
    Object.assign(this, { handlers: new Map(), resolver: () => undefined, isUnsaved: false });
    if (snapshot !== undefined) this.revive(snapshot);
  }

  revive(snapshot) {
    const { id, map } = Object(JSON.parse(snapshot));
    if (typeof map !== "object" || map === null) throw new SyntaxError("not a snapshot");
    this.alias = isInstanceId(id) ? id : undefined;
    for (const [capId, entry] of Object.entries(map)) this.kept.set(capId, Object(entry));
  }

  snapshot() {
    return JSON.stringify({ id: this.instanceId, map: Object.fromEntries(this.kept) });
  }

  isOwn(instanceId) {
    return instanceId === this.instanceId || instanceId === this.alias;
  }

  mint(store) {
    if (this.instanceId === undefined) throw new TypeError("CapServer: no instanceId in mint()");
    const capId = newUUIDv4();
    store(capId);
    return this.server.restore(encodeSerialization(this.instanceId, capId));
  }

  /** Whether the snapshot is another now. */
  remove(capId) {
    this.built.delete(capId);
    return this.kept.delete(capId);
  }

  argumentsOf({ restoreArgs = [] }) {
    return this.server.dataPostProcess(JSON.stringify({ value: restoreArgs }));
  }

  /** The snapshot is another. */
  changed() {
    this.isUnsaved = true;
    if (this.persistifier) this.persistifier.changed();
    this.notify();
  }

  notify() {
    if (this.notifier) this.notifier(this.snapshot());
  }

  persistWith(saver, maxInterval) {
    const earlier = this.persistifier;
    const wasUnsaved = earlier ? earlier.isDirty || earlier.isSaving : this.isUnsaved;
    if (earlier) earlier.stop();
    this.persistifier = new Persistifier(saver, maxInterval, () => this.snapshot());
    if (wasUnsaved) this.persistifier.changed();
  }

  implementationOf(capId) {
    if (!this.built.has(capId) && this.kept.has(capId)) this.rebuild(capId, this.kept.get(capId));
    return this.built.get(capId) || DEAD;
  }

  rebuild(capId, entry) {
    const { restoreCap, restoreName } = entry;
    try {
      if (typeof restoreCap === "string") {
        this.built.set(capId, proxyItem(this.server, this.server.restore(restoreCap)));
      } else if (this.handlers.has(restoreName)) {
        const item = this.handlers.get(restoreName)(...this.argumentsOf(entry));
        this.built.set(capId, build(this.server, item));
      }
    } catch (error) {
      report(error);
    }
  }

  invokeOwn(serialization, method, wire, success, failed) {
    const [instanceId, capId] = decodeSerialization(serialization);
    const item = this.isOwn(instanceId) ? this.implementationOf(capId) : DEAD;
    item.invoke(method, wire, success, failed);
  }

  invoke(serialization, method, wire, success, failed) {
    if (isURLCap(serialization)) {
      invokeURL(serialization, method, wire, success, failed);
      return;
    }
    const other = this.interfaceOf(decodeSerialization(serialization)[0]);
    if (other) other.invoke(serialization, method, wire, success, failed);
    else failed(failure(404));
  }

  interfaceOf(instanceId) {
    if (this.isOwn(instanceId)) return this.server.publicInterface;
    return instanceId === NULL_ID ? undefined : this.resolver(instanceId);
  }
}
