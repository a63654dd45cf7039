//! Telling readers that partitions changed.
//!
//! Never here: deciding which did.

use std::sync::{Mutex, PoisonError};

use tokio::sync::broadcast;
use tokio_stream::{StreamExt, wrappers::BroadcastStream};

use crate::{
    names::Partition,
    state::Changed,
    store::{Hint, HintFilter, Hints},
};

/// How many hints a slow reader may lag behind before it is told that it missed some.
const CAPACITY: usize = 4096;

/// Hands hints to every stream that asked for them.
#[derive(Debug)]
pub(crate) struct Hinter(Mutex<Option<broadcast::Sender<Partition>>>);

impl Hinter {
    /// A hinter that nobody listens to yet.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some(broadcast::Sender::new(CAPACITY))))
    }

    /// Tells everybody of every partition in `changed`.
    pub(crate) fn tell(&self, changed: Changed) {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(sender) = sender.filter(|sender| sender.receiver_count() > 0) else { return };
        for partition in changed {
            // Nobody listening any more is no failure.
            sender.send(partition).ok();
        }
    }

    /// A stream of the hints from here on.
    pub(crate) fn stream(&self, filter: HintFilter) -> Hints {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = guard.as_ref() else { return Box::pin(tokio_stream::empty()) };
        let hints = BroadcastStream::new(sender.subscribe());
        Box::pin(hints.filter_map(move |received| match received {
            Ok(partition) => filter.admits(&partition).then_some(Hint::Changed(partition)),
            Err(_lagged) => Some(Hint::Missed),
        }))
    }

    /// Ends every stream.
    pub(crate) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
