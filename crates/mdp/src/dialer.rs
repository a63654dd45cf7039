//! How the sockets of clients and workers are opened.
//!
//! Never in here: what is said over them.

use std::time::Duration;

use crate::io::{Clock, poll, set_common_options};
use crate::security::ClientCurve;

/// Bytes of one frame that are taken in, as many as a broker takes by default. libzmq closes the
/// connection to a broker that sends more.
pub(crate) const FRAME_BYTES_MAX: i64 = 64 << 20;

/// Messages that a socket keeps in each direction, unless more are in flight.
pub(crate) const QUEUE_MAX: i32 = 10_000;

/// Opens DEALER sockets, each without an identity of its own (mdp.md §11.4). They must be dropped
/// before it.
pub(crate) struct Dialer {
    curve: Option<ClientCurve>,
    frame_bytes_max: i64,
    /// Messages kept in each direction.
    queue_max: i32,
    context: zmq::Context,
}

impl Dialer {
    pub(crate) fn new(curve: Option<ClientCurve>, frame_bytes_max: i64, queue_max: i32) -> Self {
        Self { curve, frame_bytes_max, queue_max, context: zmq::Context::new() }
    }

    /// Opens a socket that connects, and connects again, in the background.
    pub(crate) fn dial(&self, endpoint: &str) -> Result<zmq::Socket, zmq::Error> {
        let socket = self.prepare(endpoint)?;
        socket.connect(endpoint)?;
        Ok(socket)
    }

    /// Says whether a connection is made within `patience`, blocking the thread.
    pub(crate) fn reaches(&self, endpoint: &str, patience: Duration) -> Result<bool, zmq::Error> {
        let socket = self.prepare(endpoint)?;
        // Such a socket takes messages only once a handshake has succeeded.
        socket.set_immediate(true)?;
        socket.connect(endpoint)?;
        let clock = Clock::start();
        loop {
            let left = patience.saturating_sub(clock.now());
            let mut items = [socket.as_poll_item(zmq::POLLOUT)];
            poll(&mut items, left)?;
            let [item] = &items;
            if item.is_writable() {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    fn prepare(&self, endpoint: &str) -> Result<zmq::Socket, zmq::Error> {
        let socket = self.context.socket(zmq::DEALER)?;
        set_common_options(&socket)?;
        socket.set_linger(100)?;
        socket.set_sndhwm(self.queue_max)?;
        socket.set_rcvhwm(self.queue_max)?;
        socket.set_maxmsgsize(self.frame_bytes_max)?;
        socket.set_connect_timeout(10_000)?;
        socket.set_reconnect_ivl_max(2_000)?;
        socket.set_ipv6(endpoint.contains('['))?;
        if let Some(curve) = &self.curve {
            curve.apply(&socket)?;
        }
        Ok(socket)
    }
}
