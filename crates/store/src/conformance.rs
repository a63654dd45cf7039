//! What every engine must do, as tests that any engine can run.
//!
//! Implement [`Engine`] and write [`conformance_tests!`](crate::conformance_tests) in a test file:
//! every case becomes a test of its own. A case fails by panicking. Never here: what one engine
//! promises beyond the [`Store`] trait.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    reason = "a conformance case fails by panicking"
)]

pub mod harness;
mod life;
mod logs;
mod rows;

use std::{fmt, sync::Arc};

use buswire_message::Timestamp;
use bytes::Bytes;

pub use self::{life::*, logs::*, rows::*};
use crate::{
    Ack, Applied, Batch, BoxFuture, DedupeId, Entry, Key, LogName, Operation, Outcome, Partition,
    Position, Row, Store,
};

/// Makes stores to test.
pub trait Engine: Send + Sync {
    /// An empty store that shares nothing with any other.
    fn fresh(&self) -> BoxFuture<'_, Instance>;

    /// An empty store whose medium takes a few hundred kilobytes and is full then; reopening it finds
    /// enough space. `None` if the engine's medium can't be made so.
    fn nearly_full(&self) -> Option<BoxFuture<'_, Instance>> {
        None
    }
}

/// Opens again what a store left behind.
pub type Reopen = Box<dyn Fn() -> BoxFuture<'static, Arc<dyn Store>> + Send + Sync>;

/// A store to test.
pub struct Instance {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Opens it again after it was closed and dropped; `None` if it forgets everything then.
    pub reopen: Option<Reopen>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Instance {
    /// Closes the store and opens it again; `None` if it can't be.
    pub async fn reopened(self) -> Option<Self> {
        let reopen = self.reopen?;
        self.store.close().await;
        drop(self.store);
        let store = reopen().await;
        Some(Self { store, reopen: Some(reopen) })
    }
}

/// The time at which cases begin: 2024-03-09T14:05:21Z.
pub const START: Timestamp = Timestamp::from_secs(1_709_993_121);

/// Makes a test of every case, each in a runtime of its own.
///
/// ```text
/// buswire_store::conformance_tests!(MyEngine::default());
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($engine:expr) => {
        $crate::conformance_tests!(@cases $engine;
            order_holds_under_64_writers,
            followers_see_no_holes,
            pages_of_a_log_join_without_gap_or_overlap,
            duplicates_are_stored_once,
            entries_expire_on_the_exact_millisecond,
            logs_that_grew_are_told_and_nothing_smaller_follows,
            an_older_epoch_is_told_of_the_gap,
            a_clock_that_steps_back_an_hour_changes_no_order,
            rows_expire_on_the_exact_millisecond,
            conflicts_change_nothing,
            competing_writers_lose_no_update,
            versions_only_grow,
            tombstones_outlive_late_replays,
            batches_are_seen_whole,
            refused_batches_change_nothing,
            scans_give_ranges_in_both_directions,
            revisions_never_repeat,
            hints_name_what_changed,
            lost_hints_are_admitted,
            dropped_commits_happen_whole_or_not_at_all,
            sweeps_keep_to_their_budget,
            a_closed_store_is_unavailable,
            everything_is_there_after_reopening,
            a_full_disk_loses_nothing_acknowledged,
        );
    };
    (@cases $engine:expr; $($case:ident,)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::conformance::$case(&$engine).await;
            }
        )+
    };
}

fn partition(name: &str) -> Partition {
    Partition::new(name).unwrap()
}

fn key(name: &str) -> Key {
    Key::new(name.to_owned()).unwrap()
}

fn log() -> LogName {
    LogName::new("messages").unwrap()
}

fn dedupe(name: &str) -> DedupeId {
    DedupeId::new(name.to_owned()).unwrap()
}

fn bytes(text: &str) -> Bytes {
    Bytes::from(text.to_owned())
}

fn after(millis: u64) -> Timestamp {
    Timestamp::from_millis(START.as_millis() + millis)
}

fn before(millis: u64) -> Timestamp {
    Timestamp::from_millis(START.as_millis() - millis)
}

fn append(body: &str) -> Operation {
    Operation::Append { log: log(), dedupe: None, body: bytes(body), expires: Timestamp::MAX }
}

fn append_once(id: &str, body: &str, expires: Timestamp) -> Operation {
    Operation::Append { log: log(), dedupe: Some(dedupe(id)), body: bytes(body), expires }
}

fn put(name: &str, value: &str) -> Operation {
    Operation::Put { key: key(name), value: bytes(value), expires: None }
}

fn put_until(name: &str, value: &str, expires: Timestamp) -> Operation {
    Operation::Put { key: key(name), value: bytes(value), expires: Some(expires) }
}

/// Commits and gives what each operation came to.
async fn commit(store: &dyn Store, batch: Batch, now: Timestamp) -> Vec<Applied> {
    match store.commit(batch, Ack::Safe, now).await.unwrap() {
        Outcome::Committed(applied) => applied.to_vec(),
        Outcome::Conflict(index) => panic!("expectation {index} does not hold"),
    }
}

async fn get(store: &dyn Store, of: &str, name: &str, now: Timestamp) -> Option<Row> {
    store.get(&partition(of), &key(name), now).await.unwrap()
}

/// The text in a row.
async fn text(store: &dyn Store, of: &str, name: &str, now: Timestamp) -> Option<String> {
    let row = get(store, of, name, now).await?;
    Some(String::from_utf8(row.value.as_bytes()?.to_vec()).unwrap())
}

/// Every live entry after `after`, read in pages of 7.
async fn read_all(
    store: &dyn Store,
    of: &str,
    mut after: Option<Position>,
    now: Timestamp,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    loop {
        let page = store.read_log(&partition(of), &log(), after, 7, now).await.unwrap();
        after = Some(page.next);
        entries.extend(page.entries);
        if !page.more {
            return entries;
        }
    }
}

fn bodies(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8(entry.body.to_vec()).unwrap()).collect()
}

fn position(applied: Applied) -> Position {
    match applied {
        Applied::Appended(position) | Applied::Repeated(position) => position,
        other => panic!("{other:?} is not a position"),
    }
}
