//! The audit log: who changed what, when, and what was there before.
//!
//! A call is written down before it begins (`begun/…`) and again, with how it ended, before it is answered
//! (`record/NUMBER`), so that no change goes unrecorded: one whose caller went away, or whose gateway
//! stopped, is recorded as UNKNOWN after [`ABANDONED_AFTER`]. A call that can't be written down does not
//! begin. Everything is in the partition `admin-audit`: numbers have no gap, whatever the number of
//! gateways, and an id of a request is taken in the same commit as the call begins.
//!
//! Never here: what a method of the interface is; see `writes`.

mod ids;
mod record;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use buswire_message::{Clock, Entropy, Timestamp, mint_base64url};
use buswire_store::{
    Ack, Applied, Batch, Direction, Expectation, Hint, HintFilter, Key, KeyRange, Operation,
    Outcome, Partition, Revision, Row, Store, StoreError,
};
use bytes::Bytes;
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::Mutex;

pub(crate) use ids::{Claim, Claimed, Kept};
pub use record::{Filter, Record};

/// After which time a call that was begun has certainly ended: no call takes longer than
/// `AdminLimits::call_time_max`, and clocks of gateways differ by seconds.
const ABANDONED_AFTER: Duration = Duration::from_secs(5 * 60);
/// How many abandoned calls are recorded on the way of another one.
const ABANDONED_ROWS: usize = 16;
/// How many refusals for lack of a role are recorded each minute; the rest is in the log lines.
const REFUSALS_PER_MINUTE: u64 = 60;
/// The most refusals for lack of a role, and the most tries of strangers; the oldest go first. Each have this
/// share of their own, so that who may do nothing can't push out what others did or tried.
const REFUSALS_MAX: u64 = 1000;
/// How often a number is asked for that another gateway took.
const TRIES: usize = 16;
/// How many records one page looks at.
const ROWS_PER_PAGE: usize = 5000;
/// How many records are read at once: a few MiB if they all are as long as they may be.
const ROWS: usize = 50;
/// How often a watcher looks without having been told to.
const LOOK_EVERY: Duration = Duration::from_secs(5);

const PARTITION: &str = "admin-audit";
const RECORDS: &str = "record/";
const BEGUN: &str = "begun/";

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditLimits {
    /// How long a record is kept.
    pub kept: Duration,
    /// The most records of what was changed, or tried; the oldest go first. Besides, there are up to
    /// [`REFUSALS_MAX`] of those who may not, and of those whom nobody knows.
    pub records_max: u64,
}

impl Default for AuditLimits {
    fn default() -> Self {
        Self { kept: Duration::from_secs(90 * 86_400), records_max: 100_000 }
    }
}

/// The audit log of the gateways on one store. Cheap to clone.
#[derive(Clone)]
pub struct AuditLog(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    partition: Partition,
    limits: AuditLimits,
    /// Held while a number is taken, so that calls of one gateway do not meet.
    numbering: Mutex<()>,
    /// The minute, and how many refusals were recorded in it, in one number: `minute << 16 | count`.
    refusals: AtomicU64,
    /// The same of strangers.
    strangers: AtomicU64,
}

impl fmt::Debug for AuditLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLog").field("limits", &self.0.limits).finish_non_exhaustive()
    }
}

/// A call that was written down and may begin.
#[derive(Debug)]
pub(crate) struct Begun {
    key: Key,
    revision: Revision,
    claim: Option<Claim>,
}

/// A call that is under way, as it is written down.
#[derive(Serialize, Deserialize)]
struct UnderWay {
    record: Record,
    claim: Option<Claim>,
}

/// Records of which only so many are kept, whatever there is of others.
#[derive(Clone, Copy, Debug)]
enum Share {
    Changes,
    /// Of those who are known and may not.
    Refusals,
    /// Of those who used a known name without its secret.
    Strangers,
}

/// A record with its number.
pub(crate) type Numbered = (u64, Record);

impl AuditLog {
    /// The audit log in a store.
    ///
    /// # Errors
    ///
    /// Never, unless the program was built wrong.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        limits: AuditLimits,
    ) -> Result<Self, StoreError> {
        let partition = Partition::new(PARTITION).map_err(damaged)?;
        let (numbering, refusals, strangers) = Default::default();
        let inner =
            Inner { store, clock, entropy, partition, limits, numbering, refusals, strangers };
        Ok(Self(Arc::new(inner)))
    }

    /// Writes down that a call begins, and takes the id of its request.
    ///
    /// # Errors
    ///
    /// [`StoreError`], and then it must not begin.
    pub(crate) async fn begin(
        &self,
        record: &Record,
        claim: Option<Claim>,
    ) -> Result<Result<Begun, Claimed>, StoreError> {
        self.record_abandoned().await?;
        let now = self.0.clock.now();
        let nonce = mint_base64url(&*self.0.entropy, 12);
        let key = key(&format!("{BEGUN}{:015}-{}", now.as_millis(), nonce.expose()))?;
        let under_way = UnderWay { record: record.clone().bounded(now), claim };
        let put = Operation::Put { key: key.clone(), value: json(&under_way)?, expires: None };
        let mut batch = Batch::new(self.0.partition.clone()).then(put);
        let claim = under_way.claim;
        if let Some(claim) = &claim {
            batch = claim.take(batch, now)?;
        }
        match (self.0.store.commit(batch, Ack::Safe, now).await?, claim) {
            (Outcome::Committed(applied), claim) => match applied.first() {
                Some(Applied::Row(revision)) => Ok(Ok(Begun { key, revision: *revision, claim })),
                _ => Err(damaged("a call was not written down")),
            },
            (Outcome::Conflict(_), Some(claim)) => {
                let row = self.get(&claim.key()?).await?;
                Ok(Err(claim.found(row.as_ref())?))
            }
            (Outcome::Conflict(_), None) => Err(damaged("nothing was expected")),
        }
    }

    /// Writes down how a call ended, with `answer` for whoever sends its request again.
    ///
    /// # Errors
    ///
    /// [`StoreError`], and then the call is recorded as UNKNOWN later on.
    pub(crate) async fn end(
        &self,
        begun: Begun,
        record: Record,
        answer: Kept<'_>,
    ) -> Result<(), StoreError> {
        let Begun { key, revision, claim } = begun;
        self.append(Share::Changes, record, move |mut batch, now| {
            batch = batch
                .expect(Expectation::Unchanged(key.clone(), revision))
                .then(Operation::Delete { key: key.clone() });
            match &claim {
                Some(claim) => claim.settle(batch, answer, now),
                None => Ok(batch),
            }
        })
        .await
    }

    /// Records what was done, or refused, at once.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) async fn note(&self, record: Record) -> Result<(), StoreError> {
        self.append(Share::Changes, record, |batch, _| Ok(batch)).await
    }

    /// Records a refusal, unless there were [`REFUSALS_PER_MINUTE`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) async fn refused(&self, record: Record) -> Result<(), StoreError> {
        self.append_seldom(Share::Refusals, &self.0.refusals, record).await
    }

    /// Records the try of somebody who has the name of a caller and not its secret, unless there were
    /// [`REFUSALS_PER_MINUTE`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) async fn stranger(&self, record: Record) -> Result<(), StoreError> {
        self.append_seldom(Share::Strangers, &self.0.strangers, record).await
    }

    /// Appends a record unless `in_minute` says that there were [`REFUSALS_PER_MINUTE`].
    async fn append_seldom(
        &self,
        share: Share,
        in_minute: &AtomicU64,
        record: Record,
    ) -> Result<(), StoreError> {
        let minute = self.0.clock.now().as_secs() / 60;
        let next = |before: u64| {
            let count = if before >> 16 == minute { before & 0xffff } else { 0 };
            (count < REFUSALS_PER_MINUTE).then_some((minute << 16) | (count + 1))
        };
        let relaxed = Ordering::Relaxed;
        match in_minute.fetch_update(relaxed, relaxed, next) {
            Ok(_) => self.append(share, record, |batch, _| Ok(batch)).await,
            Err(_) => Ok(()),
        }
    }

    /// Appends a record; `with` adds what belongs into the same commit. If what it expects does not hold,
    /// the call is recorded already.
    async fn append(
        &self,
        share: Share,
        record: Record,
        with: impl Fn(Batch, Timestamp) -> Result<Batch, StoreError>,
    ) -> Result<(), StoreError> {
        let _numbering = self.0.numbering.lock().await;
        let now = self.0.clock.now();
        let value = json(&record.bounded(now))?;
        let last_key = key("last")?;
        for _ in 0..TRIES {
            let row = self.get(&last_key).await?;
            let (last, unchanged) = match &row {
                Some(row) => (number(row)?, Expectation::Unchanged(last_key.clone(), row.revision)),
                None => (0, Expectation::Absent(last_key.clone())),
            };
            let number = last + 1;
            let expires = Some(now.saturating_add(self.0.limits.kept));
            let batch = Batch::new(self.0.partition.clone())
                .expect(unchanged)
                .then(put(last_key.clone(), to_row(number), None))
                .then(put(record_key(number)?, value.clone(), expires));
            let batch = self.counted(share, number, expires, batch).await?;
            let batch = with(batch, now)?;
            // The first expectation is that nobody else took the number.
            if self.0.store.commit(batch, Ack::Safe, now).await? != Outcome::Conflict(0) {
                return Ok(());
            }
        }
        Err(StoreError::Retry("the audit log keeps growing".to_owned()))
    }

    /// `batch`, which takes a number, and also counts it in its share, and deletes the oldest record of the
    /// share if there are too many: `changes` is how many there were, `changes/COUNT` the number of each.
    async fn counted(
        &self,
        share: Share,
        number_taken: u64,
        expires: Option<Timestamp>,
        batch: Batch,
    ) -> Result<Batch, StoreError> {
        let (name, max) = match share {
            Share::Changes => ("changes", self.0.limits.records_max),
            Share::Refusals => ("refusals", REFUSALS_MAX),
            Share::Strangers => ("strangers", REFUSALS_MAX),
        };
        let place = |count: u64| key(&format!("{name}/{count:020}"));
        let count = self.get(&key(name)?).await?.as_ref().map_or(Ok(0), number)? + 1;
        let counted = put(place(count)?, to_row(number_taken), expires);
        let mut batch = batch.then(put(key(name)?, to_row(count), None)).then(counted);
        if let Some(oldest) = count.checked_sub(max) {
            let oldest = place(oldest)?;
            if let Some(row) = self.get(&oldest).await? {
                let record = record_key(number(&row)?)?;
                batch = batch.then(Operation::Delete { key: record });
                batch = batch.then(Operation::Delete { key: oldest });
            }
        }
        Ok(batch)
    }

    /// Records the calls that were begun long ago and never ended.
    async fn record_abandoned(&self) -> Result<(), StoreError> {
        let long_ago = self.0.clock.now().as_millis();
        let long_ago = long_ago.saturating_sub(duration_ms(ABANDONED_AFTER));
        let range = KeyRange {
            start: Some(Bytes::from_static(BEGUN.as_bytes())),
            end: Some(format!("{BEGUN}{long_ago:015}").into()),
        };
        let order = Direction::Ascending;
        let page = self.scan(range, ABANDONED_ROWS, order).await?;
        for (key, row) in page.rows {
            let UnderWay { record, claim } = parsed(&row)?;
            let begun = Begun { key, revision: row.revision, claim };
            self.end(begun, record.abandoned(), Kept::Unknown).await?;
        }
        Ok(())
    }

    /// Records before the number `before`, the newest first, and before which number to go on: at most
    /// `limit`, and no more than have `bytes_max` bytes of text, but one.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) async fn list(
        &self,
        filter: &Filter,
        before: Option<u64>,
        limit: usize,
        bytes_max: usize,
    ) -> Result<(Vec<Numbered>, Option<u64>), StoreError> {
        self.record_abandoned().await?;
        let (mut found, mut before, mut bytes) = (Vec::new(), before, 0);
        for _ in 0..ROWS_PER_PAGE / ROWS {
            let mut range = KeyRange::prefix(RECORDS.as_bytes());
            if let Some(before) = before {
                range.end = Some(record_key(before)?.as_bytes().clone());
            }
            let page = self.scan(range, ROWS, Direction::Descending).await?;
            for (key, row) in page.rows {
                let (number, record): Numbered = (record_number(&key)?, parsed(&row)?);
                let is_wanted = filter.admits(&record);
                if is_wanted {
                    bytes += record.text_bytes();
                    if bytes > bytes_max && !found.is_empty() {
                        return Ok((found, before));
                    }
                }
                before = Some(number);
                if is_wanted {
                    found.push((number, record));
                    if found.len() == limit {
                        return Ok((found, before.filter(|before| *before > 1)));
                    }
                }
            }
            if !page.more {
                return Ok((found, None));
            }
        }
        Ok((found, before))
    }

    /// Every record after the number `after`, or from now on, as they come. Ends with the first error.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub(crate) async fn watch(
        &self,
        filter: Filter,
        after: Option<u64>,
    ) -> Result<BoxStream<'static, Result<Numbered, StoreError>>, StoreError> {
        // Told of changes from before the first look on: none is missed.
        let hints = self.0.store.hints(HintFilter::Only(self.0.partition.clone()));
        let after = match after {
            Some(after) => after,
            None => self.get(&key("last")?).await?.as_ref().map_or(Ok(0), number)?,
        };
        let pages = stream::try_unfold((self.clone(), hints, after), async |state| {
            let (log, mut hints, mut after) = state;
            loop {
                let range = KeyRange::prefix(RECORDS.as_bytes()).after(&record_key(after)?);
                let page = log.scan(range, ROWS, Direction::Ascending).await?;
                let records = page.rows.iter();
                let records = records.map(|(key, row)| Ok((record_number(key)?, parsed(row)?)));
                let records = records.collect::<Result<Vec<Numbered>, StoreError>>()?;
                if let Some((last, _)) = records.last() {
                    after = *last;
                    let items = stream::iter(records.into_iter().map(Ok::<_, StoreError>));
                    return Ok::<_, StoreError>(Some((items, (log, hints, after))));
                }
                match tokio::time::timeout(LOOK_EVERY, hints.next()).await {
                    Ok(None) => return Ok(None),
                    Ok(Some(Hint::Changed(_) | Hint::Missed)) | Err(_) => {}
                }
            }
        });
        let wanted = move |record: &Numbered| {
            let admits = filter.admits(&record.1);
            async move { admits }
        };
        Ok(pages.try_flatten().try_filter(wanted).boxed())
    }

    async fn get(&self, key: &Key) -> Result<Option<Row>, StoreError> {
        self.0.store.get(&self.0.partition, key, self.0.clock.now()).await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: usize,
        order: Direction,
    ) -> Result<buswire_store::RowPage, StoreError> {
        let now = self.0.clock.now();
        self.0.store.scan(&self.0.partition, range, limit, order, now).await
    }
}

fn duration_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn damaged(error: impl fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("the audit log: {error}"))
}

fn key(text: &str) -> Result<Key, StoreError> {
    Key::new(text.to_owned()).map_err(damaged)
}

/// Padded, so that the order of texts is the order of numbers.
fn record_key(number: u64) -> Result<Key, StoreError> {
    key(&format!("{RECORDS}{number:020}"))
}

fn record_number(key: &Key) -> Result<u64, StoreError> {
    let text = std::str::from_utf8(key.as_bytes()).ok().and_then(|k| k.strip_prefix(RECORDS));
    text.and_then(|number| number.parse().ok()).ok_or_else(|| damaged("an impossible number"))
}

const fn put(key: Key, value: Bytes, expires: Option<Timestamp>) -> Operation {
    Operation::Put { key, value, expires }
}

/// What [`number`] reads.
fn to_row(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// The number in a row that is no record: a count, or the number of a record.
fn number(row: &Row) -> Result<u64, StoreError> {
    let bytes = row.value.as_bytes().and_then(|bytes| bytes.as_ref().try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| damaged("its count can't be read"))
}

fn json(value: &impl Serialize) -> Result<Bytes, StoreError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(damaged)
}

fn parsed<T: DeserializeOwned>(row: &Row) -> Result<T, StoreError> {
    let bytes = row.value.as_bytes().ok_or_else(|| damaged("a row is buried"))?;
    serde_json::from_slice(bytes).map_err(damaged)
}

#[cfg(test)]
mod tests;
