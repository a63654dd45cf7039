//! The records that wait (Belay §22.5): no I/O, no clock.
//!
//! Never here: HTTP; a start id in clear.

use std::collections::{BTreeMap, BTreeSet};

use buswire_message::{Secret, SecretHash, Timestamp};

use super::StartConfig;

/// What waits for a window.
pub(super) struct Record {
    /// bcapJson, with its wrapper.
    pub(super) text: Secret<String>,
    /// The only origin whose page may take it, if it names one.
    pub(super) origin: Option<String>,
}

/// There is no room for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Why no record is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// There is none: never was, was taken, or is too old.
    Unknown,
    /// It is for the pages of another origin. It goes on waiting: whoever asked has the id from a
    /// leaked address, and the right page is still to come.
    WrongOrigin,
}

/// A record that waits here, or one that waits elsewhere and is counted here.
struct Waiting {
    end: Timestamp,
    bytes: usize,
    record: Option<Record>,
}

/// Records by the hash of their start id.
#[derive(Default)]
pub(super) struct Mailbox {
    records: BTreeMap<SecretHash, Waiting>,
    by_end: BTreeSet<(Timestamp, SecretHash)>,
    bytes: usize,
}

impl Mailbox {
    /// Leaves a record under an id that nobody else has.
    pub(super) fn put(
        &mut self,
        config: &StartConfig,
        now: Timestamp,
        id: SecretHash,
        record: Record,
    ) -> Result<(), Full> {
        let bytes = record.text.expose().len();
        self.add(config, now, id, bytes, Some(record))
    }

    /// Counts a record that waits elsewhere, as long as it may wait.
    pub(super) fn count(
        &mut self,
        config: &StartConfig,
        now: Timestamp,
        id: SecretHash,
        record: &Record,
    ) -> Result<(), Full> {
        self.add(config, now, id, record.text.expose().len(), None)
    }

    fn add(
        &mut self,
        config: &StartConfig,
        now: Timestamp,
        id: SecretHash,
        bytes: usize,
        record: Option<Record>,
    ) -> Result<(), Full> {
        self.expire(now);
        if self.records.len() >= config.records_max || self.bytes + bytes > config.bytes_max {
            return Err(Full);
        }
        let end = now.saturating_add(config.lifetime);
        self.bytes += bytes;
        self.by_end.insert((end, id));
        self.records.insert(id, Waiting { end, bytes, record });
        Ok(())
    }

    /// Takes a record for a page of `origin`, if that is known.
    pub(super) fn take(
        &mut self,
        now: Timestamp,
        id: SecretHash,
        origin: Option<&str>,
    ) -> Result<Secret<String>, NotTaken> {
        self.expire(now);
        let waiting = self.records.get(&id).ok_or(NotTaken::Unknown)?;
        let end = waiting.end;
        let record = waiting.record.as_ref().ok_or(NotTaken::Unknown)?;
        if record.origin.is_some() && record.origin.as_deref() != origin {
            return Err(NotTaken::WrongOrigin);
        }
        self.remove(end, id).map(|record| record.text).ok_or(NotTaken::Unknown)
    }

    /// Counts a record that waits elsewhere no longer, if it was counted here.
    pub(super) fn forget(&mut self, id: SecretHash) {
        if let Some(end) = self.records.get(&id).map(|waiting| waiting.end) {
            self.remove(end, id);
        }
    }

    fn expire(&mut self, now: Timestamp) {
        while let Some((end, id)) = self.by_end.first().copied().filter(|(end, _)| *end <= now) {
            self.remove(end, id);
        }
    }

    fn remove(&mut self, end: Timestamp, id: SecretHash) -> Option<Record> {
        self.by_end.remove(&(end, id));
        let waiting = self.records.remove(&id)?;
        self.bytes -= waiting.bytes;
        waiting.record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> SecretHash {
        SecretHash::of(text)
    }

    fn record(text: &str, origin: Option<&str>) -> Record {
        Record { text: Secret::new(text.to_owned()), origin: origin.map(str::to_owned) }
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn a_record_is_taken_once_within_a_minute() {
        // Rule: belay 22.5 — a start record is given out once and lives 60 seconds
        let (mut mailbox, config) = (Mailbox::default(), StartConfig::default());
        for name in ["a", "b", "c"] {
            mailbox.put(&config, at(100), id(name), record(name, None)).unwrap();
        }
        let mut take =
            |secs, name| mailbox.take(at(secs), id(name), None).map(|it| it.expose().clone());
        assert_eq!(take(100, "a"), Ok("a".into()));
        assert_eq!(take(100, "a"), Err(NotTaken::Unknown));
        assert_eq!(take(159, "b"), Ok("b".into()));
        assert_eq!(take(160, "c"), Err(NotTaken::Unknown));
        assert_eq!(take(100, "d"), Err(NotTaken::Unknown));
        assert!(mailbox.records.is_empty() && mailbox.by_end.is_empty() && mailbox.bytes == 0);
    }

    #[test]
    fn a_record_may_be_for_one_origin() {
        // Rule: belay 22.5 — a record that names an origin is refused to pages of others
        let (mut mailbox, config) = (Mailbox::default(), StartConfig::default());
        let ours = "https://a.example";
        mailbox.put(&config, at(1), id("a"), record("a", Some(ours))).unwrap();
        for other in [None, Some("https://b.example"), Some("null")] {
            assert!(matches!(mailbox.take(at(2), id("a"), other), Err(NotTaken::WrongOrigin)));
        }
        assert!(mailbox.take(at(2), id("a"), Some(ours)).is_ok());
        mailbox.put(&config, at(1), id("b"), record("b", None)).unwrap();
        assert!(mailbox.take(at(2), id("b"), Some(ours)).is_ok());
    }

    #[test]
    fn there_is_room_for_so_many_and_so_much() {
        // Rule: belay 23.11 — start records are bounded
        let config = StartConfig { records_max: 3, bytes_max: 10, ..StartConfig::default() };
        let mut mailbox = Mailbox::default();
        let mut put =
            |secs, name: &str, text| mailbox.put(&config, at(secs), id(name), record(text, None));
        assert_eq!(put(0, "a", "12345678"), Ok(()));
        assert_eq!(put(0, "b", "123"), Err(Full));
        assert_eq!(put(30, "b", "1"), Ok(()));
        assert_eq!(put(30, "c", "1"), Ok(()));
        assert_eq!(put(59, "d", ""), Err(Full));
        assert_eq!(put(60, "d", "12345678"), Ok(()));
    }
}
