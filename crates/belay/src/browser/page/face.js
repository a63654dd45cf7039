// `window.belay` (Belay §12, §22.6).
// Never here: what its functions do.

const session = new Session();

/** Tells a handler, and gives the same as a promise. An error that nobody asked for is logged. */
function started(promise, handler, failed) {
  const parts = promise.then((capServer) => {
    return Object.freeze({ capServer, util: utilFor(session, capServer), launchInfo: session.launchInfo });
  });
  const handle = handler && (({ capServer, util, launchInfo }) => handler(capServer, util, launchInfo));
  return withCallbacks(parts, handle, failed || (handler && logged));
}

function logged(error) {
  console.error("belay:", error.message);
}

/** The CapServer of a route at once, and its registration when it is known. */
function routed({ server, registered }, success, failed) {
  withCallbacks(registered, success, failed || logged);
  return server;
}

const isOptions = (value) => Object(value) === value;

function startForOrigin(options, ...given) {
  const { origin, pageUrl } = isOptions(options) ? options : { origin: options, pageUrl: given.shift() };
  return started(session.routeOrigin(origin, pageUrl).registered, ...given);
}

const internals = Object.freeze({
  CapServer,
  CapTunnel,
  CapRouter,
  encodeSerialization,
  decodeSerialization,
  newInstanceId,
  sha1InstanceId,
  setTransport,
  fetchTransport,
  xhrTransport,
});

const belay = Object.freeze({
  version: libraryVersion,
  start: (handler, failed) => started(session.ready.then(() => session.capServer), handler, failed),
  startForOrigin,
  startForLaunch: (key, handler, failed) => started(session.startForLaunch(key), handler, failed),
  route: (preImage, success, failed) => routed(session.route(preImage), success, failed),
  routeOrigin: (origin, pageUrl, success, failed) => {
    return routed(session.routeOrigin(origin, pageUrl), success, failed);
  },
  newUUIDv4,
  CapServer,
  internals,
  /** Legacy: calls `then` once the frame has answered. */
  onBelayReady: (then) => { withCallbacks(session.ready, then, logged); },
  /** What the frame gave this page, once it has. */
  get outpost() {
    return session.outpost;
  },
  /** Whether the frame is there to be seen. */
  get DEBUG() {
    return isDebugging;
  },
  set DEBUG(value) {
    isDebugging = Boolean(value);
    if (session.element) showBar(session.element, false);
  },
});

// What a stand-in has kept for us runs in its order.
const { standIn = [] } = Object(window.belay);
window.belay = belay;
if (!("newUUIDv4" in window)) window.newUUIDv4 = newUUIDv4;
for (const [name, given] of standIn) isolated(() => belay[name](...given));
return belay;
