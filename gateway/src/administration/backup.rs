//! A backup of the store as a stream of bytes.
//!
//! Never here: how an engine copies itself.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use buswire_store::Store;
use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream, Stream},
};
use tokio::{
    fs::File,
    io::AsyncReadExt as _,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::task::TaskTracker;

use crate::admin::ports::AdminError;

/// How many bytes are read at once.
const CHUNK: usize = 256 * 1024;
/// The file that a backup is first written to.
const DRAFT: &str = "backup.new";

/// Makes backups, one at a time.
#[derive(Clone, Debug)]
pub(crate) struct Backups {
    store: Arc<dyn Store>,
    draft: PathBuf,
    turn: Arc<Semaphore>,
    tracker: TaskTracker,
}

/// A file that is removed in the end.
#[derive(Debug)]
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        // There may be none yet.
        fs::remove_file(&self.0).ok();
    }
}

impl Backups {
    /// Backups of `store`, which are first written to `directory`.
    pub(crate) fn new(store: Arc<dyn Store>, directory: &Path) -> Self {
        let draft = directory.join(DRAFT);
        // A process that was killed may have left one.
        drop(Draft(draft.clone()));
        Self { store, draft, turn: Arc::new(Semaphore::new(1)), tracker: TaskTracker::new() }
    }

    /// The bytes of a new backup.
    pub(crate) fn stream(&self) -> BoxStream<'static, Result<Bytes, AdminError>> {
        let backups = self.clone();
        // The store copies to the end, also for nobody: the turn and the file are held until then.
        let made = async move {
            let making = backups.tracker.spawn(backups.clone().make());
            making.await.map_err(failed)?
        };
        let parts = stream::once(made).map_ok(|(file, turn)| parts(file, turn));
        parts.try_flatten().boxed()
    }

    /// Makes a backup in a file that has no name any more. Not safe to drop while the store copies.
    async fn make(self) -> Result<(File, OwnedSemaphorePermit), AdminError> {
        let Ok(turn) = self.turn.try_acquire_owned() else {
            return Err(AdminError::Refused("another backup is being made".to_owned()));
        };
        let draft = Draft(self.draft);
        self.store.backup(&draft.0).await?;
        let file = File::open(&draft.0).await.map_err(failed)?;
        // Removed now, its bytes stay until it is closed.
        drop(draft);
        Ok((file, turn))
    }
}

/// The bytes of `file`; holds `turn` until the last one.
fn parts(file: File, turn: impl Send) -> impl Stream<Item = Result<Bytes, AdminError>> + Send {
    stream::try_unfold((file, turn), async |(mut file, turn)| {
        let mut part = BytesMut::with_capacity(CHUNK);
        let length = file.read_buf(&mut part).await.map_err(failed)?;
        Ok((length > 0).then(|| (part.freeze(), (file, turn))))
    })
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> AdminError {
    AdminError::Internal(Box::new(error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use buswire_store::embedded::{EmbeddedConfig, EmbeddedStore};
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_backup_that_nobody_waits_for_any_more_takes_its_turn_to_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let draft = directory.path().join(DRAFT);
        let store = EmbeddedStore::open(directory.path(), EmbeddedConfig::default()).unwrap();
        fs::write(&draft, "of a process that was killed").unwrap();
        let backups = Backups::new(Arc::new(store), directory.path());
        assert!(!draft.exists());
        assert!(backups.stream().next().now_or_never().is_none());
        let second = backups.stream().next().await.unwrap();
        assert!(matches!(second, Err(AdminError::Refused(_))), "{second:?}");
        let later = async {
            while backups.stream().next().await.unwrap().is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), later).await.unwrap();
        assert!(!draft.exists());
    }
}
