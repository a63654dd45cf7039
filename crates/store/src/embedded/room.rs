//! Whether the disk has room for another commit.
//!
//! A commit that fails half-way ends the store, so none is begun that may. Never here: writing.

use std::path::{Path, PathBuf};

use super::EmbeddedConfig;
use crate::error::StoreError;

/// The room on the disk of a store.
#[derive(Debug)]
pub(super) struct Room {
    /// `None` if the store is not in a directory.
    directory: Option<PathBuf>,
    /// Bytes that must be free to add.
    least: u64,
    /// Bytes that must be free to remove: that needs some too, and makes room.
    sweep_least: u64,
    is_short: bool,
}

impl Room {
    /// On the disk that has the file `path`, with the floors of `config`.
    pub(super) fn new(path: Option<&Path>, config: &EmbeddedConfig) -> Self {
        let directory = path.and_then(Path::parent).map(Path::to_owned);
        let (least, sweep_least) = (config.free_bytes, config.sweep_free_bytes);
        Self { directory, least, sweep_least, is_short: false }
    }

    /// Looks whether a commit may begin that adds, or that only removes.
    ///
    /// # Errors
    ///
    /// `Unavailable` if there is too little.
    pub(super) fn check(&mut self, adds: bool) -> Result<(), StoreError> {
        let free = self.directory.as_deref().map_or(u64::MAX, free_bytes);
        let is_short = free < self.least;
        if is_short != self.is_short {
            self.is_short = is_short;
            if is_short {
                tracing::error!(free, least = self.least, "the disk is full: nothing is written");
            } else {
                tracing::info!(free, "the disk has room again");
            }
        }
        let least = if adds { self.least } else { self.sweep_least };
        if free < least {
            let why = format!("the disk is full: {free} bytes are free, {least} are needed");
            return Err(StoreError::Unavailable(why));
        }
        Ok(())
    }
}

/// The bytes that this user may still write. What can't be asked is taken for enough: then a commit
/// says itself that it failed.
pub(super) fn free_bytes(directory: &Path) -> u64 {
    #[cfg(unix)]
    let free = rustix::fs::statvfs(directory).map(|disk| disk.f_bavail * disk.f_frsize);
    #[cfg(not(unix))]
    let free = Ok::<_, std::io::Error>(u64::MAX);
    free.unwrap_or(u64::MAX)
}
