//! The scripts for pages as they are served, run in Node with a clock of the test's own (Backplane
//! §13.10, §14). Each test runs the one of its name in `tests/browser`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::{fs, path::Path, process::Command};

use buswire_backplane::{Backplane, Config, Generations};
use buswire_message::Retention;
use support::{Answer, Door, config};

const SCRIPTS: [&str; 3] = ["backplane.js", "backplane2.js", "identity-services.js"];

/// Runs the test of this name on what the door serves.
async fn in_node(name: &str) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    let door = Door::start().await;
    for script in SCRIPTS {
        fs::write(folder.join(script), door.get(&format!("/{script}")).await.body).unwrap();
    }
    let file = if name.starts_with("two_") { "two.test.mjs" } else { "one.test.mjs" };
    let output = Command::new("node")
        .args(["--test-reporter=tap", &format!("--test-name-pattern=^{name}$")])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser").join(file))
        .env("BACKPLANE_SCRIPTS", folder)
        .output()
        .expect("node is installed: apt-get install nodejs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    // A name that no test has would pass too.
    assert!(told.contains("\n# pass 1\n"), "{told}");
}

#[tokio::test]
async fn one_leaves_an_earlier_library_alone() {
    // Rule: backplane §14 — one global object Backplane, a function with methods; an earlier one is left alone (1.x)
    in_node("one_leaves_an_earlier_library_alone").await;
}

#[tokio::test]
async fn one_is_initialized_once_and_with_its_keys() {
    // Rule: backplane §14.1 — init needs serverBaseURL and busName
    // Rule: backplane §14.2 — 1.x: init is false if a key is missing or it was called before; without it subscribe is false, and so is getChannelName
    in_node("one_is_initialized_once_and_with_its_keys").await;
}

#[tokio::test]
async fn one_asks_for_a_channel_and_keeps_it_in_a_cookie() {
    // Rule: backplane §14.1 — getChannelID is base, /bus/, bus, /channel/, channel; the cookie of the host keeps channels by bus for 5 years
    // Rule: backplane §14.3 — 1.x: channel/new is asked for with callback=Backplane.finishInit and rnd; the cookie is bus:channel pairs joined by |, encoded
    // Rule: backplane §14.7 — cookies are Secure and SameSite=Lax; the bus name is encoded
    in_node("one_asks_for_a_channel_and_keeps_it_in_a_cookie").await;
}

#[tokio::test]
async fn one_stops_when_the_server_gives_no_channel() {
    // Rule: backplane §14.3 — 1.x: finishInit without a channel logs an error and stops for good
    in_node("one_stops_when_the_server_gives_no_channel").await;
}

#[tokio::test]
async fn one_invents_a_channel_where_the_page_asks_for_it() {
    // Rule: backplane §14.3 — 1.x: with serverChannel false the channel is milliseconds and 5 digits
    in_node("one_invents_a_channel_where_the_page_asks_for_it").await;
}

#[tokio::test]
async fn one_normalizes_the_base_url() {
    // Rule: backplane §14.3 — spaces and slashes around serverBaseURL are cut, the page's protocol is prefixed if none is given
    in_node("one_normalizes_the_base_url").await;
}

#[tokio::test]
async fn one_polls_after_the_last_frame() {
    // Rule: backplane §14.3 — 1.x: a poll is the channel's URL with callback, since if there is one, rnd; frame.message is delivered
    // Rule: backplane §3.5 — the library of 1.x names its callback Backplane.response
    in_node("one_polls_after_the_last_frame").await;
}

#[tokio::test]
async fn one_drops_what_came_before_the_page_unless_a_filter_wants_it() {
    // Rule: backplane §14.1 — after initialisation the channel is read once and dropped, but for the last id
    // Rule: backplane §14.3 — 1.x: initFrameFilter decides what of the first answer is delivered
    in_node("one_drops_what_came_before_the_page_unless_a_filter_wants_it").await;
}

#[tokio::test]
async fn one_treats_a_padded_error_as_an_empty_list() {
    // Rule: backplane §3.5 — the library of 1.x takes a padded ERR_MSG as an empty list
    in_node("one_treats_a_padded_error_as_an_empty_list").await;
}

#[tokio::test]
async fn one_caches_the_last_frames_and_begins_the_next_page_with_them() {
    // Rule: backplane §14.3 — 1.x: the last cacheMax frames are kept 7 days in localStorage; the first poll of the next page is since the newest
    // Rule: backplane §14.2 — invalidateCache empties memory and stored caches
    in_node("one_caches_the_last_frames_and_begins_the_next_page_with_them").await;
}

#[tokio::test]
async fn one_tells_late_subscribers_the_cached_messages() {
    // Rule: backplane §14.3 — 1.x: a late subscriber is caught up from the cache of 5
    // Rule: backplane §14.7 — late subscribers get messages, not frames
    in_node("one_tells_late_subscribers_the_cached_messages").await;
}

#[tokio::test]
async fn one_asks_only_while_somebody_listens() {
    // Rule: backplane §14.3 — 1.x: no subscribers, no polling; the first starts it, the last to leave stops it
    // Rule: backplane §14.1 — subscribe gives an id for unsubscribe
    in_node("one_asks_only_while_somebody_listens").await;
}

#[tokio::test]
async fn one_asks_again_after_a_silence_and_less_and_less_often() {
    // Rule: backplane §14.3 — 1.x: without an answer in 5000 ms it asks again
    in_node("one_asks_again_after_a_silence_and_less_and_less_often").await;
}

#[tokio::test]
async fn one_gets_a_new_channel_when_it_is_reset() {
    // Rule: backplane §14.2 — 1.x: resetCookieChannel forgets this bus's channel and gets a new one
    in_node("one_gets_a_new_channel_when_it_is_reset").await;
}

#[tokio::test]
async fn one_runs_functions_once_there_is_a_channel() {
    // Rule: backplane §14.2 — Backplane(fn) runs fn once initialised, at once if there is a channel; several calls and onInit chain
    in_node("one_runs_functions_once_there_is_a_channel").await;
}

#[tokio::test]
async fn one_keeps_the_errors_of_a_subscriber_from_the_others() {
    // Rule: backplane §14.1 — every subscriber gets each message
    in_node("one_keeps_the_errors_of_a_subscriber_from_the_others").await;
}

#[tokio::test]
async fn one_lets_a_subscriber_leave_and_take_others_along() {
    // Rule: backplane §14.1 — who unsubscribes hears nothing more, nor anybody of a channel that was left
    in_node("one_lets_a_subscriber_leave_and_take_others_along").await;
}

#[tokio::test]
async fn one_goes_on_without_storage() {
    // Rule: backplane §14.3 — 1.x: without localStorage the memory of the page is enough
    in_node("one_goes_on_without_storage").await;
}

#[tokio::test]
async fn one_slows_down_as_the_table_says() {
    // Rule: backplane §14.5 — 1.x: 1 to 5 s during a hint, to 60 s in 120 s after it, then 60 s
    // Rule: backplane §14.2 — expectMessages is expectMessagesWithin 60 s
    in_node("one_slows_down_as_the_table_says").await;
}

#[tokio::test]
async fn one_ends_a_hint_when_every_expected_type_came() {
    // Rule: backplane §14.5 — a hint with types ends when each call had one of its types; one without types lasts
    in_node("one_ends_a_hint_when_every_expected_type_came").await;
}

#[tokio::test]
async fn one_follows_a_hint_at_once() {
    // Rule: backplane §14.5 — a hint triggers a request at the new rate at once; a type may be a string
    in_node("one_follows_a_hint_at_once").await;
}

#[tokio::test]
async fn identities_are_told_by_their_last_sticky_messages() {
    // Rule: backplane §14.6 — identityServices.init keeps the last sticky message of each type and identity; a logout removes the login
    // Rule: backplane §15.1 — consumers take entry as an object and as an array
    in_node("identities_are_told_by_their_last_sticky_messages").await;
}

#[tokio::test]
async fn two_leaves_an_earlier_library_alone() {
    // Rule: backplane §14 — an earlier Backplane is left alone (2.0)
    in_node("two_leaves_an_earlier_library_alone").await;
}

#[tokio::test]
async fn two_is_initialized_with_its_keys_and_again() {
    // Rule: backplane §14.2 — 2.0: init is false if a key is missing or the URL lacks /v2; it may be called again
    // Rule: backplane §14.7 — the bus name is encoded (2.0)
    in_node("two_is_initialized_with_its_keys_and_again").await;
}

#[tokio::test]
async fn two_asks_for_a_visit_and_keeps_it_in_a_cookie() {
    // Rule: backplane §14.4 — 2.0: a token is asked for with callback=Backplane.finishInit, bus, rnd; cookie token:channel:refresh; onInit; a poll at once
    in_node("two_asks_for_a_visit_and_keeps_it_in_a_cookie").await;
}

#[tokio::test]
async fn two_goes_on_with_the_cookie_of_an_earlier_page() {
    // Rule: backplane §14.4 — 2.0: a known channel is used; a cookie of two parts too, with an error; null:null:null is none
    in_node("two_goes_on_with_the_cookie_of_an_earlier_page").await;
}

#[tokio::test]
async fn two_stops_when_the_server_gives_no_channel() {
    // Rule: backplane §14.4 — 2.0: an error in finishInit is logged and ends it
    in_node("two_stops_when_the_server_gives_no_channel").await;
}

#[tokio::test]
async fn two_delivers_headers_and_follows_next_url() {
    // Rule: backplane §14.4 — 2.0: a poll is the since-URL with ? or &, callback, access_token, block, rnd; headers of the first answer too are delivered
    // Rule: backplane §10.3 — the library follows nextURL, appending with & or ?
    in_node("two_delivers_headers_and_follows_next_url").await;
}

#[tokio::test]
async fn two_asks_at_once_when_there_is_more() {
    // Rule: backplane §14.4 — 2.0: it asks at once when moreMessages is exactly true
    in_node("two_asks_at_once_when_there_is_more").await;
}

#[tokio::test]
async fn two_renews_an_invalid_token_and_keeps_its_subscribers() {
    // Rule: backplane §14.4 — 2.0: invalid token leads to a refresh, its tokens into the cookie
    // Rule: backplane §14.7 — subscribers stay when tokens are renewed
    in_node("two_renews_an_invalid_token_and_keeps_its_subscribers").await;
}

#[tokio::test]
async fn two_starts_afresh_when_it_can_not_renew() {
    // Rule: backplane §14.4 — 2.0: without a refresh token, or with an invalid one, the channel is reset and the cookie deleted
    in_node("two_starts_afresh_when_it_can_not_renew").await;
}

#[tokio::test]
async fn two_asks_again_after_other_errors() {
    // Rule: backplane §14.4 — 2.0: another error is logged, another request scheduled
    in_node("two_asks_again_after_other_errors").await;
}

#[tokio::test]
async fn two_does_not_renew_in_a_loop() {
    // Rule: backplane §14.4 — 2.0: tokens that are refused as soon as issued are not renewed in a loop
    in_node("two_does_not_renew_in_a_loop").await;
}

#[tokio::test]
async fn two_joins_what_another_page_has_renewed() {
    // Rule: backplane §9.5 — pages that share a cookie share its tokens: the first to renew does it for all
    in_node("two_joins_what_another_page_has_renewed").await;
}

#[tokio::test]
async fn two_resets_without_doubling_its_subscribers() {
    // Rule: backplane §14.2 — 2.0: resetCookieChannel forgets token, channel and refresh token and asks for new ones; getCachedMessages
    // Rule: backplane §14.4 — 2.0: who subscribes in onInit does so again for a new channel
    in_node("two_resets_without_doubling_its_subscribers").await;
}

#[tokio::test]
async fn two_lets_a_subscriber_leave_the_channel() {
    // Rule: backplane §15.1 — a local logout resets the channel: nothing more of the old one is told
    in_node("two_lets_a_subscriber_leave_the_channel").await;
}

#[tokio::test]
async fn two_asks_once_when_it_is_initialized_by_those_it_calls() {
    // Rule: backplane §14.2 — 2.0: init may be called again, also by a subscriber
    in_node("two_asks_once_when_it_is_initialized_by_those_it_calls").await;
}

#[tokio::test]
async fn two_takes_the_first_of_repeated_answers() {
    // Rule: backplane §14.4 — 2.0: a request that was repeated after a silence counts once
    in_node("two_takes_the_first_of_repeated_answers").await;
}

#[tokio::test]
async fn two_stores_messages_until_they_expire() {
    // Rule: backplane §14.4 — 2.0: localStorage keeps the last cacheMax messages by messageURL, sorted, until they expire
    in_node("two_stores_messages_until_they_expire").await;
}

#[tokio::test]
async fn two_begins_a_page_after_the_last_stored_message() {
    // Rule: backplane §14.4 — 2.0: the first poll of a page is since the last stored messageURL; with replayOnPageLoad who wants replays gets them
    in_node("two_begins_a_page_after_the_last_stored_message").await;
}

#[tokio::test]
async fn two_tells_late_subscribers_the_cached_messages() {
    // Rule: backplane §14.4 — 2.0: late subscribers are caught up from the memory cache of 10
    in_node("two_tells_late_subscribers_the_cached_messages").await;
}

#[tokio::test]
async fn two_asks_again_after_a_silence() {
    // Rule: backplane §14.4 — 2.0: the watchdog waits block and 5 s
    in_node("two_asks_again_after_a_silence").await;
}

#[tokio::test]
async fn two_lets_the_server_hold_its_requests() {
    // Rule: backplane §14.5 — 2.0: while the server holds requests there is no pause between them
    in_node("two_lets_the_server_hold_its_requests").await;
}

#[tokio::test]
async fn two_takes_the_bound_of_the_server() {
    // Rule: backplane §10.3 — the library of 2.0 takes the server's bound of block
    in_node("two_takes_the_bound_of_the_server").await;
}

#[tokio::test]
async fn two_holds_no_request_of_a_page_that_loads_or_is_hidden() {
    // Rule: backplane §17 row 27 — a page that loads or is hidden holds no request
    in_node("two_holds_no_request_of_a_page_that_loads_or_is_hidden").await;
}

#[tokio::test]
async fn two_slows_down_as_the_table_says() {
    // Rule: backplane §14.5 — 2.0: 1 to 5 s during a hint, to 20 s in 120 s after it, then 20 s
    in_node("two_slows_down_as_the_table_says").await;
}

#[tokio::test]
async fn two_ends_a_hint_when_every_expected_type_came() {
    // Rule: backplane §14.5 — 2.0: a hint with types ends when they came
    in_node("two_ends_a_hint_when_every_expected_type_came").await;
}

async fn get(door: &Door, target: &str, head: &str) -> Answer {
    door.send(&format!("GET {target} HTTP/1.1\nHost: bp.example.net\n{head}\n")).await
}

/// What a page writes to load a script: its address and its content's hash.
fn tag(welcome: &str, name: &str) -> (String, String) {
    let stem = name.strip_suffix("js").unwrap();
    let mut codes = welcome.split("<code>");
    let code = codes.find(|code| code.contains(&format!("/static/{stem}"))).unwrap();
    let value = |name: &str| {
        let (_, rest) = code.split_once(&format!("{name}=\"")).unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    (value("src"), value("integrity"))
}

#[tokio::test]
async fn scripts_are_served_with_what_checks_their_content() {
    let door = Door::start().await;
    let welcome = door.get("/").await;
    for name in SCRIPTS {
        // Rule: backplane §13.10 — /backplane.js, /backplane2.js, /identity-services.js, kept for an hour
        let plain = door.get(&format!("/{name}")).await;
        assert_eq!(plain.status, 200);
        assert_eq!(plain.header("content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(plain.header("x-content-type-options"), Some("nosniff"));
        // Rule: backplane §3.6 — static scripts: Cache-Control: public,max-age=3600
        assert_eq!(plain.header("cache-control"), Some("public,max-age=3600"));
        // Rule: backplane §13.10 — /static/* too
        assert_eq!(door.get(&format!("/static/{name}")).await.body, plain.body);

        // Rule: backplane §17 row 37 — long-lived hashed names, and hashes for integrity
        let (src, integrity) = tag(&welcome.body, name);
        let path = src.strip_prefix("https://bp.example.net").unwrap();
        let hashed = door.get(path).await;
        assert_eq!((hashed.status, &hashed.body), (200, &plain.body));
        assert_eq!(hashed.header("cache-control"), Some("public,max-age=31536000,immutable"));
        // Browsers check the content only of what pages may read.
        assert_eq!(hashed.header("access-control-allow-origin"), Some("*"));
        assert_eq!(integrity, format!("sha384-{}", sha384(&plain.body)));

        let etag = plain.header("etag").unwrap();
        assert_eq!(etag, format!("\"{integrity}\""));
        for known in [etag.to_owned(), format!("\"x\", W/{etag}"), "*".to_owned()] {
            let again = get(&door, path, &format!("If-None-Match: {known}\n")).await;
            assert_eq!((again.status, again.body.as_str()), (304, ""));
            assert_eq!(again.header("etag"), Some(etag));
        }
        assert_eq!(get(&door, path, "If-None-Match: \"x\"\n").await.status, 200);
    }
    for path in ["/static/backplane.00000000000000000000.js", "/static/", "/static/x.js"] {
        assert_eq!(door.get(path).await.status, 404, "{path}");
    }
}

/// As OpenSSL computes it.
fn sha384(text: &str) -> String {
    let script = "const { createHash } = require('node:crypto'); \
                  process.stdout.write(createHash('sha384').update(process.argv[1]).digest('base64'));";
    let output = Command::new("node").args(["-e", script, text]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn scripts_answer_to_get_and_head_alone() {
    let door = Door::start().await;
    let head = door.send("HEAD /backplane.js HTTP/1.1\nHost: bp.example.net\n\n").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let length: usize = head.header("content-length").unwrap().parse().unwrap();
    assert_eq!(length, door.get("/backplane.js").await.body.len());
    let post = door.post("/backplane.js", "", "text/plain", "x").await;
    assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn a_generation_that_is_off_has_no_script() {
    // Rule: backplane §17 row 34 — with 1.x off its scripts are gone too
    let served = async |generations| {
        let config = Config { generations, ..config() };
        let door = Door::start_with(config, Retention::default()).await;
        let welcome = door.get("/").await.body;
        let mut statuses = Vec::new();
        for script in SCRIPTS {
            statuses.push(door.get(&format!("/{script}")).await.status);
        }
        (statuses, welcome.contains("Backplane 1.x"), welcome.contains("Backplane 2.0"))
    };
    assert_eq!(served(Generations::OneOnly).await, (vec![200, 404, 200], true, false));
    assert_eq!(served(Generations::TwoOnly).await, (vec![404, 200, 404], false, true));
    assert_eq!(served(Generations::Both).await, (vec![200, 200, 200], true, true));
}

#[tokio::test]
async fn the_root_welcomes() {
    let door = Door::start().await;
    // Rule: backplane §13.10 — GET and HEAD / answer with a welcome page
    let page = door.get("/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let head = door.send("HEAD / HTTP/1.1\nHost: bp.example.net\n\n").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(Backplane::unknown_url().status(), 404);
}
