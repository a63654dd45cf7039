//! Readers that wait: one small entry each, listed under what they wait for, and one order of
//! deadlines for all.
//!
//! Generic over what is woken, so that it is tested without tasks. Never here: a clock, tasks,
//! timers, locks; the messages themselves.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use buswire_message::{BusName, ChannelName, Timestamp};
use smallvec::SmallVec;

use crate::{select::Filter, stored::StoredMessage};

/// Names one waiting reader; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WaiterId(u64);

/// What a reader waits for: a message on a bus, in one channel of it if that is given.
pub(crate) type Place = (BusName, Option<ChannelName>);

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    /// A message came that the reader may want.
    Message,
    /// The deadline.
    Deadline,
    /// No more waiting: the process stops.
    Closed,
}

#[derive(Debug)]
struct Entry<W> {
    waker: Option<W>,
    fired: Option<Fired>,
    places: SmallVec<[Place; 1]>,
    filter: Option<Arc<Filter>>,
    deadline: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct BusList {
    whole: BTreeSet<WaiterId>,
    channels: HashMap<ChannelName, BTreeSet<WaiterId>>,
}

/// The readers that wait.
#[derive(Debug)]
pub(crate) struct Waiting<W> {
    entries: HashMap<WaiterId, Entry<W>>,
    buses: HashMap<BusName, BusList>,
    deadlines: BTreeSet<(Timestamp, WaiterId)>,
    next: u64,
    max: usize,
    closed: bool,
    seen: Timestamp,
}

/// A clock that goes back by less is not taken to have stepped: threads read it at the same time
/// and enter in another order.
const STEP_MIN: Duration = Duration::from_secs(1);

/// As many readers wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooMany;

impl<W> Waiting<W> {
    /// Nobody waits; at most `max` may.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            entries: HashMap::new(),
            buses: HashMap::new(),
            deadlines: BTreeSet::new(),
            next: 0,
            max,
            closed: false,
            seen: Timestamp::EPOCH,
        }
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Enters a reader, whose `deadline` was reckoned from `now`.
    pub(crate) fn register(
        &mut self,
        now: Timestamp,
        places: SmallVec<[Place; 1]>,
        filter: Option<Arc<Filter>>,
        deadline: Option<Timestamp>,
    ) -> Result<WaiterId, TooMany> {
        if self.entries.len() >= self.max {
            return Err(TooMany);
        }
        self.observe(now);
        let id = WaiterId(self.next);
        self.next += 1;
        let fired = self.closed.then_some(Fired::Closed);
        if fired.is_none() {
            for (bus, channel) in &places {
                let list = self.buses.entry(bus.clone()).or_default();
                match channel {
                    None => list.whole.insert(id),
                    Some(channel) => list.channels.entry(channel.clone()).or_default().insert(id),
                };
            }
            if let Some(deadline) = deadline {
                self.deadlines.insert((deadline, id));
            }
        }
        self.entries.insert(id, Entry { waker: None, fired, places, filter, deadline });
        Ok(id)
    }

    /// Why the wait of `id` is over; then the reader is gone. Otherwise `waker` is kept for it.
    pub(crate) fn poll(
        &mut self,
        id: WaiterId,
        waker: impl FnOnce(Option<W>) -> W,
    ) -> Option<Fired> {
        let Some(entry) = self.entries.get_mut(&id) else { return Some(Fired::Closed) };
        if let Some(fired) = entry.fired {
            self.entries.remove(&id);
            return Some(fired);
        }
        entry.waker = Some(waker(entry.waker.take()));
        None
    }

    /// Removes a reader, whether its wait is over or not.
    pub(crate) fn cancel(&mut self, id: WaiterId) {
        self.unlist(id);
        self.entries.remove(&id);
    }

    /// Ends the wait of everybody who may want one of `messages`, which are new on `bus`; whom to
    /// wake.
    pub(crate) fn wake(&mut self, bus: &BusName, messages: &[Arc<StoredMessage>]) -> Vec<W> {
        let Some(list) = self.buses.get(bus) else { return Vec::new() };
        let mut woken: BTreeSet<WaiterId> = BTreeSet::new();
        let wants = |id: &WaiterId, message: &StoredMessage| {
            let filter = self.entries.get(id).and_then(|entry| entry.filter.as_ref());
            filter.is_none_or(|filter| filter.admits(message))
        };
        woken.extend(list.whole.iter().filter(|id| messages.iter().any(|m| wants(id, m))));
        if !list.channels.is_empty() {
            let mut channels: BTreeMap<&ChannelName, Vec<&StoredMessage>> = BTreeMap::new();
            for message in messages {
                channels.entry(&message.channel).or_default().push(message);
            }
            for (channel, messages) in channels {
                let Some(ids) = list.channels.get(channel) else { continue };
                woken.extend(ids.iter().filter(|id| messages.iter().any(|m| wants(id, m))));
            }
        }
        self.fire(woken, Fired::Message)
    }

    /// Ends the wait of everybody on `bus`, whatever they wait for; whom to wake.
    pub(crate) fn wake_all(&mut self, bus: &BusName) -> Vec<W> {
        let Some(list) = self.buses.get(bus) else { return Vec::new() };
        let mut woken = list.whole.clone();
        // Gathered in a set: the order of the map does not show.
        woken.extend(list.channels.values().flatten());
        self.fire(woken, Fired::Message)
    }

    /// Ends the wait of everybody whose deadline is not after `now`; whom to wake.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<W> {
        self.observe(now);
        let later = self.deadlines.split_off(&(now, WaiterId(u64::MAX)));
        let due = std::mem::replace(&mut self.deadlines, later);
        self.fire(due.into_iter().map(|(_, id)| id), Fired::Deadline)
    }

    /// The next deadline.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    fn observe(&mut self, now: Timestamp) {
        let back = self.seen.saturating_since(now);
        if back > STEP_MIN {
            self.step_back(back);
            self.seen = now;
        }
        self.seen = self.seen.max(now);
    }

    /// The clock stepped back: everybody waits as long as before.
    fn step_back(&mut self, by: Duration) {
        let old = std::mem::take(&mut self.deadlines);
        for (deadline, id) in old {
            let deadline = Timestamp::EPOCH
                .saturating_add(deadline.saturating_since(Timestamp::EPOCH).saturating_sub(by));
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.deadline = Some(deadline);
                self.deadlines.insert((deadline, id));
            }
        }
    }

    /// Ends every wait, and every later one at once; whom to wake.
    pub(crate) fn close(&mut self) -> Vec<W> {
        self.closed = true;
        let waiting: BTreeSet<WaiterId> = self.entries.keys().copied().collect();
        self.fire(waiting, Fired::Closed)
    }

    /// The buses that somebody waits on, in order.
    pub(crate) fn awaited(&self) -> BTreeSet<BusName> {
        self.buses.keys().cloned().collect()
    }

    fn fire(&mut self, ids: impl IntoIterator<Item = WaiterId>, fired: Fired) -> Vec<W> {
        let mut wakers = Vec::new();
        for id in ids {
            self.unlist(id);
            if let Some(entry) = self.entries.get_mut(&id)
                && entry.fired.is_none()
            {
                entry.fired = Some(fired);
                wakers.extend(entry.waker.take());
            }
        }
        wakers
    }

    /// Takes `id` out of every list, so that nothing ends its wait a second time.
    fn unlist(&mut self, id: WaiterId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(deadline) = entry.deadline.take() {
            self.deadlines.remove(&(deadline, id));
        }
        for (bus, channel) in std::mem::take(&mut entry.places) {
            let Some(list) = self.buses.get_mut(&bus) else { continue };
            match channel {
                None => {
                    list.whole.remove(&id);
                }
                Some(channel) => {
                    if let Some(ids) = list.channels.get_mut(&channel) {
                        ids.remove(&id);
                        if ids.is_empty() {
                            list.channels.remove(&channel);
                        }
                    }
                }
            }
            if list.whole.is_empty() && list.channels.is_empty() {
                self.buses.remove(&bus);
            }
        }
    }
}
