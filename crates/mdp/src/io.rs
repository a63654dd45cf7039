//! What the I/O threads share: the clock, the wake-up, frames in and out of a socket.
//!
//! Each socket is owned by one thread; others put work into a bounded queue and wake it.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::wire::Part;

/// The monotonic time since the start of a driver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "a driver is where the clock is read")]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Duration {
        self.0.elapsed()
    }
}

/// Returns bits that differ for each start, from the operating system's randomness.
pub(crate) fn random_u64() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// Wakes an I/O thread out of its poll.
#[derive(Debug)]
pub(crate) struct Waker {
    writer: UnixStream,
    raised: Arc<AtomicBool>,
}

impl Waker {
    /// Wakes the thread; to be called after the work was put into its queue.
    pub(crate) fn wake(&self) {
        if !self.raised.swap(true, Ordering::SeqCst) {
            // A full pipe wakes the thread just as well, and a closed one has no thread.
            match (&self.writer).write(&[1]) {
                Ok(_) | Err(_) => {}
            }
        }
    }
}

/// Wakes a thread when dropped, so that it sees that nobody is left.
#[derive(Debug)]
pub(crate) struct WakeOnDrop(pub(crate) Arc<Waker>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// The I/O thread's end of a [`Waker`].
#[derive(Debug)]
pub(crate) struct WakeSource {
    reader: UnixStream,
    raised: Arc<AtomicBool>,
}

impl WakeSource {
    /// Returns the descriptor to poll for readability.
    pub(crate) fn fd(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    /// Takes the wake-ups in; the queue must be drained afterwards.
    ///
    /// The flag falls after the bytes are read: work queued before that is seen by the drain that
    /// follows, work queued later raises the flag again and writes.
    pub(crate) fn clear(&mut self) {
        let mut sink = [0; 64];
        loop {
            match self.reader.read(&mut sink) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.raised.store(false, Ordering::SeqCst);
    }
}

pub(crate) fn wake_pair() -> std::io::Result<(Waker, WakeSource)> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    writer.set_nonblocking(true)?;
    let raised = Arc::new(AtomicBool::new(false));
    Ok((Waker { writer, raised: Arc::clone(&raised) }, WakeSource { reader, raised }))
}

/// Keeps the frames of one received message, reusing their places.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    frames: Vec<zmq::Message>,
    used: usize,
    bytes: usize,
}

/// A message larger than this is not kept in memory until its places are used again.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// What one attempt to receive gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Nothing,
    Message,
    /// A message of more frames than allowed, which was read and thrown away.
    TooManyFrames,
}

impl Inbox {
    /// Receives one whole message without waiting.
    pub(crate) fn receive(
        &mut self,
        socket: &zmq::Socket,
        frames_max: usize,
    ) -> Result<Received, zmq::Error> {
        if self.bytes > KEPT_BYTES_MAX {
            self.frames.clear();
        }
        (self.used, self.bytes) = (0, 0);
        let mut surplus = false;
        loop {
            if self.used == self.frames.len() {
                self.frames.push(zmq::Message::new());
            }
            let Some(frame) = self.frames.get_mut(self.used) else {
                return Ok(Received::Nothing);
            };
            match socket.recv(frame, zmq::DONTWAIT) {
                Ok(()) => {}
                Err(zmq::Error::EINTR) => continue,
                Err(zmq::Error::EAGAIN) => return Ok(Received::Nothing),
                Err(error) => return Err(error),
            }
            let more = frame.get_more();
            self.bytes = self.bytes.saturating_add(frame.len());
            if self.used + 1 < frames_max {
                self.used += 1;
            } else if more {
                surplus = true;
            } else {
                self.used += 1;
            }
            if !more {
                return Ok(if surplus { Received::TooManyFrames } else { Received::Message });
            }
        }
    }

    /// Returns the frames of the message last received.
    pub(crate) fn frames(&self) -> &[zmq::Message] {
        self.frames.get(..self.used).unwrap_or_default()
    }

    /// Returns who the security mechanism says sent the message last received.
    pub(crate) fn user(&mut self) -> Option<Arc<str>> {
        self.frames.get_mut(self.used.checked_sub(1)?)?.gets("User-Id").map(Arc::from)
    }
}

/// Sends one message without waiting and empties `parts`.
pub(crate) fn send_parts(socket: &zmq::Socket, parts: &mut Vec<Part>) -> Result<(), zmq::Error> {
    let result = try_send_parts(socket, parts);
    parts.clear();
    result
}

/// Sends one message without waiting.
///
/// Only the first frame can fail with EAGAIN or EHOSTUNREACH, and then nothing was sent.
pub(crate) fn try_send_parts(socket: &zmq::Socket, parts: &[Part]) -> Result<(), zmq::Error> {
    let last = parts.len().saturating_sub(1);
    for (at, part) in parts.iter().enumerate() {
        let more = if at < last { zmq::SNDMORE } else { 0 };
        loop {
            match socket.send(zmq::Message::from(part.as_slice()), zmq::DONTWAIT | more) {
                Ok(()) => break,
                Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Waits until one of `items` is ready or `timeout` passed; a signal counts as a wake-up.
pub(crate) fn poll(items: &mut [zmq::PollItem<'_>], timeout: Duration) -> Result<(), zmq::Error> {
    // Rounded up, so that a timer is due when the poll returns.
    let ms = i64::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i64::MAX);
    match zmq::poll(items, ms) {
        Ok(_) | Err(zmq::Error::EINTR) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Options every socket of ours has (mdp.md §15.2): dead peers are noticed by the transport too.
pub(crate) fn set_common_options(socket: &zmq::Socket) -> Result<(), zmq::Error> {
    socket.set_heartbeat_ivl(5_000)?;
    socket.set_heartbeat_timeout(15_000)?;
    socket.set_handshake_ivl(10_000)?;
    socket.set_tcp_keepalive(1)?;
    socket.set_tcp_keepalive_idle(60)?;
    socket.set_tcp_keepalive_intvl(10)?;
    socket.set_tcp_keepalive_cnt(3)
}
