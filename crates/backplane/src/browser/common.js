// What both generations share: subscribers, the pace of requests, caches, cookies.
// Never here: a path, a cookie or an entry point of one generation.

const SECOND = 1000;
const DAY = 24 * 3600 * SECOND;
/** Seconds of silence after which a request is sent again; doubled each time, up to 16 times this. */
const SILENCE = 5;
const DOUBLINGS_MAX = 4;

/** How long to wait before the next request: short after a hint, then longer and longer. */
class Pace {
  /** `regular` is the pace without hints, in seconds. */
  constructor(regular) {
    this.regular = regular;
    this.since = 0;
    this.interval = 1;
    this.until = -Infinity;
    this.nonstop = -Infinity;
    this.awaited = [];
    this.hasHeard = false;
  }

  /** Messages are expected within `seconds`; with `types`, only until one of these came. */
  hint(now, seconds, types) {
    if (now >= this.until) this.awaited = [];
    this.since = now;
    this.interval = seconds * SECOND;
    this.until = Math.max(this.until, now + this.interval);
    const set = new Set(types === undefined ? [] : [].concat(types));
    if (set.size > 0) this.awaited.push(set);
    else this.nonstop = Math.max(this.nonstop, now + this.interval);
  }

  /** A message of this type came. */
  received(type) {
    this.awaited = this.awaited.filter((types) => !types.has(type));
  }

  /** Seconds until the next request. */
  delay(now) {
    const [min, frequent, slowdown] = [1, 5, 120];
    // The last hint may be shorter than an earlier one that still counts.
    const between = (from, to, part) => from + Math.round((to - from) * Math.min(part, 1));
    const isSatisfied = this.awaited.length === 0 && this.nonstop <= now;
    if (now < this.until && isSatisfied) this.until = now;
    if (now < this.until) return between(min, frequent, (now - this.since) / this.interval);
    const calm = (now - this.until) / SECOND;
    if (calm < slowdown) return between(frequent, this.regular, calm / slowdown);
    return this.hasHeard ? this.regular : 0;
  }
}

/** The last messages: those of this page in memory, those of earlier pages in `localStorage`. */
class Cache {
  /** `keyOf` names what is kept, in the order of the bus; `isLive` says whether it still counts. */
  constructor(prefix, max, keyOf, isLive) {
    Object.assign(this, { prefix, max, keyOf, isLive, recent: [] });
  }

  add(item) {
    this.recent = this.last([...this.recent, item]);
    const stored = this.stored().filter((other) => this.keyOf(other) !== this.keyOf(item));
    const keyed = [...stored, item].map((kept) => [this.keyOf(kept), kept]);
    const byKey = (a, b) => (a[0] < b[0] ? -1 : 1);
    const kept = this.last(keyed.sort(byKey));
    this.store("CachedMessages", JSON.stringify(Object.fromEntries(kept)));
    this.store("CachedMessagesIndex", JSON.stringify(kept.map(([key]) => key)));
    this.store("CacheExpires", String(Date.now() + 7 * DAY));
  }

  last(list) {
    return this.max > 0 ? list.slice(-this.max) : [];
  }

  /** What is stored and still counts, in order; nothing if there is no storage to read. */
  stored() {
    try {
      const read = (name) => JSON.parse(localStorage.getItem(this.prefix + name));
      if (!(read("CacheExpires") > Date.now())) return [];
      const byKey = read("CachedMessages");
      const items = read("CachedMessagesIndex").map((key) => byKey[key]);
      return items.filter((item) => item && this.isLive(item));
    } catch {
      return [];
    }
  }

  clear() {
    this.recent = [];
    for (const name of ["CachedMessages", "CachedMessagesIndex", "CacheExpires"]) {
      this.store(name, null);
    }
  }

  /** Storage may be full or forbidden. */
  store(name, text) {
    try {
      if (text === null) localStorage.removeItem(this.prefix + name);
      else localStorage.setItem(this.prefix + name, text);
    } catch {
      // The memory of this page is enough to go on.
    }
  }
}

/** One channel as seen by one page: what `Backplane` is the face of. */
class Visit {
  constructor(pace, cache) {
    this.pace = pace;
    this.cache = cache;
    this.channel = false;
    this.replays = [];
    this.subscribers = new Map();
    this.lastSubscriber = 0;
    this.isBeginning = false;
    this.timer = undefined;
    this.isAsking = false;
    this.silences = 0;
  }

  /** Takes the keys that both generations know; false if one that is required is missing. */
  configure(options) {
    const { serverBaseURL, busName, channelExpires, cacheMax } = options || {};
    if (!serverBaseURL || !busName) {
      log("error", "init needs serverBaseURL and busName");
      return false;
    }
    this.base = normalized(serverBaseURL);
    this.bus = String(busName);
    this.expires = channelExpires || new Date(Date.now() + 5 * 365 * DAY).toUTCString();
    if (cacheMax >= 0) this.cache.max = cacheMax;
    return true;
  }

  busURL() {
    return `${this.base}/bus/${encodeURIComponent(this.bus)}`;
  }

  channelURL() {
    return this.channel ? `${this.busURL()}/channel/${encodeURIComponent(this.channel)}` : false;
  }

  /** Adds a subscriber and tells it what came before it. */
  subscribe(callback, replaysWanted) {
    if (!this.canSubscribe() || typeof callback !== "function") {
      log("error", "subscribe needs a function, and init before it");
      return false;
    }
    this.lastSubscriber += 1;
    const id = this.lastSubscriber;
    this.subscribers.set(id, { callback, isFromInit: this.isBeginning });
    const missed = [...(replaysWanted ? this.replays : []), ...this.cache.recent];
    for (const item of missed) call(callback, this.messageOf(item));
    this.settle();
    return id;
  }

  unsubscribe(id) {
    this.subscribers.delete(id);
    this.settle();
  }

  /** Keeps what came and gives its message to everybody. */
  deliver(item) {
    this.cache.add(item);
    const message = this.messageOf(item);
    this.pace.received(message.type);
    for (const [id, { callback }] of [...this.subscribers]) {
      if (this.subscribers.has(id)) call(callback, message);
    }
  }

  /** There is a channel. Those who subscribe in `onInit` are about to do so again. */
  begin() {
    for (const [id, { isFromInit }] of this.subscribers) {
      if (isFromInit) this.subscribers.delete(id);
    }
    this.pace.hasHeard = false;
    this.isBeginning = true;
    call(Backplane.onInit);
    this.isBeginning = false;
  }

  expect(seconds, types) {
    if (!(seconds > 0)) return;
    this.pace.hint(Date.now(), seconds, types);
    // A request under way will be followed at the new pace.
    if (this.timer !== undefined && !this.isAsking) this.next();
  }

  /** Sends a request that is answered within `held` seconds; `send` is called after silence. */
  ask(url, held = 0) {
    clearTimeout(this.timer);
    this.isAsking = true;
    load(`${url}&rnd=${Math.random()}`);
    const patience = held + SILENCE * 2 ** this.silences;
    this.silences = Math.min(this.silences + 1, DOUBLINGS_MAX);
    this.timer = setTimeout(() => this.send(), patience * SECOND);
  }

  /** An answer came. */
  answered() {
    this.silences = 0;
    this.pace.hasHeard = true;
    this.stop();
  }

  next(seconds = this.pace.delay(Date.now())) {
    this.stop();
    this.timer = setTimeout(() => this.send(), seconds * SECOND);
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.isAsking = false;
  }

  forget() {
    this.cache.clear();
    this.replays = [];
  }
}

function log(level, ...text) {
  console[level]("Backplane:", ...text);
}

/** Calls what belongs to somebody else: its errors are its own. */
function call(callback, ...values) {
  try {
    return callback(...values);
  } catch (error) {
    log("error", error);
    return undefined;
  }
}

/** A base URL without spaces around it or slashes after it, with the page's protocol if it has none. */
function normalized(url) {
  const trimmed = String(url).trim().replace(/\/+$/, "");
  if (/^[a-z]+:\/\//i.test(trimmed)) return trimmed;
  return `${location.protocol}//${trimmed.replace(/^\/+/, "")}`;
}

/** Loads an answer, which is a script that calls an entry point. */
function load(url) {
  const script = document.createElement("script");
  script.charset = "utf-8";
  script.async = true;
  script.src = url;
  script.onload = script.onerror = () => script.remove();
  document.head.appendChild(script);
}

function readCookie(name) {
  const pairs = document.cookie.split("; ");
  const pair = pairs.find((one) => one.startsWith(`${name}=`)) || "";
  return pair.slice(name.length + 1);
}

/** Sets a cookie of this host alone; a time that has passed deletes it. */
function writeCookie(name, value, expires) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${name}=${value}; path=/; expires=${expires}; SameSite=Lax${secure}`;
}

/** A part of a cookie; nothing if it is malformed. */
function decoded(text = "") {
  return call(decodeURIComponent, text) || "";
}

/** The global function with the methods of both generations. */
function face(visit, version) {
  const library = (ready) => {
    if (visit.channel) {
      call(ready);
      return;
    }
    const earlier = library.onInit;
    library.onInit = () => {
      call(earlier);
      call(ready);
    };
  };
  return Object.assign(library, {
    version,
    onInit() {},
    subscribe: (callback, replaysWanted) => visit.subscribe(callback, replaysWanted),
    unsubscribe: (id) => visit.unsubscribe(id),
    getChannelID: () => visit.channelURL(),
    getChannelName: () => visit.channel,
    expectMessagesWithin: (seconds, types) => visit.expect(seconds, types),
    expectMessages: (types) => visit.expect(60, types),
    invalidateCache: () => visit.forget(),
    resetCookieChannel: () => visit.reset(),
    log: (...text) => log("log", ...text),
    warn: (...text) => log("warn", ...text),
    error: (...text) => log("error", ...text),
  });
}

