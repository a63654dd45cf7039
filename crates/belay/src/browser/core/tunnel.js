// Invocations over one message port (Belay §9).
// Never here: which instance is behind it.

/** Milliseconds between two looks at the port. */
const TICK = 5000;
/** Looks in silence after which a ping is sent, and after which the tunnel is closed. */
const SILENT_MAX = 6;
const UNANSWERED_MAX = 12;
/** Calls under way in each direction; one more fails 429. */
const PENDING_MAX = 256;
const FIRST_TX_ID = 1000;

/** One end of a tunnel. `onclosed` is called once, when it is closed. */
class CapTunnel {
  constructor(port) {
    Object.assign(this, { port, txId: FIRST_TX_ID, pending: new Map(), served: 0, silence: 0 });
    Object.assign(this, { isClosed: false, onclosed: undefined, localResolver: () => undefined });
    this.sendInterface = Object.freeze({ invoke: (...call) => this.send(...call) });
    this.remoteResolverProxy = () => this.sendInterface;
    // What comes with the outpost is bound to this end of the tunnel.
    this.codec = new CapServer();
    this.codec.setResolver(this.remoteResolverProxy);
    port.onmessage = (event) => this.receive(event.data);
    port.onclose = () => this.handleClose();
    // Timers stand still while this context does; whatever came meanwhile is handled between two looks.
    this.timer = setInterval(() => this.tick(), TICK);
  }

  /** `resolver(instanceId)` gives the interface of an instance at this end, or nothing. */
  setLocalResolver(resolver) {
    this.localResolver = resolver;
  }

  /** `handler(record)` is called with each outpost; at once if one has come. */
  setOutpostHandler(handler) {
    this.outpostHandler = handler;
    if (this.outpost) isolated(handler, this.outpost.record);
  }

  sendOutpost(record) {
    this.port.postMessage({ op: "outpost", outpostData: this.codec.dataPreProcess(record) });
  }

  /** Fails what is under way. */
  handleClose() {
    if (this.isClosed) return;
    this.isClosed = true;
    clearInterval(this.timer);
    this.port.onmessage = this.port.onclose = null;
    this.port.close();
    const failures = [...this.pending.values()].map(({ failed }) => failed);
    this.pending.clear();
    for (const failed of failures) isolated(failed, failure(504, "CapTunnel communication failed"));
    if (this.onclosed) isolated(this.onclosed, this);
  }

  /** Closes both ends. */
  bye() {
    if (!this.isClosed) this.port.postMessage({ op: "bye" });
    this.handleClose();
  }

  tick() {
    this.silence += 1;
    if (this.silence === SILENT_MAX) this.port.postMessage({ op: "ping" });
    if (this.silence >= UNANSWERED_MAX) this.handleClose();
  }

  send(ser, method, data, success, failed) {
    if (this.isClosed) {
      failed(failure(504, "CapTunnel communication failed"));
    } else if (this.pending.size >= PENDING_MAX) {
      failed(failure(429));
    } else {
      const txId = this.txId;
      this.txId += 1;
      this.pending.set(txId, { success, failed });
      this.port.postMessage({ op: "invoke", txId, ser, method, data });
    }
  }

  receive(message) {
    if (this.isClosed) return;
    this.silence = 0;
    const { op } = Object(message);
    if (op === "invoke") this.serve(message);
    else if (op === "response") this.settle(message);
    else if (op === "outpost") this.receiveOutpost(message.outpostData);
    else if (op === "ping") this.port.postMessage({ op: "pong" });
    else if (op === "bye") this.handleClose();
  }

  serve({ txId, ser, method, data }) {
    if (!Number.isSafeInteger(txId)) return;
    const respond = (type, answer) => {
      this.served -= 1;
      if (!this.isClosed) this.port.postMessage({ op: "response", txId, type, data: answer });
    };
    this.served += 1;
    const settle = new Settlement(
      (text) => respond("success", text),
      (error) => respond("failure", error),
    );
    const isCall = typeof ser === "string" && typeof method === "string" && isWire(data);
    if (!isCall) settle.fail(failure(400));
    else if (this.served > PENDING_MAX) settle.fail(failure(429));
    else settle.guard(() => this.deliver(ser, method, data, settle));
  }

  deliver(ser, method, data, settle) {
    const [instanceId] = decodeSerialization(ser);
    const local = this.localResolver(instanceId);
    if (!local) settle.fail(failure(404));
    else local.invoke(ser, method, data, (text) => settle.succeed(text), (error) => settle.fail(error));
  }

  settle({ txId, type, data }) {
    const call = this.pending.get(txId);
    if (!call) return;
    this.pending.delete(txId);
    if (type === "failure") isolated(call.failed, standardError(data));
    else if (type === "success" && isWire(data)) isolated(call.success, data);
    else isolated(call.failed, failure(502, "bad response"));
  }

  receiveOutpost(text) {
    let record;
    try {
      record = this.codec.dataPostProcess(text);
    } catch (error) {
      report(error);
      return;
    }
    this.outpost = { record };
    if (this.outpostHandler) isolated(this.outpostHandler, record);
  }
}

function isWire(data) {
  return data === undefined || typeof data === "string";
}
