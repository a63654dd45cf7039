// The library of 1.x.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Page } from "./page.mjs";

const BASE = "https://bp.example.net/v1.2";
const BUS = `${BASE}/bus/gazette.example`;
const CHANNEL = "5b0f4c1e9a7d42e8b3c6d1f0a2947e58";
const OPTIONS = { serverBaseURL: BASE, busName: "gazette.example" };
const NEW = `${BUS}/channel/new?callback=Backplane.finishInit`;
const POLL = `${BUS}/channel/${CHANNEL}?callback=Backplane.response`;

const id = (n) => `2024-03-09T14:05:21.${String(n).padStart(3, "0")}Z-q8Zt0LxV2m`;
const frame = (n, type = "comment/posted", rest = {}) => ({
  id: id(n),
  channel_name: CHANNEL,
  message: { source: "https://c.example/", type, sticky: false, payload: { n }, ...rest },
});
const since = (n) => `${POLL}&since=${encodeURIComponent(id(n))}`;
const numbers = (messages) => messages.map(({ payload }) => payload.n);

/** A page whose channel is known. */
function known(options = {}, pageOptions = {}) {
  const page = new Page(["backplane.js"], pageOptions);
  page.cookies.set("backplane-channel", `gazette.example:${CHANNEL}`);
  assert.equal(page.library.init({ ...OPTIONS, ...options }), true);
  return page;
}

/** A page that somebody listens to and that read the channel once. */
function listening(options, pageOptions) {
  const page = known(options, pageOptions);
  const [callback, got] = page.listener();
  page.library.subscribe(callback);
  page.pass(0);
  page.answer("response", []);
  page.asked();
  return [page, got];
}

test("one_leaves_an_earlier_library_alone", () => {
  const page = new Page(["backplane.js"], { window: { Backplane: "mine" } });
  assert.equal(page.library, "mine");
});

test("one_is_initialized_once_and_with_its_keys", () => {
  const page = new Page(["backplane.js"]);
  const { library } = page;
  assert.equal(typeof library, "function");
  assert.equal(library.version, "1.2.7");
  for (const level of ["log", "warn", "error"]) library[level]("of a widget");
  assert.deepEqual(page.errors, ["Backplane: of a widget"]);
  assert.equal(library.subscribe(() => {}), false);
  assert.equal(library.getChannelID(), false);
  assert.equal(library.getChannelName(), false);
  assert.equal(library.init({ serverBaseURL: BASE }), false);
  assert.equal(library.init({ busName: "a" }), false);
  assert.equal(library.init(), false);
  assert.equal(library.init(OPTIONS), true);
  assert.equal(library.init(OPTIONS), false);
});

test("one_asks_for_a_channel_and_keeps_it_in_a_cookie", () => {
  const page = new Page(["backplane.js"]);
  page.cookies.set("backplane-channel", "example.org:456|broken|x%:1|gazette.example:false");
  page.library.init(OPTIONS);
  assert.deepEqual(page.asked(), [NEW]);
  page.answer("finishInit", CHANNEL);
  assert.equal(page.cookies.get("backplane-channel"), `example.org:456|gazette.example:${CHANNEL}`);
  const end = "path=/; expires=Thu, 08 Mar 2029 14:00:00 GMT; SameSite=Lax; Secure";
  assert.ok(page.lastCookie.endsWith(`; ${end}`), page.lastCookie);
  assert.equal(page.library.getChannelID(), `${BUS}/channel/${CHANNEL}`);
  assert.equal(page.library.getChannelName(), CHANNEL);
  const plain = new Page(["backplane.js"], { protocol: "http:" });
  plain.library.init({ ...OPTIONS, busName: "a b", channelExpires: "Fri, 09 Mar 2029 14:00:00 GMT" });
  assert.deepEqual(plain.asked(), [`${BASE}/bus/a%20b/channel/new?callback=Backplane.finishInit`]);
  plain.answer("finishInit", CHANNEL);
  const line = `backplane-channel=a%20b:${CHANNEL}; path=/; expires=Fri, 09 Mar 2029 14:00:00 GMT`;
  assert.equal(plain.lastCookie, `${line}; SameSite=Lax`);
});

test("one_stops_when_the_server_gives_no_channel", () => {
  const page = new Page(["backplane.js"]);
  page.library.init(OPTIONS);
  page.answer("finishInit");
  assert.equal(page.errors.length, 1);
  assert.equal(page.library.getChannelID(), false);
  assert.deepEqual(page.timers, []);
});

test("one_invents_a_channel_where_the_page_asks_for_it", () => {
  const page = new Page(["backplane.js"]);
  page.library.init({ ...OPTIONS, serverChannel: false });
  assert.deepEqual(page.asked(), []);
  assert.match(page.library.getChannelName(), new RegExp(`^${page.now}[0-9]{5}$`));
});

test("one_normalizes_the_base_url", () => {
  for (const url of [` ${BASE}// `, "//bp.example.net/v1.2", "bp.example.net/v1.2/"]) {
    const page = new Page(["backplane.js"]);
    page.library.init({ ...OPTIONS, serverBaseURL: url });
    assert.deepEqual(page.asked(), [NEW]);
  }
});

test("one_polls_after_the_last_frame", () => {
  const [page, got] = listening();
  page.pass(60);
  assert.deepEqual(page.asked(), [POLL]);
  page.answer("response", [frame(1), frame(2)]);
  assert.deepEqual(numbers(got), [1, 2]);
  assert.deepEqual(got[0], frame(1).message);
  page.pass(60);
  assert.deepEqual(page.asked(), [since(2)]);
  // Late, after another answer, from a channel that was left.
  page.answer("response", [frame(2), { ...frame(3), channel_name: "other" }]);
  assert.deepEqual(numbers(got), [1, 2]);
  page.pass(60);
  assert.deepEqual(page.asked(), [since(2)]);
});

test("one_drops_what_came_before_the_page_unless_a_filter_wants_it", () => {
  const page = known();
  const [callback, got] = page.listener();
  page.library.subscribe(callback);
  page.pass(0);
  assert.deepEqual(page.asked(), [POLL]);
  page.answer("response", [frame(1), frame(2)]);
  assert.deepEqual(got, []);
  page.pass(60);
  assert.deepEqual(page.asked(), [since(2)]);

  const filtered = known({ initFrameFilter: (frames) => frames.slice(1) });
  const [heard, kept] = filtered.listener();
  filtered.library.subscribe(heard);
  filtered.pass(0);
  filtered.answer("response", [frame(1), frame(2)]);
  assert.deepEqual(numbers(kept), [2]);
});

test("one_treats_a_padded_error_as_an_empty_list", () => {
  const [page, got] = listening();
  page.pass(60);
  page.asked();
  page.answer("response", { ERR_MSG: "Service unavailable" });
  assert.deepEqual(got, []);
  page.pass(60);
  assert.deepEqual(page.asked(), [POLL]);
});

test("one_caches_the_last_frames_and_begins_the_next_page_with_them", () => {
  const [page] = listening({ cacheMax: 2 });
  page.pass(60);
  page.answer("response", [frame(1), frame(2), frame(3)]);
  const read = (name) => JSON.parse(page.storage.get(`backplane${name}`));
  assert.deepEqual(read("CachedMessages"), { [id(2)]: frame(2), [id(3)]: frame(3) });
  assert.deepEqual(read("CachedMessagesIndex"), [id(2), id(3)]);
  assert.equal(read("CacheExpires"), page.now + 7 * 86400000);

  const next = known({}, { earlier: page });
  const [callback, got] = next.listener();
  next.library.subscribe(callback);
  next.pass(0);
  assert.deepEqual(next.asked(), [since(3)]);
  next.answer("response", [frame(4)]);
  assert.deepEqual(numbers(got), [4]);

  // What a filter delivers again is stored once.
  const again = known({ initFrameFilter: (frames) => frames }, { earlier: page });
  again.library.subscribe(() => {});
  again.pass(0);
  assert.deepEqual(JSON.parse(page.storage.get("backplaneCachedMessagesIndex")).length, 3);

  page.now += 7 * 86400000;
  const late = known({}, { earlier: page });
  late.library.subscribe(() => {});
  late.pass(0);
  assert.deepEqual(late.asked(), [POLL]);

  next.library.invalidateCache();
  assert.equal(page.storage.size, 0);
});

test("one_tells_late_subscribers_the_cached_messages", () => {
  const [page] = listening();
  page.pass(60);
  page.answer("response", [1, 2, 3, 4, 5, 6].map((n) => frame(n)));
  const [callback, got] = page.listener();
  page.library.subscribe(callback);
  assert.deepEqual(numbers(got), [2, 3, 4, 5, 6]);
  assert.deepEqual(got[0], frame(2).message);
});

test("one_asks_only_while_somebody_listens", () => {
  const page = known();
  page.pass(1000);
  assert.deepEqual(page.asked(), []);
  const first = page.library.subscribe(() => {});
  const second = page.library.subscribe(() => {});
  assert.notEqual(first, second);
  page.pass(0);
  page.answer("response", []);
  page.library.unsubscribe(first);
  assert.equal(page.untilAsked(), 60);
  page.library.unsubscribe(second);
  page.asked();
  page.pass(1000);
  assert.deepEqual(page.asked(), []);
  page.library.subscribe(() => {});
  assert.notEqual(page.untilAsked(), undefined);
});

test("one_asks_again_after_a_silence_and_less_and_less_often", () => {
  const page = known();
  page.library.subscribe(() => {});
  page.pass(0);
  const waits = [0, 1, 2, 3, 4, 5].map(() => page.untilAsked());
  assert.deepEqual(waits, [5, 10, 20, 40, 80, 80]);
  page.answer("response", []);
  assert.equal(page.untilAsked(), 60);
  assert.equal(page.untilAsked(), 5);
});

test("one_gets_a_new_channel_when_it_is_reset", () => {
  const [page, got] = listening();
  const other = "0".repeat(32);
  page.library.resetCookieChannel();
  assert.deepEqual(page.asked(), [NEW]);
  assert.equal(page.library.getChannelID(), false);
  assert.equal(page.cookies.get("backplane-channel"), "");
  page.answer("response", [frame(1)]);
  page.answer("finishInit", other);
  page.pass(0);
  assert.deepEqual(page.asked(), [`${BUS}/channel/${other}?callback=Backplane.response`]);
  page.answer("response", []);
  page.pass(60);
  page.answer("response", [frame(2), { ...frame(3), channel_name: other }]);
  assert.deepEqual(numbers(got), [3]);
});

test("one_runs_functions_once_there_is_a_channel", () => {
  const page = new Page(["backplane.js"]);
  const { library } = page;
  const ran = [];
  library.onInit = () => ran.push("hook");
  library(() => ran.push("first"));
  library(() => {
    throw new Error("of a widget");
  });
  library(() => ran.push(library.getChannelName()));
  library.init(OPTIONS);
  assert.deepEqual(ran, []);
  page.answer("finishInit", CHANNEL);
  assert.deepEqual(ran, ["hook", "first", CHANNEL]);
  library(() => ran.push("at once"));
  assert.equal(ran.length, 4);
});

test("one_keeps_the_errors_of_a_subscriber_from_the_others", () => {
  const page = known();
  page.library.subscribe(() => {
    throw new Error("of a widget");
  });
  const [callback, got] = page.listener();
  page.library.subscribe(callback);
  page.pass(0);
  page.answer("response", []);
  page.answer("response", [frame(1)]);
  assert.deepEqual(numbers(got), [1]);
  assert.equal(page.errors.length, 1);
});

test("one_lets_a_subscriber_leave_and_take_others_along", () => {
  const page = known();
  const { library } = page;
  let other = 0;
  const got = [];
  library.subscribe((message) => {
    got.push(message.payload.n);
    library.unsubscribe(other);
    library.resetCookieChannel();
  });
  const [callback, heard] = page.listener();
  other = library.subscribe(callback);
  page.pass(0);
  page.answer("response", []);
  page.answer("response", [frame(1), frame(2)]);
  assert.deepEqual([got, heard], [[1], []]);
});

test("one_goes_on_without_storage", () => {
  const fail = () => {
    throw new Error("forbidden");
  };
  const localStorage = { getItem: fail, setItem: fail, removeItem: fail };
  const [page, got] = listening({}, { window: { localStorage } });
  page.pass(60);
  page.answer("response", [frame(1)]);
  assert.deepEqual(numbers(got), [1]);
});

/** Seconds between an answer at `t` after a hint and the request that follows. */
function pause(t, hint) {
  const page = known();
  page.library.subscribe(() => {});
  page.pass(0);
  hint(page.library);
  page.pass(t);
  page.answer("response", []);
  return page.untilAsked();
}

test("one_slows_down_as_the_table_says", () => {
  const table = [
    [0, 1], [7, 1], [8, 2], [22, 2], [23, 3], [37, 3], [45, 4], [52, 4], [53, 5], [59, 5], [60, 5],
    [75, 12], [90, 19], [120, 33], [150, 46], [179, 60], [180, 60], [1000, 60],
  ];
  for (const [t, expected] of table) {
    assert.equal(pause(t, (library) => library.expectMessagesWithin(60)), expected, `at ${t}`);
    assert.equal(pause(t, (library) => library.expectMessages()), expected, `at ${t}`);
  }
});

test("one_ends_a_hint_when_every_expected_type_came", () => {
  const hinted = () => {
    const [page] = listening();
    page.library.expectMessagesWithin(60, ["a", "b"]);
    page.library.expectMessagesWithin(60, "c");
    page.untilAsked();
    return page;
  };
  // One type of each call is enough, but one of each there must be.
  const page = hinted();
  page.answer("response", [frame(1, "b"), frame(2, "x")]);
  assert.equal(page.untilAsked(), 1);
  page.answer("response", [frame(3, "c")]);
  assert.equal(page.untilAsked(), 5);
  // What never came is forgotten with its time.
  const [later] = listening();
  later.library.expectMessagesWithin(10, "a");
  later.pass(300);
  later.answer("response", []);
  later.library.expectMessagesWithin(60, "b");
  later.untilAsked();
  later.answer("response", [frame(1, "b")]);
  assert.equal(later.untilAsked(), 5);
  // A call without types lasts to its end.
  const nonstop = hinted();
  nonstop.library.expectMessagesWithin(60);
  nonstop.answer("response", [frame(1, "b"), frame(2, "c")]);
  assert.equal(nonstop.untilAsked(), 1);
});

test("one_follows_a_hint_at_once", () => {
  const [page] = listening();
  page.pass(10);
  page.library.expectMessagesWithin(10, "identity/login");
  assert.equal(page.untilAsked(), 1);
  // The shorter hint does not slow the longer one down.
  const longer = pause(30, (library) => {
    library.expectMessagesWithin(60);
    library.expectMessagesWithin(5);
  });
  assert.equal(longer, 5);
  for (const seconds of [0, -1, undefined, "soon"]) page.library.expectMessagesWithin(seconds);
});

test("identities_are_told_by_their_last_sticky_messages", () => {
  const page = new Page(["backplane.js", "identity-services.js"]);
  const of = (entry) => ({ payload: { identities: { entry } }, sticky: true });
  const frames = [
    frame(1, "identity/login", of({ id: "anna" })),
    frame(2, "identity/login", of({ id: "bert" })),
    frame(3, "identity/login", of([{ accounts: [{ identityUrl: "https://carl.example/" }] }])),
    frame(4, "identity/login", of({ id: "anna" })),
    frame(5, "identity/login", { ...of({ id: "dora" }), sticky: false }),
    frame(6, "identity/logout", of({ id: "bert" })),
    frame(7, "comment/posted", { sticky: true }),
    frame(8, "identity/login", { sticky: true, payload: null }),
  ];
  const kept = page.library.identityServices.init(frames);
  assert.deepEqual([...kept].map((one) => one.id), [id(3), id(4), id(6)]);

  const used = known({ initFrameFilter: page.library.identityServices.init });
  const [callback, got] = used.listener();
  used.library.subscribe(callback);
  used.pass(0);
  used.answer("response", frames);
  assert.deepEqual(got.map(({ type }) => type), ["identity/login", "identity/login", "identity/logout"]);

  const alone = new Page(["identity-services.js"]);
  assert.equal(alone.library, undefined);
  assert.equal(alone.errors.length, 1);
});
