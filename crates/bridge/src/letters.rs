//! Dead letters: messages that a route gave up, kept whole until somebody looks.
//!
//! They are rows `d/SEQUENCE` of the partition of their route, so giving a message up and passing it
//! is one commit. They age out through [`Ledger::drop_aged`], which says so, not through the expiry
//! of the store, which would be silent. Never here: when a message is given up; that is the core's.

use buswire_message::{
    Headers, Message, MessageId, Payload, RouteName, Sequence, Timestamp, TraceParent, TraceState,
};
use buswire_store::{Batch, Direction, Expectation, KeyRange, Operation, Partition, Revision, Row};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    delivery::{Failure, Failures},
    error::RouteError,
    ledger::{Ledger, PAGE, route_partition, sequence_key, sequence_of},
    owners::Owned,
    routes::CHANGES_MAX,
    trace,
};

pub(crate) const DEAD: &[u8] = b"d/";

/// A message that a route gave up.
#[derive(Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message as it came to the route.
    pub message: Message,
    /// How often it was tried, replays included.
    pub attempts: u32,
    /// The last failures, oldest first; never empty.
    pub failures: Failures,
    /// When it was given up.
    pub given_up_at: Timestamp,
}

impl DeadLetter {
    /// What the last attempt came to.
    pub fn error(&self) -> &str {
        self.failures.last().map_or("", |failure| &failure.error)
    }
}

impl std::fmt::Debug for DeadLetter {
    /// Leaves out the payload.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetter")
            .field("id", &self.message.id)
            .field("attempts", &self.attempts)
            .field("error", &self.error())
            .finish_non_exhaustive()
    }
}

/// A part of the dead letters of a route.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeadLetters {
    /// In the order of their messages.
    pub letters: Vec<DeadLetter>,
    /// The messages of those among them that can't be read. They can be dropped, and are kept otherwise.
    pub unreadable: Vec<MessageId>,
    /// Whether there are more behind them.
    pub more: bool,
}

/// A dead letter as it is written down. `error` is that of releases that kept the last one only.
#[derive(Default, Serialize, Deserialize)]
struct Written {
    id: String,
    bus: String,
    channel: String,
    kind: String,
    source: String,
    sticky: bool,
    payload: String,
    attempts: u32,
    given_up_at_ms: u64,
    #[serde(default, skip_serializing)]
    error: Option<String>,
    #[serde(default)]
    failures: Vec<WrittenFailure>,
    #[serde(default)]
    expires_at_ms: u64,
    #[serde(default)]
    via: Vec<String>,
    #[serde(default)]
    traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
    #[serde(default)]
    in_reply_to: Option<String>,
    #[serde(default)]
    dedupe_key: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
    #[serde(default)]
    door: Option<String>,
}

/// A failure as it is written down.
#[derive(Serialize, Deserialize)]
pub(crate) struct WrittenFailure {
    at_ms: u64,
    error: String,
}

impl WrittenFailure {
    pub(crate) fn of(failure: &Failure) -> Self {
        Self { at_ms: failure.at.as_millis(), error: failure.error.clone() }
    }

    pub(crate) fn read(self) -> Failure {
        Failure { at: Timestamp::from_millis(self.at_ms), error: self.error }
    }
}

impl Written {
    fn of(letter: &DeadLetter) -> Self {
        let (message, headers) = (&letter.message, &letter.message.headers);
        let state = headers.traceparent.as_ref().and_then(TraceParent::state);
        Self {
            id: message.id.to_string(),
            bus: message.bus.to_string(),
            channel: message.channel.to_string(),
            kind: message.kind.to_string(),
            source: message.source.to_string(),
            sticky: message.sticky,
            payload: message.payload.as_str().to_owned(),
            attempts: letter.attempts,
            given_up_at_ms: letter.given_up_at.as_millis(),
            error: None,
            failures: letter.failures.iter().map(WrittenFailure::of).collect(),
            expires_at_ms: message.expires_at.as_millis(),
            via: headers.via.iter().map(ToString::to_string).collect(),
            traceparent: headers.traceparent.as_ref().map(ToString::to_string),
            tracestate: state.map(ToString::to_string),
            in_reply_to: headers.in_reply_to.map(|id| id.to_string()),
            dedupe_key: headers.dedupe_key.as_ref().map(|key| key.as_str().to_owned()),
            content_type: headers.content_type.as_ref().map(|kind| kind.as_str().to_owned()),
            door: headers.door.map(|door| door.as_str().to_owned()),
        }
    }

    /// `None` if a field is not what it should be.
    fn read(self) -> Option<DeadLetter> {
        fn maybe<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>, T::Err> {
            text.map(str::parse).transpose()
        }
        let given_up_at = Timestamp::from_millis(self.given_up_at_ms);
        let only = self.error.map(|error| Failure { at: given_up_at, error });
        let each = self.failures.into_iter().map(WrittenFailure::read);
        let parent: Option<TraceParent> = maybe(self.traceparent.as_deref()).ok()?;
        let state = TraceState::received(self.tracestate.iter().map(String::as_bytes));
        let headers = Headers {
            traceparent: parent.map(|parent| parent.with_state(state)),
            via: self.via.iter().map(|name| name.parse().ok()).collect::<Option<_>>()?,
            in_reply_to: maybe(self.in_reply_to.as_deref()).ok()?,
            dedupe_key: maybe(self.dedupe_key.as_deref()).ok()?,
            content_type: maybe(self.content_type.as_deref()).ok()?,
            door: maybe(self.door.as_deref()).ok()?,
        };
        let message = Message {
            id: self.id.parse().ok()?,
            bus: self.bus.parse().ok()?,
            channel: self.channel.parse().ok()?,
            source: self.source.parse().ok()?,
            kind: self.kind.parse().ok()?,
            sticky: self.sticky,
            expires_at: Timestamp::from_millis(self.expires_at_ms),
            payload: Payload::parse(&Bytes::from(self.payload)).ok()?,
            headers,
        };
        let failures = each.chain(only).collect();
        Some(DeadLetter { message, attempts: self.attempts, failures, given_up_at })
    }
}

/// The row of a dead letter.
pub(crate) fn put(letter: &DeadLetter) -> Result<Operation, RouteError> {
    let key = sequence_key(DEAD, letter.message.id.sequence())?;
    let value = serde_json::to_vec(&Written::of(letter))
        .map_err(|_| RouteError::Damaged(letter.message.id.to_string()))?;
    Ok(Operation::Put { key, value: value.into(), expires: None })
}

/// `None` if it can't be read.
fn read(row: &Row) -> Option<DeadLetter> {
    serde_json::from_slice::<Written>(row.value.as_bytes()?).ok()?.read()
}

/// A dead letter with the revision of its row, which whoever changes it expects.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) letter: DeadLetter,
    revision: Revision,
}

impl Kept {
    /// A batch that is applied only if the dead letter is as it was read.
    fn batch(&self, name: &RouteName) -> Result<Batch, RouteError> {
        let key = sequence_key(DEAD, self.letter.message.id.sequence())?;
        let unchanged = Expectation::Unchanged(key, self.revision);
        Ok(Batch::new(route_partition(name)?).expect(unchanged))
    }
}

/// Why a dead letter is there no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It was delivered after all.
    Replayed,
    /// An administrator dropped it.
    Dropped,
    /// It was kept as long as the settings say.
    Aged,
    /// The route had too many.
    Excess,
}

impl Gone {
    const fn label(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Dropped => "dropped",
            Self::Aged => "aged",
            Self::Excess => "excess",
        }
    }

    /// Says that so many are gone, by a metric and, if nobody asked for it, in the log.
    fn tell(self, name: &RouteName, count: u64) {
        metrics::counter!("buswire_bridge_dead_letters_gone_total", "reason" => self.label())
            .increment(count);
        match self {
            Self::Replayed | Self::Dropped => {}
            Self::Aged => {
                tracing::warn!(route = %name, count, "dead letters have aged out");
            }
            Self::Excess => {
                tracing::warn!(route = %name, count, "the oldest dead letters are gone");
            }
        }
    }
}

impl Ledger {
    /// Dead letters of a route after `after`, oldest first.
    pub(crate) async fn dead_letters(
        &self,
        name: &RouteName,
        after: Option<Sequence>,
        limit: usize,
        now: Timestamp,
    ) -> Result<DeadLetters, RouteError> {
        let mut range = KeyRange::prefix(DEAD);
        if let Some(after) = after {
            range = range.after(&sequence_key(DEAD, after)?);
        }
        let partition = route_partition(name)?;
        let page = self.store().scan(&partition, range, limit, Direction::Ascending, now).await?;
        let mut letters = DeadLetters { more: page.more, ..DeadLetters::default() };
        for (key, row) in &page.rows {
            match (read(row), sequence_of(key, DEAD)) {
                (Some(letter), _) => letters.letters.push(letter),
                (None, Some(id)) => letters.unreadable.push(MessageId::from_sequence(id)),
                (None, None) => {}
            }
        }
        Ok(letters)
    }

    /// One dead letter.
    pub(crate) async fn dead_letter(
        &self,
        name: &RouteName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Kept>, RouteError> {
        let key = sequence_key(DEAD, id.sequence())?;
        let row = self.store().get(&route_partition(name)?, &key, now).await?;
        let kept = |row: Row| {
            let letter = read(&row).ok_or_else(|| RouteError::Damaged(name.to_string()))?;
            Ok(Kept { letter, revision: row.revision })
        };
        row.map(kept).transpose()
    }

    /// Stores what became of a dead letter that was tried again in vain; `false` if it is gone or was
    /// changed meanwhile.
    pub(crate) async fn keep(
        &self,
        name: &RouteName,
        kept: &Kept,
        now: Timestamp,
    ) -> Result<bool, RouteError> {
        self.commit_if(kept.batch(name)?.then(put(&kept.letter)?), now).await
    }

    /// Makes a dead letter that was delivered after all a delivered message; `false` if it is gone or
    /// was changed meanwhile.
    pub(crate) async fn replayed(
        &self,
        name: &RouteName,
        kept: &Kept,
        now: Timestamp,
    ) -> Result<bool, RouteError> {
        let DeadLetter { message, attempts, failures, .. } = &kept.letter;
        let key = sequence_key(DEAD, message.id.sequence())?;
        let mut batch = kept.batch(name)?.then(Operation::Delete { key });
        // One that has expired has no trace any more.
        if now < message.expires_at {
            batch = batch.then(trace::put(message, *attempts, failures, now)?);
        }
        let is_done = self.commit_if(batch, now).await?;
        if is_done {
            Gone::Replayed.tell(name, 1);
        }
        Ok(is_done)
    }

    /// Drops a dead letter, read or not; `false` if there is none.
    pub(crate) async fn drop_letter(
        &self,
        name: &RouteName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<bool, RouteError> {
        let (partition, key) = (route_partition(name)?, sequence_key(DEAD, id.sequence())?);
        for _ in 0..CHANGES_MAX {
            let Some(row) = self.store().get(&partition, &key, now).await? else {
                return Ok(false);
            };
            let batch = Batch::new(partition.clone())
                .expect(Expectation::Unchanged(key.clone(), row.revision))
                .then(Operation::Delete { key: key.clone() });
            if self.commit_if(batch, now).await? {
                Gone::Dropped.tell(name, 1);
                return Ok(true);
            }
        }
        Err(RouteError::Changed(name.clone()))
    }

    /// Removes dead letters of an owned route; `false` if it is not owned any more.
    async fn remove(
        &self,
        owned: &Owned,
        ids: &[Sequence],
        why: Gone,
        now: Timestamp,
    ) -> Result<bool, RouteError> {
        for some in ids.chunks(PAGE) {
            let mut batch = owned.batch()?;
            for id in some {
                batch.operations.push(Operation::Delete { key: sequence_key(DEAD, *id)? });
            }
            if !self.commit_if(batch, now).await? {
                return Ok(false);
            }
            why.tell(&owned.name, some.len() as u64);
        }
        Ok(true)
    }

    /// How many dead letters a route has.
    pub(crate) async fn count_dead(
        &self,
        name: &RouteName,
        now: Timestamp,
    ) -> Result<u64, RouteError> {
        Ok(self.dead_sequences(&route_partition(name)?, now).await?.len() as u64)
    }

    /// Removes the oldest dead letters of a route if there are more than the bound, a twentieth more than
    /// must be so that this is rare, and says how many are left.
    pub(crate) async fn drop_excess(
        &self,
        owned: &Owned,
        now: Timestamp,
    ) -> Result<u64, RouteError> {
        let all = self.dead_sequences(&route_partition(&owned.name)?, now).await?;
        let max = self.dead_max();
        let excess = if all.len() > max { all.len() - (max - max / 20) } else { 0 };
        let (oldest, rest) = all.split_at(excess);
        let is_done = self.remove(owned, oldest, Gone::Excess, now).await?;
        Ok(if is_done { rest.len() } else { all.len() } as u64)
    }

    /// Removes the dead letters of a route that were kept as long as the settings say, and says how
    /// many are left.
    pub(crate) async fn drop_aged(&self, owned: &Owned, now: Timestamp) -> Result<u64, RouteError> {
        let (mut aged, mut count) = (Vec::new(), 0);
        // They are stored by the time of the message, and given up in about that order.
        let partition = route_partition(&owned.name)?;
        let mut range = KeyRange::prefix(DEAD);
        loop {
            let scanned = range.clone();
            let page =
                self.store().scan(&partition, scanned, PAGE, Direction::Ascending, now).await?;
            count += page.rows.len();
            let letters = page.rows.iter().filter_map(|(_, row)| read(row));
            let old =
                letters.filter(|letter| now >= letter.given_up_at.saturating_add(self.dead_kept()));
            aged.extend(old.map(|letter| letter.message.id.sequence()));
            match page.rows.last() {
                Some((last, _)) if page.more => range = range.after(last),
                _ => break,
            }
        }
        let is_done = self.remove(owned, &aged, Gone::Aged, now).await?;
        Ok(if is_done { count - aged.len() } else { count } as u64)
    }

    /// The messages of all dead letters, without what is in them.
    async fn dead_sequences(
        &self,
        partition: &Partition,
        now: Timestamp,
    ) -> Result<Vec<Sequence>, RouteError> {
        let mut range = KeyRange::prefix(DEAD);
        let mut sequences = Vec::new();
        loop {
            let scanned = range.clone();
            let page =
                self.store().scan(partition, scanned, PAGE, Direction::Ascending, now).await?;
            sequences.extend(page.rows.iter().filter_map(|(key, _)| sequence_of(key, DEAD)));
            match page.rows.last() {
                Some((last, _)) if page.more => range = range.after(last),
                _ => return Ok(sequences),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_of_an_older_release_is_read() {
        let written = r#"{"id":"2024-03-09T14:05:21.337Z-0000000000","bus":"v2/a.example",
            "channel":"c","kind":"t","source":"https://v.example/","sticky":false,
            "payload":"{\"n\": 1.0}","attempts":12,"error":"down","given_up_at_ms":1710000000000}"#;
        let letter = serde_json::from_str::<Written>(written).unwrap().read().unwrap();
        assert_eq!((letter.error(), letter.attempts), ("down", 12));
        assert_eq!(letter.message.payload.as_str(), r#"{"n": 1.0}"#);
        let again = serde_json::to_vec(&Written::of(&letter)).unwrap();
        assert_eq!(serde_json::from_slice::<Written>(&again).unwrap().read(), Some(letter));
    }
}
