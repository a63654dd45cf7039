//! The embedded engine: one process, one data directory, nothing to install.
//!
//! Everything is in one file of [redb]. One thread commits: whatever waits goes into the next commit,
//! which ends with one sync of the file, and only then anything of it is visible or answered. Rows
//! and the index of entries are in memory, the contents of the latest entries too; older ones are
//! read from the file by a few threads of the runtime's blocking pool.
//!
//! What survives: every answered commit, after `kill -9` and after a loss of power, if the medium
//! keeps what it said it had synced. What happens to damage: see `DESIGN.md` beside the code.
//!
//! When the disk is about to be full, writes are answered with [`StoreError::Unavailable`] until there
//! is room again; reads go on. A commit that fails nevertheless ends the store: everything afterwards
//! is answered with [`StoreError::Unavailable`], since neither redb nor the operating system can say
//! what of it is on the disk. Opening it again shows.
//!
//! Never here: rules of batches; they are shared with the memory engine.

mod backup;
mod committer;
mod crc;
mod disk;
mod error;
mod format;
mod open;
mod room;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use buswire_message::{Sequence, Timestamp};
use bytes::Bytes;
use redb::{Database, StorageBackend};
use tokio::sync::{Semaphore, mpsc, oneshot};

pub use self::error::OpenError;
use self::{
    committer::{CommitJob, Committer, ImportJob, Request, Resident, SweepJob},
    disk::{DiskError, Loaded, guarded},
    format::body_at,
    open::OpenDatabase,
    room::Room,
};
use crate::{
    batch::{Ack, Batch, DedupeId, Outcome},
    copy::{Chunk, Part, Portable},
    error::StoreError,
    hints::Hinter,
    names::{Key, LogName, Partition},
    read::{Direction, Entry, KeyRange, Page, Position, Row, RowPage},
    state::{Body, Place, State, StoredPage},
    store::{BoxFuture, HintFilter, Hints, Store, StoreStatus, Swept},
};

/// Threads that read from the file at a time. More would only queue up at the disk.
const READERS: u32 = 4;

/// How an [`EmbeddedStore`] uses memory and disk. The defaults fit a small machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// Bytes of entry contents kept in memory, newest first. Default 64 MiB: readers that keep up
    /// never touch the disk.
    pub resident_bytes: usize,
    /// Bytes of file pages kept in memory. Default 32 MiB.
    pub page_cache_bytes: usize,
    /// Requests that may wait for the committer. Who comes later waits until there is room: a
    /// publisher is slowed down, never turned away. Default 4096.
    pub waiting: usize,
    /// The operations after which a commit takes no further request. Default 2048: enough to make
    /// the sync of the file cheap, few enough that nobody waits long for the others.
    pub group_operations: usize,
    /// The bytes after which a commit takes no further request. Default 8 MiB.
    pub group_bytes: usize,
    /// A file of at most so many bytes is read whole at every start and its checksums verified;
    /// of a larger one only what is read anyway, unless it was not closed properly. Default
    /// 256 MiB, which takes well under a second.
    pub check_up_to_bytes: u64,
    /// Bytes of the disk that must be free for a commit to begin. Default 32 MiB: the largest commit,
    /// and what redb writes beside it.
    pub free_bytes: u64,
    /// Bytes of the disk that must be free for a commit that only removes. Default 8 MiB: fewer than
    /// for the others, so that sweeps go on and make room, but what redb writes while it removes.
    pub sweep_free_bytes: u64,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            resident_bytes: 64 * 1024 * 1024,
            page_cache_bytes: 32 * 1024 * 1024,
            waiting: 4096,
            group_operations: 2048,
            group_bytes: 8 * 1024 * 1024,
            check_up_to_bytes: 256 * 1024 * 1024,
            free_bytes: 32 * 1024 * 1024,
            sweep_free_bytes: 8 * 1024 * 1024,
        }
    }
}

/// A store in a directory.
#[derive(Debug)]
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    /// Gone only while this is dropped.
    requests: Option<mpsc::Sender<Request>>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

/// What readers and the committer share.
#[derive(Debug)]
struct Shared {
    state: RwLock<State>,
    /// Gone once closed.
    database: Mutex<Option<Arc<OpenDatabase>>>,
    path: Option<PathBuf>,
    /// Why it takes no more requests.
    poison: OnceLock<StoreError>,
    closed: AtomicBool,
    hinter: Hinter,
    readers: Arc<Semaphore>,
    /// Bytes that must be free to add. A backup leaves twice as many: room for the commits meanwhile.
    least_free: u64,
}

impl EmbeddedStore {
    /// Opens the store in `directory`, and makes both if they are not there. Blocks while it reads
    /// the index.
    ///
    /// After a restore from a backup, put an empty file `RESTORED` into the directory first: the
    /// store then begins a new epoch, and readers learn that they may have missed something.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which names the path and says what to do.
    pub fn open(directory: impl AsRef<Path>, config: EmbeddedConfig) -> Result<Self, OpenError> {
        let directory = directory.as_ref();
        let (database, loaded) = open::open_directory(directory, &config)?;
        Self::start(database, loaded, config, directory)
    }

    /// Opens a store on another medium than a directory: one in memory, or one that fails on
    /// purpose. An empty medium is set up.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub fn open_on(
        backend: impl StorageBackend,
        config: EmbeddedConfig,
    ) -> Result<Self, OpenError> {
        let (database, loaded) = open::open_backend(backend, &config)?;
        Self::start(database, loaded, config, Path::new("the storage backend"))
    }

    fn start(
        database: OpenDatabase,
        loaded: Loaded,
        config: EmbeddedConfig,
        name: &Path,
    ) -> Result<Self, OpenError> {
        let Loaded { state, segments } = loaded;
        let path = database.path.clone();
        let database = Arc::new(database);
        let shared = Arc::new(Shared {
            state: RwLock::new(state),
            database: Mutex::new(Some(Arc::clone(&database))),
            path,
            poison: OnceLock::new(),
            closed: AtomicBool::new(false),
            hinter: Hinter::new(),
            readers: Arc::new(Semaphore::new(READERS as usize)),
            least_free: config.free_bytes,
        });
        let (sender, requests) = mpsc::channel(config.waiting.max(1));
        let resident = Resident::new(config.resident_bytes);
        let room = Room::new(shared.path.as_deref(), &config);
        let committer = Committer {
            shared: Arc::clone(&shared),
            database,
            segments,
            requests,
            config,
            resident,
            room,
            gathered: 0,
        };
        let committer = thread::Builder::new()
            .name("buswire-store".to_owned())
            .spawn(move || committer.run())
            .map_err(|source| OpenError::Io { path: name.to_owned(), source })?;
        Ok(Self { shared, requests: Some(sender), committer: Mutex::new(Some(committer)) })
    }

    /// Sends a request and waits for its answer.
    async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Request,
    ) -> Result<T, StoreError> {
        self.shared.healthy()?;
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(closed)?;
        requests.send(request(answer)).await.map_err(|_| closed())?;
        answered.await.map_err(|_| self.shared.healthy().err().unwrap_or_else(closed))?
    }
}

impl Portable for EmbeddedStore {
    fn parts(&self) -> BoxFuture<'_, Result<Vec<Part>, StoreError>> {
        Box::pin(async move {
            self.shared.usable()?;
            Ok(self.shared.read().parts())
        })
    }

    fn dedupe_ids<'a>(
        &'a self,
        partition: &'a Partition,
        log: &'a LogName,
    ) -> BoxFuture<'a, Result<Vec<(Sequence, DedupeId)>, StoreError>> {
        Box::pin(async move {
            self.shared.usable()?;
            Ok(self.shared.read().dedupe_ids(partition, log))
        })
    }

    fn import(&self, chunk: Chunk, now: Timestamp) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.shared.usable()?;
            self.ask(|answer| Request::Import(ImportJob { chunk, now, answer })).await
        })
    }
}

impl Drop for EmbeddedStore {
    /// Waits for the commits that were accepted, so that the directory is free afterwards.
    fn drop(&mut self) {
        self.requests = None;
        let committer = lock(&self.committer).take();
        // A committer that panicked has nothing left to finish.
        committer.map(|committer| committer.join().ok());
    }
}

impl Shared {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// # Errors
    ///
    /// Why it takes no request.
    fn healthy(&self) -> Result<(), StoreError> {
        self.poison.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    fn usable(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) { Err(closed()) } else { self.healthy() }
    }

    /// Takes no more requests. The first reason stays.
    fn poison(&self, error: &StoreError) {
        tracing::error!(%error, "the store takes no more requests");
        self.poison.set(error.clone()).ok();
    }

    /// Fetches the contents that are not in memory.
    async fn complete(
        &self,
        partition: &Partition,
        log: &LogName,
        mut page: StoredPage,
    ) -> Result<Page, StoreError> {
        let mut missing: Vec<_> = absent(&page).map(|body| body.place.segment).collect();
        if !missing.is_empty() {
            missing.sort_unstable();
            missing.dedup();
            let segments = self.fetch(missing).await?;
            for (_, body, _) in &mut page.entries {
                body.resident = body.resident.take().or_else(|| content(&segments, body.place));
            }
            // An entry without content was swept in the meantime, or its content is lost.
            let state = self.read();
            let is_lost = |(sequence, body, _): &(Sequence, Body, Timestamp)| {
                body.resident.is_none() && state.has_entry(partition, log, *sequence)
            };
            if page.entries.iter().any(is_lost) {
                return Err(StoreError::Corrupt("the content of an entry is missing".to_owned()));
            }
        }
        let entries = page.entries.into_iter().filter_map(|(sequence, body, expires)| {
            Some(Entry { sequence, body: body.resident?, expires })
        });
        Ok(Page { entries: entries.collect(), next: page.next, more: page.more, gap: page.gap })
    }

    /// Reads segments from the file.
    async fn fetch(&self, wanted: Vec<Sequence>) -> Result<HashMap<Sequence, Bytes>, StoreError> {
        self.read_file(move |database| disk::read_segments(database, wanted.into_iter())).await
    }

    /// Reads the file, on a thread that may block.
    async fn read_file<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| closed())?;
        let database = lock(&self.database).clone().ok_or_else(closed)?;
        let read = tokio::task::spawn_blocking(move || {
            let result = guarded(|| read(&database.database));
            // Whoever holds all permits knows that nobody reads.
            drop(database);
            drop(permit);
            result
        });
        let result = read.await.map_err(|error| StoreError::Unavailable(error.to_string()))?;
        result.map_err(|error| match error {
            DiskError::Failed(error) => StoreError::Unavailable(error.to_string()),
            other => StoreError::Corrupt(other.to_string()),
        })
    }
}

/// The contents that are not in memory.
fn absent(page: &StoredPage) -> impl Iterator<Item = &Body> {
    page.entries.iter().map(|(_, body, _)| body).filter(|body| body.resident.is_none())
}

/// The content at `place`, copied so that it does not keep the rest of its segment in memory.
fn content(segments: &HashMap<Sequence, Bytes>, place: Place) -> Option<Bytes> {
    let shared = body_at(segments.get(&place.segment)?, place)?;
    Some(Bytes::copy_from_slice(&shared))
}

impl Store for EmbeddedStore {
    /// Both kinds of `ack` wait for the disk: a commit that others share costs little.
    fn commit(
        &self,
        batch: Batch,
        _ack: Ack,
        now: Timestamp,
    ) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        Box::pin(async move {
            self.shared.usable()?;
            batch.check()?;
            self.ask(|answer| Request::Commit(Box::new(CommitJob { batch, now, answer }))).await
        })
    }

    fn get<'a>(
        &'a self,
        partition: &'a Partition,
        key: &'a Key,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        Box::pin(async move {
            self.shared.usable()?;
            Ok(self.shared.read().get(partition, key, now).cloned())
        })
    }

    fn scan<'a>(
        &'a self,
        partition: &'a Partition,
        range: KeyRange,
        limit: usize,
        direction: Direction,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<RowPage, StoreError>> {
        Box::pin(async move {
            self.shared.usable()?;
            Ok(self.shared.read().scan(partition, &range, limit, direction, now))
        })
    }

    fn read_log<'a>(
        &'a self,
        partition: &'a Partition,
        log: &'a LogName,
        after: Option<Position>,
        limit: usize,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(async move {
            self.shared.usable()?;
            let page = self.shared.read().read_log(partition, log, after, limit, now);
            self.shared.complete(partition, log, page).await
        })
    }

    fn hints(&self, filter: HintFilter) -> Hints {
        self.shared.hinter.stream(filter)
    }

    fn sweep(&self, now: Timestamp, budget: usize) -> BoxFuture<'_, Result<Swept, StoreError>> {
        Box::pin(async move {
            self.shared.usable()?;
            self.ask(|answer| Request::Sweep(SweepJob { now, budget, answer })).await
        })
    }

    fn status(&self) -> StoreStatus {
        let waiting = self.requests.as_ref().map_or(0, |r| r.max_capacity() - r.capacity());
        let free = self.shared.path.as_deref().and_then(Path::parent).map(room::free_bytes);
        StoreStatus {
            engine: "embedded",
            is_shared: false,
            epoch: self.shared.read().epoch(),
            unavailable: self.shared.usable().err().map(|error| error.to_string()),
            waiting,
            disk_bytes: self.shared.path.as_deref().map_or(0, disk_bytes),
            disk_free_bytes: free,
            // What the committer asks too.
            is_full: free.is_some_and(|free| free < self.shared.least_free),
        }
    }

    fn backup<'a>(&'a self, to: &'a Path) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.shared.usable()?;
            // Else it would take the room of a commit that has begun.
            let reserve = self.shared.least_free.saturating_mul(2);
            let needed = self.status().disk_bytes.saturating_add(reserve);
            let free = to.parent().map_or(u64::MAX, room::free_bytes);
            if free < needed {
                let why = format!("a backup needs {needed} free bytes, and there are {free}");
                return Err(StoreError::Unavailable(why));
            }
            let to = to.to_owned();
            self.shared.read_file(move |database| backup::write(database, &to)).await
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.shared.closed.store(true, Ordering::Release);
            let (answer, answered) = oneshot::channel();
            if let Some(requests) = &self.requests
                && requests.send(Request::Close(answer)).await.is_ok()
            {
                // The committer may have ended already.
                answered.await.ok();
            }
            // Whoever reads from the file holds one of these and the database.
            let readers = self.shared.readers.acquire_many(READERS).await;
            let database = lock(&self.shared.database).take();
            drop(readers);
            // Closing the file writes to it.
            tokio::task::spawn_blocking(move || drop(database)).await.ok();
            self.shared.hinter.close();
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How much of the disk the file takes; less than its length where parts were never written.
fn disk_bytes(path: &Path) -> u64 {
    let Ok(file) = fs::metadata(path) else { return 0 };
    #[cfg(unix)]
    let bytes = std::os::unix::fs::MetadataExt::blocks(&file) * 512;
    #[cfg(not(unix))]
    let bytes = file.len();
    bytes
}

fn closed() -> StoreError {
    StoreError::Unavailable("closed".to_owned())
}
