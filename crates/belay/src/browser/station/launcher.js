// Launching memberships into windows, and answering pages as the station does (Belay §13).
// Never here: an element.

/** Whether there is somebody behind a capability of a function: it refuses DELETE (Belay §6.3). */
function answers(cap) {
  return cap.remove().then(() => true, ({ status }) => status === 405);
}

class Launcher {
  /** `changed()` is called when a membership came or was opened. */
  constructor(capServer, util, directory, changed) {
    Object.assign(this, { capServer, util, directory, changed });
    /** What closes the window of a membership that was opened from here. */
    this.closers = new Map();
    this.grants = new Map();
  }

  /** Whether a membership runs in a window: one that was opened from here, or one that the frame finds. */
  async isRunning({ id, instance }) {
    const closer = this.closers.get(id);
    if (closer && (await answers(closer))) return true;
    this.closers.delete(id);
    return Boolean(instance) && this.util.isRunning.post(instance).catch(() => false);
  }

  /** A window that a page launched itself into is closed there, not from here. */
  mayClose({ id }) {
    return this.closers.has(id);
  }

  async close({ id }) {
    await this.closers.get(id).post();
    this.closers.delete(id);
  }

  /**
   * Opens a window for a membership. It begins empty, within the click, so that browsers let it open;
   * then it is a page of ours, which brings the start id and is sent on.
   */
  async open(membership) {
    const target = window.open("", "_blank");
    if (!target) throw { status: 0, message: "the browser blocks new windows" };
    try {
      await new Promise((resolve, reject) => {
        const ready = (activate) => this.launch(membership, activate).then(resolve, reject);
        this.util.launch.expectLaunch({ ready }).then(({ suffix }) => {
          target.location.replace(`/belay/station/loading${suffix}`);
        }, reject);
      });
    } catch (error) {
      target.close();
      throw error;
    }
  }

  /** Launches into the window of `activate`, unless the membership runs already (Belay §13.3). */
  async launch(membership, activate) {
    if (await this.isRunning(membership)) {
      await activate.post({ close: true });
      return;
    }
    await this.activate(membership, activate, belay.newUUIDv4());
  }

  async activate(membership, activate, instanceId) {
    const { page, pageUrl, info } = Object(await membership.launch.get());
    const relaunch = this.grantOf(membership, "relaunch", (again) => {
      // It is the same window, so the same instance.
      return this.activate(membership, again, membership.instance || instanceId);
    });
    const closer = await activate.post({
      instanceId,
      pageUrl: pageUrl || Object(page).html,
      relaunch,
      outpostData: { instanceId, info },
    });
    if (isCap(closer)) this.closers.set(membership.id, closer);
    await this.directory.opened(membership, instanceId);
    this.changed();
  }

  /** A capability of a membership, one of each name. */
  grantOf({ id }, name, item) {
    const key = `${name} ${id}`;
    if (!this.grants.has(key)) {
      // Whatever it comes to is nobody's business.
      this.grants.set(key, this.capServer.grant((activate) => item(activate).then(() => undefined)));
    }
    return this.grants.get(key);
  }

  /** A membership is removed: what launches it ends. */
  forget(membership) {
    for (const name of ["relaunch", "doLaunch"]) {
      const key = `${name} ${membership.id}`;
      if (this.grants.has(key)) this.capServer.revoke(this.grants.get(key));
      this.grants.delete(key);
    }
    this.closers.delete(membership.id);
  }

  /** Lets pages add themselves, and the frame suggest what a person could go on with (Belay §13.6). */
  register() {
    const newInstHandler = this.capServer.grant(async (request) => {
      const { instanceDescription, activate } = Object(request);
      const membership = await this.directory.add(instanceDescription);
      this.changed(membership);
      await this.launch(membership, activate);
    });
    const getSuggestions = this.capServer.grant((origin) => this.suggestions(origin));
    return this.util.setStationCallbacks.put({ newInstHandler, getSuggestions });
  }

  /** Memberships that pages of an origin launch and that do not run. */
  async suggestions(origin) {
    const own = this.directory.memberships.filter(({ launch }) => originOf(launch) === origin);
    const states = await Promise.all(own.map((membership) => this.isRunning(membership)));
    return own.filter((_, at) => !states[at]).map((membership) => ({
      name: membership.name,
      doLaunch: this.grantOf(membership, "doLaunch", (activate) => this.launch(membership, activate)),
    }));
  }
}

function originOf(cap) {
  try {
    return new URL(cap.serialize()).origin;
  } catch {
    return "";
  }
}
