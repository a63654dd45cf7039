//! A backup of the store as a stream of bytes.
//!
//! Never here: how an engine copies itself.

use std::{fs, io, path::PathBuf, sync::Arc};

use buswire_store::Store;
use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream, Stream},
};
use tokio::{fs::File, io::AsyncReadExt as _, sync::Semaphore};

use crate::admin::ports::AdminError;

/// How many bytes are read at once.
const CHUNK: usize = 256 * 1024;

/// Makes backups, one at a time.
#[derive(Clone, Debug)]
pub(crate) struct Backups {
    store: Arc<dyn Store>,
    directory: PathBuf,
    turn: Arc<Semaphore>,
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
    pub(crate) fn new(store: Arc<dyn Store>, directory: PathBuf) -> Self {
        Self { store, directory, turn: Arc::new(Semaphore::new(1)) }
    }

    /// The bytes of a new backup.
    pub(crate) fn stream(&self) -> BoxStream<'static, Result<Bytes, AdminError>> {
        let Self { store, directory, turn } = self.clone();
        let made = async move {
            let Ok(turn) = turn.try_acquire_owned() else {
                return Err(AdminError::Refused("another backup is being made".to_owned()));
            };
            let path = directory.join("backup.new");
            // A process that was killed may have left one.
            drop(Draft(path.clone()));
            let draft = Draft(path);
            store.backup(&draft.0).await?;
            let file = File::open(&draft.0).await.map_err(failed)?;
            // Removed now, its bytes stay until it is closed.
            drop(draft);
            Ok((file, turn))
        };
        let parts = stream::once(made).map_ok(|(file, turn)| parts(file, turn));
        parts.try_flatten().boxed()
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

fn failed(error: io::Error) -> AdminError {
    AdminError::Internal(Box::new(error))
}
