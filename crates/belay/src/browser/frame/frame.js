// The hosted frame (Belay §22.2): shakes hands with the page around it, and joins it to others.
// Never here: a rule of a tier, of a launch or of the bar.

/** How long a page has to say hello before it is taken for an original-style one, in milliseconds. */
const HELLO_TIMEOUT = 500;

/** What outlives the page of this frame: one CapServer, one router, one bar. */
class Frame {
  constructor(window, tell) {
    const { location, document } = window;
    const relayUrl = new URL("relay", location.href);
    relayUrl.protocol = location.protocol.replace("http", "ws");
    const connect = () => new WebSocket(relayUrl);
    const hasRelay = document.documentElement.dataset.relay === "on";
    this.isInsecure = location.protocol === "http:";
    this.session = new Remembered(() => window.sessionStorage);
    this.tokens = new Tokens(this.session);
    this.server = new CapServer(newUUIDv4());
    this.router = new CapRouter({
      relay: hasRelay ? new Relay({ connect, tokens: this.tokens }) : null,
      starts: new Starts(this.server, location.href),
    });
    this.server.setResolver(this.router.resolver);
    this.router.local.set(this.server.instanceId, this.server.publicInterface);
    this.bar = new Bar(document, tell);
    const memory = new Remembered(() => window.localStorage);
    this.station = new Station(this.server, memory, (origin) => this.bar.consent(origin));
    this.services = new Services(this.server, this.router, tell);
  }

  /** Routes the frame's own capabilities, as soon as one is about to leave this window. */
  expose() {
    this.exposed = this.exposed || this.router.claim(this.server.instanceId);
    return this.exposed;
  }
}

/** Waits for the page's hello; a stranger's, or a second one, changes nothing. */
function shakeHands(window) {
  const { parent, document } = window;
  const { opaque, original } = document.documentElement.dataset;
  let page = null;
  let isAuthentic = false;
  const frame = new Frame(window, (action) => page && page.tell(action));
  const open = (origin, hash) => {
    if (page) page.end();
    const [tunnel, action] = [new MessageChannel(), new MessageChannel()];
    page = new Page(frame, [tunnel.port1, action.port1], origin, hash);
    return [tunnel.port2, action.port2];
  };
  const late = () => parent.postMessage(null, "*", open(null, newInstanceId));
  const timer = original === "on" ? setTimeout(late, HELLO_TIMEOUT) : null;
  window.addEventListener("message", ({ source, origin, data }) => {
    const { belay, v } = Object(data);
    if (source !== parent || belay !== "hello" || v !== 1 || isAuthentic) return;
    clearTimeout(timer);
    const isOpaque = origin === "null";
    if (isOpaque && opaque !== "on") return;
    isAuthentic = true;
    const ports = open(isOpaque ? null : origin, sha1InstanceId);
    parent.postMessage({ belay: "init", v: 1 }, isOpaque ? "*" : origin, ports);
  });
  // A page that may come back holds no lock and no socket, which would keep it from that.
  window.addEventListener("pagehide", () => frame.router.suspend());
  window.addEventListener("pageshow", ({ persisted }) => {
    if (persisted) frame.router.resume().catch(report);
  });
}

// Only within a page there is somebody to serve.
if (window.parent !== window) shakeHands(window);
