// The object that a program holds (Belay §5).
// Never here: where an invocation goes; the server that the capability is bound to knows.

/** Methods whose data is encoded; others have none. */
const TAKES_DATA = new Set(["PUT", "POST"]);
/** Methods that have no result. */
const IS_VOID = new Set(["PUT", "DELETE"]);

/** The serialization and the server of each capability, where no log and no JSON finds them. */
const capabilities = new WeakMap();

function isCapability(value) {
  return capabilities.has(value);
}

function partsOf(capability) {
  const parts = capabilities.get(capability);
  if (!parts) throw new TypeError("not a capability");
  return parts;
}

class Capability {
  constructor(serialization, server) {
    capabilities.set(this, { serialization, server });
    Object.freeze(this);
  }

  /**
   * Calls one callback, later and once; returns a promise of the same. Data that can't be sent, and
   * data for a method without, throw. A rejection nobody handles surfaces only where no callback was given.
   */
  invoke(method, data, success, failed) {
    const { serialization, server } = partsOf(this);
    const takesData = TAKES_DATA.has(method);
    if (!takesData && data !== undefined) throw new TypeError(`${method} takes no data`);
    const wire = takesData ? server.dataPreProcess(data) : undefined;
    const answer = new Promise((resolve, reject) => {
      server.privateInterface.invoke(serialization, method, wire, resolve, reject);
    }).then(
      (text) => (IS_VOID.has(method) ? undefined : resultOf(server, text)),
      (error) => Promise.reject(standardError(error)),
    );
    return withCallbacks(answer, success, failed);
  }

  get(success, failed) {
    return this.invoke("GET", undefined, success, failed);
  }

  put(data, success, failed) {
    return this.invoke("PUT", data, success, failed);
  }

  post(data, success, failed) {
    return this.invoke("POST", data, success, failed);
  }

  remove(success, failed) {
    return this.invoke("DELETE", undefined, success, failed);
  }

  /** The text that is the capability: whoever holds it may use it. */
  serialize() {
    return partsOf(this).serialization;
  }

  toJSON() {
    throw new TypeError("a capability is no JSON: use capServer.dataPreProcessor");
  }

  toString() {
    return "[capability]";
  }
}
Object.freeze(Capability.prototype);

function resultOf(server, text) {
  try {
    return server.dataPostProcess(text);
  } catch {
    throw failure(502, "bad response");
  }
}
