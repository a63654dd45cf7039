//! Start records where several gateways share a store: left at one, taken at any (Belay §22.5).
//!
//! | partition | key | row |
//! |---|---|---|
//! | `start/XX` | SHA-256 of a start id, whose first byte is XX | the record, sealed; a tombstone once it is taken |
//!
//! A record holds capabilities. It is sealed with a key that is made of its start id, which nobody keeps:
//! who has the store, its backups and every other key reads none. Never here: a start id in clear in the
//! store; bounds on how much waits.

use std::{sync::Arc, time::Duration};

use buswire_message::{Secret, SecretHash, Timestamp};
use buswire_store::{
    Ack, Batch, Expectation, Key, Operation, Outcome, Partition, RowValue, Store, StoreError,
};

use super::mailbox::{NotTaken, Record};
use crate::SealKeys;

/// Separates the key of a record from the hash by which it is found.
const KEY_LABEL: &str = "buswire start record ";

/// Records in the store.
pub(super) struct Stored(Arc<dyn Store>);

impl Stored {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Leaves a record under an id that nobody else has, for so long.
    pub(super) async fn put(
        &self,
        now: Timestamp,
        id: &Secret<String>,
        record: &Record,
        lifetime: Duration,
    ) -> Result<(), StoreError> {
        let (partition, key) = place(id);
        let unsealed = || StoreError::Corrupt("a start record can't be sealed".to_owned());
        let sealed = keys(id).seal(KEY_LABEL, &written(record)).ok_or_else(unsealed)?;
        let expires = Some(now.saturating_add(lifetime));
        let batch =
            Batch::new(partition).then(Operation::Put { key, value: sealed.into(), expires });
        self.0.commit(batch, Ack::Safe, now).await.map(drop)
    }

    /// Takes a record for a page of `origin`, if that is known: of all gateways one gives it out. When the
    /// store does not answer, it may be gone.
    pub(super) async fn take(
        &self,
        now: Timestamp,
        id: &Secret<String>,
        origin: Option<&str>,
        lifetime: Duration,
    ) -> Result<Result<Secret<String>, NotTaken>, StoreError> {
        let (partition, key) = place(id);
        let Some(row) = self.0.get(&partition, &key, now).await? else {
            return Ok(Err(NotTaken::Unknown));
        };
        let RowValue::Bytes(sealed) = &row.value else { return Ok(Err(NotTaken::Unknown)) };
        let opened = std::str::from_utf8(sealed).ok();
        let opened = opened.and_then(|sealed| keys(id).open(KEY_LABEL, sealed));
        let Some(record) = opened.as_deref().and_then(read) else {
            return Ok(Err(NotTaken::Unknown));
        };
        if record.origin.is_some() && record.origin.as_deref() != origin {
            return Ok(Err(NotTaken::WrongOrigin));
        }
        // A tombstone, since what a gateway writes again after a failover must not bring it back.
        let until = now.saturating_add(lifetime * 2);
        let batch = Batch::new(partition)
            .expect(Expectation::Unchanged(key.clone(), row.revision))
            .then(Operation::Tombstone { key, until });
        match self.0.commit(batch, Ack::Safe, now).await? {
            Outcome::Committed(_) => Ok(Ok(record.text)),
            Outcome::Conflict(_) => Ok(Err(NotTaken::Unknown)),
        }
    }
}

/// What only who knows the start id has.
fn keys(id: &Secret<String>) -> SealKeys {
    let hash = SecretHash::of(&format!("{KEY_LABEL}{}", id.expose()));
    SealKeys::new(1, *hash.as_bytes())
}

#[expect(clippy::expect_used, reason = "both are short and printable or not empty")]
fn place(id: &Secret<String>) -> (Partition, Key) {
    let hash = SecretHash::of(id.expose());
    let first = hash.as_bytes().first().copied().unwrap_or_default();
    let partition = Partition::new(&format!("start/{first:02x}")).expect("printable ASCII");
    (partition, Key::new(hash.as_bytes().to_vec()).expect("a key of 32 bytes"))
}

/// The length of the origin, or `-` for none; a colon; the origin; the record.
fn written(record: &Record) -> String {
    let text = record.text.expose();
    match &record.origin {
        None => format!("-:{text}"),
        Some(origin) => format!("{}:{origin}{text}", origin.len()),
    }
}

fn read(text: &str) -> Option<Record> {
    let (length, rest) = text.split_once(':')?;
    let (origin, text) = match length {
        "-" => (None, rest),
        length => {
            let (origin, text) = rest.split_at_checked(length.parse().ok()?)?;
            (Some(origin.to_owned()), text)
        }
    };
    Some(Record { text: Secret::new(text.to_owned()), origin })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for origin in [None, Some(""), Some("https://a.example"), Some("7:ä")] {
            let record = |text: &str| Record {
                text: Secret::new(text.to_owned()),
                origin: origin.map(str::to_owned),
            };
            for text in ["", "{\"value\":1}", "3:abc"] {
                let read = read(&written(&record(text))).unwrap();
                assert_eq!((read.origin.as_deref(), read.text.expose().as_str()), (origin, text));
            }
        }
        for broken in ["", "x", "9:a", "x:a", "1:ä"] {
            assert!(read(broken).is_none(), "{broken}");
        }
    }
}
