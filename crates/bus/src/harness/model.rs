//! The plain list that the buses are compared with.

use std::{collections::BTreeMap, time::Duration};

use buswire_message::{Retention, RetentionError, Sequence, Timestamp};

use super::{BUSES, Item, Query};

/// Live messages that a channel may hold.
pub(super) const CHANNEL_MAX: u32 = 4;
/// Live messages that a bus may hold.
pub(super) const BUS_MAX: usize = 8;
/// How long a dropped publish keeps its places.
pub(super) const IN_DOUBT: Duration = Duration::from_secs(10);

/// A message that the store has taken.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) number: u64,
    pub(super) sequence: Sequence,
    pub(super) bus: u8,
    pub(super) channel: u8,
    pub(super) kind: u8,
    pub(super) sticky: bool,
    pub(super) expires: Timestamp,
    /// Swept: it does not come back whatever the clock does.
    pub(super) gone: bool,
}

/// A message that was given to the store.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) item: Item,
    pub(super) bus: u8,
    pub(super) expires: Timestamp,
    /// Whether it holds a place: no live message was known to have its key.
    pub(super) is_new: bool,
}

/// What publishing must come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expected {
    UnknownBus,
    Expiry(RetentionError),
    ChannelFull,
    BusFull,
    /// For each item the number of the message whose id it gets.
    Numbers(Vec<u64>),
}

struct Doubt {
    number: u64,
    until: Timestamp,
}

/// The plain list.
#[derive(Default)]
pub(super) struct Model {
    pub(super) known: Vec<Known>,
    pub(super) given: BTreeMap<u64, Given>,
    keys: BTreeMap<(u8, u8), u64>,
    doubts: BTreeMap<u8, Vec<Doubt>>,
}

pub(super) fn retention() -> Retention {
    Retention::new(Duration::from_secs(60), Duration::from_secs(600), CHANNEL_MAX).unwrap()
}

impl Model {
    /// What publishing `items`, numbered from `first`, must come to if the store does not fail.
    pub(super) fn publish(
        &mut self,
        now: Timestamp,
        bus: u8,
        items: &[Item],
        first: u64,
    ) -> Expected {
        if bus + 1 >= BUSES {
            return Expected::UnknownBus;
        }
        let mut given = Vec::new();
        for item in items {
            let asked = item.ttl.map(|secs| now.saturating_add(Duration::from_secs(secs.into())));
            match retention().expiry(now, item.sticky, asked) {
                Ok(expires) => {
                    given.push(Given { item: item.clone(), bus, expires, is_new: false });
                }
                Err(error) => return Expected::Expiry(error),
            }
        }
        if items.is_empty() {
            return Expected::Numbers(Vec::new());
        }
        let doubts = self.doubts.entry(bus).or_default();
        doubts.retain(|doubt| doubt.until > now && doubt.until <= now.saturating_add(IN_DOUBT));
        let mut numbers = Vec::new();
        let mut new: Vec<(u64, Given)> = Vec::new();
        for (number, given) in (first..).zip(given.clone()) {
            let key = given.item.key.map(|key| (bus, key));
            let named = key.and_then(|key| self.keys.get(&key));
            let live = |n: &&u64| self.known.iter().any(|k| k.number == **n && now < k.expires);
            let twin = new.iter().find(|(_, g)| key.is_some() && g.item.key == given.item.key);
            if let Some(known) = named.filter(live) {
                numbers.push(*known);
            } else if let Some((twin, _)) = twin {
                numbers.push(*twin);
            } else {
                numbers.push(number);
                new.push((number, given));
            }
        }
        let held = |channel| self.held(bus, channel, now);
        let wanted = |channel| new.iter().filter(|(_, g)| g.item.channel == channel).count();
        if new.is_empty() {
            self.give(first, given, &numbers);
            return Expected::Numbers(numbers);
        }
        if (0..super::CHANNELS).map(|c| held(c) + wanted(c)).sum::<usize>() > BUS_MAX {
            return Expected::BusFull;
        }
        let max = usize::try_from(CHANNEL_MAX).unwrap();
        if (0..super::CHANNELS).any(|c| wanted(c) > 0 && held(c) + wanted(c) > max) {
            return Expected::ChannelFull;
        }
        self.give(first, given, &numbers);
        Expected::Numbers(numbers)
    }

    /// All are given to the store, twins too, and those whose key a live message has already.
    fn give(&mut self, first: u64, given: Vec<Given>, numbers: &[u64]) {
        for ((at, given), number) in (first..).zip(given).zip(numbers) {
            let is_new = !self.known.iter().any(|known| known.number == *number);
            self.given.insert(at, Given { is_new, ..given });
        }
    }

    /// The message that was stored last with a key.
    pub(super) fn keyed(&self, bus: u8, key: u8) -> Option<u64> {
        self.keys.get(&(bus, key)).copied()
    }

    fn held(&self, bus: u8, channel: u8, now: Timestamp) -> usize {
        let in_channel = |k: &&Known| k.bus == bus && k.channel == channel;
        let live = self.known.iter().filter(in_channel).filter(|k| !k.gone && now < k.expires);
        let doubts = self.doubts.get(&bus).into_iter().flatten();
        let held = doubts.filter(|doubt| self.given[&doubt.number].item.channel == channel);
        live.count() + held.count()
    }

    /// Nobody waits for the messages numbered from `first` any more.
    pub(super) fn doubt(&mut self, bus: u8, first: u64, now: Timestamp) {
        let until = now.saturating_add(IN_DOUBT);
        let given = self.given.range(first..).filter(|(_, given)| given.is_new);
        let numbers: Vec<u64> = given.map(|(number, _)| *number).collect();
        let landed = |number: &u64| self.known.iter().any(|known| known.number == *number);
        let open = numbers.into_iter().filter(|number| !landed(number));
        let doubts = open.map(|number| Doubt { number, until });
        self.doubts.entry(bus).or_default().extend(doubts);
    }

    /// The store has taken the message `number`.
    pub(super) fn land(&mut self, number: u64, sequence: Sequence) {
        let Given { item, bus, expires, .. } = self.given[&number].clone();
        if let Some(key) = item.key {
            self.keys.insert((bus, key), number);
        }
        let Item { channel, kind, sticky, .. } = item;
        let gone = false;
        self.known.push(Known { number, sequence, bus, channel, kind, sticky, expires, gone });
        for doubts in self.doubts.values_mut() {
            doubts.retain(|doubt| doubt.number != number);
        }
    }

    /// What has expired does not come back.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        self.forget(|known| known.expires <= now);
    }

    /// Another process begins, which knows what the store has.
    pub(super) fn reopen(&mut self, stored: &[(u8, Sequence)]) {
        self.doubts.clear();
        self.forget(|known| !stored.contains(&(known.bus, known.sequence)));
        // The keys of what the store has, each of its last message.
        self.keys.clear();
        for known in self.known.iter().filter(|known| !known.gone) {
            if let Some(key) = self.given[&known.number].item.key {
                self.keys.insert((known.bus, key), known.number);
            }
        }
    }

    fn forget(&mut self, is_gone: impl Fn(&Known) -> bool) {
        for known in self.known.iter_mut().filter(|known| !known.gone) {
            if is_gone(known) {
                known.gone = true;
                self.keys.retain(|_, number| *number != known.number);
            }
        }
    }

    /// The live messages of `query` after `after`, in order.
    pub(super) fn read(
        &self,
        now: Timestamp,
        query: &Query,
        after: Option<Sequence>,
    ) -> Vec<&Known> {
        let mut found: Vec<&Known> = self
            .known
            .iter()
            .filter(|known| !known.gone && now < known.expires)
            .filter(|known| after.is_none_or(|after| known.sequence > after))
            .filter(|known| query.admits(known))
            .collect();
        found.sort_by_key(|known| known.sequence);
        found
    }
}

impl Query {
    pub(super) fn has_bus(&self, bus: u8) -> bool {
        self.buses == 0 || self.buses & (1 << bus) != 0
    }

    pub(super) fn admits(&self, known: &Known) -> bool {
        self.has_bus(known.bus)
            && self.channels.is_none_or(|channels| channels & (1 << known.channel) != 0)
            && self.kind.is_none_or(|kind| kind == known.kind)
            && self.sticky.is_none_or(|sticky| sticky == known.sticky)
    }

    /// The scope as a text.
    pub(super) fn scope(&self) -> String {
        let mut entries = Vec::new();
        let buses = (0..BUSES).filter(|bus| self.has_bus(*bus));
        entries.extend(buses.map(|bus| format!("bus:{}", bus_name(bus))));
        if let Some(channels) = self.channels {
            // A channel that nothing is published on, so that no bit still means no channel.
            entries.push("channel:none".to_owned());
            let named = (0..super::CHANNELS).filter(|channel| channels & (1 << channel) != 0);
            entries.extend(named.map(|channel| format!("channel:c{channel}")));
        }
        entries.extend(self.kind.map(|kind| format!("type:t{kind}")));
        entries.extend(self.sticky.map(|sticky| format!("sticky:{sticky}")));
        entries.join(" ")
    }
}

/// The name of the bus `number`, in either realm.
pub(super) fn bus_name(number: u8) -> String {
    format!("{}b{number}.example", if number == 0 { "v1/" } else { "" })
}
