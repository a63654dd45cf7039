// What the page has of Belay: its CapServers, and the tunnel to the frame (Belay §§8, 11, 12).
// Never here: the exchange of capabilities, what a person sees.

class Session {
  constructor() {
    Object.assign(this, { routes: new Map(), outpost: undefined, element: undefined });
    Object.assign(this, { atOutpost: [], onDisarmed: new Set(), hasFailed: false });
    /** Resolves once the outpost is there; rejects with a CommunicationError. */
    this.ready = new Promise((resolve, reject) => {
      this.connect().then(resolve, reject);
      this.timer = setTimeout(reject, frameTimeout);
    }).catch(() => this.fail());
    this.ready.catch(() => {});
  }

  /** An answer that comes later is too late. */
  fail() {
    this.hasFailed = true;
    if (this.tunnel) this.tunnel.bye();
    throw communicationError();
  }

  async connect() {
    const url = frameURL();
    this.element = frameElement(url);
    const [tunnelPort, actionPort] = await openFrame(this.element, url);
    if (this.hasFailed) return;
    // The frame is there; whoever launches this window may take longer.
    clearTimeout(this.timer);
    this.tunnel = new CapTunnel(tunnelPort);
    this.tunnel.setLocalResolver((instanceId) => this.routes.get(instanceId));
    addEventListener("pagehide", (event) => { if (!event.persisted) this.tunnel.bye(); });
    actionPort.onmessage = obey(this.element, () => {
      for (const disarmed of this.onDisarmed) isolated(disarmed);
    });
    // Fragments hold secrets, of which the frame needs none.
    const address = withoutFragment(location.href);
    actionPort.postMessage({ startId, location: address, DEBUG: isDebugging });
    const outpost = await new Promise((resolve) => this.tunnel.setOutpostHandler(resolve));
    this.begin(outpost);
  }

  /** Takes the first outpost: the page's own CapServer is that of its instance. */
  begin(outpost) {
    this.capServer = this.newCapServer(outpost.instanceId);
    this.routes.set(outpost.instanceId, this.capServer.publicInterface);
    const rebound = this.capServer.dataPostProcess(this.capServer.dataPreProcess(outpost));
    this.outpost = Object.freeze(rebound);
    const snapshot = this.snapshot();
    if (snapshot !== undefined) reviveReported(this.capServer, snapshot);
    for (const then of this.atOutpost) then();
  }

  get launchInfo() {
    return this.outpost && this.outpost.info;
  }

  snapshot() {
    const { snapshot } = Object(this.launchInfo);
    return typeof snapshot === "string" ? snapshot : undefined;
  }

  newCapServer(instanceId) {
    const server = new CapServer(instanceId);
    server.setResolver((other) => this.interfaceOf(other));
    return server;
  }

  /** An instance of this page directly, others through the frame once it is there. */
  interfaceOf(instanceId) {
    const send = (...call) => {
      const [, , , , failed] = call;
      this.ready.then(() => this.tunnel.sendInterface.invoke(...call), failed);
    };
    return this.routes.get(instanceId) || { invoke: send };
  }

  /**
   * A CapServer for an instance id, which the frame is told of: `ask(outpost)` gives a promise of the id.
   * `registered` rejects with what `explain(error)` makes of a failure, and then nothing reaches it.
   */
  register(instanceId, ask, explain) {
    const server = this.newCapServer(instanceId);
    if (this.routes.has(instanceId)) {
      return { server, registered: Promise.reject(alreadyRouted(instanceId)) };
    }
    // The frame may deliver before its answer is here.
    this.routes.set(instanceId, server.publicInterface);
    const revive = () => {
      const snapshot = this.snapshot();
      if (snapshot !== undefined && snapshotId(snapshot) === instanceId) {
        reviveReported(server, snapshot);
      }
    };
    if (this.outpost) revive();
    else this.atOutpost.push(revive);
    const asked = this.ready.then(() => ask(this.outpost)).then((answer) => {
      if (answer !== instanceId) throw communicationError();
      return server;
    });
    const registered = asked.catch((error) => {
      this.routes.delete(instanceId);
      throw error.type ? error : explain(error);
    });
    return { server, registered };
  }

  route(preImage) {
    const instanceId = sha1InstanceId(preImage);
    const ask = (outpost) => outpost.routeWithHash.post(preImage);
    return this.register(instanceId, ask, (error) => routeError(error, instanceId));
  }

  routeOrigin(origin, pageUrl) {
    const refused = originError(origin, pageUrl);
    if (parseOrigin(origin) === undefined || originOf(pageUrl) !== origin || origin !== location.origin) {
      return { server: this.newCapServer(), registered: Promise.reject(refused) };
    }
    if (withoutFragment(pageUrl) !== withoutFragment(location.href)) {
      // Only after whoever asked has been told.
      setTimeout(() => location.assign(pageUrl));
      return { server: this.newCapServer(origin), registered: Promise.reject(refused) };
    }
    const ask = (outpost) => outpost.routeOrigin.post({ origin, pageUrl });
    return this.register(origin, ask, (error) => {
      return error.status === 403 ? refused : routeError(error, origin);
    });
  }

  /** The CapServer of the pre-image that the launcher gave under `key`. */
  async startForLaunch(key) {
    await this.ready;
    const info = this.launchInfo;
    if (Object(info) !== info) throw noLaunchInfo(key);
    if (!Object.prototype.hasOwnProperty.call(info, key)) throw noSuchKey(key);
    if (!isUUIDv4(info[key])) throw badSecret(key);
    return this.route(info[key]).registered;
  }
}

function originOf(url) {
  try {
    return new URL(url).origin;
  } catch {
    return undefined;
  }
}

function snapshotId(snapshot) {
  try {
    return Object(JSON.parse(snapshot)).id;
  } catch {
    return undefined;
  }
}

/** A launcher's snapshot that is none must not keep the page from starting. */
function reviveReported(server, snapshot) {
  try {
    reviveInto(server, snapshot);
  } catch (error) {
    report(error);
  }
}
