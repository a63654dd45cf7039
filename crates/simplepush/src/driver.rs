//! Moves one WebSocket: frames in, frames out (SimplePush §5.2).
//!
//! One future for each connection, written by hand: no channel, no timer and no second task belong to
//! it, which keeps an idle connection small. Never here: what messages mean.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use buswire_message::Timestamp;
use futures::{FutureExt as _, Sink, Stream};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

use crate::{
    connection::{Input, Transmit},
    error::CloseReason,
    metrics::Metrics,
    service::{Availability, OpenConnection, Shared},
    session::Session,
};

/// Rounds of one poll before other tasks get their turn. Each moves a message or more, so a busy
/// connection costs one reschedule for so many messages.
const ROUNDS_MAX: usize = 32;

type WebSocket = WebSocketStream<TokioIo<Upgraded>>;

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
            let Poll::Ready(upgraded) = Pin::new(upgrade).poll(cx) else { return Poll::Pending };
            let socket = upgraded.ok().and_then(|upgraded| websocket(shared, upgraded));
            let (Some(socket), Some(open)) = (socket, open.take()) else { return Poll::Ready(()) };
            let driver = Driver::new(socket, Arc::clone(shared), open);
            *carrier = Self::Driving(driver);
        }
        match carrier {
            Self::Opening(..) => Poll::Ready(()),
            Self::Driving(driver) => Pin::new(driver).poll(cx),
        }
    }
}

fn websocket(shared: &Shared, upgraded: Upgraded) -> Option<WebSocket> {
    let limits = &shared.config.limits;
    let config = WebSocketConfig::default()
        .read_buffer_size(limits.read_buffer_bytes)
        .write_buffer_size(0)
        .max_write_buffer_size(limits.write_buffer_bytes_max)
        .max_message_size(Some(limits.message_bytes_max))
        .max_frame_size(Some(limits.message_bytes_max));
    // It only wraps the socket, so it is ready at once.
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config))
        .now_or_never()
}

/// Whether the socket has taken everything that was handed to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outgoing {
    Flushed,
    Pending,
    /// A close frame was handed over: nothing may follow.
    Closing,
}

/// Whether anything can be read from the socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Incoming {
    Open,
    /// The library gave up on what the peer sends. The socket is kept until the closing handshake
    /// times out: dropping it with unread bytes would reset the connection, and the peer might never
    /// see the close frame.
    Deaf,
}

/// Drives one connection to its end.
pub(crate) struct Driver {
    socket: Option<WebSocket>,
    incoming: Incoming,
    session: Session,
    shared: Arc<Shared>,
    outgoing: Outgoing,
    _open: OpenConnection,
}

impl Driver {
    fn new(socket: WebSocket, shared: Arc<Shared>, open: OpenConnection) -> Self {
        let session = Session::new(Arc::clone(&shared));
        if shared.availability() == Availability::Draining {
            session.end(CloseReason::Draining);
        }
        Self {
            socket: Some(socket),
            incoming: Incoming::Open,
            session,
            shared,
            outgoing: Outgoing::Flushed,
            _open: open,
        }
    }

    /// Reads one frame if the session wants any. Returns whether one came.
    fn read(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        if self.incoming == Incoming::Deaf || !self.session.core().wants_read() {
            return false;
        }
        let Some(socket) = &mut self.socket else { return false };
        let Poll::Ready(item) = Pin::new(socket).poll_next(cx) else { return false };
        match item {
            Some(Ok(Message::Text(text))) => {
                self.shared.metrics.messages.increment(1);
                self.session.handle(now, Input::Text(&text));
            }
            Some(Ok(Message::Binary(_))) => self.session.handle(now, Input::Binary),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                self.session.handle(now, Input::Control);
            }
            // R-DEL-11: the entry in the table is gone before the answering close frame is sent.
            // Whole frames are never read as such.
            Some(Ok(Message::Close(_) | Message::Frame(_))) | None => {
                self.session.handle(now, Input::PeerClosed);
            }
            Some(Err(error)) => {
                self.incoming = Incoming::Deaf;
                self.session.handle(now, fault(&error));
            }
        }
        true
    }

    /// Hands over what is to be written while the socket takes it. Returns whether it took any.
    fn write(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let mut moved = false;
        while self.outgoing == Outgoing::Flushed && self.session.core().wants_write() {
            let Some(socket) = &mut self.socket else { return moved };
            let Some(transmit) = self.session.poll_transmit(now) else { return moved };
            moved = true;
            let (message, outgoing) = match transmit {
                Transmit::Text(text) => {
                    self.shared.metrics.sent.increment(1);
                    (Message::Text(text.into()), Outgoing::Pending)
                }
                Transmit::Probe => (Message::Ping(bytes::Bytes::new()), Outgoing::Pending),
                Transmit::Close(reason) => {
                    Metrics::closed(reason);
                    let frame = CloseFrame { code: reason.code().into(), reason: "".into() };
                    (Message::Close(Some(frame)), Outgoing::Closing)
                }
            };
            if Pin::new(socket).start_send(message).is_err() {
                self.session.handle(now, Input::PeerClosed);
                return true;
            }
            self.outgoing = outgoing;
            self.flush(cx, now);
        }
        if self.outgoing != Outgoing::Flushed {
            self.flush(cx, now);
        }
        moved
    }

    fn flush(&mut self, cx: &mut Context<'_>, now: Timestamp) {
        let Some(socket) = &mut self.socket else { return };
        match Pin::new(socket).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                if self.outgoing == Outgoing::Pending {
                    self.outgoing = Outgoing::Flushed;
                }
                self.session.handle(now, Input::Written);
            }
            // After the closing handshake that is how the end shows.
            Poll::Ready(Err(_)) => self.session.handle(now, Input::PeerClosed),
            Poll::Pending => self.session.handle(now, Input::WriteBlocked),
        }
    }

    /// Lets go of the socket: the answer to a close frame is written if the socket takes it.
    fn hang_up(&mut self, cx: &mut Context<'_>) {
        if let Some(mut socket) = self.socket.take() {
            // Reading once more makes the library write its answer; what it gives is of no interest.
            let _answered = Pin::new(&mut socket).poll_next(cx);
        }
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

/// What an error of the WebSocket library says of the peer (R-WS-8, R-WS-9).
fn fault(error: &Error) -> Input<'static> {
    match error {
        Error::Capacity(_) => Input::TooBig,
        Error::Utf8(_) => Input::BadUtf8,
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Input::PeerClosed,
        Error::Protocol(_) => Input::BadFrame,
        _ => Input::PeerClosed,
    }
}
