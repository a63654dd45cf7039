//! A message as readers share it.
//!
//! Never here: how a protocol shows a message; it hands in the encoder.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use buswire_message::Message;
use bytes::Bytes;

/// A form in which a message is shown. Each is encoded at most once for each message and process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum View {
    /// A frame of Backplane 1.x without `expire` (Backplane §6.1).
    V1Frame,
    /// A frame of Backplane 1.3, with `expire`.
    V13Frame,
    /// A Backplane 2.0 message without its payload (Backplane §7.1).
    V2Header,
    /// A Backplane 2.0 message with its payload.
    V2Full,
    /// Buswire's own JSON form.
    Json,
}

impl View {
    const COUNT: usize = 5;

    const fn index(self) -> usize {
        match self {
            Self::V1Frame => 0,
            Self::V13Frame => 1,
            Self::V2Header => 2,
            Self::V2Full => 3,
            Self::Json => 4,
        }
    }
}

type Views = [OnceLock<Bytes>; View::COUNT];

/// A message on a bus, shared by everybody who reads it.
///
/// Dereferences to [`Message`]. Its payload is a part of the bytes that the store keeps.
#[derive(Debug)]
pub struct StoredMessage {
    message: Message,
    record_len: usize,
    views: OnceLock<Box<Views>>,
}

impl StoredMessage {
    pub(crate) fn new(message: Message, record_len: usize) -> Arc<Self> {
        Arc::new(Self { message, record_len, views: OnceLock::new() })
    }

    /// A message that is in no window: one that a route changed on its way, or that was kept
    /// elsewhere after the bus let it go.
    pub fn detached(message: Message) -> Arc<Self> {
        Self::new(message, 0)
    }

    /// The bytes of the message in the form `view`, made by `encode` the first time and shared
    /// from then on. Whoever asks for one view of messages must always pass the same encoder.
    ///
    /// Costs the length of the form in memory for as long as the message is in the window.
    pub fn view(&self, view: View, encode: impl FnOnce(&Message) -> Bytes) -> Bytes {
        let views = self.views.get_or_init(Box::default);
        match views.get(view.index()) {
            Some(slot) => slot.get_or_init(|| encode(&self.message)).clone(),
            None => encode(&self.message),
        }
    }

    /// The bytes of its record.
    pub(crate) const fn record_len(&self) -> usize {
        self.record_len
    }
}

impl Deref for StoredMessage {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}
