//! What happens on one connection, so that one that nobody uses can be closed.
//!
//! HTTP/1 has hyper's own timers; those of HTTP/2 only ask whether the other end is there, which costs it
//! nothing to say. Never here: closing one.

use std::{
    future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time;

/// What a client takes at least, in one `idle_timeout`, of answers that wait for it: more than the
/// answers to pings come to.
const PROGRESS_MIN: u64 = 4096;

/// What has happened on a connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Whether the last request came over HTTP/2.
    pub(super) is_http2: AtomicBool,
    /// How many bytes the client took.
    pub(super) written: Arc<AtomicU64>,
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A request whose answer has not begun; dropping it says that it has.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<Activity>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Activity {
    /// A request has begun.
    pub(super) fn begin(self: &Arc<Self>, is_http2: bool) -> UnderWay {
        self.is_http2.store(is_http2, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// Whether there was a request.
    pub(super) fn is_heard(&self) -> bool {
        self.begun() > 0
    }

    fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    fn is_waiting(&self) -> bool {
        self.begun() == self.ended.load(Ordering::Relaxed)
    }

    /// Ends when an HTTP/2 connection has begun no request for so long, or up to twice as long. Requests
    /// that are under way, and answers, may go on.
    pub(super) async fn idle(&self, timeout: Duration) {
        let mut before = None;
        while before != Some(self.begun()) {
            before = Some(self.begun());
            time::sleep(timeout).await;
        }
        if !self.is_http2.load(Ordering::Relaxed) {
            future::pending::<()>().await;
        }
    }

    /// Ends when the client has taken next to nothing of the answers that wait for it for so long, or up
    /// to twice as long. Only where every answer that has begun is there to be taken.
    pub(super) async fn slow(&self, timeout: Duration) {
        loop {
            let before = self.written.load(Ordering::Relaxed);
            let was_waiting = self.is_waiting();
            time::sleep(timeout).await;
            let taken = self.written.load(Ordering::Relaxed).saturating_sub(before);
            if was_waiting && self.is_waiting() && taken < PROGRESS_MIN {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    async fn ends_within(future: impl Future<Output = ()>, seconds: u64) -> bool {
        time::timeout(Duration::from_secs(seconds), future).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_no_request_begins() {
        let activity = Arc::new(Activity::default());
        let poll = activity.begin(true);
        assert!(ends_within(activity.idle(IDLE), 20).await, "although one is under way");
        let busy = async {
            for _ in 0..10 {
                drop(activity.begin(true));
                time::sleep(IDLE / 2).await;
            }
        };
        let idle = async { (activity.idle(IDLE).await, time::Instant::now()).1 };
        let started = time::Instant::now();
        let (ended, ()) = tokio::join!(idle, busy);
        assert!(ended - started >= Duration::from_secs(50), "{:?}", ended - started);
        drop(poll);
        drop(activity.begin(false));
        assert!(!ends_within(activity.idle(IDLE), 100).await, "HTTP/1 has its own timer");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_slow_when_it_takes_nothing_of_what_is_there() {
        let activity = Arc::new(Activity::default());
        let poll = activity.begin(true);
        assert!(!ends_within(activity.slow(IDLE), 100).await, "the answer is not there yet");
        drop(poll);
        assert!(ends_within(activity.slow(IDLE), 11).await);
        let reads = async {
            loop {
                time::sleep(IDLE / 2).await;
                activity.written.fetch_add(PROGRESS_MIN, Ordering::Relaxed);
            }
        };
        tokio::select! {
            () = activity.slow(IDLE) => panic!("it takes something"),
            () = reads => {}
            () = time::sleep(IDLE * 10) => {}
        }
    }
}
