//! Moves one WebSocket: bytes in, bytes out (SimplePush §5.2).
//!
//! One future for each connection, written by hand: no channel, no timer and no second task belong to
//! it, and it holds buffers only while there are bytes, which keeps an idle connection small. Never
//! here: what messages mean.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buswire_message::Timestamp;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use crate::{
    admission::OpenConnection,
    connection::{Input, Transmit},
    error::CloseReason,
    frames::{FrameFault, Incoming, Outgoing, Reader},
    metrics::Metrics,
    service::{Availability, Shared},
    session::Session,
};

/// Rounds of one poll before other tasks get their turn. Each moves a message or more, so a busy
/// connection costs one reschedule for so many messages.
const ROUNDS_MAX: usize = 32;
/// Bytes that are read at once, on the stack.
const READ_BYTES: usize = 4096;
/// Bytes that may wait to be written before nothing more is read: what a client's PINGs can pile up.
const UNWRITTEN_MAX: usize = 4096;

/// One connection from the answered upgrade request to its end. The waiting and the driving share
/// their memory, and the task that owns this is one of the server's own.
#[expect(
    clippy::large_enum_variant,
    reason = "opening lasts a moment; a box would last as long as driving"
)]
pub(crate) enum Carrier {
    /// The answer to the upgrade request is being written.
    Opening(OnUpgrade, Arc<Shared>, Option<OpenConnection>),
    /// The WebSocket is open.
    Driving(Driver),
}

impl Future for Carrier {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let carrier = self.get_mut();
        if let Self::Opening(upgrade, shared, open) = carrier {
            let upgraded = ready!(Pin::new(upgrade).poll(cx));
            let (Ok(upgraded), Some(open)) = (upgraded, open.take()) else {
                return Poll::Ready(());
            };
            *carrier = Self::Driving(Driver::new(upgraded, Arc::clone(shared), open));
        }
        match carrier {
            Self::Opening(..) => Poll::Ready(()),
            Self::Driving(driver) => Pin::new(driver).poll(cx),
        }
    }
}

/// Whether anything can be read from the socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// It can.
    Open,
    /// Nothing that comes can be made sense of. The socket is kept until the closing handshake times
    /// out: dropping it with unread bytes would reset the connection, and the peer might never see
    /// the close frame.
    Deaf,
}

/// Whether anything may still be handed to the socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Writing {
    Open,
    /// A close frame was handed over: nothing may follow.
    Closed,
}

/// Bytes that the socket has not taken yet. Holds no memory when there are none.
#[derive(Default)]
struct Unwritten {
    bytes: Vec<u8>,
    taken: usize,
    /// Whether the socket took bytes that it may not have passed on.
    unflushed: bool,
}

impl Unwritten {
    const fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    const fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.unflushed
    }

    fn push(&mut self, frame: Outgoing<'_>) {
        frame.push_to(&mut self.bytes);
    }

    /// Writes what the socket takes. Returns whether it took any, also if it then took no more.
    fn poll_write(
        &mut self,
        socket: &mut TokioIo<Upgraded>,
        cx: &mut Context<'_>,
    ) -> (bool, Poll<io::Result<()>>) {
        let mut moved = false;
        while let Some(rest) = self.bytes.get(self.taken..).filter(|rest| !rest.is_empty()) {
            match Pin::new(&mut *socket).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => {
                    return (moved, Poll::Ready(Err(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(taken)) => {
                    (moved, self.unflushed) = (true, true);
                    self.taken += taken;
                }
                Poll::Ready(Err(error)) => return (moved, Poll::Ready(Err(error))),
                Poll::Pending => return (moved, Poll::Pending),
            }
        }
        *self = Self { unflushed: self.unflushed, ..Self::default() };
        let flushed = Pin::new(socket).poll_flush(cx);
        self.unflushed = flushed.is_pending();
        (moved, flushed)
    }
}

/// Drives one connection to its end.
pub(crate) struct Driver {
    socket: Option<TokioIo<Upgraded>>,
    reader: Reader,
    /// What was read but not taken yet, since the session wants no more for now.
    unread: Vec<u8>,
    unwritten: Unwritten,
    reading: Reading,
    writing: Writing,
    session: Session,
    shared: Arc<Shared>,
}

impl Driver {
    fn new(upgraded: Upgraded, shared: Arc<Shared>, open: OpenConnection) -> Self {
        let session = Session::new(Arc::clone(&shared), open);
        if shared.availability() == Availability::Draining {
            session.end(CloseReason::Draining);
        }
        Self {
            socket: Some(TokioIo::new(upgraded)),
            reader: Reader::default(),
            unread: Vec::new(),
            unwritten: Unwritten::default(),
            reading: Reading::Open,
            writing: Writing::Open,
            session,
            shared,
        }
    }

    fn wants_read(&self) -> bool {
        self.reading == Reading::Open
            && self.unwritten.len() < UNWRITTEN_MAX
            && self.session.core().wants_read()
    }

    /// Reads once if the session wants any. Returns whether anything came.
    fn read(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        if !self.wants_read() {
            return false;
        }
        if !self.unread.is_empty() {
            let unread = std::mem::take(&mut self.unread);
            self.take_bytes(now, &unread);
            return true;
        }
        let Some(socket) = &mut self.socket else { return false };
        let mut storage = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut buffer = ReadBuf::uninit(&mut storage);
        match Pin::new(socket).poll_read(cx, &mut buffer) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                self.take_bytes(now, buffer.filled());
            }
            Poll::Ready(_) => self.session.handle(now, Input::PeerClosed),
        }
        true
    }

    /// Takes messages out of `bytes` while the session wants any; the rest waits.
    fn take_bytes(&mut self, now: Timestamp, bytes: &[u8]) {
        let mut rest = bytes;
        while self.wants_read() {
            match self.reader.read(&mut rest, &self.shared.config.limits) {
                Ok(None) => break,
                Ok(Some(incoming)) => self.take_incoming(now, incoming),
                Err(fault) => self.give_up(now, reason(fault)),
            }
        }
        if self.reading == Reading::Open {
            self.unread = rest.to_vec();
            let receiving =
                if self.reader.is_receiving() { Input::Receiving } else { Input::Received };
            self.session.handle(now, receiving);
        }
    }

    fn take_incoming(&mut self, now: Timestamp, incoming: Incoming) {
        match incoming {
            Incoming::Text(text) => {
                self.shared.metrics.messages.increment(1);
                // The next message has its own time.
                self.session.handle(now, Input::Received);
                self.session.handle(now, Input::Text(&text));
            }
            Incoming::Binary => self.give_up(now, CloseReason::Binary),
            Incoming::Ping(payload) => {
                if self.writing == Writing::Open {
                    self.unwritten.push(Outgoing::Pong(&payload));
                }
                self.session.handle(now, Input::Control);
            }
            Incoming::Pong => self.session.handle(now, Input::Control),
            Incoming::Close(code) => {
                self.reading = Reading::Deaf;
                // R-DEL-11: the entry in the table is gone before the answer is sent.
                self.session.handle(now, Input::PeerClosed);
                if self.writing == Writing::Open {
                    self.writing = Writing::Closed;
                    self.unwritten.push(Outgoing::Close(code));
                }
            }
        }
    }

    fn give_up(&mut self, now: Timestamp, reason: CloseReason) {
        self.reading = Reading::Deaf;
        self.session.handle(now, Input::Unreadable(reason));
    }

    /// Hands over what is to be written while the socket takes it. Returns whether it took any.
    fn write(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let mut moved = false;
        loop {
            if !self.unwritten.is_empty() {
                moved |= self.flush(cx, now);
            }
            let free = self.unwritten.is_empty() && self.writing == Writing::Open;
            if !free || !self.session.core().wants_write() {
                return moved;
            }
            let Some(transmit) = self.session.poll_transmit(now) else { return moved };
            match &transmit {
                Transmit::Text(text) => {
                    self.shared.metrics.sent.increment(1);
                    self.unwritten.push(Outgoing::Text(text));
                }
                Transmit::Probe => self.unwritten.push(Outgoing::Ping),
                Transmit::Close(reason) => {
                    Metrics::closed(*reason);
                    self.writing = Writing::Closed;
                    self.unwritten.push(Outgoing::Close(Some(reason.code())));
                }
            }
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let Some(socket) = &mut self.socket else {
            self.unwritten = Unwritten::default();
            return false;
        };
        let (moved, written) = self.unwritten.poll_write(socket, cx);
        if moved {
            // Progress: the time for the rest begins anew.
            self.session.handle(now, Input::Written);
        }
        match written {
            Poll::Ready(Ok(())) => self.session.handle(now, Input::Written),
            Poll::Ready(Err(_)) => {
                self.unwritten = Unwritten::default();
                self.session.handle(now, Input::PeerClosed);
            }
            Poll::Pending => self.session.handle(now, Input::WriteBlocked),
        }
        moved
    }

    /// Lets go of the socket: the answer to a close frame is written if the socket takes it.
    fn hang_up(&mut self, cx: &mut Context<'_>) {
        if let Some(mut socket) = self.socket.take() {
            let (_moved, _written) = self.unwritten.poll_write(&mut socket, cx);
            let _closed = Pin::new(&mut socket).poll_shutdown(cx);
        }
        self.unwritten = Unwritten::default();
        self.unread = Vec::new();
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let driver = self.get_mut();
        driver.session.register(cx);
        for _ in 0..ROUNDS_MAX {
            let mut moved = driver.session.poll(cx);
            let now = driver.session.now();
            moved |= driver.read(cx, now);
            moved |= driver.write(cx, now);
            if driver.session.core().is_hung_up() {
                driver.hang_up(cx);
            }
            if driver.session.core().is_finished() {
                return Poll::Ready(());
            }
            if !moved {
                driver.session.reschedule();
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Driver")
    }
}

/// What a fault of the frames ends the connection with.
const fn reason(fault: FrameFault) -> CloseReason {
    match fault {
        FrameFault::BadFrame => CloseReason::BadFrame,
        FrameFault::BadUtf8 => CloseReason::BadUtf8,
        FrameFault::TooBig => CloseReason::TooBig,
        FrameFault::Fragments => CloseReason::Flood,
    }
}
