//! Why a data directory could not be opened.
//!
//! Never here: errors of a store that is open; they are [`StoreError`](crate::StoreError).

use std::{io, path::PathBuf};

/// Why a data directory could not be opened: each one line that names the path and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory can't be made, read or written.
    #[error(
        "cannot use the data directory {}: make sure that it is a directory in which this user may \
         read and write",
        path.display()
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is a store already.
    #[error("there is a store in {} already: name another directory", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error(
        "the data directory {} is in use by another process: stop that one, or give this one a \
         directory of its own",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The file was not written by Buswire.
    #[error(
        "{} is not a store of Buswire: move it away, or name another data directory",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer release.
    #[error(
        "{} has format {found}, and this release reads up to {known}: start the release that wrote \
         it, or a newer one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: u64,
        /// The newest format that is read.
        known: u64,
    },
    /// The content of the file can't be trusted.
    #[error(
        "{} is damaged ({detail}): restore it from a backup, or move it away to begin empty",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// The operating system could not read or write it.
    #[error("cannot read or write {}: check the disk, and that it is not full", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}
