//! Telling readers that partitions changed.
//!
//! Never here: deciding which did.

use std::sync::{Mutex, PoisonError};

use tokio::sync::broadcast;
use tokio_stream::{StreamExt, wrappers::BroadcastStream};

use crate::{
    names::Partition,
    store::{Hint, HintFilter, Hints},
};

/// How many hints a slow reader may lag behind before it is told that it missed some.
const CAPACITY: usize = 4096;

/// Hands hints to every stream that asked for them.
#[derive(Debug)]
pub(crate) struct Hinter(Mutex<Option<broadcast::Sender<Hint>>>);

impl Hinter {
    /// A hinter that nobody listens to yet.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some(broadcast::Sender::new(CAPACITY))))
    }

    /// Tells everybody of every partition in `changed`.
    pub(crate) fn tell(&self, changed: impl IntoIterator<Item = Partition>) {
        self.send(changed.into_iter().map(Hint::Changed));
    }

    /// Tells everybody that hints were missed.
    #[cfg(feature = "redis")]
    pub(crate) fn miss(&self) {
        self.send([Hint::Missed]);
    }

    fn send(&self, hints: impl IntoIterator<Item = Hint>) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(sender) = sender.filter(|sender| sender.receiver_count() > 0) else { return };
        for hint in hints {
            // Nobody listening any more is no failure.
            sender.send(hint).ok();
        }
    }

    /// A stream of the hints from here on.
    pub(crate) fn stream(&self, filter: HintFilter) -> Hints {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = guard.as_ref() else { return Box::pin(tokio_stream::empty()) };
        let hints = BroadcastStream::new(sender.subscribe());
        Box::pin(hints.filter_map(move |received| match received {
            Ok(Hint::Changed(partition)) if !filter.admits(&partition) => None,
            Ok(hint) => Some(hint),
            Err(_lagged) => Some(Hint::Missed),
        }))
    }

    /// Ends every stream.
    pub(crate) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
