//! NATS request and reply, in its text protocol over plain sockets.
//!
//! A peer, not a floor: it keeps no request, watches no worker, and gives one any number at once.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use buswire_integration_tests::until;
use serde_json::Value;
use tempfile::TempDir;

use super::{Client, Transport, WAIT, Worker};

const PROGRAM: &str = "nats-server";

pub(super) fn is_installed() -> bool {
    Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status().is_ok()
}

/// A NATS server of our own, killed when dropped.
pub(super) struct Nats {
    child: Child,
    address: String,
    clients: AtomicUsize,
    _folder: TempDir,
}

impl Nats {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new(PROGRAM)
            .args(["--addr", "127.0.0.1", "--port", "-1", "--ports_file_dir"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ports = folder.path().join(format!("{PROGRAM}_{}.ports", child.id()));
        let address = until("nats-server says its port", || {
            let ports: Value = serde_json::from_str(&fs::read_to_string(&ports).ok()?).ok()?;
            Some(ports["nats"][0].as_str()?.trim_start_matches("nats://").to_owned())
        });
        Self { child, address, clients: AtomicUsize::new(0), _folder: folder }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(|_| ()).unwrap_or_default();
    }
}

impl Transport for Nats {
    type Client = NatsClient;
    type Worker = NatsWorker;

    fn client(&self) -> NatsClient {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        let inbox = format!("inbox.{number}");
        NatsClient { connection: Connection::subscribe(&self.address, &inbox), inbox }
    }

    fn worker(&self) -> NatsWorker {
        NatsWorker(Connection::subscribe(&self.address, "echo workers"))
    }
}

/// A connection with one subscription. What is sent is kept until something is waited for.
struct Connection {
    stream: TcpStream,
    sent: Vec<u8>,
    received: Vec<u8>,
    /// What of `received` is done with.
    done: usize,
}

impl Connection {
    /// Subscribes to `what`, a subject and perhaps a queue group, and waits until that counts.
    fn subscribe(address: &str, what: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let mut connection = Self { stream, sent: Vec::new(), received: Vec::new(), done: 0 };
        write!(connection.sent, "CONNECT {{\"verbose\":false}}\r\nSUB {what} 1\r\nPING\r\n")
            .unwrap();
        until("nats-server answers", || {
            connection.exchange();
            connection.received.ends_with(b"PONG\r\n").then_some(())
        });
        connection.done = connection.received.len();
        connection
    }

    fn publish(&mut self, subject: &str, reply_to: &str, body: &[u8]) {
        write!(self.sent, "PUB {subject} {reply_to} {}\r\n", body.len()).unwrap();
        self.sent.extend_from_slice(body);
        self.sent.extend_from_slice(b"\r\n");
    }

    fn flush(&mut self) {
        self.stream.write_all(&self.sent).unwrap();
        self.sent.clear();
    }

    /// Sends what was kept and waits for bytes, a little.
    fn exchange(&mut self) {
        self.flush();
        self.received.drain(..self.done);
        self.done = 0;
        let mut bytes = [0; 1 << 14];
        match self.stream.read(&mut bytes) {
            Ok(0) => panic!("nats-server closed the connection"),
            Ok(count) => self.received.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// The next message of those received: where it is to be answered, and its body.
    fn next(&mut self) -> Option<(String, std::ops::Range<usize>)> {
        loop {
            let rest = &self.received[self.done..];
            let end = rest.windows(2).position(|bytes| bytes == b"\r\n")?;
            let line = std::str::from_utf8(&rest[..end]).unwrap();
            let words: Vec<&str> = line.split(' ').collect();
            let body = self.done + end + 2;
            match words.as_slice() {
                ["PING"] => {
                    self.sent.extend_from_slice(b"PONG\r\n");
                    self.done = body;
                }
                ["MSG", _subject, _id, reply_to @ .., length] => {
                    let body = body..body + length.parse::<usize>().unwrap();
                    if self.received.len() < body.end + 2 {
                        return None;
                    }
                    let reply_to = reply_to.concat();
                    self.done = body.end + 2;
                    return Some((reply_to, body));
                }
                _ => panic!("nats-server says {line}"),
            }
        }
    }
}

pub(super) struct NatsClient {
    connection: Connection,
    inbox: String,
}

impl Client for NatsClient {
    fn ask(&mut self, body: &[u8]) {
        self.connection.publish("echo", &self.inbox, body);
    }

    fn answer(&mut self, wait: Duration) -> Option<&[u8]> {
        let mut next = self.connection.next();
        if next.is_none() && !wait.is_zero() {
            self.connection.exchange();
            next = self.connection.next();
        }
        next.map(|(_, body)| &self.connection.received[body])
    }
}

pub(super) struct NatsWorker(Connection);

impl Worker for NatsWorker {
    fn work(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            self.0.exchange();
            while let Some((reply_to, body)) = self.0.next() {
                let body = self.0.received[body].to_vec();
                self.0.publish(&reply_to, "", &body);
            }
        }
    }
}
