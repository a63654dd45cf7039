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

use buswire_message::{BusName, ChannelName, MessageType, Timestamp};
use smallvec::SmallVec;

use crate::{select::Filter, stored::StoredMessage};

/// Names one waiting reader; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WaiterId(u64);

/// What a reader waits for on a bus, as far as an index answers it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Spot {
    /// Any message.
    Whole,
    /// One in a channel.
    Channel(ChannelName),
    /// One of a type, in whichever channel.
    Kind(MessageType),
}

impl Spot {
    /// Where those wait who may want `message`.
    fn of(message: &StoredMessage) -> [Self; 3] {
        [Self::Whole, Self::Channel(message.channel.clone()), Self::Kind(message.kind.clone())]
    }
}

/// Where a reader waits.
pub(crate) type Place = (BusName, Spot);

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

/// The end of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Over {
    /// Why.
    pub(crate) fired: Fired,
    /// The deadline by the clock as it is, which may have stepped since the wait began.
    pub(crate) deadline: Option<Timestamp>,
}

#[derive(Debug)]
struct Entry<W> {
    waker: Option<W>,
    fired: Option<Fired>,
    places: SmallVec<[Place; 1]>,
    filter: Option<Arc<Filter>>,
    deadline: Option<Timestamp>,
}

/// Who waits where on one bus.
type BusList = HashMap<Spot, BTreeSet<WaiterId>>;

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
            for (bus, spot) in &places {
                let list = self.buses.entry(bus.clone()).or_default();
                list.entry(spot.clone()).or_default().insert(id);
            }
            if let Some(deadline) = deadline {
                self.deadlines.insert((deadline, id));
            }
        }
        self.entries.insert(id, Entry { waker: None, fired, places, filter, deadline });
        Ok(id)
    }

    /// How the wait of `id` ended; then the reader is gone. Otherwise `waker` is kept for it.
    pub(crate) fn poll(
        &mut self,
        id: WaiterId,
        waker: impl FnOnce(Option<W>) -> W,
    ) -> Option<Over> {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Some(Over { fired: Fired::Closed, deadline: None });
        };
        if let Some(fired) = entry.fired {
            let deadline = entry.deadline;
            self.entries.remove(&id);
            return Some(Over { fired, deadline });
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
        let mut spots: BTreeMap<Spot, Vec<&StoredMessage>> = BTreeMap::new();
        for message in messages {
            for spot in Spot::of(message) {
                if list.contains_key(&spot) {
                    spots.entry(spot).or_default().push(message);
                }
            }
        }
        let wants = |id: &WaiterId, message: &StoredMessage| {
            let filter = self.entries.get(id).and_then(|entry| entry.filter.as_ref());
            filter.is_none_or(|filter| filter.admits(message))
        };
        let mut woken: BTreeSet<WaiterId> = BTreeSet::new();
        for (spot, messages) in spots {
            let ids = list.get(&spot).into_iter().flatten();
            woken.extend(ids.filter(|id| messages.iter().any(|message| wants(id, message))));
        }
        self.fire(woken, Fired::Message)
    }

    /// Ends the wait of everybody on `bus`, whatever they wait for; whom to wake.
    pub(crate) fn wake_all(&mut self, bus: &BusName) -> Vec<W> {
        let Some(list) = self.buses.get(bus) else { return Vec::new() };
        // Gathered in a set: the order of the map does not show.
        let woken: BTreeSet<WaiterId> = list.values().flatten().copied().collect();
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
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        for (bus, spot) in std::mem::take(&mut entry.places) {
            let Some(list) = self.buses.get_mut(&bus) else { continue };
            if let Some(ids) = list.get_mut(&spot) {
                ids.remove(&id);
                if ids.is_empty() {
                    list.remove(&spot);
                }
            }
            if list.is_empty() {
                self.buses.remove(&bus);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use buswire_message::{Headers, Message, MessageId, Payload, Scope, Sequence};
    use bytes::Bytes;
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + millis)
    }

    /// Where a reader of the model waits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum Where {
        Whole,
        Channel(u8),
        Kind(u8),
    }

    fn bus_name(bus: u8) -> BusName {
        format!("b{bus}").parse().unwrap()
    }

    fn place(bus: u8, at: Where) -> Place {
        let spot = match at {
            Where::Whole => Spot::Whole,
            Where::Channel(channel) => Spot::Channel(format!("c{channel}").parse().unwrap()),
            Where::Kind(kind) => Spot::Kind(format!("t{kind}").parse().unwrap()),
        };
        (bus_name(bus), spot)
    }

    fn message(bus: u8, channel: u8, kind: &str) -> Arc<StoredMessage> {
        let message = Message {
            id: MessageId::from_sequence(Sequence::ZERO),
            bus: bus_name(bus),
            channel: format!("c{channel}").parse().unwrap(),
            source: "https://s.example/".parse().unwrap(),
            kind: kind.parse().unwrap(),
            sticky: false,
            expires_at: Timestamp::MAX,
            payload: Payload::parse(&Bytes::from_static(b"1")).unwrap(),
            headers: Headers::default(),
        };
        StoredMessage::new(message, 100)
    }

    /// Enters a reader that is woken by its name.
    fn enter(
        waiting: &mut Waiting<WaiterId>,
        places: SmallVec<[Place; 1]>,
        deadline: Option<Timestamp>,
    ) -> WaiterId {
        let id = waiting.register(at(0), places, None, deadline).unwrap();
        assert_eq!(waiting.poll(id, |_| id), None);
        id
    }

    #[test]
    fn a_message_wakes_its_channel_its_type_and_its_bus_alone() {
        let mut waiting = Waiting::new(10);
        let here = enter(&mut waiting, smallvec![place(0, Where::Channel(0))], None);
        let whole = enter(&mut waiting, smallvec![place(0, Where::Whole)], None);
        let elsewhere = place(1, Where::Channel(0));
        let both = enter(&mut waiting, smallvec![elsewhere, place(0, Where::Channel(1))], None);
        let kind = enter(&mut waiting, smallvec![place(0, Where::Kind(1))], None);
        let bus = bus_name(0);
        assert_eq!(waiting.wake(&bus, &[message(0, 2, "t1")]), [whole, kind]);
        assert_eq!(waiting.poll(kind, |_| kind).unwrap().fired, Fired::Message);
        assert_eq!(waiting.poll(whole, |_| whole).unwrap().fired, Fired::Message);
        let whole = enter(&mut waiting, smallvec![place(0, Where::Whole)], None);
        assert_eq!(waiting.wake(&bus, &[message(0, 0, "t")]), [here, whole]);
        assert_eq!(waiting.poll(here, |_| here).unwrap().fired, Fired::Message);
        assert_eq!(waiting.wake(&bus, &[message(0, 0, "t")]), [], "woken once");
        assert_eq!(waiting.wake(&bus, &[message(0, 0, "t"), message(0, 1, "t")]), [both]);
        assert_eq!(waiting.wake(&bus_name(1), &[message(1, 0, "t")]), []);
        waiting.cancel(whole);
        assert_eq!(waiting.poll(both, |_| both).unwrap().fired, Fired::Message);
        assert_eq!(waiting.len(), 0);
        assert!(waiting.buses.is_empty() && waiting.deadlines.is_empty());
    }

    #[test]
    fn a_message_that_a_reader_does_not_want_does_not_wake_it() {
        let mut waiting = Waiting::new(10);
        let scope: Scope = "type:wanted".parse().unwrap();
        let filter = Arc::new(Filter::new(scope, &"https://h.example/".into()));
        let places = smallvec![place(0, Where::Whole)];
        let id = waiting.register(at(0), places, Some(filter), None).unwrap();
        assert_eq!(waiting.poll(id, |_| id), None);
        let bus = bus_name(0);
        assert_eq!(waiting.wake(&bus, &[message(0, 0, "other")]), []);
        assert_eq!(waiting.wake(&bus, &[message(0, 0, "other"), message(0, 1, "wanted")]), [id]);
    }

    #[test]
    fn a_clock_that_steps_back_takes_the_deadlines_with_it() {
        let mut waiting = Waiting::new(10);
        let id =
            waiting.register(at(10_000), smallvec![place(0, Where::Whole)], None, Some(at(15_000)));
        let id: WaiterId = id.unwrap();
        assert_eq!(waiting.poll(id, |_| id), None);
        assert_eq!(waiting.expire(at(9500)), [], "not a step");
        assert_eq!(waiting.next_deadline(), Some(at(15_000)));
        assert_eq!(waiting.expire(at(4000)), []);
        assert_eq!(waiting.next_deadline(), Some(at(9000)));
        assert_eq!(waiting.expire(at(8999)), []);
        assert_eq!(waiting.expire(at(9000)), [id]);
        let over = Over { fired: Fired::Deadline, deadline: Some(at(9000)) };
        assert_eq!(waiting.poll(id, |_| id), Some(over));
    }

    #[test]
    fn readers_have_a_bound_and_an_end() {
        let mut waiting = Waiting::new(2);
        let first = enter(&mut waiting, smallvec![place(0, Where::Whole)], Some(at(1)));
        let second = enter(&mut waiting, smallvec![place(0, Where::Channel(0))], None);
        let third = waiting.register(at(0), smallvec![place(0, Where::Whole)], None, None);
        assert_eq!(third, Err(TooMany));
        assert_eq!(waiting.close(), [first, second]);
        waiting.cancel(first);
        let late =
            waiting.register(at(0), smallvec![place(0, Where::Whole)], None, Some(at(1))).unwrap();
        assert_eq!(waiting.poll(late, |_| late).unwrap().fired, Fired::Closed);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enter(Vec<(u8, Where)>, Option<u16>),
        Cancel(u8),
        Wake { bus: u8, channel: u8, kind: u8 },
        WakeAll(u8),
        Expire(u16),
    }

    fn step() -> impl Strategy<Value = Step> {
        let at = prop_oneof![
            Just(Where::Whole),
            (0_u8..3).prop_map(Where::Channel),
            (0_u8..3).prop_map(Where::Kind)
        ];
        let places = proptest::collection::btree_set((0_u8..3, at), 1..4);
        prop_oneof![
            3 => (places, proptest::option::of(0_u16..900))
                .prop_map(|(places, end)| Step::Enter(places.into_iter().collect(), end)),
            1 => any::<u8>().prop_map(Step::Cancel),
            2 => (0_u8..3, 0_u8..3, 0_u8..3)
                .prop_map(|(bus, channel, kind)| Step::Wake { bus, channel, kind }),
            1 => (0_u8..3).prop_map(Step::WakeAll),
            1 => (0_u16..900).prop_map(Step::Expire),
        ]
    }

    type Entered = (Vec<(u8, Where)>, Option<u16>);
    type IsWoken = Box<dyn Fn(&Entered) -> bool>;

    proptest! {
        #[test]
        fn readers_wake_as_in_a_plain_list(steps in proptest::collection::vec(step(), 0..60)) {
            let mut waiting = Waiting::new(1000);
            let mut model: BTreeMap<WaiterId, Entered> = BTreeMap::new();
            for step in steps {
                let (woken, is_woken): (Vec<WaiterId>, IsWoken) = match step {
                    Step::Enter(places, end) => {
                        let listed = places.iter().map(|(bus, at)| place(*bus, *at));
                        let deadline = end.map(|end| at(end.into()));
                        let id = enter(&mut waiting, listed.collect(), deadline);
                        model.insert(id, (places, end));
                        continue;
                    }
                    Step::Cancel(pick) => {
                        let keys: Vec<_> = model.keys().copied().collect();
                        if let Some(id) = keys.get(usize::from(pick) % keys.len().max(1)) {
                            waiting.cancel(*id);
                            model.remove(id);
                        }
                        continue;
                    }
                    Step::Wake { bus, channel, kind } => {
                        let message = message(bus, channel, &format!("t{kind}"));
                        let woken = waiting.wake(&bus_name(bus), &[message]);
                        let spots = [Where::Whole, Where::Channel(channel), Where::Kind(kind)];
                        (woken, Box::new(move |(places, _)| {
                            spots.iter().any(|spot| places.contains(&(bus, *spot)))
                        }))
                    }
                    Step::WakeAll(bus) => {
                        let woken = waiting.wake_all(&bus_name(bus));
                        (woken, Box::new(move |(places, _)| places.iter().any(|p| p.0 == bus)))
                    }
                    Step::Expire(now) => {
                        let woken = waiting.expire(at(now.into()));
                        (woken, Box::new(move |(_, end)| end.is_some_and(|end| end <= now)))
                    }
                };
                let expected: Vec<_> =
                    model.iter().filter(|(_, e)| is_woken(e)).map(|(id, _)| *id).collect();
                let mut sorted = woken.clone();
                sorted.sort_unstable();
                prop_assert_eq!(&sorted, &expected);
                for id in woken {
                    prop_assert!(waiting.poll(id, |_| id).is_some());
                    model.remove(&id);
                }
                prop_assert_eq!(waiting.len(), model.len());
            }
            for id in model.keys() {
                waiting.cancel(*id);
            }
            prop_assert!(waiting.buses.is_empty() && waiting.deadlines.is_empty());
        }
    }
}
