//! What the process holds for strangers is bounded: attacks from outside, what they see, and what the
//! process has of them afterwards. The table is in `docs/operating.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads the clock to know when"
)]

mod common;

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use common::{Gateway, read_head, read_to_end, wait_for};

const GET: &[u8] = b"GET /nowhere HTTP/1.1\r\nHost: t\r\n\r\n";

/// The HTTP/2 preface and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// Types of HTTP/2 frames (RFC 9113 §6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// RFC 9113 §7.
const ENHANCE_YOUR_CALM: u8 = 11;

/// Resident memory in KiB.
fn resident(gateway: &Gateway) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn metric(gateway: &Gateway, line: &str) {
    wait_for(line, || gateway.get("ops", "/metrics").contains(line).then_some(()));
}

fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

/// HEADERS of a GET that is whole.
fn get(stream: u32, path: &str) -> Vec<u8> {
    let length = u8::try_from(path.len()).unwrap();
    let head = [&[0x82, 0x86, 0x04, length][..], path.as_bytes(), &[0x01, 0x01, b't']].concat();
    frame(HEADERS, 5, stream, &head)
}

/// The next frame: kind and content. `None` when the other end has closed.
fn next_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut content = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut content).ok()?;
    Some((head[3], content))
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    let gateway = Gateway::start(&["http.address_connections_max=3"]);
    let open = || {
        let mut stream = gateway.connect("http");
        stream.write_all(GET).ok()?;
        let mut byte = [0];
        (stream.read(&mut byte).ok()? == 1).then_some(stream)
    };
    let mut held: Vec<_> = (0..3).map(|_| open().unwrap()).collect();
    assert!(open().is_none(), "closed at once");
    metric(&gateway, "buswire_connections_refused_total{listener=\"http\"} 1");
    assert!(gateway.get("ops", "/readyz").contains("200 OK"), "other listeners have no such limit");
    drop(held.pop());
    wait_for("the place", open);
    gateway.terminate();
    let behind =
        Gateway::start(&["http.address_connections_max=1", "http.trusted_proxies=127.0.0.0/8"]);
    let mut held: Vec<_> = (0..5).map(|_| behind.connect("http")).collect();
    for stream in &mut held {
        stream.write_all(GET).unwrap();
        assert!(read_head(stream).starts_with("HTTP/1.1 404 "), "a proxy stands for many");
    }
    behind.terminate();
}

#[test]
fn two_thousand_connections_beyond_the_limit_cost_nothing() {
    let gateway = Gateway::start(&["http.connections_max=50", "http.header_timeout=600s"]);
    let mut served: Vec<_> = (0..50).map(|_| gateway.connect("http")).collect();
    for stream in &mut served {
        stream.write_all(GET).unwrap();
        read_head(stream);
    }
    let before = resident(&gateway);
    let mut waiting: Vec<_> = (0..2000).map(|_| gateway.connect("http")).collect();
    for stream in &mut waiting {
        stream.write_all(GET).unwrap();
    }
    // Who was there first is served on.
    for stream in &mut served {
        stream.write_all(GET).unwrap();
        assert!(read_head(stream).starts_with("HTTP/1.1 404 "));
    }
    let first = &mut waiting[0];
    first.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(first.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "it waits");
    let grown = resident(&gateway).saturating_sub(before);
    assert!(grown < 2048, "{grown} KiB for connections that are not accepted");
    metric(&gateway, "buswire_connections{listener=\"http\"} 50");
    drop(served);
    first.set_read_timeout(Some(common::PATIENCE)).unwrap();
    assert!(read_head(first).starts_with("HTTP/1.1 404 "), "it has got room");
    drop(waiting);
    wait_for("others", || gateway.get("http", "/").starts_with("HTTP/1.1 200 ").then_some(()));
    gateway.terminate();
}

#[test]
fn silence_is_cut_off_at_every_listener() {
    let gateway = Gateway::start(&["http.header_timeout=300ms", "http.idle_timeout=2s"]);
    for listener in ["http", "admin", "ops"] {
        for bytes in [&b""[..], b"GET / HT", PREFACE] {
            let mut stream = gateway.connect(listener);
            stream.write_all(bytes).unwrap();
            read_to_end(&mut stream);
        }
        let line = format!(
            "buswire_connection_faults_total{{listener=\"{listener}\",fault=\"head_slow\"}} 3"
        );
        metric(&gateway, &line);
        // HTTP/1.1 that says nothing further.
        let mut stream = gateway.connect(listener);
        stream.write_all(GET).unwrap();
        assert!(read_to_end(&mut stream).starts_with("HTTP/1.1 "), "{listener}");
    }
    gateway.terminate();
}

#[test]
fn a_client_that_reads_nothing_is_given_up_at_every_listener() {
    let gateway = Gateway::start(&["http.write_timeout=300ms"]);
    for (listener, path) in
        [("http", "/backplane2.js"), ("admin", "/console/"), ("ops", "/metrics")]
    {
        let mut stream = gateway.connect(listener);
        let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
        stream.set_write_timeout(Some(Duration::from_millis(50))).unwrap();
        // It asks until the gateway no longer listens to it, since it waits to be read.
        let line = format!("{{listener=\"{listener}\",fault=\"reader_slow\"}} 1");
        wait_for(&line, || {
            let _full = stream.write_all(request.repeat(100).as_bytes());
            gateway.get("ops", "/metrics").contains(&line).then_some(())
        });
    }
    gateway.terminate();
}

#[test]
fn streams_that_are_reset_at_once_end_the_connection() {
    // CVE-2023-44487: each stream costs the client nothing, and the server the work of a request.
    let gateway = Gateway::start(&[]);
    let before = resident(&gateway);
    for listener in ["http", "admin", "ops"] {
        let mut stream = gateway.connect(listener);
        stream.write_all(PREFACE).unwrap();
        let resets: Vec<u8> = (0..10_000_u32)
            .flat_map(|n| {
                [get(2 * n + 1, "/"), frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])].concat()
            })
            .collect();
        let mut writer = stream.try_clone().unwrap();
        // The gateway may close before it was sent everything.
        let writing = std::thread::spawn(move || writer.write_all(&resets).is_ok());
        let mut calm = false;
        while let Some((kind, content)) = next_frame(&mut stream) {
            calm |= kind == GOAWAY && content[7] == ENHANCE_YOUR_CALM;
        }
        let _sent = writing.join().unwrap();
        assert!(calm, "{listener}");
    }
    let grown = resident(&gateway).saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB");
    assert!(gateway.get("http", "/").starts_with("HTTP/1.1 200 "));
    gateway.terminate();
}

#[test]
fn an_http_2_connection_that_asks_for_nothing_is_closed() {
    let gateway = Gateway::start(&["http.idle_timeout=300ms"]);
    let mut stream = gateway.connect("http");
    stream.write_all(&[PREFACE, &get(1, "/nowhere")].concat()).unwrap();
    let mut told = false;
    while let Some((kind, content)) = next_frame(&mut stream) {
        match kind {
            // No error: what is under way may go on.
            GOAWAY => told |= content[4..8] == [0; 4],
            PING => stream.write_all(&frame(PING, 1, 0, &content)).unwrap(),
            _ => {}
        }
    }
    assert!(told, "it is told to go before it is closed");
    gateway.terminate();
}

#[test]
fn an_http_2_client_that_takes_no_answer_is_closed() {
    // CVE-2019-9517 and its kind: the window stays shut, so that the answers stay with us.
    let gateway = Gateway::start(&["http.idle_timeout=300ms"]);
    let mut stream = gateway.connect("http");
    stream.write_all(PREFACE).unwrap();
    // SETTINGS_INITIAL_WINDOW_SIZE = 0.
    stream.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).unwrap();
    let asked: Vec<u8> = (0..100).flat_map(|n| get(2 * n + 1, "/backplane2.js")).collect();
    stream.write_all(&asked).unwrap();
    let (mut heads, mut bytes) = (0, 0);
    while let Some((kind, content)) = next_frame(&mut stream) {
        match kind {
            HEADERS => heads += 1,
            DATA => bytes += content.len(),
            // It is there, and has nothing to say.
            PING if stream.write_all(&frame(PING, 1, 0, &content)).is_err() => break,
            _ => {}
        }
    }
    assert_eq!((heads, bytes), (100, 0));
    metric(&gateway, "{listener=\"http\",fault=\"reader_slow\"} 1");
    gateway.terminate();
}

#[test]
fn all_request_bodies_together_are_bounded() {
    let gateway =
        Gateway::start(&["http.bodies_max=1MiB", "http.body_max=1MiB", "http.body_timeout=600s"]);
    let head = |length: usize| {
        format!(
            "POST /v2/provision/bus/list HTTP/1.1\r\nHost: t\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )
    };
    let part = vec![b' '; 700 * 1024];
    let whole = || {
        let mut stream = gateway.connect("http");
        let _cut_off = stream.write_all(&[head(part.len()).as_bytes(), &part].concat());
        read_to_end(&mut stream)
    };
    let answer = whole();
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    // Whichever of two is read first has the room.
    let (slow, refused) = wait_for("a refusal", || {
        let mut slow = gateway.connect("http");
        slow.write_all(&[head(part.len() + 1).as_bytes(), &part].concat()).unwrap();
        let answer = whole();
        answer.starts_with("HTTP/1.1 503 ").then_some((slow, answer))
    });
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    assert!(refused.ends_with(r#"{"ERR_MSG":"Too many request bodies at once"}"#), "{refused}");
    assert!(gateway.get("http", "/").starts_with("HTTP/1.1 200 "), "who brings nothing is served");
    let counted = gateway.get("ops", "/metrics");
    assert!(counted.contains("buswire_bodies_refused_total{listener=\"http\"} "), "{counted}");
    drop(slow);
    wait_for("room", || whole().starts_with("HTTP/1.1 4").then_some(()));
    gateway.terminate();
}
