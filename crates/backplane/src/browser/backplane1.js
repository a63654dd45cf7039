// Backplane 1.x: the page reads one channel and gets whole messages.

const COOKIE = "backplane-channel";

class VisitOfOne extends Visit {
  constructor() {
    const isOurs = (frame) => this.isOurs(frame);
    super(new Pace(60), new Cache("backplane", 5, (frame) => frame.id, isOurs));
    /** The id of the last frame; `undefined` before the first answer. */
    this.since = undefined;
    this.isInitialized = false;
  }

  init(options) {
    if (this.isInitialized || !this.configure(options)) return false;
    this.isInitialized = true;
    this.filter = options.initFrameFilter;
    this.isServerChannel = options.serverChannel !== false;
    const known = this.cookie().get(this.bus);
    if (known) this.open(known);
    else this.reset();
    return true;
  }

  /** Forgets the channel of this bus and gets another. */
  reset() {
    if (!this.isInitialized) return;
    this.stop();
    this.forget();
    this.channel = false;
    this.since = undefined;
    const channels = this.cookie();
    channels.delete(this.bus);
    this.writeCookie(channels);
    if (this.isServerChannel) this.send();
    else this.finish(`${Date.now()}${String(Math.random()).slice(2, 7).padEnd(5, "0")}`);
  }

  /** A new channel. */
  finish(name) {
    if (this.channel || !this.isInitialized) return;
    this.answered();
    if (typeof name !== "string") {
      log("error", "the server gave no channel");
      return;
    }
    this.writeCookie(this.cookie().set(this.bus, name));
    this.open(name);
  }

  open(name) {
    this.channel = name;
    this.begin();
    this.settle();
  }

  canSubscribe() {
    return this.isInitialized;
  }

  /** Nothing is asked for while nobody listens. */
  settle() {
    if (!this.channel) return;
    if (this.subscribers.size === 0) this.stop();
    else if (this.timer === undefined) this.next();
  }

  isOurs(frame) {
    return frame.channel_name === this.channel;
  }

  messageOf(frame) {
    return frame.message;
  }

  send() {
    if (!this.channel) {
      this.ask(`${this.busURL()}/channel/new?callback=Backplane.finishInit`);
      return;
    }
    const stored = this.since === undefined ? this.cache.stored() : [];
    if (stored.length > 0) {
      this.take(stored);
      this.next(0);
      return;
    }
    const since = this.since ? `&since=${encodeURIComponent(this.since)}` : "";
    this.ask(`${this.channelURL()}?callback=Backplane.response${since}`);
  }

  /** An answer; an error is padded too, and no list. */
  response(frames) {
    if (!this.channel) return;
    this.answered();
    this.take(Array.isArray(frames) ? frames : []);
    this.settle();
  }

  take(frames) {
    const isFirst = this.since === undefined;
    // An answer may come late: after a newer one, or after its channel was left.
    const isNew = (frame) => this.isOurs(frame) && (isFirst || frame.id > this.since);
    const news = frames.filter(isNew);
    this.since = news.length > 0 ? news[news.length - 1].id : this.since || "";
    const wanted = isFirst ? this.filter && call(this.filter, news) : news;
    for (const frame of wanted || []) {
      // A subscriber may leave the channel.
      if (this.isOurs(frame)) this.deliver(frame);
    }
  }

  /** The channels by bus. */
  cookie() {
    const pairs = readCookie(COOKIE).split("|").map((pair) => pair.split(":").map(decoded));
    const isChannel = (name = "") => /^[A-Za-z0-9_-]+$/.test(name) && name !== "false";
    return new Map(pairs.filter(([bus, channel]) => bus !== "" && isChannel(channel)));
  }

  writeCookie(channels) {
    const pairs = [...channels].map((pair) => pair.map(encodeURIComponent).join(":"));
    writeCookie(COOKIE, pairs.join("|"), this.expires);
  }
}

const visit = new VisitOfOne();
const Backplane = Object.assign(face(visit, "1.2.7"), {
  init: (options) => visit.init(options),
  finishInit: (name) => visit.finish(name),
  response: (frames) => visit.response(frames),
});
window.Backplane = Backplane;
