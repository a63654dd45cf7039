//! One client: does the same thing again as soon as it is done, across gateways where there are several.
//!
//! Never here: what is measured while clients are at work.

use std::time::{Duration, Instant};

use crate::{
    http::{Connection, Message},
    poll::Again,
    push::Socket,
};

/// What has not arrived after so long is lost, and stops the tool.
const PATIENCE: Duration = Duration::from_secs(20);
/// A gateway that is asked so often keeps a bus.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The first version, so that every version has the same length.
const FIRST_VERSION: u64 = 1_000_000_000;

/// When operations count: those that begin after `from`; none begins after `until`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

/// What a client does, and where.
pub(crate) enum Task {
    /// Sends requests in turn.
    Ask { address: String, requests: Vec<Vec<u8>>, check: fn(&Message) },
    /// Waits at one gateway for what it posts at another.
    Deliver { post_at: String, post: Vec<u8>, read_at: String, again: Box<Again<'static>> },
    /// PUTs at one gateway what a WebSocket at another is told.
    Notify { put_at: String, listen_at: String, number: usize },
    /// Asks now and then, so that a gateway keeps a bus in memory; none of it counts.
    Look { address: String, request: Vec<u8> },
}

/// A client that is connected.
pub(crate) enum Client {
    Ask { connection: Connection, requests: Vec<Vec<u8>>, check: fn(&Message) },
    Deliver { poster: Connection, post: Vec<u8>, reader: Connection, again: Box<Again<'static>> },
    Notify { putter: Connection, path: String, socket: Socket, number: usize },
    Look { connection: Connection, request: Vec<u8> },
}

impl Task {
    pub(crate) async fn connect(self) -> Client {
        match self {
            Self::Ask { address, requests, check } => {
                Client::Ask { connection: Connection::open(&address).await, requests, check }
            }
            Self::Deliver { post_at, post, read_at, again } => {
                let poster = Connection::open(&post_at).await;
                Client::Deliver { poster, post, reader: Connection::open(&read_at).await, again }
            }
            Self::Notify { put_at, listen_at, number } => {
                let mut socket = Socket::open(&listen_at, "/push", number).await;
                socket.hello().await;
                let path = socket.register(number).await;
                let putter = Connection::open(&put_at).await;
                Client::Notify { putter, path, socket, number }
            }
            Self::Look { address, request } => {
                Client::Look { connection: Connection::open(&address).await, request }
            }
        }
    }
}

impl Client {
    /// Works until the window ends; how long each operation in it took.
    pub(crate) async fn work(self, window: Window) -> Vec<Duration> {
        match self {
            Self::Ask { connection, requests, check } => {
                ask(connection, &requests, check, window).await
            }
            Self::Deliver { poster, post, reader, again } => {
                deliver(poster, &post, reader, &*again, window).await
            }
            Self::Notify { putter, path, socket, number } => {
                notify(putter, &path, socket, number, window).await
            }
            Self::Look { mut connection, request } => {
                while Instant::now() < window.until {
                    let answer = connection.exchange(&request).await;
                    assert_eq!(answer.status(), 200, "{}", answer.head);
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                Vec::new()
            }
        }
    }
}

/// Times of operations in a window.
struct Times {
    window: Window,
    counted: Vec<Duration>,
}

impl Times {
    const fn new(window: Window) -> Self {
        Self { window, counted: Vec::new() }
    }

    /// Whether another operation may begin now, and when that is.
    fn begin(&self) -> Option<Instant> {
        let now = Instant::now();
        (now < self.window.until).then_some(now)
    }

    fn end(&mut self, begun: Instant, took: Duration) {
        if begun >= self.window.from {
            self.counted.push(took);
        }
    }
}

async fn ask(
    mut connection: Connection,
    requests: &[Vec<u8>],
    check: fn(&Message),
    window: Window,
) -> Vec<Duration> {
    let mut times = Times::new(window);
    for request in requests.iter().cycle() {
        let Some(begun) = times.begin() else { break };
        check(&connection.exchange(request).await);
        times.end(begun, begun.elapsed());
    }
    times.counted
}

/// Times are from accepted to received, and nothing for what was received first.
async fn deliver(
    mut poster: Connection,
    post: &[u8],
    mut reader: Connection,
    again: &Again<'static>,
    window: Window,
) -> Vec<Duration> {
    let mut times = Times::new(window);
    let mut request = again(None);
    while let Some(begun) = times.begin() {
        reader.send(&request).await;
        let accepted = async {
            let answer = poster.exchange(post).await;
            assert!(answer.is_accepted(), "{}", String::from_utf8_lossy(&answer.body));
            Instant::now()
        };
        let received = async {
            let answer = tokio::time::timeout(PATIENCE, reader.receive()).await;
            (answer.expect("it arrives").expect("an answer"), Instant::now())
        };
        let (accepted, (answer, at)) = futures::future::join(accepted, received).await;
        assert!(answer.status() == 200, "{}", answer.head);
        request = again(Some(&answer));
        times.end(begun, at.saturating_duration_since(accepted));
    }
    times.counted
}

/// Times are from accepted to the frame, and nothing for one that came first.
async fn notify(
    mut putter: Connection,
    path: &str,
    mut socket: Socket,
    number: usize,
    window: Window,
) -> Vec<Duration> {
    let mut times = Times::new(window);
    for version in FIRST_VERSION.. {
        let Some(begun) = times.begin() else { break };
        let put = put(path, version);
        let accepted = async {
            let answer = putter.exchange(&put).await;
            assert!((200..300).contains(&answer.status()), "{}", answer.head);
            Instant::now()
        };
        let told = tokio::time::timeout(PATIENCE, told(&mut socket, version));
        let (accepted, at) = futures::future::join(accepted, told).await;
        socket.acknowledge(number, version).await;
        times.end(begun, at.expect("it arrives").saturating_duration_since(accepted));
    }
    times.counted
}

/// When the version came; repeats of earlier ones may come before it.
async fn told(socket: &mut Socket, wanted: u64) -> Instant {
    loop {
        let text = socket.hear().await.expect("the socket stays open");
        let digits = text.rsplit("version").next().unwrap_or_default();
        let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
        let version: u64 = digits.parse().unwrap_or_else(|_| panic!("no version: {text}"));
        assert!(version <= wanted, "a version that was not PUT");
        if version == wanted {
            return Instant::now();
        }
    }
}

/// A PUT of a version.
pub(crate) fn put(path: &str, version: u64) -> Vec<u8> {
    let body = format!("version={version}");
    let length = body.len();
    let kind = "application/x-www-form-urlencoded";
    format!(
        "PUT {path} HTTP/1.1\r\nHost: load\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}
