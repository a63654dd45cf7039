//! Several gateways on one store as one relay (Belay §22.4).
//!
//! Gateways have no ports for each other: they meet in the store. Each keeps a row with an end while it
//! lives, and has a log that the others write to.
//!
//! | partition | holds |
//! |---|---|
//! | `relay-gateways` | one row for each living gateway |
//! | `relay-at/XX` | by the SHA-256 of an instance id: the gateway that it is registered at, and the SHA-256 of its resume token |
//! | `relay-to/GATEWAY` | the log `notes`: calls for windows of this gateway, answers to its own calls, ids that went elsewhere |
//!
//! Notes hold capabilities and data: they are sealed with the keys of the gateways. A call that came from
//! another gateway is never passed on. A note that is lost, or answered by nobody, ends as a call whose
//! window is silent. Never here: what becomes of a call at the gateway that has the window.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buswire_message::{Clock, Entropy, SecretHash};
use buswire_store::{
    Ack, Batch, Epoch, Expectation, HintFilter, Hints, Key, LogName, Operation, Outcome, Partition,
    Position, Store, StoreError,
};

use tokio::sync::Mutex;

use super::{
    RelayError,
    core::{Claimed, GatewayId, Shown},
    wire::{Call, FromPeer, ToPeer},
};
use crate::SealKeys;

/// How long a gateway counts as alive after it said so.
const LEASE: Duration = Duration::from_secs(15);
/// How often a gateway says so, and looks after those that it waits for.
pub(super) const BEAT: Duration = Duration::from_secs(5);
/// How long it is known where an instance registered.
const STAY: Duration = Duration::from_secs(6 * 3600);
/// How often that is said again.
pub(super) const STAY_RENEWED: Duration = Duration::from_secs(3600);
/// How long a note may wait to be read: as long as a call may take, and a little more.
const NOTE_LIFE: Duration = Duration::from_secs(60);
/// How many notes are read at once.
const NOTES_AT_ONCE: usize = 64;
/// How often a conflict or a busy store is tried again.
const ATTEMPTS: usize = 3;

/// What one gateway tells another.
pub(super) enum Note {
    /// Invoke this, and tell `from` under its number `tx`.
    Call { from: GatewayId, tx: u64, call: Call },
    /// What came of a call.
    Answer { tx: u64, answer: Result<Option<String>, RelayError> },
    /// An instance has registered elsewhere.
    Moved(String),
}

/// Where an instance is registered, and the hash of its resume token.
#[derive(Clone, Copy)]
pub(super) struct Stay {
    pub(super) at: GatewayId,
    token: [u8; 32],
}

impl Stay {
    fn read(bytes: Option<&bytes::Bytes>) -> Option<Self> {
        let (at, token) = bytes?.split_first_chunk()?;
        Some(Self { at: GatewayId(*at), token: token.try_into().ok()? })
    }
}

/// Why a gateway says that an instance is with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Saying {
    /// Its owner has shown its proof just now.
    Arrived,
    /// It is still there, and the row is to last longer.
    Stays,
    /// It is still there, and the row may be gone.
    Doubted,
}

/// Where an instance is after that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Here,
    /// With another gateway, which lives.
    Elsewhere,
}

/// One gateway among those that share a store.
pub(super) struct Joint {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    keys: SealKeys,
    pub(super) own: GatewayId,
    notes: AtomicU64,
    /// Whether it has left. Held over the commits that say so, or a late beat would undo it.
    has_left: Mutex<bool>,
}

impl Joint {
    pub(super) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: &dyn Entropy,
        keys: SealKeys,
    ) -> Self {
        let mut own = [0; 16];
        entropy.fill(&mut own);
        Self {
            store,
            clock,
            keys,
            own: GatewayId(own),
            notes: AtomicU64::new(0),
            has_left: Mutex::new(false),
        }
    }

    /// Hints of notes for this gateway.
    pub(super) fn hints(&self) -> Hints {
        self.store.hints(HintFilter::Only(notes_to(self.own)))
    }

    /// Changes when the store may have lost rows.
    pub(super) fn epoch(&self) -> Epoch {
        self.store.status().epoch
    }

    /// Says that this gateway lives, unless it has left.
    pub(super) async fn beat(&self) -> Result<(), StoreError> {
        let has_left = self.has_left.lock().await;
        if *has_left {
            return Ok(());
        }
        let now = self.clock.now();
        let (key, expires) = (key(&self.own.0), Some(now.saturating_add(LEASE)));
        let put = Operation::Put { key, value: bytes::Bytes::from_static(b"1"), expires };
        self.store.commit(Batch::new(gateways()).then(put), Ack::Accepted, now).await.map(drop)
    }

    /// Says that this gateway lives no longer, for good.
    pub(super) async fn leave(&self) -> Result<(), StoreError> {
        let mut has_left = self.has_left.lock().await;
        *has_left = true;
        let batch = Batch::new(gateways()).then(Operation::Delete { key: key(&self.own.0) });
        self.store.commit(batch, Ack::Accepted, self.clock.now()).await.map(drop)
    }

    /// Whether a gateway lives.
    pub(super) async fn lives(&self, gateway: GatewayId) -> Result<bool, StoreError> {
        let (gateways, key) = (gateways(), key(&gateway.0));
        Ok(self.store.get(&gateways, &key, self.clock.now()).await?.is_some())
    }

    /// Claims a hashed id whose owner showed this: of gateways that do so at once one gets it. When the
    /// store does not answer, it may be claimed.
    pub(super) async fn claim(
        &self,
        id: &str,
        token: &SecretHash,
        shown: Shown,
    ) -> Result<Claimed, StoreError> {
        for _ in 0..ATTEMPTS {
            let (before, unchanged) = self.look(id).await?;
            let stay = before.filter(|stay| stay.at != self.own);
            let is_its_own = stay.is_some_and(|stay| stay.token == *token.as_bytes());
            match (stay, shown) {
                _ if is_its_own => {}
                (_, Shown::Token) => return Ok(Claimed::Unproven),
                (Some(stay), _) if self.lives(stay.at).await? => return Ok(Claimed::Taken),
                _ => {}
            }
            if self.put(id, token, unchanged).await? {
                self.tell_of_move(id, before).await;
                return Ok(Claimed::Free);
            }
        }
        Ok(Claimed::Failed)
    }

    /// Says that an instance is here, and tells the gateway where it was before; unless somebody else has
    /// it at a gateway that lives, or it has gone there since it arrived here.
    pub(super) async fn say(
        &self,
        id: &str,
        token: &SecretHash,
        saying: Saying,
    ) -> Result<Found, StoreError> {
        for _ in 0..ATTEMPTS {
            let (before, unchanged) = self.look(id).await?;
            if let Some(stay) = before {
                let (is_here, is_its_own) = (stay.at == self.own, stay.token == *token.as_bytes());
                if is_here && is_its_own && saying == Saying::Doubted {
                    return Ok(Found::Here);
                }
                let is_moving = saying == Saying::Arrived && is_its_own;
                if !is_here && !is_moving && self.lives(stay.at).await? {
                    return Ok(Found::Elsewhere);
                }
            }
            if self.put(id, token, unchanged).await? {
                self.tell_of_move(id, before).await;
                return Ok(Found::Here);
            }
        }
        Err(StoreError::Retry("where an instance is changes all the time".to_owned()))
    }

    /// Says that an instance is nowhere, unless it has registered elsewhere or `is_back`.
    pub(super) async fn left(
        &self,
        id: &str,
        is_back: impl FnOnce() -> bool,
    ) -> Result<(), StoreError> {
        let ((partition, key), now) = (place(id), self.clock.now());
        let Some(row) = self.store.get(&partition, &key, now).await? else { return Ok(()) };
        if Stay::read(row.value.as_bytes()).is_none_or(|stay| stay.at != self.own) || is_back() {
            return Ok(());
        }
        // Whoever comes back from here on has written the row anew.
        let batch = Batch::new(partition)
            .expect(Expectation::Unchanged(key.clone(), row.revision))
            .then(Operation::Delete { key });
        self.store.commit(batch, Ack::Accepted, now).await.map(drop)
    }

    /// Where an instance is registered, and what holds as long as that does.
    async fn look(&self, id: &str) -> Result<(Option<Stay>, Expectation), StoreError> {
        let (partition, key) = place(id);
        let row = self.store.get(&partition, &key, self.clock.now()).await?;
        Ok(match row {
            None => (None, Expectation::Absent(key)),
            Some(row) => {
                let stay = Stay::read(row.value.as_bytes());
                (stay, Expectation::Unchanged(key, row.revision))
            }
        })
    }

    /// Returns whether it was written: not if somebody else was faster.
    async fn put(
        &self,
        id: &str,
        token: &SecretHash,
        unchanged: Expectation,
    ) -> Result<bool, StoreError> {
        let ((partition, key), now) = (place(id), self.clock.now());
        let value = [&self.own.0[..], token.as_bytes()].concat().into();
        let expires = Some(now.saturating_add(STAY));
        let put = Operation::Put { key, value, expires };
        let batch = Batch::new(partition).expect(unchanged).then(put);
        match self.store.commit(batch, Ack::Accepted, now).await {
            Ok(Outcome::Committed(_)) => Ok(true),
            Ok(Outcome::Conflict(_)) | Err(StoreError::Retry(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Tells the gateway where an instance was before that it is here. One that is not told finds out when
    /// it says again what is with it.
    async fn tell_of_move(&self, id: &str, before: Option<Stay>) {
        let Some(before) = before.filter(|before| before.at != self.own) else { return };
        if let Err(error) = self.tell(before.at, &Note::Moved(id.into())).await {
            tracing::warn!(%error, "another gateway is not told that a window has left it");
        }
    }

    /// Where an instance is registered.
    pub(super) async fn whereabouts(&self, id: &str) -> Result<Option<Stay>, StoreError> {
        let (partition, key) = place(id);
        let row = self.store.get(&partition, &key, self.clock.now()).await?;
        Ok(row.as_ref().and_then(|row| Stay::read(row.value.as_bytes())))
    }

    /// Writes a note to another gateway.
    pub(super) async fn tell(&self, to: GatewayId, note: &Note) -> Result<(), StoreError> {
        let now = self.clock.now();
        // No two notes have one name, so none is sealed with the nonce of another.
        let number = self.notes.fetch_add(1, Ordering::Relaxed);
        let name = format!("relay {} {number}", self.own);
        let unsealed = || StoreError::Corrupt("a note can't be sealed".to_owned());
        let sealed = self.keys.seal(&name, &note.written()).ok_or_else(unsealed)?;
        let body = format!("{name}\n{sealed}").into();
        // Whoever has not read it by then has lost the call.
        let expires = now.saturating_add(NOTE_LIFE);
        let append = Operation::Append { log: log(), dedupe: None, body, expires };
        self.store.commit(Batch::new(notes_to(to)).then(append), Ack::Accepted, now).await.map(drop)
    }

    /// Notes after a position, the position to go on from, and whether there are more.
    pub(super) async fn read(
        &self,
        after: Option<Position>,
    ) -> Result<(Vec<Note>, Position, bool), StoreError> {
        let (partition, log) = (notes_to(self.own), log());
        let page =
            self.store.read_log(&partition, &log, after, NOTES_AT_ONCE, self.clock.now()).await?;
        let notes = page.entries.iter().filter_map(|entry| self.opened(&entry.body)).collect();
        Ok((notes, page.next, page.more))
    }

    fn opened(&self, body: &[u8]) -> Option<Note> {
        let (name, sealed) = std::str::from_utf8(body).ok()?.split_once('\n')?;
        Note::read(&self.keys.open(name, sealed)?)
    }
}

impl Note {
    fn written(&self) -> String {
        match self {
            Self::Call { from, tx, call } => {
                format!("call {from}\n{}", ToPeer::Invoke { tx: *tx, call: call.clone() }.encode())
            }
            Self::Answer { tx, answer } => {
                let result = match answer.clone() {
                    Ok(data) => Ok(data),
                    Err(RelayError::Answered(failure)) => Err(failure),
                    Err(error) => return format!("failed {tx} {}\n", word(&error)),
                };
                format!("answer\n{}", ToPeer::Response { tx: *tx, result }.encode())
            }
            Self::Moved(id) => format!("moved {id}\n"),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (head, body) = text.split_once('\n')?;
        let mut words = head.split(' ');
        match (words.next()?, words.next(), words.next()) {
            ("call", Some(from), None) => match FromPeer::parse(body) {
                FromPeer::Invoke { tx, call } => {
                    Some(Self::Call { from: GatewayId::parse(from)?, tx, call })
                }
                _ => None,
            },
            ("answer", None, None) => match FromPeer::parse(body) {
                FromPeer::Response { tx, result } => {
                    Some(Self::Answer { tx, answer: result.map_err(RelayError::Answered) })
                }
                _ => None,
            },
            ("failed", Some(tx), Some(word)) => {
                Some(Self::Answer { tx: tx.parse().ok()?, answer: Err(error(word)?) })
            }
            ("moved", Some(id), None) => Some(Self::Moved(id.to_owned())),
            _ => None,
        }
    }
}

/// What a failure of the relay itself is called in a note.
const fn word(error: &RelayError) -> &'static str {
    match error {
        RelayError::BadMethod => "method",
        RelayError::Unparsable => "unparsable",
        RelayError::NotRegistered => "absent",
        RelayError::TooMany => "full",
        RelayError::Draining => "draining",
        RelayError::Lost | RelayError::Answered(_) => "lost",
        RelayError::TimedOut => "late",
    }
}

fn error(word: &str) -> Option<RelayError> {
    Some(match word {
        "method" => RelayError::BadMethod,
        "unparsable" => RelayError::Unparsable,
        "absent" => RelayError::NotRegistered,
        "full" => RelayError::TooMany,
        "draining" => RelayError::Draining,
        "lost" => RelayError::Lost,
        "late" => RelayError::TimedOut,
        _ => return None,
    })
}

#[expect(clippy::expect_used, reason = "it is short and printable")]
fn gateways() -> Partition {
    Partition::new("relay-gateways").expect("printable ASCII")
}

#[expect(clippy::expect_used, reason = "it is short and printable")]
fn notes_to(gateway: GatewayId) -> Partition {
    Partition::new(&format!("relay-to/{gateway}")).expect("printable ASCII")
}

#[expect(clippy::expect_used, reason = "it is short and printable")]
fn log() -> LogName {
    LogName::new("notes").expect("printable ASCII")
}

#[expect(clippy::expect_used, reason = "it is not empty and short")]
fn key(bytes: &[u8]) -> Key {
    Key::new(bytes.to_vec()).expect("a short key")
}

#[expect(clippy::expect_used, reason = "it is short and printable")]
fn place(id: &str) -> (Partition, Key) {
    let hash = SecretHash::of(id);
    let first = hash.as_bytes().first().copied().unwrap_or_default();
    let partition = Partition::new(&format!("relay-at/{first:02x}")).expect("printable ASCII");
    (partition, key(hash.as_bytes()))
}

#[cfg(test)]
mod tests {
    use buswire_message::Secret;

    use super::*;
    use crate::instance::Failure;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let from = GatewayId([0xab; 16]);
        let call = Call {
            ser: Secret::new("urn:x-cap:a:b".to_owned()),
            method: "POST".to_owned(),
            data: Some("{\"value\":\"a\\nb\"}".to_owned()),
        };
        let answers = [
            Ok(None),
            Ok(Some("{\"value\":1}".to_owned())),
            Err(RelayError::Answered(Failure::of_status(405))),
            Err(RelayError::NotRegistered),
            Err(RelayError::TooMany),
            Err(RelayError::Draining),
            Err(RelayError::Lost),
            Err(RelayError::TimedOut),
        ];
        match Note::read(&Note::Call { from, tx: 7, call: call.clone() }.written()) {
            Some(Note::Call { from: read, tx: 7, call: same }) => {
                assert!(read == from && same == call);
            }
            _ => panic!("a call was expected"),
        }
        for answer in answers {
            match Note::read(&Note::Answer { tx: 9, answer: answer.clone() }.written()) {
                Some(Note::Answer { tx: 9, answer: read }) => assert_eq!(read, answer),
                _ => panic!("an answer was expected"),
            }
        }
        let moved = Note::read(&Note::Moved("926c0c63".to_owned()).written());
        assert!(matches!(moved, Some(Note::Moved(id)) if id == "926c0c63"));
        for broken in ["", "call", "call x\n{}", "failed 1 unheard\n", "answer\n{}", "moved\n"] {
            assert!(Note::read(broken).is_none(), "{broken}");
        }
    }
}
