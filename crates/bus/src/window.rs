//! The window of a bus: the messages that may be live, in order, with an index for each channel.
//!
//! Counts of live messages follow a *hand*, a moment that moves with the clock, forwards and
//! backwards; moving it costs what expires in between and nothing else. Reading does not look at the
//! hand but at each message's own expiry. An expired message stays until it is swept, so that a
//! clock that steps back finds it again.
//!
//! Never here: a clock, the store, who is waiting.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque, hash_map, vec_deque},
    ops::Bound,
    sync::Arc,
};

use buswire_message::{ChannelName, DedupeKey, Sequence, Timestamp};

use crate::{select::Selection, stored::StoredMessage};

#[cfg(test)]
mod tests;

/// The window of a bus.
#[derive(Debug, Default)]
pub(crate) struct Window {
    messages: BTreeMap<Sequence, Arc<StoredMessage>>,
    channels: HashMap<ChannelName, Channel>,
    by_expiry: BTreeSet<(Timestamp, Sequence)>,
    by_key: HashMap<DedupeKey, Sequence>,
    hand: Timestamp,
    live: Live,
}

/// How much of a window is live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
    pub(crate) channels: usize,
}

#[derive(Debug, Default)]
struct Channel {
    messages: VecDeque<Arc<StoredMessage>>,
    live: usize,
}

/// From where to where a scan goes, and how far at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// Messages after this; `None` for all.
    pub(crate) after: Option<Sequence>,
    /// Messages up to this, included.
    pub(crate) through: Sequence,
    /// The time for which messages are live.
    pub(crate) now: Timestamp,
    /// Find at most this many.
    pub(crate) limit: usize,
    /// Look at no more than this many.
    pub(crate) budget: usize,
}

/// What a scan found.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// The messages, in order.
    pub(crate) messages: Vec<Arc<StoredMessage>>,
    /// The last message that was looked at.
    pub(crate) examined: Option<Sequence>,
    /// Whether nothing is left to look at.
    pub(crate) ended: bool,
}

impl Window {
    /// Takes the next message of the log. The caller hands them over in order, each once.
    pub(crate) fn push(&mut self, message: Arc<StoredMessage>) {
        let sequence = message.id.sequence();
        debug_assert!(
            self.messages.last_key_value().is_none_or(|(last, _)| *last < sequence),
            "a log is read in order"
        );
        self.by_expiry.insert((message.expires_at, sequence));
        if let Some(key) = &message.headers.dedupe_key {
            self.by_key.insert(key.clone(), sequence);
        }
        let is_live = self.hand < message.expires_at;
        let channel = self.channels.entry(message.channel.clone()).or_default();
        channel.messages.push_back(Arc::clone(&message));
        if is_live {
            self.live.enter(channel, &message);
        }
        self.messages.insert(sequence, message);
    }

    /// The one text of the channel's name that the window keeps; `channel` itself if it is new.
    pub(crate) fn same_channel(&self, channel: ChannelName) -> ChannelName {
        self.channels.get_key_value(&channel).map_or(channel, |(kept, _)| kept.clone())
    }

    /// Moves the hand to `now`, so that the counts are those of `now`.
    pub(crate) fn set_time(&mut self, now: Timestamp) {
        if now == self.hand {
            return;
        }
        let (from, to) = (self.hand.min(now), self.hand.max(now));
        // Live while the time is before the expiry: what expires at `from` was not live there, what
        // expires at `to` is not live there.
        let first = (Bound::Excluded((from, Sequence::MAX)), Bound::Included((to, Sequence::MAX)));
        for (_, sequence) in self.by_expiry.range(first) {
            let Some(message) = self.messages.get(sequence) else { continue };
            let Some(channel) = self.channels.get_mut(&message.channel) else { continue };
            if now > self.hand {
                self.live.leave(channel, message);
            } else {
                self.live.enter(channel, message);
            }
        }
        self.hand = now;
    }

    /// How much is live at the hand.
    pub(crate) const fn live(&self) -> Live {
        self.live
    }

    /// How many messages of `channel` are live at the hand.
    pub(crate) fn live_in(&self, channel: &ChannelName) -> usize {
        self.channels.get(channel).map_or(0, |channel| channel.live)
    }

    /// The message that `key` names, live or not.
    pub(crate) fn keyed(&self, key: &DedupeKey) -> Option<&Arc<StoredMessage>> {
        self.by_key.get(key).and_then(|sequence| self.messages.get(sequence))
    }

    /// The message at `sequence`, live or not.
    pub(crate) fn at(&self, sequence: Sequence) -> Option<&Arc<StoredMessage>> {
        self.messages.get(&sequence)
    }

    /// Whether it holds nothing, live or not.
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self { hand: self.hand, ..Self::default() };
    }

    /// Removes at most `budget` messages that have expired at `now`; says whether some are left.
    pub(crate) fn sweep(&mut self, now: Timestamp, budget: usize) -> bool {
        self.set_time(now);
        for _ in 0..budget {
            let Some(&(expires, sequence)) = self.by_expiry.first() else { return false };
            if now < expires {
                return false;
            }
            self.by_expiry.remove(&(expires, sequence));
            if let Some(message) = self.messages.remove(&sequence) {
                self.forget(&message);
            }
        }
        self.by_expiry.first().is_some_and(|(expires, _)| *expires <= now)
    }

    fn forget(&mut self, message: &StoredMessage) {
        let sequence = message.id.sequence();
        if let Some(key) = &message.headers.dedupe_key
            && self.by_key.get(key) == Some(&sequence)
        {
            self.by_key.remove(key);
        }
        if let hash_map::Entry::Occupied(mut entry) = self.channels.entry(message.channel.clone()) {
            let messages = &mut entry.get_mut().messages;
            if let Ok(at) = messages.binary_search_by_key(&sequence, |m| m.id.sequence()) {
                messages.remove(at);
            }
            if messages.is_empty() {
                entry.remove();
            }
        }
    }

    /// Looks for live messages of `selection` within `reach`.
    pub(crate) fn scan(&self, selection: &Selection, reach: Reach) -> Scan {
        let (after, through) = (reach.after, reach.through);
        if after.is_some_and(|after| after >= through) {
            return Scan { ended: true, ..Scan::default() };
        }
        match selection.channels.as_deref() {
            None => {
                let start = after.map_or(Bound::Unbounded, Bound::Excluded);
                let range = self.messages.range((start, Bound::Included(through)));
                look(range.map(|(_, message)| message), selection, reach)
            }
            Some([channel]) => {
                look(self.in_channel(channel, reach).into_iter().flatten(), selection, reach)
            }
            Some(channels) => {
                let lists = channels.iter().filter_map(|channel| self.in_channel(channel, reach));
                look(Merge::new(lists), selection, reach)
            }
        }
    }

    fn in_channel(
        &self,
        channel: &ChannelName,
        reach: Reach,
    ) -> Option<vec_deque::Iter<'_, Arc<StoredMessage>>> {
        let messages = &self.channels.get(channel)?.messages;
        let from = reach
            .after
            .map_or(0, |after| messages.partition_point(|message| message.id.sequence() <= after));
        let to = messages.partition_point(|message| message.id.sequence() <= reach.through);
        Some(messages.range(from..to.max(from)))
    }
}

impl Live {
    fn enter(&mut self, channel: &mut Channel, message: &StoredMessage) {
        self.messages += 1;
        self.bytes += message.record_len();
        self.channels += usize::from(channel.live == 0);
        channel.live += 1;
    }

    fn leave(&mut self, channel: &mut Channel, message: &StoredMessage) {
        debug_assert!(channel.live > 0 && self.messages > 0, "what leaves has entered");
        channel.live -= 1;
        self.messages -= 1;
        self.bytes -= message.record_len();
        self.channels -= usize::from(channel.live == 0);
    }
}

fn look<'a>(
    messages: impl Iterator<Item = &'a Arc<StoredMessage>>,
    selection: &Selection,
    reach: Reach,
) -> Scan {
    let mut scan = Scan::default();
    let mut budget = reach.budget;
    for message in messages {
        if scan.messages.len() >= reach.limit || budget == 0 {
            return scan;
        }
        budget -= 1;
        scan.examined = Some(message.id.sequence());
        if reach.now < message.expires_at && selection.admits(message) {
            scan.messages.push(Arc::clone(message));
        }
    }
    scan.ended = true;
    scan
}

/// The messages of several channels in one order.
struct Merge<'a> {
    lists: Vec<vec_deque::Iter<'a, Arc<StoredMessage>>>,
    heads: BinaryHeap<Reverse<Head<'a>>>,
}

struct Head<'a> {
    message: &'a Arc<StoredMessage>,
    list: usize,
}

impl Head<'_> {
    fn key(&self) -> Sequence {
        self.message.id.sequence()
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Head<'_> {}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl<'a> Merge<'a> {
    fn new(lists: impl Iterator<Item = vec_deque::Iter<'a, Arc<StoredMessage>>>) -> Self {
        let mut lists: Vec<_> = lists.collect();
        let first = |(list, messages): (usize, &mut vec_deque::Iter<'a, _>)| {
            messages.next().map(|message| Reverse(Head { message, list }))
        };
        let heads = lists.iter_mut().enumerate().filter_map(first).collect();
        Self { lists, heads }
    }
}

impl<'a> Iterator for Merge<'a> {
    type Item = &'a Arc<StoredMessage>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse(Head { message, list }) = self.heads.pop()?;
        if let Some(next) = self.lists.get_mut(list).and_then(Iterator::next) {
            self.heads.push(Reverse(Head { message: next, list }));
        }
        Some(message)
    }
}
