// The station page, /belay/station#ID (Belay §13): starts it, and does what a person presses.

/** Pages tell nobody when they close, so the station looks now and then. */
const LOOK_EVERY = 5000;
/** Milliseconds in which a window that was launched has loaded its page. */
const LAUNCH_TIME = 60000;

/** The form for programs of a link for people (Belay §21.7); other links as they are. */
function apiForm(link) {
  const [, base, id] = /^(.*\/)belay\/open#(.*)$/.exec(link) || [];
  if (base === undefined) return link;
  return (base === `${location.origin}/` ? document.documentElement.dataset.caps : `${base}cap/`) + id;
}

class StationPage {
  constructor(capServer, util, cap) {
    this.capServer = capServer;
    this.util = util;
    this.directory = new Directory(cap);
    this.launcher = new Launcher(capServer, util, this.directory, (added) => {
      if (added) this.added(added);
      this.look();
    });
    this.view = new View(this);
    this.running = new Set();
  }

  async begin() {
    await this.directory.load();
    this.refresh();
    this.util.exchange.accept(at("zone"), {
      rc: "belay/generate",
      label: "your station",
      accept: (description) => this.add(description),
    });
    at("paste").addEventListener("submit", (event) => {
      event.preventDefault();
      const link = at("link").value.trim();
      at("link").value = "";
      this.paste(link);
    });
    const look = () => this.look();
    window.addEventListener("focus", look);
    // Those that run, and those whose window is still on its way.
    const isLikely = ({ id, opened }) => this.running.has(id) || Date.now() - Date.parse(opened) < LAUNCH_TIME;
    setInterval(() => {
      if (document.visibilityState === "visible") this.look(isLikely);
    }, LOOK_EVERY);
    // Without it pages can't add themselves; everything else works.
    this.launcher.register().then(look, () => {});
    look();
  }

  refresh() {
    this.view.show(this.directory.memberships, this.running);
  }

  /** Asks which memberships run, of those that `may`, and shows them so. */
  async look(may = () => true) {
    const all = this.directory.memberships.filter(may);
    const states = await Promise.all(all.map((one) => this.launcher.isRunning(one)));
    const running = new Set(all.filter((_, index) => states[index]).map(({ id }) => id));
    const isSame = running.size === this.running.size && [...running].every((id) => this.running.has(id));
    this.running = running;
    // A form that somebody fills in is left alone.
    if (!isSame && this.view.editing === null) this.refresh();
  }

  /** Does something that a person asked for, and says so if it fails. */
  async attempt(deed) {
    try {
      await deed();
    } catch (error) {
      failed(Object(error));
    }
    this.refresh();
  }

  added({ name }) {
    notice(`${name} was added.`);
    // A form that somebody fills in is left alone.
    if (this.view.editing === null) this.refresh();
  }

  add(description) {
    return this.attempt(async () => this.added(await this.directory.add(description)));
  }

  /** A link to what makes a membership, or to one that is made (Belay §13.1, §13.3). */
  paste(link) {
    return this.attempt(async () => {
      if (!/^https?:\/\//.test(link)) throw { status: 400, message: "it is no link" };
      const cap = this.capServer.restore(apiForm(link));
      const { launch, page, pageUrl, ...rest } = Object(await cap.get());
      if (!isCap(launch) && !page && !pageUrl) throw { status: 400, message: "it is no membership" };
      this.added(await this.directory.add(isCap(launch) ? { launch, ...rest } : cap));
    });
  }

  open(membership) {
    return this.attempt(async () => {
      await this.launcher.open(membership);
      await this.look();
    });
  }

  mayClose(membership) {
    return this.launcher.mayClose(membership);
  }

  close(membership) {
    return this.attempt(async () => {
      await this.launcher.close(membership);
      await this.look();
    });
  }

  change(membership, changed) {
    return this.attempt(() => this.directory.change(membership, changed));
  }

  /** Forgets a membership; its window, if it runs, goes on. */
  async forget(membership) {
    await this.directory.remove(membership);
    this.launcher.forget(membership);
  }

  remove(membership) {
    return this.attempt(async () => {
      await this.forget(membership);
      notice(`${membership.name} was removed.`, () => this.add(membership));
    });
  }

  /** Ends the membership for everybody, where the site gave the right to. */
  revoke(membership) {
    return this.attempt(async () => {
      await membership.control.remove();
      await this.forget(membership);
      notice(`${membership.name} was ended.`);
    });
  }
}

/** Where this tab notes as which instance it launches itself: any page can launch this one. */
const OWN_INSTANCE = "belay.station";

/** Whether the page was launched by itself, with a capability of this gateway. */
function isOwn(station) {
  return (
    isCap(station) &&
    station.serialize().startsWith(document.documentElement.dataset.caps) &&
    sessionStorage.getItem(OWN_INSTANCE) === belay.outpost.instanceId
  );
}

function started(capServer, util, launchInfo) {
  const { station } = Object(launchInfo);
  if (isOwn(station)) {
    const url = station.serialize();
    secret = keepSecret(url.slice(url.lastIndexOf("/") + 1));
    new StationPage(capServer, util, station).begin().catch((error) => {
      const gone = "Ask for another link: the memberships may still be there.";
      if (error.status === 404) tell("This station's link does nothing", gone);
      else tell("The station can't be shown now", `${error.message} (${error.status}). Load the page again.`);
    });
    return;
  }
  if (!secret) {
    tell("No station here", "Open the link of your station once more.");
    return;
  }
  // The page becomes the station by launching itself into its own window (Belay §13.5).
  const instanceId = belay.newUUIDv4();
  const cap = capServer.restore(document.documentElement.dataset.caps + secret);
  const outpostData = { instanceId, info: { station: cap } };
  sessionStorage.setItem(OWN_INSTANCE, instanceId);
  const pageUrl = location.origin + location.pathname;
  util.station
    .activateLocalCap({ instanceId, pageUrl, isStation: true, outpostData })
    .catch(({ message }) => tell("The station can't be shown now", message));
}

document.addEventListener("DOMContentLoaded", () => {
  belay.start(started, ({ message }) => tell("The station can't be shown now", message));
});
