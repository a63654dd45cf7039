//! The record of a UserAgent as bytes.
//!
//! ```text
//! format (1) | epoch (8) | created, ms (8) | touched, ms (8) | channels, sorted (21 each)
//! ```

use buswire_message::Timestamp;
use buswire_store::{Epoch, Operation, StoreNameError};

use super::keys::record_key;
use crate::id::ChannelId;

const FORMAT: u8 = 1;
const HEAD_LEN: usize = 1 + 3 * 8;

/// What is known of a UserAgent that has channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The store's epoch when the UserAgent's first channel was registered.
    pub(super) epoch: Epoch,
    /// When that was.
    pub(super) created: Timestamp,
    /// When the UserAgent was last known to be there.
    pub(super) touched: Timestamp,
    /// Its channels, sorted.
    pub(super) channels: Vec<ChannelId>,
}

impl Record {
    /// The record of a UserAgent that has no channel yet.
    pub(super) const fn new(epoch: Epoch, now: Timestamp) -> Self {
        Self { epoch, created: now, touched: now, channels: Vec::new() }
    }

    /// Stands for bytes that can't be read: of an epoch that never is.
    pub(super) const fn unreadable(now: Timestamp) -> Self {
        Self::new(Epoch(u64::MAX), now)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_LEN + self.channels.len() * ChannelId::ENCODED_LEN);
        bytes.push(FORMAT);
        for number in [self.epoch.0, self.created.as_millis(), self.touched.as_millis()] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        for channel in &self.channels {
            bytes.extend_from_slice(&channel.to_bytes());
        }
        bytes
    }

    /// Undoes the encoding; `None` for anything else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[FORMAT], rest) = bytes.split_first_chunk::<1>()? else { return None };
        let (epoch, rest) = rest.split_first_chunk::<8>()?;
        let (created, rest) = rest.split_first_chunk::<8>()?;
        let (touched, rest) = rest.split_first_chunk::<8>()?;
        let millis = |bytes: &[u8; 8]| Timestamp::from_millis(u64::from_be_bytes(*bytes));
        let channels = rest
            .chunks(ChannelId::ENCODED_LEN)
            .map(ChannelId::from_bytes)
            .collect::<Option<Vec<_>>>()?;
        if !channels.is_sorted() {
            return None;
        }
        Some(Self {
            epoch: Epoch(u64::from_be_bytes(*epoch)),
            created: millis(created),
            touched: millis(touched),
            channels,
        })
    }

    /// Whether a channel is in the bytes of a record of this epoch, without decoding the others.
    pub(super) fn registers(bytes: &[u8], epoch: Epoch, channel: ChannelId) -> bool {
        let Some((head, channels)) = bytes.split_at_checked(HEAD_LEN) else { return false };
        let Some((&[FORMAT], rest)) = head.split_first_chunk::<1>() else { return false };
        let of_epoch = rest.starts_with(&epoch.0.to_be_bytes());
        let name = channel.to_bytes();
        of_epoch && channels.chunks_exact(ChannelId::ENCODED_LEN).any(|entry| entry == name)
    }

    /// What writes the record; without channels there is nothing to keep.
    pub(super) fn write(&self, expires: Option<Timestamp>) -> Result<Operation, StoreNameError> {
        let key = record_key()?;
        Ok(if self.channels.is_empty() {
            Operation::Delete { key }
        } else {
            Operation::Put { key, value: self.encode().into(), expires }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_encoding() {
        let channel = |text| ChannelId::parse(text).unwrap();
        let (a, b) = (
            channel("0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90"),
            channel("C2A7D91533E84B6D9F0271E4A80B5CDD"),
        );
        let mut record = Record::new(Epoch(3), Timestamp::from_secs(7));
        record.channels = vec![a];
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Some(record));
        assert!(Record::registers(&bytes, Epoch(3), a));
        assert!(!Record::registers(&bytes, Epoch(3), b));
        assert!(!Record::registers(&bytes, Epoch(4), a));
        assert_eq!(Record::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Record::decode(b""), None);
        assert_eq!(Record::decode(&[9; 46]), None);
    }
}
