//! The future of a reader that waits.
//!
//! Never here: what ends a wait.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use buswire_message::{BusName, Timestamp};
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::{
    error::BusError,
    select::{Filter, Selection},
    waiting::{Fired, Over, Place, Spot, WaiterId, Waiting},
};

/// More places than this and a reader is listed under whole buses instead, its scope compared with
/// each message: lists stay short whatever a scope names.
const PLACES_MAX: usize = 16;

/// The readers that wait, shared by everybody who enters or wakes them.
#[derive(Debug)]
pub(crate) struct WaitingRoom {
    waiting: Mutex<Waiting<Waker>>,
    max: usize,
    /// Told when a deadline was entered that is the next one.
    pub(crate) rearm: Notify,
}

impl WaitingRoom {
    pub(crate) fn new(max: usize) -> Self {
        Self { waiting: Mutex::new(Waiting::new(max)), max, rearm: Notify::new() }
    }

    // A std mutex: every section is short and none awaits.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Waiting<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a reader of `selection`.
    pub(crate) fn enter(
        self: &Arc<Self>,
        selection: &Selection,
        whole_scope: impl FnOnce() -> Arc<Filter>,
        now: Timestamp,
        deadline: Option<Timestamp>,
    ) -> Result<Wait, BusError> {
        let (places, filter) = places(selection, whole_scope);
        let mut waiting = self.lock();
        let before = waiting.next_deadline();
        let id = waiting
            .register(now, places, filter, deadline)
            .map_err(|_| BusError::TooManyWaiters { max: self.max })?;
        let is_next = waiting.next_deadline() != before;
        drop(waiting);
        if is_next {
            self.rearm.notify_one();
        }
        Ok(Wait { room: Arc::clone(self), id: Some(id) })
    }
}

type Listed = (SmallVec<[Place; 1]>, Option<Arc<Filter>>);

/// Where a reader is listed: under its channels, or else its types, or else whole buses; and what
/// is left to compare with each message there.
fn places(selection: &Selection, whole_scope: impl FnOnce() -> Arc<Filter>) -> Listed {
    let spots: SmallVec<[Spot; 1]> = match (&selection.channels, &selection.kinds) {
        (Some(channels), _) => channels.iter().cloned().map(Spot::Channel).collect(),
        (None, Some(kinds)) => kinds.iter().cloned().map(Spot::Kind).collect(),
        (None, None) => SmallVec::from_elem(Spot::Whole, 1),
    };
    let buses = &selection.buses;
    if buses.len() * spots.len() <= PLACES_MAX.max(buses.len()) {
        let place = |bus| spots.iter().map(move |spot| (BusName::clone(bus), spot.clone()));
        return (buses.iter().flat_map(place).collect(), selection.filter.clone());
    }
    (buses.iter().map(|bus| (bus.clone(), Spot::Whole)).collect(), Some(whole_scope()))
}

/// A reader that waits. Ready when its wait is over; dropping it removes the reader.
#[derive(Debug)]
pub(crate) struct Wait {
    room: Arc<WaitingRoom>,
    id: Option<WaiterId>,
}

impl Future for Wait {
    type Output = Over;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Over> {
        let Some(id) = self.id else {
            return Poll::Ready(Over { fired: Fired::Closed, deadline: None });
        };
        let over = self.room.lock().poll(id, |kept| match kept {
            Some(kept) if kept.will_wake(context.waker()) => kept,
            _ => context.waker().clone(),
        });
        match over {
            Some(over) => {
                self.id = None;
                Poll::Ready(over)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.room.lock().cancel(id);
        }
    }
}

/// Wakes `wakers`, with no lock held: what is woken may run at once and take any lock.
pub(crate) fn wake(wakers: Vec<Waker>) {
    for waker in wakers {
        waker.wake();
    }
}
