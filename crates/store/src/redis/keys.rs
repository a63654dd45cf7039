//! The names of keys: which shard a partition lies in, and what it is kept under.
//!
//! Never here: what is in the keys; see `DESIGN.md` beside the code.

use std::sync::Arc;

use buswire_message::{Sequence, Timestamp};

use crate::{
    copy::Part,
    names::{LogName, Partition},
};

/// How many shards a cluster is divided into. Divides 4096, the numbers of a millisecond, so that
/// sequences of different shards differ in their remainder.
pub(super) const CLUSTER_SHARDS: u16 = 64;

/// A part of the store with an allocator of its own: what one script may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shard(pub(super) u16);

impl Shard {
    /// What is in the braces of its keys.
    fn tag(self) -> String {
        format!("{:02x}", self.0)
    }

    /// The slot of a cluster that its keys are in.
    pub(super) fn slot(self) -> u16 {
        checksum(&self.tag()) % 16384
    }
}

/// CRC-16/XMODEM, by which Redis Cluster finds the slot of a hash tag.
fn checksum(text: &str) -> u16 {
    text.bytes().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// Names keys.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    prefix: Arc<str>,
    shards: u16,
}

impl Layout {
    pub(super) const fn new(prefix: Arc<str>, shards: u16) -> Self {
        Self { prefix, shards }
    }

    pub(super) const fn count(&self) -> u16 {
        self.shards
    }

    pub(super) fn shards(&self) -> impl Iterator<Item = Shard> + use<> {
        (0..self.shards).map(Shard)
    }

    /// Where `partition` lies: by the checksum of its name, which must not change between releases.
    pub(super) fn shard_of(&self, partition: &Partition) -> Shard {
        Shard(checksum(partition.as_str()) % self.shards)
    }

    /// What every key of a shard begins with; the braces hold the hash tag.
    pub(super) fn base(&self, shard: Shard) -> String {
        format!("{}:{{{}}}:", self.prefix, shard.tag())
    }

    pub(super) fn meta(&self, shard: Shard) -> String {
        self.base(shard) + "meta"
    }

    pub(super) fn runs(&self, shard: Shard) -> String {
        self.base(shard) + "runs"
    }

    pub(super) fn due(&self, shard: Shard) -> String {
        self.base(shard) + "due"
    }

    pub(super) fn hints(&self, shard: Shard) -> String {
        self.base(shard) + "hints"
    }

    pub(super) fn rows(&self, shard: Shard, partition: &Partition) -> String {
        self.base(shard) + "r:" + partition.as_str()
    }

    pub(super) fn names(&self, shard: Shard, partition: &Partition) -> String {
        self.base(shard) + "k:" + partition.as_str()
    }

    pub(super) fn stream(&self, shard: Shard, path: &str) -> String {
        self.base(shard) + "l:" + path
    }

    pub(super) fn dedupe(&self, shard: Shard, path: &str) -> String {
        self.base(shard) + "d:" + path
    }

    /// The dedupe ids of a log.
    pub(super) fn dedupe_of(&self, partition: &Partition, log: &LogName) -> String {
        self.dedupe(self.shard_of(partition), &path(partition, log))
    }

    /// What a key holds, if it is that of rows or of a log.
    pub(super) fn part(&self, key: &[u8]) -> Option<Part> {
        let key = std::str::from_utf8(key).ok()?.strip_prefix(&*self.prefix)?;
        let (kind, rest) = key.split_once("}:")?.1.split_once(':')?;
        let (log, partition) = match kind {
            "r" => (None, rest),
            "l" => {
                let (log, partition) = rest.split_once(':')?;
                (Some(LogName::new(log).ok()?), partition)
            }
            _ => return None,
        };
        Some(Part { partition: Partition::new(partition).ok()?, log })
    }

    /// The least sequence of `shard` that is not less than `number`.
    pub(super) fn least(&self, shard: Shard, number: u64) -> u64 {
        let (shard, shards) = (u64::from(shard.0), u64::from(self.shards));
        let least = number.saturating_sub(shard).div_ceil(shards) * shards + shard;
        least.min(Sequence::MAX.as_u64())
    }

    /// The first sequence of `shard` that is of the millisecond `now` or later, and greater than `after`.
    pub(super) fn first(&self, shard: Shard, now: Timestamp, after: u64) -> u64 {
        let (shard, shards) = (u64::from(shard.0), u64::from(self.shards));
        let following = (after / shards + 1) * shards;
        (Sequence::at(now).as_u64().max(following) + shard).min(Sequence::MAX.as_u64())
    }
}

/// What a log is named by within a shard. A log name has no colon.
pub(super) fn path(partition: &Partition, log: &LogName) -> String {
    format!("{}:{}", log.as_str(), partition.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_where_earlier_releases_put_it() {
        let partition = Partition::new("bus/v2/example.com").unwrap();
        let log = LogName::new("messages").unwrap();
        let layout = Layout::new("buswire".into(), CLUSTER_SHARDS);
        let shard = layout.shard_of(&partition);
        assert_eq!(layout.rows(shard, &partition), "buswire:{3a}:r:bus/v2/example.com");
        let path = path(&partition, &log);
        assert_eq!(layout.stream(shard, &path), "buswire:{3a}:l:messages:bus/v2/example.com");
        assert_eq!(Layout::new("b".into(), 1).shard_of(&partition), Shard(0));
    }

    #[test]
    fn a_slot_is_that_of_the_hash_tag() {
        // CLUSTER KEYSLOT "buswire:{00}:meta" and the like.
        assert_eq!([0, 1, 63].map(|shard| Shard(shard).slot()), [13254, 9191, 7334]);
    }

    #[test]
    fn sequences_of_a_shard_leave_its_number_as_the_remainder() {
        let layout = Layout::new("buswire".into(), CLUSTER_SHARDS);
        let (now, shard) = (Timestamp::from_secs(1_709_993_121), Shard(5));
        let at = Sequence::at(now).as_u64();
        assert_eq!(layout.first(shard, now, 0), at + 5);
        for (after, first) in [(at, at + 69), (at + 63, at + 69), (at + 64, at + 133)] {
            assert_eq!(layout.first(shard, now, after), first);
        }
        assert_eq!(Layout::new("b".into(), 1).first(Shard(0), now, at), at + 1);
        for (number, least) in [(0, 5), (5, 5), (6, 69), (69, 69)] {
            assert_eq!(layout.least(shard, number), least);
        }
    }

    #[test]
    fn partitions_spread_over_the_shards() {
        let layout = Layout::new("buswire".into(), CLUSTER_SHARDS);
        let mut counts = [0; CLUSTER_SHARDS as usize];
        for number in 0..6400 {
            let partition = Partition::new(&format!("uaid/{number}")).unwrap();
            counts[usize::from(layout.shard_of(&partition).0)] += 1;
        }
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }
}
