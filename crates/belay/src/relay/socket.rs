//! One WebSocket: its admission, what comes and what goes (Belay §22.4).
//!
//! One task for each connection, none for a call. Never here: what messages mean.

use std::{net::IpAddr, sync::atomic::Ordering, time::Duration};

use axum::{
    Router,
    extract::{
        Request, State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket},
    },
    response::{IntoResponse as _, Response},
    routing::any,
};
use buswire_message::{SecretHash, source_of};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use tokio::time::{sleep, timeout};

use super::{ConnectionId, Input, Mailbox, Metrics, Post, Relay};
use crate::{
    http::client_address,
    relay::{
        error::{CloseReason, Refusal},
        wire::{FromPeer, ToPeer},
    },
};

/// Seconds after which a client that was refused tries again.
const RETRY_AFTER_SECS: HeaderValue = HeaderValue::from_static("10");
/// How long the peer's part of the closing handshake is waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a socket is kept whose peer sends what can't be read: dropping it with unread bytes would
/// reset the connection, and the peer might never see why.
const LINGER: Duration = Duration::from_secs(1);
/// An idle connection holds this; the library's own default is 32 times as much.
const READ_BUFFER: usize = 4096;

impl Relay {
    /// The path `/belay/relay`, where windows open their WebSocket.
    pub fn router(&self) -> Router {
        Router::new().route("/belay/relay", any(open)).with_state(self.clone())
    }

    /// Gives a connection its place, unless there is no room.
    fn admit(&self, source: Option<IpAddr>) -> Result<Place, StatusCode> {
        let config = &self.0.config;
        let mut shared = self.0.shared();
        if shared.mailboxes.len() >= config.connections_max || self.0.tracker.is_closed() {
            return Err(StatusCode::SERVICE_UNAVAILABLE);
        }
        if let Some(source) = source {
            let open = shared.by_source.get(&source).copied().unwrap_or_default();
            if open >= config.address_connections_max {
                return Err(StatusCode::TOO_MANY_REQUESTS);
            }
            shared.by_source.insert(source, open + 1);
        }
        let id = ConnectionId(self.0.next_id.fetch_add(1, Ordering::Relaxed));
        shared.mailboxes.insert(id, Mailbox::default());
        self.0.metrics.connections.increment(1);
        Ok(Place { relay: self.clone(), id, source })
    }
}

async fn open(State(relay): State<Relay>, upgrade: WebSocketUpgrade, request: Request) -> Response {
    let source = client_address(request.extensions()).map(source_of);
    let place = match relay.admit(source) {
        Ok(place) => place,
        Err(status) => {
            relay.0.metrics.refused.increment(1);
            return (status, [(RETRY_AFTER, RETRY_AFTER_SECS)]).into_response();
        }
    };
    let longest = relay.0.config.message_bytes_max;
    let tracker = relay.0.tracker.clone();
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        // What goes out may be longer than what came in by an answer's few members.
        .max_write_buffer_size(2 * longest + READ_BUFFER)
        .max_message_size(longest)
        .max_frame_size(longest)
        .on_upgrade(move |socket| tracker.track_future(place.carry(socket)))
}

/// A place among the connections; dropping it ends the connection for everybody else.
struct Place {
    relay: Relay,
    id: ConnectionId,
    source: Option<IpAddr>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let inner = &self.relay.0;
        inner.apply(Input::Closed(self.id));
        inner.metrics.connections.decrement(1);
        let mut shared = inner.shared();
        shared.mailboxes.remove(&self.id);
        if let Some(source) = self.source
            && let Some(count) = shared.by_source.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                shared.by_source.remove(&source);
            }
        }
    }
}

impl Place {
    /// Moves messages until the connection ends.
    async fn carry(self, mut socket: WebSocket) {
        let inner = &self.relay.0;
        inner.apply(Input::Opened(self.id));
        loop {
            tokio::select! {
                post = inner.next_post(self.id) => match post {
                    Post::Send(message) => {
                        let message = self.checked(message).await;
                        if !self.send(&mut socket, &message).await {
                            return;
                        }
                    }
                    // Nothing more is read until the store has answered.
                    Post::Claim { id, token, shown } => {
                        let outcome = inner.claim(&id, &token, shown, self.source).await;
                        inner.apply(Input::Claimed { by: self.id, id, outcome });
                    }
                    Post::Close(reason) => return close(socket, reason).await,
                },
                received = socket.recv() => match received {
                    Some(Ok(message)) => self.receive(message),
                    Some(Err(error)) if is_too_long(&error) => {
                        inner.apply(Input::Broken(self.id, CloseReason::TooBig));
                        return close(socket, CloseReason::TooBig).await;
                    }
                    Some(Err(_)) | None => return,
                },
            }
        }
    }

    /// Tells other gateways of a window before its owner is told that it is registered, or refuses it.
    async fn checked(&self, message: ToPeer) -> ToPeer {
        let ToPeer::Registered { id, resume } = message else { return message };
        if self.relay.0.arrived(self.id, &id, &SecretHash::of(resume.expose())).await {
            return ToPeer::Registered { id, resume };
        }
        let refusal = Refusal::Taken;
        ToPeer::Refused { id, status: refusal.status(), message: refusal.as_str() }
    }

    fn receive(&self, message: Message) {
        let inner = &self.relay.0;
        match message {
            Message::Text(text) => {
                inner.metrics.received.increment(1);
                let (from, bytes) = (self.id, text.len());
                // Parsed before anybody has to wait for it.
                let message = FromPeer::parse(text.as_str());
                inner.apply(Input::Received { from, message, bytes });
            }
            Message::Binary(_) => inner.apply(Input::Broken(self.id, CloseReason::Binary)),
            // A closing handshake is answered while the end of the stream is awaited.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => {
                inner.apply(Input::Heard(self.id));
            }
        }
    }

    /// Writes a message; returns whether the connection goes on.
    async fn send(&self, socket: &mut WebSocket, message: &ToPeer) -> bool {
        let inner = &self.relay.0;
        let text = Message::Text(message.encode().into());
        match timeout(inner.config.write_timeout, socket.send(text)).await {
            Ok(Ok(())) => {
                inner.metrics.sent.increment(1);
                inner.apply(Input::Taken { by: self.id, bytes: message.size() });
                true
            }
            Ok(Err(_)) => false,
            Err(_) => {
                Metrics::closed(CloseReason::Slow);
                false
            }
        }
    }
}

/// Says why, and lets the peer say that it has read it.
async fn close(mut socket: WebSocket, reason: CloseReason) {
    let frame = CloseFrame { code: reason.code(), reason: reason.as_str().into() };
    let handshake = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    // Who does not answer is cut off.
    let _in_time = timeout(CLOSE_TIMEOUT, handshake).await;
    if reason == CloseReason::TooBig {
        sleep(LINGER).await;
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    use tokio_tungstenite::tungstenite::Error;
    let source = std::error::Error::source(error);
    matches!(source.and_then(|it| it.downcast_ref::<Error>()), Some(Error::Capacity(_)))
}
