//! The library for pages as it is served, run in Node (Belay §§2–7, 9, 11–14, 22). Each test runs the one of
//! its name in `tests/browser`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use common::World;

/// Runs all tests of a file on the library that the endpoint serves.
async fn in_node(file: &str) {
    let folder = served(file).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let output = Command::new("node")
        .arg("--test-reporter=tap")
        .arg(root.join("browser").join(format!("{file}.test.mjs")))
        .env("BELAY_CLIENT", folder.join("client.js"))
        .env("BELAY_DATA", root.join("data"))
        .output()
        .expect("node is installed: apt-get install nodejs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("\n# fail 0\n") && !told.contains("\n# pass 0\n"), "{told}");
}

/// A folder with what pages load.
async fn served(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    let world = World::new().await;
    for file in ["client.js", "client.mjs", "client.d.ts"] {
        let answer = world.send("GET", &format!("/belay/{file}"), "").await;
        assert_eq!(answer.status, 200);
        fs::write(folder.join(file), answer.body).unwrap();
    }
    folder
}

#[tokio::test]
async fn ids_and_serialisations() {
    // Rule: belay 2.1 — newUUIDv4 draws eight 16-bit numbers, and throws where there is no secure randomness
    // Rule: belay 2.2 — instance ids are SHA-1 of the text or 128 bits of SHA-256 of the bytes of a pre-image
    // Rule: belay 2.2 — a pre-image is a UUID of version 4 in lower case; anything else throws
    // Rule: belay 2.2 — the library takes UUIDs, 32 hex, 40 hex and origins as instance ids; others throw
    // Rule: belay 3.1 — the library reads serialisations from the right; garbage gives null ids
    // Rule: belay 4.1 — the library refuses functions, symbols, numbers that are none, cycles, exotic objects
    // Rule: belay 4.2 — the library writes a value and its capabilities as in the worked examples
    // Rule: belay 4.3 — the library reads strictly; blank text is no data, and depth, size and capabilities are bounded
    // Rule: belay 4.4 — encoding an object with a member @ throws "forged reference"
    // Rule: belay 4.5 — both spellings of the processors are one function, which binds to its server
    in_node("data").await;
}

#[tokio::test]
async fn capabilities_and_items() {
    // Rule: belay 5 — a capability is frozen, prints as nothing and throws in JSON
    // Rule: belay 5.1 — data with GET or DELETE, or that can't be encoded, throws; nothing is invoked
    // Rule: belay 5.1 — one callback is called, later and once; what it throws is its own
    // Rule: belay 5.2 — get, put, post and remove are invoke with their method
    // Rule: belay 6.2 — items are recognised in order; others throw a TypeError with the original's text
    // Rule: belay 6.3 — functions are synchronous below two parameters; DELETE is 405; promises are waited for
    // Rule: belay 6.4 — handlers are methods of their object, all synchronous or all asynchronous
    // Rule: belay 6.5 — data with GET is 400, a thrown error or a result of PUT is 500, errors are made standard
    // Rule: belay 6.6 — URLs are fetched without cookies, referrer, cache, redirects or headers; the transport can be replaced
    // Rule: belay 6.7 — a wrapper hides what it stands for; each is revoked alone
    // Rule: belay 6.8 — invoke handlers get every method, as values or with raw as texts
    // Rule: belay 7.1 — errors have an integer status and a message
    // Rule: belay 7.2 — an answer that can't be decoded is 502, no answer is 0 with a reason
    // Rule: belay 19 row 1 — what a success callback throws is not reported as a failure too
    // Rule: belay 19 row 2 — an item that answers several times is heard once
    in_node("capability").await;
}

#[tokio::test]
async fn grants_of_a_page() {
    // Rule: belay 6.1 — a snapshot's other id stays an alias; a malformed snapshot is a SyntaxError
    // Rule: belay 6.9 — the library revokes its own grants only, finally; what is under way is answered
    // Rule: belay 6.10 — named grants are built when invoked, from copies of their arguments; failures are tried again
    // Rule: belay 6.11 — the snapshot of the library holds named grants and wraps, and unknown entries are kept
    // Rule: belay 6.12 — the persistifier saves once for many changes, never twice at a time, and tries again
    // Rule: belay 6.12 — the sync notifier is called inside each change
    // Rule: belay 6.13 — the public interface is for own grants; the private one asks the resolver
    in_node("capserver").await;
}

#[tokio::test]
async fn the_tunnel() {
    // Rule: belay 9 — the messages of the worked example, as asked and as served
    // Rule: belay 9 — unknown messages are ignored, malformed calls are 400, malformed answers 502
    // Rule: belay 9 — 30 s of silence are answered by a ping, 30 s more while running by closing
    // Rule: belay 9 — closing fails what is under way with 504, bye closes both ends
    // Rule: belay 9 — 256 calls may be under way in each direction; one more is 429
    // Rule: belay 9 — the outpost reaches its handler whichever comes first
    // Rule: belay 18 D21 — a tunnel is silent for 30 s before it asks, and 30 s more before it is closed
    // Rule: belay 25.4 — the worked example of the tunnel
    in_node("tunnel").await;
}

#[tokio::test]
async fn starting_a_page() {
    // Rule: belay 8 — invocations travel between page and frame; those within the page stay there
    // Rule: belay 11.1 — a stand-in is heard in order; a library that is there is left alone
    // Rule: belay 11.3 — the page obeys close, bars, highlights and navigation to http(s), and logs the rest
    // Rule: belay 11.4 — the outpost is belay.outpost, and its members are members of util
    // Rule: belay 12.1 — start gives the same CapServer each time, handlers in order
    // Rule: belay 12.2 — startForLaunch routes the pre-image under its key
    // Rule: belay 12.3 — startForOrigin takes an object or two arguments
    // Rule: belay 12.4 — every startError with type, status and message; without failure it is logged
    // Rule: belay 12.5 — route gives a CapServer at once; a second route of an id is AlreadyRouted
    // Rule: belay 12.6 — routeOrigin refuses what is not the page's origin, and goes to the page it names
    // Rule: belay 22.2 — the page says hello to the gateway alone, and takes its first init
    // Rule: belay 22.3 — the library styles through CSSOM and sets no sandbox; a blocked frame is an error at once
    // Rule: belay 22.5 — the start id leaves the address before anything else
    // Rule: belay 22.6 — one frozen object; loading twice does nothing
    // Rule: belay 12 — start functions wait for the frame; once it is there, handlers run at once but later
    // Rule: belay 18 D2 — route gives a CapServer and calls back
    // Rule: belay 18 D4 — start errors have type, status and message
    // Rule: belay 18 D15 — startForOrigin takes an object or two arguments
    // Rule: belay 19 row 8 — a CapServer of route reaches others
    // Rule: belay 19 row 9 — startForLaunch on a page that was not launched fails and does not throw
    // Rule: belay 19 row 10 — the page tells the frame nothing but at the gateway, and the frame is heard there alone
    in_node("start").await;
}

#[tokio::test]
async fn launching() {
    // Rule: belay 13.2 — activateLocalCap hands an activate record to the frame
    // Rule: belay 13.3 — becomeInstance describes the page; 405 on launched pages, 404 without a station
    // Rule: belay 13.4 — expectLaunch gives a start id and later the window; the misspelt name is the same
    // Rule: belay 13.5 — selfLaunch launches into this window
    // Rule: belay 13.6 — a station finds its powers in util
    // Rule: belay 18 D20 — expectLaunch has the misspelt name of the seed too
    // Rule: belay 18 D22 — becomeInstance without a station is a failure, and nothing else needs one
    in_node("launch").await;
}

#[tokio::test]
async fn exchanging() {
    // Rule: belay 14.1 — the historic image in text/html is written and read
    // Rule: belay 14.2 — offers drag a generator of one use and a minute; only what a person does counts
    // Rule: belay 14.2 — a click arms an offer, another completes it, Escape disarms
    // Rule: belay 14.2 — dropped data is decoded strictly and must be of the class
    // Rule: belay 23 — introductions hand over generators, not live capabilities
    // Rule: belay 25.6 — the worked example of a drag
    in_node("exchange").await;
}

#[tokio::test]
async fn the_module() {
    // Rule: belay 22.6 — the module exports what the script defines, and both are one library in a page
    in_node("module").await;
}

#[tokio::test]
async fn the_files_are_cached_by_name() {
    // Rule: belay 22.6 — the library may be included from any site, with its hash
    let world = World::new().await;
    let [hashed, plain] = [buswire_belay::client_path(), "/belay/client.js".to_owned()];
    let answers = [world.send("GET", &hashed, "").await, world.send("GET", &plain, "").await];
    let [for_ever, for_minutes] = &answers;
    assert_eq!(for_ever.header("cache-control"), Some("public, max-age=31536000, immutable"));
    assert_eq!(for_minutes.header("cache-control"), Some("public, max-age=300"));
    for answer in &answers {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.body, for_ever.body);
        assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("cross-origin"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let tag = format!("\"{}\"", buswire_belay::client_integrity());
        assert_eq!(answer.header("etag"), Some(tag.as_str()));
    }
    let request = |tag: &str| {
        format!(
            "GET /belay/client.js HTTP/1.1\r\nHost: x\r\nConnection: close\r\nIf-None-Match: {tag}\r\n\r\n"
        )
    };
    let tag = for_ever.header("etag").unwrap();
    for known in [tag.to_owned(), format!("W/{tag}"), format!("\"old\", {tag}"), "*".to_owned()] {
        let answer = world.raw(&request(&known)).await;
        assert_eq!((answer.status, answer.body.as_str()), (304, ""));
    }
    assert_eq!(world.raw(&request("\"old\"")).await.status, 200);
}

#[test]
fn the_library_runs_under_a_strict_policy() {
    // Rule: belay 22.3 — the library needs no eval, no HTML of strings, no inline styles
    let source = |folder: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/browser").join(folder);
        fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap())
    };
    let forbidden = [
        "eval(",
        "new Function",
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "DOMParser",
        "cssText",
        "setAttribute(\"style\"",
        "Math.random",
    ];
    for text in ["core", "page"].into_iter().flat_map(source) {
        for word in forbidden {
            assert!(!text.contains(word), "{word}");
        }
        // ES2019.
        assert!(!text.contains("?.") && !text.contains("??") && !text.contains("globalThis"));
        assert!(
            text.starts_with("// ") && text.contains("\n// Never here: ") || !text.contains("//")
        );
    }
}
