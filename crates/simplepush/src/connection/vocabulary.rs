//! The words between a connection and its driver: inputs, effects, commands and replies.

use std::fmt;

use buswire_message::{Timestamp, Version};
use buswire_store::Revision;

use crate::{
    error::CloseReason,
    id::{ChannelId, Uaid},
    metrics::Event,
    wakeup::WakePlace,
    wire::AckedVersion,
};

/// What happens to a connection.
pub(crate) enum Input<'a> {
    /// A text message.
    Text(&'a str),
    /// A control frame other than close.
    Control,
    /// A message has begun and not ended.
    Receiving,
    /// No message is on its way in.
    Received,
    /// Something that can't be read, so that the connection is to be closed for this reason.
    Unreadable(CloseReason),
    /// The peer's close frame, or the end of the socket.
    PeerClosed,
    /// A PUT was accepted for a channel of this UserAgent.
    Update(Update),
    /// Another process may have accepted a PUT for this UserAgent.
    Recheck,
    /// What the last [`Command`] came to.
    Store(Reply),
    /// The connection is to end.
    End(CloseReason),
    /// The socket does not take what is to be written.
    WriteBlocked,
    /// Everything is written.
    Written,
}

/// A version that a PUT brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    /// The channel.
    pub(crate) channel: ChannelId,
    /// The version of this PUT.
    pub(crate) version: Version,
    /// The revision that the pending row has after it.
    pub(crate) revision: Revision,
    /// What the application server passed along, never stored (R-DATA-1).
    pub(crate) data: Option<Box<str>>,
}

/// What is to be done at once.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    /// Enter the connection in the table as that of this UAID, in place of any other.
    Claim(Uaid),
    /// Remove the entry, if it is still this connection's (R-DEL-10).
    Release,
    /// Count this.
    Count(Event),
    /// Run the command; its reply is an [`Input::Store`].
    Store(Command),
}

/// What is to be written to the socket.
#[derive(PartialEq, Eq)]
pub(crate) enum Transmit {
    /// A text message (R-WS-6).
    Text(String),
    /// A WebSocket PING (R-WS-12).
    Probe,
    /// A close frame; nothing is written after it.
    Close(CloseReason),
}

impl fmt::Debug for Transmit {
    /// Shows no text: it holds UAIDs and endpoints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Probe => f.write_str("Probe"),
            Self::Close(reason) => write!(f, "Close({reason:?})"),
        }
    }
}

/// What the store is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Command {
    /// Make this connection the one that the UserAgent has, for other gateways too; then read what is
    /// stored of it.
    Enter(Uaid),
    /// Read what is stored of a UserAgent.
    Load(Uaid),
    /// Tell other gateways that the UserAgent is no longer connected here.
    Leave(Uaid),
    /// Delete a UAID with all its channels.
    Drop(Uaid),
    /// Delete some channels if the record is still at this revision.
    Prune {
        /// The UserAgent.
        uaid: Uaid,
        /// The revision of the record in which they were found.
        revision: Revision,
        /// The channels.
        channels: Vec<ChannelId>,
    },
    /// Carry out changes in order.
    Apply {
        /// The UserAgent.
        uaid: Uaid,
        /// The changes.
        changes: Vec<Change>,
    },
    /// Say that the UserAgent is still there.
    Touch(Uaid),
    /// Note where the UserAgent can be woken, if it can be.
    Wake(Uaid, Option<Box<WakePlace>>),
}

/// One change that a client asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// Register a channel.
    Register(ChannelId),
    /// Delete a channel.
    Unregister(ChannelId),
    /// Clear a pending version that was acknowledged, unless it has grown beyond (R-ACK-2).
    Clear {
        /// The channel.
        channel: ChannelId,
        /// The pending version that was acknowledged.
        version: Version,
        /// The acknowledgement.
        acked: AckedVersion,
        /// The revision of the row in which that version is thought to be.
        revision: Revision,
    },
}

/// What a [`Command`] came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// To [`Command::Enter`] and [`Command::Load`].
    Loaded(Loaded),
    /// [`Command::Leave`], [`Command::Drop`], [`Command::Prune`], [`Command::Touch`] or
    /// [`Command::Wake`] is done.
    Done,
    /// [`Command::Prune`] met another revision.
    Conflict,
    /// To [`Command::Apply`]: one answer for each change.
    Applied(Vec<Done>),
    /// The store can't do it.
    Failed,
}

/// What a [`Change`] came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// The channel is registered and has this endpoint.
    Registered(EndpointUrl),
    /// The UserAgent has too many channels (R-REG-5).
    TooMany,
    /// The channel is not registered.
    Unregistered,
    /// The acknowledgement was taken.
    Cleared,
}

/// The URL that notifies a channel: whoever holds it may.
#[derive(PartialEq, Eq)]
pub(crate) struct EndpointUrl(pub(crate) Box<str>);

impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EndpointUrl(…)")
    }
}

/// What is stored of a UserAgent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// Nothing.
    Unknown,
    /// The UserAgent has a newer connection, at another gateway.
    Superseded,
    /// Something that can't be relied on, since the store may have lost writes (§11.3).
    Stale,
    /// This.
    Known(UserAgent),
}

/// A UserAgent that has channels.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UserAgent {
    /// The revision of the record.
    pub(crate) revision: Revision,
    /// When the store was last told that it is there.
    pub(crate) touched: Timestamp,
    /// Its channels, sorted.
    pub(crate) channels: Vec<ChannelId>,
    /// The pending versions of these channels.
    pub(crate) pending: Vec<PendingVersion>,
}

/// A version that waits to be acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PendingVersion {
    /// Its channel.
    pub(crate) channel: ChannelId,
    /// The version.
    pub(crate) version: Version,
    /// The revision of its row.
    pub(crate) revision: Revision,
}
