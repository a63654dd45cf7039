//! Where a UserAgent keeps its state.
//!
//! Never here: what the state means.

use std::{
    io,
    path::{Path, PathBuf},
};

use futures::future::BoxFuture;

use super::state::ClientState;

/// Keeps the state of one UserAgent. Only one client may use it at a time: two that share a UAID
/// displace each other.
pub trait Storage: Send + 'static {
    /// What was saved last; an empty state if nothing was.
    fn load(&mut self) -> BoxFuture<'_, io::Result<ClientState>>;

    /// Saves `state` in place of what was saved before: all of it or, if it fails, nothing.
    fn save<'a>(&'a mut self, state: &'a ClientState) -> BoxFuture<'a, io::Result<()>>;
}

/// Forgets everything at the end of the program.
#[derive(Debug, Default)]
pub struct MemoryStorage(ClientState);

impl MemoryStorage {
    /// Begins with a state that somebody else kept.
    pub const fn new(state: ClientState) -> Self {
        Self(state)
    }
}

impl Storage for MemoryStorage {
    fn load(&mut self) -> BoxFuture<'_, io::Result<ClientState>> {
        Box::pin(async { Ok(self.0.clone()) })
    }

    fn save<'a>(&'a mut self, state: &'a ClientState) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async {
            self.0 = state.clone();
            Ok(())
        })
    }
}

/// A JSON file that only its owner may read; it is replaced as a whole, on the disk before
/// [`save`](Storage::save) returns.
#[derive(Debug)]
pub struct FileStorage(PathBuf);

impl FileStorage {
    /// Keeps the state at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
}

impl Storage for FileStorage {
    fn load(&mut self) -> BoxFuture<'_, io::Result<ClientState>> {
        Box::pin(async {
            match tokio::fs::read(&self.0).await {
                Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(ClientState::default()),
                Err(error) => Err(error),
            }
        })
    }

    fn save<'a>(&'a mut self, state: &'a ClientState) -> BoxFuture<'a, io::Result<()>> {
        Box::pin(async {
            let (path, bytes) = (self.0.clone(), serde_json::to_vec(state)?);
            tokio::task::spawn_blocking(move || replace(&path, &bytes)).await?
        })
    }
}

/// Replaces a file: what is new is on the disk before it takes the place of what is old.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_is_replaced_as_a_whole_and_is_its_owners() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let mut storage = FileStorage::new(&path);
        assert_eq!(storage.load().await.unwrap().channels.len(), 0);
        let state: ClientState = serde_json::from_str(r#"{"uaid":"secret"}"#).unwrap();
        storage.save(&state).await.unwrap();
        storage.save(&state).await.unwrap();
        let loaded = storage.load().await.unwrap();
        assert_eq!(loaded.uaid.unwrap().expose(), "secret");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "{").unwrap();
        assert!(storage.load().await.is_err());
    }
}
