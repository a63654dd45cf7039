//! What hostile or broken clients get, over raw TCP.

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
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use common::{Gateway, read_head, read_to_end, wait_for};

/// The HTTP/2 preface and an empty SETTINGS frame.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

#[test]
fn slow_heads_are_cut_off() {
    // Slowloris: a client that never finishes its first head holds a connection for a bounded time.
    let gateway = Gateway::start(&["http.header_timeout=300ms", "http.idle_timeout=600s"]);
    for bytes in [&b""[..], b"P", b"PRI * HT", b"GET / HTTP/1.1\r\nHost: t\r\nX: ", PREFACE] {
        let mut stream = gateway.connect("http");
        stream.write_all(bytes).unwrap();
        let started = Instant::now();
        read_to_end(&mut stream);
        assert!(started.elapsed() < Duration::from_secs(10), "{bytes:?}");
    }
    let line = "buswire_connection_faults_total{listener=\"http\",fault=\"head_slow\"} 5";
    wait_for("the count", || gateway.get("ops", "/metrics").contains(line).then_some(()));
    gateway.terminate();
}

#[test]
fn a_trickle_does_not_extend_the_time() {
    let gateway = Gateway::start(&["http.header_timeout=300ms"]);
    let mut stream = gateway.connect("http");
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    wait_for("the cut", || {
        let sent = stream.write_all(b"X: y\r\n");
        let closed = matches!(stream.read(&mut [0; 64]), Ok(0)) || sent.is_err();
        closed.then_some(())
    });
}

#[test]
fn idle_connections_are_closed() {
    let gateway = Gateway::start(&["http.idle_timeout=300ms"]);
    let mut stream = gateway.connect("http");
    for _ in 0..2 {
        stream.write_all(b"GET /nowhere HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
        assert!(read_head(&mut stream).starts_with("HTTP/1.1 404 "));
    }
    let started = Instant::now();
    assert_eq!(read_to_end(&mut stream), "");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn further_connections_wait_for_room() {
    let gateway = Gateway::start(&["http.connections_max=2", "http.header_timeout=600s"]);
    let request = b"GET /nowhere HTTP/1.1\r\nHost: t\r\n\r\n";
    let mut held: Vec<TcpStream> = (0..2).map(|_| gateway.connect("http")).collect();
    for stream in &mut held {
        stream.write_all(request).unwrap();
        read_head(stream);
    }
    let mut third = gateway.connect("http");
    third.write_all(request).unwrap();
    third.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let waiting = third.read(&mut [0; 1]).unwrap_err();
    assert!(matches!(waiting.kind(), std::io::ErrorKind::WouldBlock), "{waiting}");
    drop(held.pop());
    third.set_read_timeout(Some(common::PATIENCE)).unwrap();
    assert!(read_head(&mut third).starts_with("HTTP/1.1 404 "));
    gateway.terminate();
}

#[test]
fn a_great_head_is_refused() {
    // Rule: belay §21.6 — the header section of a request has at most 16 KiB
    let gateway = Gateway::start(&[]);
    let head =
        |bytes: usize| format!("GET / HTTP/1.1\r\nHost: t\r\nX: {}\r\n\r\n", "y".repeat(bytes));
    let mut small = gateway.connect("http");
    small.write_all(head(12 * 1024).as_bytes()).unwrap();
    assert!(read_head(&mut small).starts_with("HTTP/1.1 200 "));
    let mut great = gateway.connect("http");
    let _cut_off = great.write_all(head(64 * 1024).as_bytes());
    let answer = read_to_end(&mut great);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let mut many = gateway.connect("http");
    let fields = "X: y\r\n".repeat(200);
    let _cut_off = many.write_all(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes());
    let answer = read_to_end(&mut many);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    gateway.terminate();
}

#[test]
fn a_body_that_is_announced_too_long_is_refused_unread() {
    let gateway = Gateway::start(&["http.body_max=1KiB"]);
    let request =
        "POST /x HTTP/1.1\r\nHost: t\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n";
    let mut stream = gateway.connect("http");
    stream.write_all(request.as_bytes()).unwrap();
    assert!(read_head(&mut stream).starts_with("HTTP/1.1 413 "));
    gateway.terminate();
}

#[test]
fn garbage_is_answered_400_or_cut_off() {
    let gateway = Gateway::start(&[]);
    for garbage in
        ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\u{16}\u{3}\u{1}\r\n\r\n"]
    {
        let answer = gateway.exchange("http", garbage);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{garbage:?}: {answer}");
    }
    assert!(gateway.get("ops", "/readyz").contains("200 OK"));
    gateway.terminate();
}

#[test]
fn http_2_is_spoken_without_tls_too() {
    let gateway = Gateway::start(&[]);
    let mut stream = gateway.connect("http");
    stream.write_all(PREFACE).unwrap();
    let mut frame = [0; 9];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "the first frame of the server is SETTINGS");
    drop(stream);
    gateway.terminate();
}
