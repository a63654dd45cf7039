//! Opening a data directory: lock, create, check, load.
//!
//! Never here: anything after the store is open.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use buswire_message::Clock;
use redb::{Builder, Database, DatabaseError, StorageBackend};

use super::{
    EmbeddedConfig, OpenError,
    disk::{self, DiskError, Loaded, guarded},
    format::FORMAT,
};
use crate::{read::Epoch, system::SystemClock};

/// The file that holds everything.
pub(super) const FILE: &str = "buswire.redb";
/// The file while it is being made; only a whole one gets its name.
pub(super) const UNFINISHED: &str = "buswire.redb.new";
/// Locked as long as the directory is in use.
const LOCK: &str = "buswire.lock";
/// Put there by whoever restored the directory from a backup.
pub(super) const RESTORED: &str = "RESTORED";

/// An open database and what keeps others out.
#[derive(Debug)]
pub(super) struct OpenDatabase {
    pub(super) database: Database,
    pub(super) path: Option<PathBuf>,
    /// Released after the database was closed: fields are dropped in this order.
    _lock: Option<File>,
}

/// Opens the directory, and makes it if it is not there.
pub(super) fn open_directory(
    directory: &Path,
    config: &EmbeddedConfig,
) -> Result<(OpenDatabase, Loaded), OpenError> {
    let lock = lock(directory)?;
    let path = directory.join(FILE);
    let exists = path.try_exists().map_err(|source| io_error(&path, source))?;
    if !exists {
        create(directory, config)?;
    }
    let marker = directory.join(RESTORED);
    let restored = marker.try_exists().map_err(|source| io_error(&marker, source))?;
    // Closing a file that is damaged may panic too, so all of it is guarded.
    let (database, loaded) = guarded(|| {
        let database = open_file(&path, config)?;
        if restored {
            disk::begin_epoch(&database, fresh_epoch())?;
        }
        let loaded = disk::load(&database)?;
        Ok((database, loaded))
    })
    .map_err(|error| explain(&path, error))?;
    if restored {
        fs::remove_file(&marker).map_err(|source| io_error(&marker, source))?;
    }
    Ok((OpenDatabase { database, path: Some(path), _lock: Some(lock) }, loaded))
}

/// Opens a store on another medium than a file.
pub(super) fn open_backend(
    backend: impl StorageBackend,
    config: &EmbeddedConfig,
) -> Result<(OpenDatabase, Loaded), OpenError> {
    let path = Path::new("the storage backend");
    let (database, loaded) = guarded(|| {
        let database = builder(config).create_with_backend(backend)?;
        if disk::is_blank(&database)? {
            disk::initialise(&database, fresh_epoch())?;
        }
        let loaded = disk::load(&database)?;
        Ok((database, loaded))
    })
    .map_err(|error| explain(path, error))?;
    Ok((OpenDatabase { database, path: None, _lock: None }, loaded))
}

pub(super) fn lock(directory: &Path) -> Result<File, OpenError> {
    let directory_error = |source| OpenError::Directory { path: directory.to_owned(), source };
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(directory_error)?;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(directory.join(LOCK))
        .map_err(directory_error)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(source)) => Err(directory_error(source)),
    }
}

/// Makes the file under another name first, so that an unfinished one is never taken for damaged.
fn create(directory: &Path, config: &EmbeddedConfig) -> Result<(), OpenError> {
    let unfinished = directory.join(UNFINISHED);
    let failed = |source| OpenError::Directory { path: directory.to_owned(), source };
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    guarded(|| {
        let database = builder(config).create(&unfinished)?;
        disk::initialise(&database, fresh_epoch())?;
        Ok(database.close()?)
    })
    .map_err(|error| explain(&unfinished, error))?;
    fs::rename(&unfinished, directory.join(FILE)).map_err(failed)?;
    sync_directory(directory).map_err(failed)
}

/// Makes a rename durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

pub(super) fn open_file(path: &Path, config: &EmbeddedConfig) -> Result<Database, DatabaseError> {
    let length = fs::metadata(path)?.len();
    if length == 0 {
        return Err(redb::StorageError::Corrupted("it is empty".to_owned()).into());
    }
    let check = length <= config.check_up_to_bytes;
    builder(config).set_check_integrity_on_open(check).open(path)
}

fn builder(config: &EmbeddedConfig) -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(config.page_cache_bytes);
    builder
}

/// An epoch later than any that a lost file in the same place can have had.
fn fresh_epoch() -> Epoch {
    Epoch(SystemClock.now().as_secs())
}

/// Says in the words of an operator what a failure to open means.
pub(super) fn explain(path: &Path, error: DiskError) -> OpenError {
    let path = path.to_owned();
    match error {
        DiskError::Foreign | DiskError::Failed(redb::Error::UpgradeRequired(_)) => {
            OpenError::Foreign { path }
        }
        DiskError::Newer(found) => OpenError::Newer { path, found, known: FORMAT },
        DiskError::Damaged(detail) => OpenError::Damaged { path, detail },
        DiskError::Failed(redb::Error::DatabaseAlreadyOpen) => OpenError::InUse { path },
        DiskError::Failed(redb::Error::Io(source)) => match source.kind() {
            io::ErrorKind::InvalidData => OpenError::Foreign { path },
            io::ErrorKind::UnexpectedEof => {
                OpenError::Damaged { path, detail: "it ends too early".to_owned() }
            }
            _ => OpenError::Io { path, source },
        },
        DiskError::Failed(other) => OpenError::Damaged { path, detail: other.to_string() },
    }
}

fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), source }
}
