//! The interface that every engine has.

use std::{fmt, path::Path, pin::Pin, sync::Arc};

use buswire_message::{Sequence, Timestamp};
use tokio_stream::Stream;

use crate::{
    batch::{Ack, Batch, Outcome},
    error::StoreError,
    names::{Key, LogName, Partition},
    read::{Direction, Epoch, KeyRange, Page, Position, Row, RowPage},
};

/// A future as the object-safe [`Store`] returns it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Rows and logs in partitions.
///
/// Used as `Arc<dyn Store>`. Every method may be called from any number of tasks at once.
///
/// # Cancel safety
///
/// Every future may be dropped at any time. A dropped [`commit`](Self::commit) happened whole or not
/// at all; repeat it to be sure, operations are idempotent.
pub trait Store: Send + Sync + fmt::Debug {
    /// Applies `batch` if its expectations hold, all or nothing, and returns when it is as safe as
    /// `ack` asks. What it wrote is then visible to every read that begins later.
    ///
    /// `now` is the time for expectations, expiries and new sequences.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; on any but [`StoreError::Refused`] the batch may have been applied, whole.
    fn commit(
        &self,
        batch: Batch,
        ack: Ack,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Outcome, StoreError>>;

    /// The live row of `key`, a tombstone included.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    fn get<'a>(
        &'a self,
        partition: &'a Partition,
        key: &'a Key,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Option<Row>, StoreError>>;

    /// The first `limit` live rows of `range`, tombstones included. `limit` 0 is taken as 1.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        range: KeyRange,
        limit: usize,
        direction: Direction,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<RowPage, StoreError>>;

    /// At most `limit` live entries of a log after `after`, in order; from the start of the window if
    /// `after` is `None`. A log that nobody appended to is empty. `limit` 0 is taken as 1.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    fn read_log<'a>(
        &'a self,
        partition: &'a Partition,
        log: &'a LogName,
        after: Option<Position>,
        limit: usize,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Page, StoreError>>;

    /// For each of `places` whether its log has anything after the position, or may have.
    ///
    /// Whatever is appended to one of these logs after the answer has a sequence greater than
    /// `through`, whoever appends it: so who has read them up to then has all that is not. `through`
    /// is a sequence that was seen in this store, never one that a client made up.
    ///
    /// The default is for engines whose sequences are in the order of their commits across all
    /// partitions: there it holds by itself, and the logs are to be read.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    fn grown<'a>(
        &'a self,
        log: &'a LogName,
        places: &'a [(Partition, Position)],
        through: Sequence,
    ) -> BoxFuture<'a, Result<Vec<bool>, StoreError>> {
        let _ = (log, through);
        Box::pin(async { Ok(vec![true; places.len()]) })
    }

    /// A stream that names partitions after they changed, for as long as it is polled. A hint only
    /// wakes a reader, who reads again from its position; when hints had to be dropped it says so.
    fn hints(&self, filter: HintFilter) -> Hints;

    /// Removes at most `budget` expired entries and rows from storage. Not needed for correct reads.
    ///
    /// # Errors
    ///
    /// [`StoreError::Retry`], [`StoreError::Unavailable`], [`StoreError::Corrupt`].
    fn sweep(&self, now: Timestamp, budget: usize) -> BoxFuture<'_, Result<Swept, StoreError>>;

    /// What an operator wants to know about the engine.
    fn status(&self) -> StoreStatus;

    /// Writes all that is committed by now into a new file `to`, while others go on writing, and
    /// checks it. Only for engines that are one file of this process.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]: the file can't be written, or the engine has backups of its own.
    /// [`StoreError::Corrupt`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, it goes on to its end.
    fn backup<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<(), StoreError>> {
        let (engine, to) = (self.status().engine, to.display());
        let why = format!("nothing is written to {to}: {engine} is no file; back it up itself");
        Box::pin(async { Err(StoreError::Unavailable(why)) })
    }

    /// Finishes the commits that were accepted, then closes. Later calls get
    /// [`StoreError::Unavailable`]. Closing twice is done at once.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Which partitions to be told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HintFilter {
    /// All.
    All,
    /// Those whose name begins with this.
    Prefix(Arc<str>),
    /// This one.
    Only(Partition),
}

impl HintFilter {
    /// Whether `partition` is one of them.
    pub fn admits(&self, partition: &Partition) -> bool {
        match self {
            Self::All => true,
            Self::Prefix(prefix) => partition.as_str().starts_with(&**prefix),
            Self::Only(only) => only == partition,
        }
    }
}

/// Says that something may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// This partition changed.
    Changed(Partition),
    /// Hints were dropped: any partition may have changed.
    Missed,
}

/// A stream of [`Hint`]s; ends when the store closes.
pub type Hints = Pin<Box<dyn Stream<Item = Hint> + Send>>;

/// What a sweep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Swept {
    /// Entries and rows that were removed.
    pub removed: usize,
    /// Whether the budget ran out before the expired ones did.
    pub more: bool,
}

/// What an operator wants to know about an engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreStatus {
    /// `memory`, `embedded`, …
    pub engine: &'static str,
    /// Whether other processes may use the same store at the same time.
    pub is_shared: bool,
    /// The present epoch.
    pub epoch: Epoch,
    /// Why the engine can't take commits at present; `None` if it can.
    pub unavailable: Option<String>,
    /// Commits that are waiting to become safe.
    pub waiting: usize,
    /// Bytes on disk; 0 if there is none.
    pub disk_bytes: u64,
    /// Bytes that are free on that disk now; `None` if it is not a disk of this machine.
    pub disk_free_bytes: Option<u64>,
    /// Whether that is too little, so that what adds is refused until there is room.
    pub is_full: bool,
}
