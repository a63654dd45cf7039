// `util`: what a page may ask of the frame and of a station (Belay §13, §14).
// Never here: a start function.

/** The `util` of a page for one of its CapServers: ours, and what the outpost has beside. */
function utilFor(session, capServer) {
  const { outpost } = session;
  const exchange = new Exchange(session, capServer);
  const launcher = new Launcher(outpost, capServer);
  const bound = (name) => (...given) => launcher[name](...given);
  const expectLaunch = bound("expectLaunch");
  return Object.freeze({
    ...outpost,
    exchange: Object.freeze({
      offer: (...given) => exchange.offer(...given),
      accept: (...given) => exchange.accept(...given),
    }),
    station: Object.freeze({
      becomeInstance: bound("becomeInstance"),
      activateLocalCap: bound("activateLocalCap"),
    }),
    launch: Object.freeze({ expectLaunch, selfLaunch: bound("selfLaunch") }),
    // The first name is the seed's.
    belay: Object.freeze({ exepctLaunch: expectLaunch, expectLaunch, selfLaunch: bound("selfLaunch") }),
  });
}

class Launcher {
  constructor(outpost, capServer) {
    Object.assign(this, { outpost, capServer });
  }

  /** Has the user's station keep this page as an instance: `{launch, name, icon}` (Belay §13.3). */
  becomeInstance(description, success, failed) {
    const { launch, name, icon } = Object(description);
    const cap = typeof launch === "string" ? this.capServer.restore(launch) : launch;
    if (!isCapability(cap)) throw new TypeError("becomeInstance needs a launch capability");
    const data = icon === undefined ? { launch: cap, name } : { launch: cap, name, icon };
    return this.ask("becomeInstance", data, success, failed);
  }

  /** Turns this window into the instance of an activate record (Belay §13.2, §13.5). */
  activateLocalCap(record, success, failed) {
    return this.ask("activateLocalPage", record, success, failed);
  }

  /**
   * Has `ready(activate)` called when a window brings the start id that this gives (Belay §13.4):
   * `{startId, suffix}`, the latter to be put after the address that the window opens.
   */
  expectLaunch(options, success, failed) {
    const { ready, startId: wanted } = Object(options);
    const isFunction = typeof ready === "function";
    if (!isFunction && !isCapability(ready)) throw new TypeError("expectLaunch needs ready");
    // Whatever it returns is the page's own business.
    const cap = isFunction ? this.capServer.grant((activate) => { ready(activate); }) : ready;
    const data = wanted === undefined ? { ready: cap } : { ready: cap, startId: wanted };
    const expected = this.ask("expectPage", data).then((given) => {
      return Object.freeze({ startId: given, suffix: `#belay-start=${given}` });
    });
    return withCallbacks(expected, success, failed);
  }

  /** Launches into this window what a launch capability, or the record it gives, describes. */
  selfLaunch(launch, success, failed) {
    const fetched = isCapability(launch) ? launch.get() : Promise.resolve(launch);
    const launched = fetched.then((record) => {
      const { page, pageUrl, info } = Object(record);
      const instanceId = newUUIDv4();
      const url = pageUrl || Object(page).html;
      return this.activateLocalCap({ instanceId, pageUrl: url, outpostData: { instanceId, info } });
    });
    return withCallbacks(launched, success, failed);
  }

  /** Posts to a capability of the outpost; a page that was not given it may not (405). */
  ask(name, data, success, failed) {
    const cap = this.outpost[name];
    if (cap) return cap.post(data, success, failed);
    return withCallbacks(Promise.reject(failure(405)), success, failed);
  }
}
