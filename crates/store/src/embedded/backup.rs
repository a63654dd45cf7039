//! A copy of the file as it is at one moment, made while others write, and how it is put back.
//!
//! Never here: tables; `disk` knows them.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use redb::{Builder, Database, backends::FileBackend};

use super::{
    EmbeddedConfig, EmbeddedStore, OpenError,
    disk::{self, DiskError, guarded},
    open::{self, FILE, RESTORED, UNFINISHED},
};

/// Pages of the copy that are kept in memory.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Copies what is committed in `database` to the new file `to` and checks the copy. Nothing is left
/// of it if that fails.
pub(super) fn write(database: &Database, to: &Path) -> Result<(), DiskError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(to).map_err(redb::Error::Io)?;
    let copied = guarded(|| {
        let medium = FileBackend::new(file)?;
        let mut copy = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(medium)?;
        disk::copy(database, &copy)?;
        if !copy.check_integrity()? {
            return Err(DiskError::Damaged("the copy is not what was written".to_owned()));
        }
        Ok(copy.close()?)
    });
    if copied.is_err() {
        // It may be what fills the disk.
        fs::remove_file(to).ok();
    }
    copied
}

impl EmbeddedStore {
    /// Makes a store in `directory`, which must have none, of a `backup`, and checks it whole. When it
    /// is opened it begins a new epoch.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; then there is no store in the directory.
    pub fn restore(backup: &Path, directory: &Path) -> Result<(), OpenError> {
        let _lock = open::lock(directory)?;
        let (unfinished, file) = (directory.join(UNFINISHED), directory.join(FILE));
        if file.try_exists().map_err(|source| io_error(&file, source))? {
            return Err(OpenError::Occupied { path: directory.to_owned() });
        }
        fs::copy(backup, &unfinished).map_err(|source| io_error(backup, source))?;
        let config = EmbeddedConfig { check_up_to_bytes: u64::MAX, ..EmbeddedConfig::default() };
        guarded(|| {
            let database = open::open_file(&unfinished, &config)?;
            disk::load(&database)?;
            Ok(database.close()?)
        })
        .map_err(|error| open::explain(backup, error))?;
        let marker = directory.join(RESTORED);
        File::create(&marker).map_err(|source| io_error(&marker, source))?;
        fs::rename(&unfinished, &file).map_err(|source| io_error(&file, source))?;
        open::sync_directory(directory).map_err(|source| io_error(directory, source))
    }
}

fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { path: PathBuf::from(path), source }
}
