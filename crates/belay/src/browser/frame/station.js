// The station of this partition (Belay §13.6): who it is, and what it is asked.
// Never here: a membership; the station has those.

const STATION_KEY = "belay.station";
const ALLOWED_KEY = "belay.stations";
/** Origins that the person has allowed to be the station; the oldest are forgotten. */
const ALLOWED_MAX = 16;
const SUGGESTIONS_MAX = 6;
const NAME_MAX = 60;

/** Storage that may be denied to the frame, or full: then nothing is remembered. */
class Remembered {
  constructor(area) {
    this.area = area;
  }

  get(key) {
    try {
      return JSON.parse(this.area()[key]);
    } catch {
      return null;
    }
  }

  set(key, value) {
    try {
      this.area()[key] = JSON.stringify(value);
    } catch {
      // Denied or full.
    }
  }

  remove(key) {
    try {
      this.area().removeItem(key);
    } catch {
      // Denied.
    }
  }
}

/** The station, as all frames of the partition know it. `consent(origin)` asks the person. */
class Station {
  constructor(server, memory, consent) {
    Object.assign(this, { server, memory, consent });
  }

  isAllowed(origin) {
    return origin !== null && this.allowed().includes(origin);
  }

  allowed() {
    const origins = this.memory.get(ALLOWED_KEY);
    return Array.isArray(origins) ? origins : [];
  }

  /** Makes a page of `origin` the station, if the person agrees or has agreed. */
  async register(origin, callbacks) {
    const { newInstHandler, getSuggestions } = Object(callbacks);
    if (origin === null) throw failure(403);
    if (!(isCapability(newInstHandler) && isCapability(getSuggestions))) {
      throw failure(400);
    }
    if (!this.isAllowed(origin)) {
      if (!(await this.consent(origin))) throw failure(403);
      this.memory.set(ALLOWED_KEY, [...this.allowed(), origin].slice(-ALLOWED_MAX));
    }
    this.memory.set(STATION_KEY, {
      newInstHandler: newInstHandler.serialize(),
      getSuggestions: getSuggestions.serialize(),
    });
  }

  callback(name) {
    const serialization = Object(this.memory.get(STATION_KEY))[name];
    return typeof serialization === "string" ? this.server.restore(serialization) : null;
  }

  /** Has the station take up a new instance, in the window that `activate` is for. */
  async newInstance(description, activate) {
    const handler = this.callback("newInstHandler");
    if (!handler) throw failure(404, "no station");
    const { launch, name, icon } = Object(description);
    const cap = typeof launch === "string" ? this.server.restore(launch) : launch;
    if (!isCapability(cap)) throw failure(400);
    const instanceDescription = { launch: cap, name, icon };
    await handler.post({ instanceDescription, activate });
  }

  /** What a person could go on with on pages of `origin`: `{name, doLaunch}`. */
  async suggestions(origin) {
    const getSuggestions = origin === null ? null : this.callback("getSuggestions");
    if (!getSuggestions) return [];
    const list = await getSuggestions.post(origin).catch(() => []);
    if (!Array.isArray(list)) return [];
    const isSound = (one) =>
      isRecord(one) && typeof one.name === "string" && isCapability(one.doLaunch);
    const short = ({ name, doLaunch }) => ({ name: name.slice(0, NAME_MAX), doLaunch });
    return list.filter(isSound).slice(0, SUGGESTIONS_MAX).map(short);
  }
}
