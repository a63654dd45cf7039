//! The keys of the rows of a UserAgent.

use buswire_store::{Key, KeyRange, StoreNameError};

use crate::id::ChannelId;

const PENDING: &[u8] = b"p";
const LAST: &[u8] = b"l";

/// The key of the record.
pub(super) fn record_key() -> Result<Key, StoreNameError> {
    Key::new(&b"u"[..])
}

/// The key of the row that names the connection of the UserAgent.
pub(super) fn holder_key() -> Result<Key, StoreNameError> {
    Key::new(&b"c"[..])
}

/// The key of the row that says where the UserAgent can be woken.
pub(super) fn wake_key() -> Result<Key, StoreNameError> {
    Key::new(&b"w"[..])
}

/// The keys of all pending versions.
pub(super) fn pending_range() -> KeyRange {
    KeyRange::prefix(PENDING)
}

/// The channel whose pending version has this key; `None` for another row.
pub(super) fn pending_channel(key: &Key) -> Option<ChannelId> {
    ChannelId::from_bytes(key.as_bytes().strip_prefix(PENDING)?)
}

/// The key of a channel's pending version.
pub(super) fn pending_key(channel: ChannelId) -> Result<Key, StoreNameError> {
    channel_key(PENDING, channel)
}

/// The key of the highest acknowledged version of a channel.
pub(super) fn last_key(channel: ChannelId) -> Result<Key, StoreNameError> {
    channel_key(LAST, channel)
}

fn channel_key(prefix: &[u8], channel: ChannelId) -> Result<Key, StoreNameError> {
    let mut key = Vec::with_capacity(1 + ChannelId::ENCODED_LEN);
    key.extend_from_slice(prefix);
    key.extend_from_slice(&channel.to_bytes());
    Key::new(key)
}
