//! Saves the snapshot when it changed (Belay §6.12): the driver of `saving`.
//!
//! Never here: when to save.

use std::{fmt, future::Future, pin::Pin, time::Duration};

use buswire_message::Secret;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::instance::{CapServer, saving::Saving};

impl CapServer {
    /// Keeps the snapshot saved until `shutdown`, and then saves what is unsaved once more.
    ///
    /// `saver` gets the text that [`serialize`](Self::serialize) gives. It is called at most
    /// `max_interval` after the first change that it has not seen, never twice at a time, and after a
    /// failure again, 1 s later at first and 60 s later in the end. Its failures are logged, so they
    /// must hold no secret.
    ///
    /// Named grants, wrappers and their revocation change the snapshot; plain grants don't. Changes
    /// from before this call count as unsaved. A server has one saver at a time: another one is
    /// begun after this one has ended.
    ///
    /// # Errors
    ///
    /// The failure of the last save: not everything is saved.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops a save that goes on and leaves what changed unsaved.
    pub async fn set_persistifier<S, F, E>(
        &self,
        saver: S,
        max_interval: Duration,
        shutdown: CancellationToken,
    ) -> Result<(), E>
    where
        S: Fn(Secret<String>) -> F,
        F: Future<Output = Result<(), E>>,
        E: fmt::Display,
    {
        let start = Instant::now();
        let mut saving = Saving::new(max_interval);
        let mut running = None;
        let mut changes = self.0.changes.subscribe();
        if *changes.borrow_and_update() > 0 {
            saving.handle_change(start.elapsed());
        }
        while !shutdown.is_cancelled() {
            tokio::select! {
                () = shutdown.cancelled() => {}
                // The server holds the other end, so it does not fail.
                _ = changes.changed() => saving.handle_change(start.elapsed()),
                outcome = ended(&mut running) => saving.handle_end(start.elapsed(), outcome),
                () = due(start, saving.poll_timeout()) => {
                    saving.handle_begin();
                    running = Some(Box::pin(saver(self.serialize())));
                }
            }
        }
        if running.is_some() {
            let outcome = ended(&mut running).await;
            saving.handle_end(start.elapsed(), outcome);
        }
        if saving.is_unsaved() || changes.has_changed().unwrap_or(false) {
            saver(self.serialize()).await?;
        }
        Ok(())
    }
}

/// Waits for the end of a save and says whether it went well; for ever if none runs.
async fn ended<F, E>(running: &mut Option<Pin<Box<F>>>) -> bool
where
    F: Future<Output = Result<(), E>>,
    E: fmt::Display,
{
    let Some(save) = running else { return std::future::pending().await };
    let outcome = save.await;
    *running = None;
    if let Err(error) = &outcome {
        tracing::warn!(%error, "the snapshot of an instance could not be saved");
    }
    outcome.is_ok()
}

async fn due(start: Instant, after: Option<Duration>) {
    match after.and_then(|after| start.checked_add(after)) {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
