// Backplane 2.0: the page gets headers; payloads are for back ends with privileged tokens.

const COOKIE = "backplane2-channel";
const INVALID_TOKEN = "invalid token";

class VisitOfTwo extends Visit {
  constructor() {
    const isLive = (message) => this.isOurs(message) && !(Date.parse(message.expire) <= Date.now());
    super(new Pace(20), new Cache("backplane2", 10, (message) => message.messageURL, isLive));
    /** What is asked for: nothing, a new `visit`, new `tokens`, or `messages`. */
    this.wanted = "nothing";
    /** The URL of the messages that come next. */
    this.position = "";
    /** The last message, which no later answer may repeat. */
    this.lastURL = "";
    /** For how many seconds the server held the last request, at most, and since when. */
    this.held = 0;
    this.askedAt = 0;
    /** Whether the tokens worked since they were renewed. */
    this.isTrusted = true;
  }

  init(options) {
    if (!this.configure(options)) return false;
    if (!this.base.includes("/v2")) {
      log("error", "serverBaseURL must contain /v2");
      return false;
    }
    this.stop();
    this.block = options.block >= 0 ? options.block : 25;
    this.replaysStored = options.replayOnPageLoad === true;
    const known = this.cookie();
    if (known) this.open(known);
    else this.reset();
    return true;
  }

  /** Forgets channel and tokens and gets others. */
  reset() {
    this.stop();
    this.channel = false;
    this.forget();
    writeCookie(COOKIE, "", new Date(0).toUTCString());
    this.wanted = "visit";
    this.send();
  }

  /** A new channel with its tokens. */
  finish(answer) {
    if (this.wanted !== "visit") return;
    this.answered();
    const entry = String(answer.scope).split(" ").find((one) => one.includes("channel:"));
    if (answer.error || !answer.access_token || !entry) {
      this.wanted = "nothing";
      log("error", "the server gave no channel:", answer.error_description || answer.error);
      return;
    }
    const known = { ...tokensOf(answer), channel: entry.split(":")[1] };
    this.keep(known);
    this.open(known);
  }

  /** Goes on where the earlier pages of this visit were. */
  open({ token, channel, refresh }) {
    Object.assign(this, { token, channel, refresh, wanted: "messages" });
    const stored = this.cache.stored();
    const newest = stored[stored.length - 1];
    this.lastURL = newest ? newest.messageURL : "";
    const [, id] = /\/message\/([^/]+)$/.exec(this.lastURL) || [];
    this.position = id ? `${this.base}/messages?since=${id}` : `${this.base}/messages`;
    this.replays = this.replaysStored ? stored : [];
    this.begin();
    // Whoever was called may have left the channel.
    if (this.wanted === "messages" && !this.isAsking) this.send();
  }

  canSubscribe() {
    return this.channel !== false;
  }

  settle() {}

  isOurs(message) {
    return message.channel === this.channel;
  }

  messageOf(message) {
    return message;
  }

  send() {
    if (this.wanted === "visit") {
      const bus = encodeURIComponent(this.bus);
      this.ask(`${this.base}/token?callback=Backplane.finishInit&bus=${bus}`);
    } else if (this.wanted === "tokens") {
      const refresh = `refresh_token=${encodeURIComponent(this.refresh)}`;
      this.ask(`${this.base}/token?callback=Backplane.refreshTokenResponse&${refresh}`);
    } else if (this.wanted === "messages") {
      this.held = canBeHeld() ? this.block : 0;
      this.askedAt = Date.now();
      const mark = this.position.includes("?") ? "&" : "?";
      const token = `access_token=${encodeURIComponent(this.token)}`;
      const query = `callback=Backplane.response&${token}&block=${this.held}`;
      this.ask(`${this.position}${mark}${query}`, this.held);
    }
  }

  /** Some messages, or why there are none. */
  response(answer) {
    if (this.wanted !== "messages") return;
    this.answered();
    if (!Array.isArray(answer.messages)) {
      this.refused(answer.error_description || answer.error);
      return;
    }
    this.isTrusted = true;
    this.position = answer.nextURL || this.position;
    // An answer may come late: after a newer one, or after its channel was left.
    const isNew = (message) => this.isOurs(message) && message.messageURL > this.lastURL;
    const news = answer.messages.filter(isNew);
    for (const message of news) {
      // A subscriber may leave the channel.
      if (!this.isOurs(message)) return;
      this.lastURL = message.messageURL;
      this.deliver(message);
    }
    if (this.wanted !== "messages" || this.isAsking) return;
    if (answer.moreMessages === true || this.wasHeld(news)) this.next(0);
    else this.next();
  }

  /** Whether the server holds requests: then asking at once is no more than waiting. */
  wasHeld(news) {
    const waited = Date.now() - this.askedAt;
    return this.held > 0 && (news.length > 0 || waited >= (this.held * SECOND) / 2);
  }

  refused(reason) {
    if (reason === INVALID_TOKEN) {
      this.renew();
      return;
    }
    log("error", "the server refused:", reason);
    const [, most] = /block parameter .* between 0 and (\d+)/.exec(reason) || [];
    if (most === undefined || this.held === 0) {
      this.next();
      return;
    }
    this.block = Number(most) < this.block ? Number(most) : 0;
    this.next(0);
  }

  /** The access token is used up: another page may have renewed it, or this one does. */
  renew() {
    const shared = this.cookie();
    if (shared && shared.token !== this.token) {
      this.join(shared);
      return;
    }
    if (!this.refresh) {
      this.reset();
      return;
    }
    this.wanted = "tokens";
    // A server that refuses what it has just issued is not asked in a loop.
    if (this.isTrusted) this.send();
    else this.next();
    this.isTrusted = false;
  }

  /** What another page of this site has got. */
  join(shared) {
    if (shared.channel !== this.channel) {
      this.forget();
      this.open(shared);
      return;
    }
    Object.assign(this, shared, { wanted: "messages" });
    this.send();
  }

  /** New tokens for the same channel. */
  renewed(answer) {
    if (this.wanted !== "tokens") return;
    this.answered();
    const shared = this.cookie();
    if (answer.access_token) {
      Object.assign(this, tokensOf(answer), { wanted: "messages" });
      this.keep(this);
      this.send();
    } else if (answer.error_description !== INVALID_TOKEN) {
      this.wanted = "messages";
      this.next();
    } else if (shared && shared.token !== this.token) this.join(shared);
    else this.reset();
  }

  /** The tokens and the channel of this site; nothing if they are not whole. */
  cookie() {
    const isGiven = (text) => text !== "" && text !== "null" && text !== "undefined";
    const parts = readCookie(COOKIE).split(":").map(decoded);
    const [token, channel, refresh] = parts.map((part) => (isGiven(part) ? part : undefined));
    if (!token || !channel) return undefined;
    const isShort = token.length < 20 || channel.length < 30 || (refresh || "").length < 20;
    if (isShort) log("error", "the cookie looks damaged");
    return { token, channel, refresh };
  }

  keep({ token, channel, refresh }) {
    const parts = [token, channel, refresh || ""].map(encodeURIComponent);
    writeCookie(COOKIE, parts.join(":"), this.expires);
  }
}

function tokensOf(answer) {
  return { token: answer.access_token, refresh: answer.refresh_token };
}

/**
 * Whether the server may hold a request. One that loads would keep the page from being complete, and
 * a browser has few connections for one server, so a page that nobody looks at holds none.
 */
function canBeHeld() {
  return document.readyState === "complete" && !document.hidden;
}

const visit = new VisitOfTwo();
const Backplane = Object.assign(face(visit, "2.0.7"), {
  init: (options) => visit.init(options),
  finishInit: (answer) => visit.finish(answer),
  refreshTokenResponse: (answer) => visit.renewed(answer),
  response: (answer) => visit.response(answer),
  getCachedMessages: () => visit.cache.stored(),
});
window.Backplane = Backplane;

function hold() {
  const isPolling = visit.wanted === "messages" && visit.timer !== undefined && !visit.isAsking;
  if (isPolling && visit.block > 0 && canBeHeld()) visit.next(0);
}
window.addEventListener("load", hold);
document.addEventListener("visibilitychange", hold);
