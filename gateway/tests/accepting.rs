//! Who is connected when the gateway begins to stop, and has not been accepted yet.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use axum::{Router, routing::get};
use buswire::{
    config::{Inputs, load},
    listen::{Connections, Server, bind},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time,
};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn who_waits_to_be_accepted_when_it_begins_to_stop_is_answered() {
    let limits = load(&Inputs::default()).unwrap().config.http.limits;
    let router = Router::new().route("/", get(async || "here"));
    let bound = bind("http.listen", &"127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (address, connections) = (bound.address, Connections::new());
    let server = Server::new("test", bound, None, limits, router, connections.clone());
    // The operating system has connected them; nobody has accepted.
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
        waiting.push(stream);
    }
    connections.drain();
    server.run().await;
    for mut stream in waiting {
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let _reset = time::timeout(PATIENCE, read).await.expect("the other end closes");
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("here"), "{answer:?}");
    }
    time::timeout(PATIENCE, connections.closed()).await.expect("connections close");
}
