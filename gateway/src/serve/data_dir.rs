//! The directory of everything that must not be forgotten.

use std::{
    fs,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

/// A directory that exists and can be written.
#[derive(Clone, Debug)]
pub struct DataDir(PathBuf);

/// Why the directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It can't be made.
    #[error("data_dir: can't make the directory {}", path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It can't be written.
    #[error("data_dir: can't write to {}", path.display())]
    Write {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl DataDirError {
    /// What the operator can do.
    pub fn hint(&self) -> String {
        "make it writable for the user that runs buswire, or choose another with --set data_dir=PATH"
            .to_owned()
    }
}

impl DataDir {
    /// Opens the directory, and makes it for its owner only if it is not there.
    ///
    /// # Errors
    ///
    /// [`DataDirError`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| DataDirError::Make { path: path.to_owned(), source })?;
        // Permission bits do not tell the truth about read-only mounts and quotas; writing does.
        let probe = path.join(".writable");
        fs::write(&probe, b"")
            .and_then(|()| fs::remove_file(&probe))
            .map_err(|source| DataDirError::Write { path: path.to_owned(), source })?;
        Ok(Self(path.to_owned()))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}
