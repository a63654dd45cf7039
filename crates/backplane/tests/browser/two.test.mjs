// The library of 2.0.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Page } from "./page.mjs";

const BASE = "https://bp.example.net/v2";
const OPTIONS = { serverBaseURL: BASE, busName: "gazette.example" };
const CHANNEL = "Zr4uQm81yTnE0aWc6XkLp3GdVb7JhS2o";
const ACCESS = "AA7kQe20XmWz9LbT4vYc1RnHs6PdUo3J";
const REFRESH = "AR5tBn83KyJq0VwE6iMx2ZfGd7LhCa1S";
const ACCESS_2 = "AAp9Xv4cN1mQ8sZk2TgYb6Rj0WdLu7Fe";
const REFRESH_2 = "ARc0Hy6Zs3Lk9WbQ1nVt8MgXe5JpRa2D";
const COOKIE = "backplane2-channel";
const VISIT = `${BASE}/token?callback=Backplane.finishInit&bus=gazette.example`;
const RENEW = `${BASE}/token?callback=Backplane.refreshTokenResponse&refresh_token=${REFRESH}`;

const tokens = (access_token, refresh_token, channel = CHANNEL) => ({
  token_type: "Bearer",
  access_token,
  expires_in: 3600,
  scope: `bus:gazette.example channel:${channel}`,
  refresh_token,
});
const url = (n) => `${BASE}/message/2024-03-09T14:07:02.${String(n).padStart(3, "0")}Z-Vt5Gk2Lp0X`;
const next = (n) => url(n).replace("/message/", "/messages?since=");
const message = (n, rest = {}) => ({
  messageURL: url(n),
  source: "https://comments.example/",
  type: "comment/posted",
  bus: "gazette.example",
  channel: CHANNEL,
  sticky: false,
  expire: "2024-03-09T14:17:02Z",
  ...rest,
});
const answer = (last, ...messages) => ({ nextURL: next(last), messages, moreMessages: false });
const refused = (error_description) => ({ error: "invalid_request", error_description });
const poll = (position, { block = 0, token = ACCESS } = {}) => {
  const mark = position.includes("?") ? "&" : "?";
  return `${position}${mark}callback=Backplane.response&access_token=${token}&block=${block}`;
};
const FIRST = poll(`${BASE}/messages`);
const urls = (messages) => messages.map(({ messageURL }) => messageURL);

/** A page whose channel and tokens are known; it does not ask the server to hold requests. */
function known(options = {}, pageOptions = {}) {
  const page = new Page(["backplane2.js"], pageOptions);
  page.cookies.set(COOKIE, `${ACCESS}:${CHANNEL}:${REFRESH}`);
  assert.equal(page.library.init({ ...OPTIONS, block: 0, ...options }), true);
  return page;
}

/** The same with a subscriber. */
function listening(options, pageOptions) {
  const page = known(options, pageOptions);
  const [callback, got] = page.listener();
  page.library.subscribe(callback);
  return [page, got];
}

test("two_leaves_an_earlier_library_alone", () => {
  const page = new Page(["backplane2.js"], { window: { Backplane: "mine" } });
  assert.equal(page.library, "mine");
});

test("two_is_initialized_with_its_keys_and_again", () => {
  const page = new Page(["backplane2.js"]);
  const { library } = page;
  assert.equal(library.version, "2.0.7");
  assert.equal(library.getChannelID(), false);
  assert.equal(library.subscribe(() => {}), false);
  assert.equal(library.init({ serverBaseURL: BASE }), false);
  assert.equal(library.init({ ...OPTIONS, serverBaseURL: "https://bp.example.net/v1.2" }), false);
  assert.equal(library.init(OPTIONS), true);
  assert.equal(library.init({ ...OPTIONS, busName: "other bus" }), true);
  const other = VISIT.replace("gazette.example", "other%20bus");
  assert.deepEqual(page.asked(), [VISIT, other]);
});

test("two_asks_for_a_visit_and_keeps_it_in_a_cookie", () => {
  const page = new Page(["backplane2.js"]);
  const ran = [];
  page.library(() => ran.push(page.library.getChannelName()));
  page.library.init({ ...OPTIONS, block: 0 });
  assert.deepEqual(page.asked(), [VISIT]);
  page.answer("finishInit", tokens(ACCESS, REFRESH));
  assert.equal(page.cookies.get(COOKIE), `${ACCESS}:${CHANNEL}:${REFRESH}`);
  const end = "path=/; expires=Thu, 08 Mar 2029 14:00:00 GMT; SameSite=Lax; Secure";
  assert.ok(page.lastCookie.endsWith(`; ${end}`), page.lastCookie);
  assert.deepEqual(ran, [CHANNEL]);
  assert.equal(page.library.getChannelID(), `${BASE}/bus/gazette.example/channel/${CHANNEL}`);
  assert.deepEqual(page.asked(), [FIRST]);
});

test("two_goes_on_with_the_cookie_of_an_earlier_page", () => {
  const page = known();
  assert.equal(page.library.getChannelName(), CHANNEL);
  assert.deepEqual(page.asked(), [FIRST]);
  // What an older library left: without a refresh token, and after a reset.
  const older = new Page(["backplane2.js"]);
  older.cookies.set(COOKIE, `${ACCESS}:${CHANNEL}`);
  older.library.init({ ...OPTIONS, block: 0 });
  assert.deepEqual(older.asked(), [FIRST]);
  assert.equal(older.errors.length, 1);
  const reset = new Page(["backplane2.js"]);
  reset.cookies.set(COOKIE, "null:null:null");
  reset.library.init(OPTIONS);
  assert.deepEqual(reset.asked(), [VISIT]);
});

test("two_stops_when_the_server_gives_no_channel", () => {
  const page = new Page(["backplane2.js"]);
  page.library.init(OPTIONS);
  page.answer("finishInit", refused("Invalid bus: gazette.example"));
  assert.equal(page.errors.length, 1);
  assert.deepEqual(page.timers, []);
});

test("two_delivers_headers_and_follows_next_url", () => {
  const [page, got] = listening();
  page.asked();
  page.answer("response", answer(2, message(1), message(2)));
  assert.deepEqual(got, [message(1), message(2)]);
  assert.equal(page.untilAsked(), 20);
  assert.deepEqual(page.asked(), [poll(next(2))]);
  // Late, or of a channel that was left.
  page.answer("response", answer(2, message(2), message(3, { channel: "other" })));
  assert.equal(got.length, 2);
});

test("two_asks_at_once_when_there_is_more", () => {
  const [page, got] = listening();
  page.answer("response", { ...answer(1, message(1)), moreMessages: true });
  page.asked();
  page.pass(0);
  assert.deepEqual(page.asked(), [poll(next(1))]);
  page.answer("response", { ...answer(2, message(2)), moreMessages: "true" });
  assert.equal(page.untilAsked(), 20);
  assert.deepEqual(urls(got), [url(1), url(2)]);
});

test("two_renews_an_invalid_token_and_keeps_its_subscribers", () => {
  const [page, got] = listening();
  page.asked();
  page.answer("response", refused("invalid token"));
  assert.deepEqual(page.asked(), [RENEW]);
  page.answer("refreshTokenResponse", tokens(ACCESS_2, REFRESH_2));
  assert.equal(page.cookies.get(COOKIE), `${ACCESS_2}:${CHANNEL}:${REFRESH_2}`);
  assert.deepEqual(page.asked(), [poll(`${BASE}/messages`, { token: ACCESS_2 })]);
  page.answer("response", answer(1, message(1)));
  assert.deepEqual(urls(got), [url(1)]);
});

test("two_starts_afresh_when_it_can_not_renew", () => {
  const page = known();
  page.answer("response", refused("invalid token"));
  page.asked();
  page.answer("refreshTokenResponse", refused("invalid token"));
  assert.deepEqual(page.asked(), [VISIT]);
  assert.equal(page.cookies.has(COOKIE), false);
  assert.match(page.lastCookie, /^backplane2-channel=; path=\/; expires=Thu, 01 Jan 1970/);

  const without = new Page(["backplane2.js"]);
  without.cookies.set(COOKIE, `${ACCESS}:${CHANNEL}`);
  without.library.init(OPTIONS);
  without.asked();
  without.answer("response", refused("invalid token"));
  assert.deepEqual(without.asked(), [VISIT]);
});

test("two_asks_again_after_other_errors", () => {
  const page = known();
  page.answer("response", refused("expired token"));
  assert.equal(page.errors.length, 1);
  assert.equal(page.untilAsked(), 20);
  assert.deepEqual(page.asked(), [FIRST]);
  page.answer("response", refused("invalid token"));
  page.asked();
  page.answer("refreshTokenResponse", refused("error processing anonymous token request"));
  assert.equal(page.untilAsked(), 20);
  assert.deepEqual(page.asked(), [FIRST]);
});

test("two_does_not_renew_in_a_loop", () => {
  const page = known();
  page.answer("response", refused("invalid token"));
  page.answer("refreshTokenResponse", tokens(ACCESS_2, REFRESH_2));
  page.answer("response", refused("invalid token"));
  assert.equal(page.untilAsked(), 20);
});

test("two_joins_what_another_page_has_renewed", () => {
  const [page, got] = listening();
  page.asked();
  page.cookies.set(COOKIE, `${ACCESS_2}:${CHANNEL}:${REFRESH_2}`);
  page.answer("response", refused("invalid token"));
  assert.deepEqual(page.asked(), [poll(`${BASE}/messages`, { token: ACCESS_2 })]);
  const other = "q".repeat(32);
  page.cookies.set(COOKIE, `${ACCESS}:${other}:${REFRESH}`);
  page.answer("response", refused("invalid token"));
  assert.equal(page.library.getChannelName(), other);
  assert.deepEqual(page.asked(), [FIRST]);
  page.answer("response", answer(1, message(1, { channel: other })));
  assert.equal(got.length, 1);
  // Or while this page was asking.
  page.answer("response", refused("invalid token"));
  page.cookies.set(COOKIE, `${ACCESS_2}:${other}:${REFRESH_2}`);
  page.asked();
  page.answer("refreshTokenResponse", refused("invalid token"));
  assert.deepEqual(page.asked(), [poll(next(1), { token: ACCESS_2 })]);
});

test("two_resets_without_doubling_its_subscribers", () => {
  const page = new Page(["backplane2.js"]);
  const { library } = page;
  const [inInit, first] = page.listener();
  const [later, second] = page.listener();
  library(() => library.subscribe(inInit));
  library.init({ ...OPTIONS, block: 0 });
  page.answer("finishInit", tokens(ACCESS, REFRESH));
  library.subscribe(later);
  page.answer("response", answer(1, message(1)));
  page.asked();
  library.resetCookieChannel();
  assert.deepEqual(page.asked(), [VISIT]);
  assert.equal(library.subscribe(() => {}), false);
  assert.deepEqual([...library.getCachedMessages()], []);
  const other = "q".repeat(32);
  page.answer("finishInit", tokens(ACCESS_2, REFRESH_2, other));
  assert.deepEqual(page.asked(), [poll(`${BASE}/messages`, { token: ACCESS_2 })]);
  page.answer("response", answer(2, message(2, { channel: other })));
  assert.deepEqual(urls(first), [url(1), url(2)]);
  assert.deepEqual(urls(second), [url(1), url(2)]);
});

test("two_lets_a_subscriber_leave_the_channel", () => {
  const page = known();
  const got = [];
  page.library.subscribe((one) => {
    got.push(one);
    page.library.resetCookieChannel();
  });
  page.asked();
  page.answer("response", answer(2, message(1), message(2)));
  assert.deepEqual(urls(got), [url(1)]);
  assert.deepEqual(page.asked(), [VISIT]);
});

test("two_asks_once_when_it_is_initialized_by_those_it_calls", () => {
  const page = new Page(["backplane2.js"]);
  page.cookies.set(COOKIE, `${ACCESS}:${CHANNEL}:${REFRESH}`);
  const { library } = page;
  const again = { ...OPTIONS, block: 0 };
  library(() => {
    library.onInit = () => {};
    library.init(again);
    library.subscribe(() => library.init(again));
  });
  library.init(again);
  assert.deepEqual(page.asked(), [FIRST]);
  page.answer("response", { ...answer(1, message(1)), moreMessages: true });
  page.pass(0);
  assert.deepEqual(page.asked(), [poll(next(1))]);
});

test("two_takes_the_first_of_repeated_answers", () => {
  const page = new Page(["backplane2.js"]);
  page.library.init({ ...OPTIONS, block: 0 });
  page.pass(5);
  assert.deepEqual(page.asked(), [VISIT, VISIT]);
  page.answer("finishInit", tokens(ACCESS, REFRESH));
  page.answer("finishInit", tokens(ACCESS_2, REFRESH_2, "q".repeat(32)));
  assert.equal(page.library.getChannelName(), CHANNEL);
  page.answer("response", refused("invalid token"));
  page.answer("refreshTokenResponse", tokens(ACCESS_2, REFRESH_2));
  page.answer("refreshTokenResponse", refused("invalid token"));
  assert.equal(page.cookies.get(COOKIE), `${ACCESS_2}:${CHANNEL}:${REFRESH_2}`);
});

test("two_stores_messages_until_they_expire", () => {
  const page = known({ cacheMax: 2 });
  page.answer("response", answer(3, message(1), message(3), message(2)));
  const read = (name) => JSON.parse(page.storage.get(`backplane2${name}`));
  assert.deepEqual(read("CachedMessagesIndex"), [url(2), url(3)]);
  assert.deepEqual(read("CachedMessages"), { [url(2)]: message(2), [url(3)]: message(3) });
  assert.equal(read("CacheExpires"), page.now + 7 * 86400000);
  assert.deepEqual(urls([...page.library.getCachedMessages()]), [url(2), url(3)]);
  page.answer("response", answer(4, message(4, { expire: "2024-03-09T22:00:00Z" })));
  page.now = Date.parse("2024-03-09T14:17:02Z");
  assert.deepEqual(urls([...page.library.getCachedMessages()]), [url(4)]);
  page.library.invalidateCache();
  assert.deepEqual([...page.library.getCachedMessages()], []);
  assert.equal(page.storage.size, 0);
});

test("two_begins_a_page_after_the_last_stored_message", () => {
  const [page] = listening();
  page.answer("response", answer(2, message(1), message(2)));
  const [later, got] = listening({}, { earlier: page });
  assert.deepEqual(later.asked(), [poll(next(2))]);
  later.answer("response", answer(3, message(3)));
  assert.deepEqual(urls(got), [url(3)]);

  const replaying = known({ replayOnPageLoad: true }, { earlier: page });
  const [wants, all] = replaying.listener();
  const [does, none] = replaying.listener();
  replaying.library.subscribe(wants, true);
  replaying.library.subscribe(does);
  assert.deepEqual(urls(all), [url(1), url(2), url(3)]);
  assert.deepEqual(none, []);
});

test("two_tells_late_subscribers_the_cached_messages", () => {
  const page = known();
  const many = Array.from({ length: 12 }, (_, n) => message(n));
  page.answer("response", answer(11, ...many));
  const [callback, got] = page.listener();
  page.library.subscribe(callback);
  assert.deepEqual(urls(got), urls(many.slice(2)));
});

test("two_asks_again_after_a_silence", () => {
  const page = known();
  assert.deepEqual([page.untilAsked(), page.untilAsked()], [5, 10]);
  const held = known({ block: 10 });
  assert.deepEqual(held.asked(), [poll(`${BASE}/messages`, { block: 10 })]);
  assert.deepEqual([held.untilAsked(), held.untilAsked()], [15, 20]);
});

test("two_lets_the_server_hold_its_requests", () => {
  const page = known({ block: undefined });
  const held = (n) => poll(n ? next(n) : `${BASE}/messages`, { block: 25 });
  assert.deepEqual(page.asked(), [held(0)]);
  page.pass(25);
  page.answer("response", answer(0));
  page.pass(0);
  assert.deepEqual(page.asked(), [held(0).replace(`${BASE}/messages?`, `${next(0)}&`)]);
  page.pass(1);
  page.answer("response", answer(1, message(1)));
  page.pass(0);
  assert.deepEqual(page.asked(), [held(1)]);
  // An empty answer that comes early was not held: the server has no room for waiting.
  page.pass(1);
  page.answer("response", answer(1));
  assert.equal(page.untilAsked(), 20);
});

test("two_takes_the_bound_of_the_server", () => {
  const page = known({ block: 25 });
  page.asked();
  const reason = "Invalid value for block parameter (25), must be between 0 and 10";
  page.answer("response", refused(reason));
  page.pass(0);
  assert.deepEqual(page.asked(), [poll(`${BASE}/messages`, { block: 10 })]);
  page.answer("response", refused(reason));
  page.pass(0);
  assert.deepEqual(page.asked(), [FIRST]);
  page.answer("response", refused(reason));
  assert.equal(page.untilAsked(), 20);
});

test("two_holds_no_request_of_a_page_that_loads_or_is_hidden", () => {
  const page = known({ block: 25 }, { readyState: "interactive" });
  assert.deepEqual(page.asked(), [FIRST]);
  page.answer("response", answer(0));
  page.document.readyState = "complete";
  page.listeners.load();
  page.pass(0);
  const held = poll(next(0), { block: 25 });
  assert.deepEqual(page.asked(), [held]);
  page.document.hidden = true;
  page.pass(25);
  page.answer("response", answer(0));
  page.pass(0);
  assert.deepEqual(page.asked(), [poll(next(0))]);
  page.answer("response", answer(0));
  page.listeners.visibilitychange();
  assert.deepEqual(page.asked(), []);
  page.document.hidden = false;
  page.listeners.visibilitychange();
  page.pass(0);
  assert.deepEqual(page.asked(), [held]);
});

test("two_slows_down_as_the_table_says", () => {
  const table = [
    [0, 1], [7, 1], [8, 2], [22, 2], [23, 3], [37, 3], [45, 4], [52, 4], [53, 5], [59, 5], [60, 5],
    [75, 7], [90, 9], [120, 13], [150, 16], [179, 20], [180, 20], [1000, 20],
  ];
  for (const [t, expected] of table) {
    const page = known();
    page.library.expectMessages();
    page.pass(t);
    page.answer("response", answer(0));
    assert.equal(page.untilAsked(), expected, `at ${t}`);
  }
});

test("two_ends_a_hint_when_every_expected_type_came", () => {
  const page = known();
  page.library.expectMessages("identity/login");
  page.answer("response", answer(1, message(1)));
  assert.equal(page.untilAsked(), 1);
  page.answer("response", answer(2, message(2, { type: "identity/login" })));
  assert.equal(page.untilAsked(), 5);
});
