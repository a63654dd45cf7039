//! The settings of a bus and the row that keeps them.
//!
//! One row for each bus in the partition `buses`, its key the qualified name, its value
//! `version u8 = 1 | created u64 | default u64 | maximum u64 | messages per channel u32`, times in
//! milliseconds, little-endian. Never here: reading or writing rows.

use std::time::Duration;

use buswire_message::{BusName, Retention, Timestamp};
use buswire_store::Revision;
use bytes::{BufMut, Bytes, BytesMut};

const VERSION: u8 = 1;

/// What became of creating a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is there since this call.
    New,
    /// It was there, and its settings are as they were.
    Existed,
}

/// What an administrator wants to know about a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusInfo {
    /// Its name.
    pub name: BusName,
    /// How long it keeps messages.
    pub retention: Retention,
    /// When it was created.
    pub created_at: Timestamp,
    /// How many live messages it holds.
    pub messages: usize,
    /// How many channels have live messages.
    pub channels: usize,
    /// Changes with every change of the settings.
    pub revision: Revision,
}

/// The settings of a bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) created_at: Timestamp,
    pub(crate) retention: Retention,
}

impl Settings {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(29);
        out.put_u8(VERSION);
        out.put_u64_le(self.created_at.as_millis());
        out.put_u64_le(millis(self.retention.default_time()));
        out.put_u64_le(millis(self.retention.maximum_time()));
        out.put_u32_le(self.retention.messages_per_channel_max());
        out.freeze()
    }

    /// `None` if `row` is not a row of settings.
    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let (version, rest) = row.split_first()?;
        let (created, rest) = rest.split_first_chunk::<8>()?;
        let (default, rest) = rest.split_first_chunk::<8>()?;
        let (maximum, rest) = rest.split_first_chunk::<8>()?;
        let messages: [u8; 4] = rest.try_into().ok()?;
        let time = |bytes: &[u8; 8]| Duration::from_millis(u64::from_le_bytes(*bytes));
        let retention =
            Retention::new(time(default), time(maximum), u32::from_le_bytes(messages)).ok()?;
        let created_at = Timestamp::from_millis(u64::from_le_bytes(*created));
        (*version == VERSION).then_some(Self { created_at, retention })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn decode_undoes_encode(
            created in 0..=Timestamp::MAX.as_millis(),
            default in 60_000_u64..=604_800_000,
            maximum in 60_000_u64..=604_800_000,
            messages in 1_u32..=1_000_000,
        ) {
            let time = Duration::from_millis;
            let settings = Settings {
                created_at: Timestamp::from_millis(created),
                retention: Retention::new(time(default), time(maximum), messages).unwrap(),
            };
            prop_assert_eq!(Settings::decode(&settings.encode()), Some(settings));
        }

        #[test]
        fn garbage_is_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let settings = Settings::decode(&bytes);
            prop_assert!(settings.is_none() || bytes.first() == Some(&1));
        }
    }
}
