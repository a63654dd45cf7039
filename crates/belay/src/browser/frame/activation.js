// Turning a window into an instance (Belay §13.2, §13.4): activate records, and the capabilities that
// steer a window. Never here: what a page finds in its outpost.

/**
 * How long a window has to load the page that it was sent to, in milliseconds: less than an invocation
 * may take.
 */
const LAUNCH_TIMEOUT = 25000;
/** How long whoever expects a window has to say so: meanwhile its page is not started. */
const LAUNCHER_PATIENCE = 5000;

/** What `promise` gives, or a failure 504 if that takes too long. */
function soon(promise) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(failure(504)), LAUNCHER_PATIENCE);
    promise.then(resolve, reject).then(() => clearTimeout(timer));
  });
}

/** A page that a window may go to: http(s), so never a script. */
function parsePageUrl(text) {
  try {
    const url = new URL(text);
    if (/^https?:$/.test(url.protocol)) return url;
  } catch {
    // Not a URL.
  }
  throw failure(400);
}

function isRecord(value) {
  return Object(value) === value && !Array.isArray(value) && !isCapability(value);
}

/** An activate record with exactly the members that are understood; anything malformed fails 400. */
function parseActivation(record) {
  const { instanceId, pageUrl, relaunch = null, isStation = false, outpostData } = Object(record);
  const isSound =
    isUUIDv4(instanceId) &&
    (relaunch === null || isCapability(relaunch)) &&
    typeof isStation === "boolean" &&
    isRecord(outpostData);
  if (!isSound) throw failure(400);
  return { instanceId, pageUrl: parsePageUrl(pageUrl).href, relaunch, isStation, outpostData };
}

/** A window that capabilities steer; `tell` reaches its page (Belay §11.3). */
class SteeredWindow {
  constructor(server, tell) {
    Object.assign(this, { server, tell });
  }

  navigate(url, startId) {
    this.tell({ op: "navigate", args: { url: parsePageUrl(url).href, startId } });
  }

  /** What whoever expects this window gets: the right to send it somewhere, and to close it. */
  navigation() {
    return {
      navigateCap: this.server.grant(async (to) => {
        const { url, startId } = Object(to);
        if (typeof startId !== "string") throw failure(400);
        this.navigate(url, startId);
      }),
      closeCap: this.server.grant(async () => this.tell("close")),
    };
  }
}

/**
 * An activate capability for the window of this frame. The whole record waits at the gateway, since
 * nothing of this page outlives the navigation.
 */
function activateHere(server, router, steered) {
  return server.grant(async (record) => {
    if (Object(record).close === true) {
      steered.tell("close");
      return;
    }
    const setupLaunch = parseActivation(record);
    const startId = await router.storeStart({ setupLaunch }, new URL(setupLaunch.pageUrl).origin);
    steered.navigate(setupLaunch.pageUrl, startId);
  });
}

/** An activate capability for another window, which `navigation` steers; gives what closes it. */
function activateThere(server, router, navigation) {
  const { navigateCap, closeCap } = Object(navigation);
  if (!(isCapability(navigateCap) && isCapability(closeCap))) throw failure(400);
  return server.grant(async (record) => {
    if (Object(record).close === true) {
      await closeCap.post();
      return undefined;
    }
    const launch = new PendingLaunch(server, parseActivation(record));
    const startId = await router.storeStart({ finishLaunch: launch.cap }, launch.origin);
    await navigateCap.post({ url: launch.record.pageUrl, startId });
    return launch.finished;
  });
}

/** A launch that ends when the page which the window was sent to asks for its record. */
class PendingLaunch {
  constructor(server, record) {
    Object.assign(this, { record, origin: new URL(record.pageUrl).origin });
    this.finished = new Promise((resolve, reject) => {
      this.cap = server.grant(async (navigation) => {
        const { closeCap } = Object(navigation);
        if (!isCapability(closeCap)) throw failure(400);
        clearTimeout(timer);
        server.revoke(this.cap);
        resolve(closeCap);
        return record;
      });
      const timer = setTimeout(() => {
        server.revoke(this.cap);
        reject(failure(504));
      }, LAUNCH_TIMEOUT);
    });
    // Whoever activates may be told of another failure first.
    this.finished.catch(() => {});
  }
}
