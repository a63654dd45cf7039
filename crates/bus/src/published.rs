//! How many messages came in by which door since the process started.
//!
//! Never here: which messages.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

use buswire_message::{Door, NewMessage};
use metrics::{Counter, counter};

/// One more than there are doors: the first is for messages that routes made.
const PLACES: usize = Door::ALL.len() + 1;

/// How many messages came in by each door; `None` is for those that routes made.
pub type ByDoor = Vec<(Option<Door>, u64)>;

/// Counts, each with its door; `None` is for what routes made.
#[derive(Debug, Default)]
pub(crate) struct Published([AtomicU64; PLACES]);

/// So many messages of each place.
pub(crate) type Tally = [u64; PLACES];

/// Counts messages that are to be published.
pub(crate) fn tally(messages: &[NewMessage]) -> Tally {
    let mut tally = Tally::default();
    for message in messages {
        if let Some(count) = tally.get_mut(place(message.headers.door)) {
            *count += 1;
        }
    }
    tally
}

/// Publishes the metric of messages that are published, on whichever bus.
pub(crate) fn meter(tally: &Tally) {
    let doors = std::iter::once("route").chain(Door::ALL.iter().map(|door| door.as_str()));
    for ((door, count), meter) in doors.zip(tally).zip(&METERS).filter(|((_, n), _)| **n > 0) {
        let look_up = || counter!("buswire_messages_published_total", "door" => door);
        meter.get_or_init(look_up).increment(*count);
    }
}

// Each is looked up once, when it is first needed and the recorder of the process is there.
static METERS: [OnceLock<Counter>; PLACES] = [const { OnceLock::new() }; PLACES];

fn place(door: Option<Door>) -> usize {
    let of = |door| Door::ALL.iter().position(|known| *known == door);
    door.and_then(of).map_or(0, |place| place + 1)
}

impl Published {
    /// They are published.
    pub(crate) fn add(&self, tally: &Tally) {
        for (total, count) in self.0.iter().zip(tally).filter(|(_, count)| **count > 0) {
            total.fetch_add(*count, Ordering::Relaxed);
        }
    }

    /// The counts.
    pub(crate) fn read(&self) -> ByDoor {
        let doors = std::iter::once(None).chain(Door::ALL.into_iter().map(Some));
        doors.zip(&self.0).map(|(door, count)| (door, count.load(Ordering::Relaxed))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_door_has_a_place_of_its_own() {
        let published = Published::default();
        for door in std::iter::once(None).chain(Door::ALL.map(Some)) {
            let mut tally = Tally::default();
            tally[place(door)] = 1;
            published.add(&tally);
        }
        assert!(published.read().iter().all(|(_, count)| *count == 1));
    }
}
