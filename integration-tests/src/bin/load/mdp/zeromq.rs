//! Clients and workers on ZeroMQ, with MDP/0.1 or with the bare frames of the floors.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use zmq::{Message, Socket};

use super::{Client, Transport, WAIT, Worker};

/// How often a worker of MDP says that it is there.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// What travels beside the body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Mdp,
    /// Nothing.
    Bare,
    /// Nothing, but a worker says first that it waits.
    Turns,
}

/// Where clients and workers connect.
pub(super) struct ZeroMq<'a> {
    context: zmq::Context,
    dialect: Dialect,
    front: &'a str,
    back: &'a str,
}

impl<'a> ZeroMq<'a> {
    pub(super) fn new(dialect: Dialect, front: &'a str, back: &'a str) -> Self {
        Self { context: zmq::Context::new(), dialect, front, back }
    }

    fn socket(&self, endpoint: &str) -> Socket {
        let socket = self.context.socket(zmq::DEALER).unwrap();
        socket.set_linger(0).unwrap();
        socket.set_sndhwm(0).unwrap();
        socket.set_rcvhwm(0).unwrap();
        socket.connect(endpoint).unwrap();
        socket
    }
}

impl Transport for ZeroMq<'_> {
    type Client = ZeroMqClient;
    type Worker = ZeroMqWorker;

    fn client(&self) -> ZeroMqClient {
        let (socket, dialect) = (self.socket(self.front), self.dialect);
        ZeroMqClient { socket, dialect, frames: Vec::new() }
    }

    fn worker(&self) -> ZeroMqWorker {
        let (socket, dialect) = (self.socket(self.back), self.dialect);
        match dialect {
            Dialect::Mdp => send(&socket, &[b"", b"MDPW01", b"\x01", b"echo"]),
            Dialect::Turns => send(&socket, &[b""]),
            Dialect::Bare => {}
        }
        ZeroMqWorker { socket, dialect }
    }
}

fn send(socket: &Socket, frames: &[&[u8]]) {
    socket.send_multipart(frames, 0).unwrap();
}

/// Receives a message within `wait`, or says that there is none.
fn receive(socket: &Socket, wait: Duration, frames: &mut Vec<Message>) -> bool {
    frames.clear();
    let mut first = socket.recv_msg(zmq::DONTWAIT);
    if first.is_err() && !wait.is_zero() {
        socket.poll(zmq::POLLIN, i64::try_from(wait.as_millis()).unwrap()).unwrap();
        first = socket.recv_msg(zmq::DONTWAIT);
    }
    let Ok(mut frame) = first else { return false };
    while frame.get_more() {
        frames.push(frame);
        frame = socket.recv_msg(0).unwrap();
    }
    frames.push(frame);
    true
}

pub(super) struct ZeroMqClient {
    socket: Socket,
    dialect: Dialect,
    frames: Vec<Message>,
}

impl Client for ZeroMqClient {
    fn ask(&mut self, body: &[u8]) {
        match self.dialect {
            Dialect::Mdp => send(&self.socket, &[b"", b"MDPC01", b"echo", body]),
            Dialect::Bare | Dialect::Turns => send(&self.socket, &[body]),
        }
    }

    fn answer(&mut self, wait: Duration) -> Option<&[u8]> {
        let is_there = receive(&self.socket, wait, &mut self.frames);
        self.frames.last().filter(|_| is_there).map(|body| &body[..])
    }
}

pub(super) struct ZeroMqWorker {
    socket: Socket,
    dialect: Dialect,
}

impl Worker for ZeroMqWorker {
    fn work(self, stop: &AtomicBool) {
        let (mut frames, mut beat) = (Vec::new(), Instant::now());
        while !stop.load(Ordering::Relaxed) {
            if self.dialect == Dialect::Mdp && beat.elapsed() > HEARTBEAT {
                send(&self.socket, &[b"", b"MDPW01", b"\x04"]);
                beat = Instant::now();
            }
            if !receive(&self.socket, WAIT, &mut frames) {
                continue;
            }
            if self.dialect == Dialect::Mdp {
                if *frames[2] != *b"\x02" {
                    continue;
                }
                frames[2] = Message::from(&b"\x03"[..]);
            }
            self.socket.send_multipart(frames.drain(..), 0).unwrap();
        }
    }
}
