//! The entries of one log, in the order of their sequences.
//!
//! Entries mostly come last and go first, so they are in a queue: half the memory of a tree. One that
//! goes from the middle leaves an empty slot; when most slots are empty they are closed up. Never
//! here: what an entry means.

use std::collections::VecDeque;

use buswire_message::Sequence;

use super::StoredEntry;

/// Empty slots that are not worth closing up.
const EMPTY_MIN: usize = 16;

/// The entries of a log.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// Ascending; the first slot is never empty.
    slots: VecDeque<(Sequence, Option<StoredEntry>)>,
    count: usize,
}

impl Entries {
    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds an entry; cheap if it is the last or close to it.
    pub(crate) fn insert(&mut self, sequence: Sequence, entry: StoredEntry) {
        let at = if self.slots.back().is_none_or(|(last, _)| *last < sequence) {
            self.slots.len()
        } else {
            self.first_at_least(sequence)
        };
        match self.slots.get_mut(at) {
            Some((there, slot)) if *there == sequence => {
                self.count += usize::from(slot.is_none());
                *slot = Some(entry);
            }
            _ => {
                self.slots.insert(at, (sequence, Some(entry)));
                self.count += 1;
            }
        }
    }

    /// The entry at `sequence`.
    pub(crate) fn get(&self, sequence: Sequence) -> Option<&StoredEntry> {
        let (there, slot) = self.slots.get(self.first_at_least(sequence))?;
        slot.as_ref().filter(|_| *there == sequence)
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, sequence: Sequence) -> Option<&mut StoredEntry> {
        let at = self.first_at_least(sequence);
        let (there, slot) = self.slots.get_mut(at)?;
        slot.as_mut().filter(|_| *there == sequence)
    }

    /// Takes the entry at `sequence` out.
    pub(crate) fn remove(&mut self, sequence: Sequence) -> Option<StoredEntry> {
        let at = self.first_at_least(sequence);
        let (there, slot) = self.slots.get_mut(at)?;
        let entry = if *there == sequence { slot.take()? } else { return None };
        self.count -= 1;
        while self.slots.front().is_some_and(|(_, slot)| slot.is_none()) {
            self.slots.pop_front();
        }
        if self.slots.len() > 2 * self.count + EMPTY_MIN {
            self.slots.retain(|(_, slot)| slot.is_some());
            self.slots.shrink_to(2 * self.count);
        }
        Some(entry)
    }

    /// The entries after `sequence`.
    pub(crate) fn after(
        &self,
        sequence: Sequence,
    ) -> impl Iterator<Item = (Sequence, &StoredEntry)> {
        let from = self.slots.partition_point(|(there, _)| *there <= sequence);
        self.slots.range(from..).filter_map(|(there, slot)| Some((*there, slot.as_ref()?)))
    }

    fn first_at_least(&self, sequence: Sequence) -> usize {
        self.slots.partition_point(|(there, _)| *there < sequence)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use buswire_message::Timestamp;
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::state::Body;

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u64),
        Remove(u64),
        After(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0..80_u64).prop_map(Op::Insert),
            (0..80_u64).prop_map(Op::Remove),
            (0..80_u64).prop_map(Op::After),
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map_in_order(ops in prop::collection::vec(op(), 0..400)) {
            let sequence = |number| Sequence::from_u64(number).unwrap();
            let mut entries = Entries::default();
            let mut expected = BTreeMap::new();
            for (stamp, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Insert(number) => {
                        let expires = Timestamp::from_millis(stamp as u64);
                        let body = Body::resident(sequence(number), Bytes::new());
                        let entry = StoredEntry { body, expires, dedupe: None };
                        entries.insert(sequence(number), entry);
                        expected.insert(sequence(number), expires);
                    }
                    Op::Remove(number) => {
                        let removed = entries.remove(sequence(number)).map(|e| e.expires);
                        prop_assert_eq!(removed, expected.remove(&sequence(number)));
                    }
                    Op::After(number) => {
                        let after: Vec<_> =
                            entries.after(sequence(number)).map(|(s, e)| (s, e.expires)).collect();
                        let range = expected.range(sequence(number + 1)..);
                        prop_assert_eq!(after, range.map(|(s, e)| (*s, *e)).collect::<Vec<_>>());
                        let got = entries.get(sequence(number)).map(|e| e.expires);
                        prop_assert_eq!(got, expected.get(&sequence(number)).copied());
                        let got = entries.get_mut(sequence(number)).map(|e| e.expires);
                        prop_assert_eq!(got, expected.get(&sequence(number)).copied());
                    }
                }
                prop_assert_eq!(entries.is_empty(), expected.is_empty());
                prop_assert!(entries.slots.len() <= 2 * entries.count + EMPTY_MIN);
            }
        }
    }
}
