// The page of a frame (Belay §11, §12.5, §12.6): what its window begins with, its outpost, its routes.
// Never here: another tier of the router, the station's consent.

/** Where a launched page's window keeps what a reload launches it by (Belay §13.2). */
const RELAUNCH = "belay.relaunch:";

const withoutFragment = (url) => String(url).split("#")[0];

/**
 * The page that the frame shook hands with. `origin` is what the browser says, or null for one that
 * did not say hello (Belay §22.2); `hash` makes instance ids in the form that its library knows.
 */
class Page {
  constructor(frame, [tunnelPort, actionPort], origin, hash) {
    Object.assign(this, { frame, origin, hash, action: actionPort, ids: new Set(), location: "" });
    const { server, router } = frame;
    this.tunnel = new CapTunnel(tunnelPort);
    this.tunnel.setLocalResolver(router.resolver);
    this.tunnel.onclosed = () => this.end();
    this.window = new SteeredWindow(server, (action) => this.tell(action));
    actionPort.onmessage = ({ data }) => {
      actionPort.onmessage = null;
      this.begin(Object(data)).catch(report);
    };
  }

  /** An action for the page (Belay §11.3). */
  tell(action) {
    this.action.postMessage(action);
  }

  /** Frees what was routed here. A launched instance stays its window's until the window goes. */
  end() {
    for (const id of this.ids) this.frame.router.removeInterface(id);
    this.ids.clear();
    this.tunnel.handleClose();
    this.action.close();
  }

  async begin({ startId, location }) {
    this.location = withoutFragment(location);
    const isLaunched = typeof startId === "string" ? await this.start(startId) : await this.relaunch();
    if (!isLaunched) this.startFresh();
  }

  /** Becomes what a start id stands for (Belay §11.1); `false` if that is nothing any more. */
  async start(startId) {
    const { router } = this.frame;
    const taken = await router.retrieveStart(startId, this.origin || undefined).catch(report);
    const record = Object(taken);
    try {
      if (isCapability(record.startLaunch)) {
        await soon(record.startLaunch.post(await this.navigation()));
      } else if (isCapability(record.finishLaunch)) {
        this.startLaunched(await soon(record.finishLaunch.post(await this.navigation())));
      } else if (record.setupLaunch !== undefined) {
        this.startLaunched(record.setupLaunch);
      } else {
        return false;
      }
      return true;
    } catch {
      // Who expected this window is gone, or has sent it somewhere else.
      return false;
    }
  }

  /** A page that was launched and is loaded again is launched again, if its station is there. */
  async relaunch() {
    const { session, server } = this.frame;
    const serialization = session.get(RELAUNCH + this.location);
    session.remove(RELAUNCH + this.location);
    if (typeof serialization !== "string") return false;
    // Where the page is it says itself; pages of one site share what a launch left behind.
    if (this.origin === null || new URL(this.location).origin !== this.origin) return false;
    await this.frame.expose();
    return soon(server.restore(serialization).post(this.activateHere())).then(
      () => true,
      () => false,
    );
  }

  /** What steers this window, for somebody elsewhere. */
  async navigation() {
    await this.frame.expose();
    return this.window.navigation();
  }

  activateHere() {
    const { server, router } = this.frame;
    return activateHere(server, router, this.window);
  }

  startFresh() {
    const { server, station } = this.frame;
    const instanceId = newUUIDv4();
    this.ids.add(instanceId);
    this.route(instanceId);
    const becomeInstance = server.grant(async (description) => {
      if (this.origin === null) throw failure(403);
      await this.frame.expose();
      await station.newInstance(description, this.activateHere());
    });
    this.send({ instanceId, temporaryInstance: true, becomeInstance });
    this.suggest().catch(report);
  }

  async suggest() {
    const { station, bar } = this.frame;
    bar.suggest(await station.suggestions(this.origin), async ({ doLaunch }) => {
      await this.frame.expose();
      // What could not be launched is offered once more.
      doLaunch.post(this.activateHere()).catch(() => this.suggest().catch(report));
    });
  }

  startLaunched(given) {
    const record = parseActivation(given);
    const { origin } = new URL(record.pageUrl);
    if (this.origin !== null && this.origin !== origin) throw failure(403);
    const { instanceId, outpostData } = record;
    const { session, tokens } = this.frame;
    if (record.relaunch) session.set(RELAUNCH + this.location, record.relaunch.serialize());
    tokens.keep(instanceId);
    this.route(instanceId);
    const { info } = outpostData;
    this.send(Object.assign({}, outpostData, { instanceId, info }, record.isStation && this.privileges()));
  }

  /** What stations get besides (Belay §13.6). */
  privileges() {
    const { server, station, router } = this.frame;
    return {
      setStationCallbacks: server.grant({
        put: async (callbacks) => station.register(this.origin, callbacks),
      }),
      isRunning: server.grant(async (id) => {
        if (!station.isAllowed(this.origin)) throw failure(403);
        if (!isInstanceId(id)) throw failure(400);
        return router.isRoutable(id);
      }),
    };
  }

  /** Routes an id that the frame chose or a launch gave. If that is running elsewhere, it stays there. */
  route(instanceId) {
    this.frame.router.addInterface(instanceId, this.tunnel.sendInterface).then((isRouted) => {
      if (!isRouted) console.warn("belay: this instance is routed in another window");
    }, report);
  }

  /** Routes an id that the page is entitled to. */
  async claim(id, proof) {
    const isRouted = await this.frame.router.addInterface(id, this.tunnel.sendInterface, proof);
    if (!isRouted) throw failure(500, `route: ${id} already has a route.`);
    if (this.tunnel.isClosed) this.frame.router.removeInterface(id);
    this.ids.add(id);
    return id;
  }

  /** The outpost: `members`, and what every page gets. */
  send(members) {
    const { server, services } = this.frame;
    this.tunnel.sendOutpost(
      Object.assign({}, members, {
        expectPage: server.grant(async (expected) => this.expectPage(Object(expected))),
        activateLocalPage: this.activateHere(),
        services: services.grants(),
        routeWithHash: server.grant(async (preImage) => {
          if (!isUUIDv4(preImage)) throw failure(400);
          return this.claim(this.hash(preImage), preImage);
        }),
        routeOrigin: server.grant(async (claimed) => this.routeOrigin(Object(claimed))),
      }),
    );
  }

  /** Belay §13.4: the window that brings the start id is handed to `ready`, once. */
  async expectPage({ ready }) {
    const { server, router } = this.frame;
    if (!isCapability(ready)) throw failure(400);
    await this.frame.expose();
    const startLaunch = server.grant(async (navigation) => {
      server.revoke(startLaunch);
      await ready.post(activateThere(server, router, navigation));
    });
    // Longer than that no record waits.
    setTimeout(() => server.revoke(startLaunch), LAUNCH_TIMEOUT);
    return router.storeStart({ startLaunch });
  }

  /** Belay §12.6: the origin is the browser's word; one of `http:` only where the gateway is, too. */
  async routeOrigin({ origin, pageUrl }) {
    const isOwn = origin === this.origin && parseOrigin(origin) !== undefined;
    const isSafe = isOwn && (origin.startsWith("https:") || this.frame.isInsecure);
    if (!isSafe || parsePageUrl(pageUrl).origin !== origin) throw failure(403);
    return this.claim(origin);
  }
}
