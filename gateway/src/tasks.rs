//! Tasks that live as long as the process, and what happens when one of them ends too early.
//!
//! Never here: what a task does. A task of a single connection belongs to its listener.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::FutureExt as _;
use tokio::time;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Owns the tasks of the process.
///
/// The end has two steps. From [`draining`](Self::draining) on nothing new is begun and nobody waits
/// any longer; from [`stop`](Self::stop) on there is nothing left to do. A task that ends before the
/// first step, or panics, is logged and counted, and [`failed`](Self::failed) returns its name: the
/// process then shuts down, since it can't do what it promises.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    draining: CancellationToken,
    stop: CancellationToken,
    failure: Arc<Failure>,
}

#[derive(Debug, Default)]
struct Failure {
    name: OnceLock<&'static str>,
    happened: CancellationToken,
}

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Is cancelled when the process begins to shut down: long polls and streams end then.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Begins the end.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Is cancelled when all tasks shall end.
    pub fn stop(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs `task`, which is called `name` in the log.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (draining, failure) = (self.draining.clone(), self.failure.clone());
        self.tracker.spawn(async move {
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            let early = !draining.is_cancelled();
            if ended.is_err() {
                tracing::error!(task = name, "a task panicked");
            } else if early {
                tracing::error!(task = name, "a task ended early");
            } else {
                return;
            }
            metrics::counter!("buswire_task_failures_total", "task" => name).increment(1);
            if early {
                // Only the first failure is the cause of the shutdown.
                let _first = failure.name.set(name);
                failure.happened.cancel();
            }
        });
    }

    /// Waits until a task ends early, and returns its name.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn failed(&self) -> &'static str {
        self.failure.happened.cancelled().await;
        self.failure.name.get().copied().unwrap_or_default()
    }

    /// The name of the task that ended early, if one did.
    pub fn failure(&self) -> Option<&'static str> {
        self.failure.name.get().copied()
    }

    /// Asks all tasks to end and waits for them, at most for `grace`. Returns how many are left.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the tasks stay asked.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        self.drain();
        self.stop.cancel();
        self.tracker.close();
        match time::timeout(grace, self.tracker.wait()).await {
            Ok(()) => 0,
            Err(_) => self.tracker.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_early_is_noticed() {
        let tasks = Tasks::new();
        let stop = tasks.stop();
        tasks.spawn("patient", async move { stop.cancelled().await });
        assert_eq!(tasks.failure(), None);
        tasks.spawn("hasty", async {});
        assert_eq!(tasks.failed().await, "hasty");
        assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, 0);
    }

    #[tokio::test]
    async fn a_panic_is_noticed_and_does_not_spread() {
        let tasks = Tasks::new();
        tasks.spawn("broken", async { panic!("on purpose") });
        assert_eq!(tasks.failed().await, "broken");
        assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, 0);
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_counted() {
        let tasks = Tasks::new();
        tasks.spawn("stubborn", std::future::pending());
        assert_eq!(tasks.shutdown(Duration::from_millis(1)).await, 1);
    }
}
