//! Telling readers that partitions changed.
//!
//! Each listener has a queue of its own, and whoever asked for other partitions is not woken: of the
//! many that a gateway has, most commits concern one, and a gateway hears of the commits of all others.
//! Never here: deciding which partitions changed.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio_stream::Stream;

use crate::{
    names::Partition,
    store::{Hint, HintFilter, Hints},
};

/// How many hints a slow listener may lag behind before it is told that it missed some.
const CAPACITY: usize = 4096;

/// Hands hints to every stream that asked for them.
#[derive(Debug)]
pub(crate) struct Hinter(Mutex<Option<Vec<Listener>>>);

#[derive(Debug)]
struct Listener {
    filter: HintFilter,
    hints: mpsc::Sender<Hint>,
    has_missed: Arc<AtomicBool>,
}

/// The other end of a [`Listener`].
#[derive(Debug)]
struct Heard {
    hints: mpsc::Receiver<Hint>,
    has_missed: Arc<AtomicBool>,
}

impl Hinter {
    /// A hinter that nobody listens to yet.
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }

    /// Tells everybody of those partitions in `changed` that they asked for.
    pub(crate) fn tell(&self, changed: impl IntoIterator<Item = Partition>) {
        self.with_listeners(|listeners| {
            for partition in changed {
                let concerned = listeners.iter().filter(|it| it.filter.admits(&partition));
                for listener in concerned {
                    listener.tell(Hint::Changed(partition.clone()));
                }
            }
        });
    }

    /// Tells everybody that hints were missed.
    #[cfg(feature = "redis")]
    pub(crate) fn miss(&self) {
        self.with_listeners(|listeners| {
            for listener in listeners {
                listener.tell(Hint::Missed);
            }
        });
    }

    /// A stream of the hints from here on.
    pub(crate) fn stream(&self, filter: HintFilter) -> Hints {
        let (hints, heard) = mpsc::channel(CAPACITY);
        let has_missed = Arc::new(AtomicBool::new(false));
        let listener = Listener { filter, hints, has_missed: Arc::clone(&has_missed) };
        // Once closed, nobody keeps the other end and the stream has ended.
        self.with_listeners(|listeners| listeners.push(listener));
        Box::pin(Heard { hints: heard, has_missed })
    }

    /// Ends every stream.
    pub(crate) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Does something with those that still listen. Telling them never blocks.
    fn with_listeners(&self, work: impl FnOnce(&mut Vec<Listener>)) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listeners) = guard.as_mut() {
            listeners.retain(|listener| !listener.hints.is_closed());
            work(listeners);
        }
    }
}

impl Listener {
    fn tell(&self, hint: Hint) {
        let Err(TrySendError::Full(_)) = self.hints.try_send(hint) else { return };
        self.has_missed.store(true, Ordering::Release);
        // It may have emptied its queue just before, and wait: then this wakes it. Otherwise it has
        // something to take out, and looks at the flag before that.
        self.hints.try_send(Hint::Missed).ok();
    }
}

impl Stream for Heard {
    type Item = Hint;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Hint>> {
        if self.has_missed.swap(false, Ordering::AcqRel) {
            return Poll::Ready(Some(Hint::Missed));
        }
        self.hints.poll_recv(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicUsize,
        task::{Wake, Waker},
    };

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn partition(name: &str) -> Partition {
        Partition::new(name).unwrap()
    }

    fn changed(name: &str) -> Poll<Option<Hint>> {
        Poll::Ready(Some(Hint::Changed(partition(name))))
    }

    fn poll(hints: &mut Hints, woken: &Arc<Woken>) -> Poll<Option<Hint>> {
        let waker = Waker::from(Arc::clone(woken));
        hints.as_mut().poll_next(&mut Context::from_waker(&waker))
    }

    #[test]
    fn who_asked_for_other_partitions_is_not_woken() {
        let hinter = Hinter::new();
        let (mut rows, mut buses) = (
            hinter.stream(HintFilter::Only(partition("rows"))),
            hinter.stream(HintFilter::Prefix("bus/".into())),
        );
        let (of_rows, of_buses) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        assert!(poll(&mut rows, &of_rows).is_pending() && poll(&mut buses, &of_buses).is_pending());
        hinter.tell([partition("bus/a"), partition("bus/b")]);
        assert_eq!(of_rows.0.load(Ordering::Relaxed), 0);
        assert_eq!(of_buses.0.load(Ordering::Relaxed), 1);
        assert_eq!(poll(&mut buses, &of_buses), changed("bus/a"));
        assert_eq!(poll(&mut buses, &of_buses), changed("bus/b"));
        hinter.tell([partition("rows")]);
        assert_eq!(poll(&mut rows, &of_rows), changed("rows"));
    }

    #[test]
    fn who_lags_behind_is_told_once_that_hints_were_missed_and_of_what_comes_then() {
        let hinter = Hinter::new();
        let mut slow = hinter.stream(HintFilter::All);
        let woken = Arc::new(Woken::default());
        hinter.tell((0..=CAPACITY).map(|number| partition(&number.to_string())));
        assert_eq!(poll(&mut slow, &woken), Poll::Ready(Some(Hint::Missed)));
        for number in 0..CAPACITY {
            assert_eq!(poll(&mut slow, &woken), changed(&number.to_string()));
        }
        assert!(poll(&mut slow, &woken).is_pending());
        hinter.tell([partition("later")]);
        assert_eq!(poll(&mut slow, &woken), changed("later"));
    }

    #[test]
    fn who_listens_no_more_is_forgotten_and_closing_ends_every_stream() {
        let hinter = Hinter::new();
        let woken = Arc::new(Woken::default());
        for _ in 0..10 {
            drop(hinter.stream(HintFilter::All));
        }
        let mut left = hinter.stream(HintFilter::All);
        assert_eq!(hinter.0.lock().unwrap().as_ref().map(Vec::len), Some(1));
        hinter.tell([partition("a")]);
        hinter.close();
        assert_eq!(poll(&mut left, &woken), changed("a"));
        assert_eq!(poll(&mut left, &woken), Poll::Ready(None));
        assert_eq!(poll(&mut hinter.stream(HintFilter::All), &woken), Poll::Ready(None));
    }
}
