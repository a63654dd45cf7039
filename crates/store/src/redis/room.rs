//! How much waits for the server: a bound on requests and on their bytes.
//!
//! Never here: how long it waits.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Places for requests, from when they are made until they are answered.
#[derive(Debug)]
pub(super) struct Room {
    places: Semaphore,
    bytes: Semaphore,
    places_max: usize,
}

/// The place of one request, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place<'a> {
    _place: SemaphorePermit<'a>,
    _bytes: SemaphorePermit<'a>,
}

impl Room {
    /// Room for so many requests that have so many bytes together.
    pub(super) fn new(places: usize, bytes: usize) -> Self {
        let bound = |wanted: usize, most: usize| Semaphore::new(wanted.clamp(1, most));
        Self {
            places: bound(places, Semaphore::MAX_PERMITS),
            // A request asks for as many as it has, and that is 32 bits.
            bytes: bound(bytes, u32::MAX as usize),
            places_max: places.clamp(1, Semaphore::MAX_PERMITS),
        }
    }

    /// A place for a request of so many bytes; `None` if there is none.
    pub(super) fn enter(&self, bytes: usize) -> Option<Place<'_>> {
        let place = self.places.try_acquire().ok()?;
        let bytes = self.bytes.try_acquire_many(u32::try_from(bytes).ok()?).ok()?;
        Some(Place { _place: place, _bytes: bytes })
    }

    /// How many requests have a place.
    pub(super) fn taken(&self) -> usize {
        self.places_max.saturating_sub(self.places.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_bytes_have_bounds_and_are_given_back() {
        let room = Room::new(3, 100);
        let (small, large) = (room.enter(10).unwrap(), room.enter(90).unwrap());
        assert!(room.enter(1).is_none(), "no bytes are left");
        let empty = room.enter(0).unwrap();
        assert!(room.enter(0).is_none(), "no place is left");
        assert_eq!(room.taken(), 3);
        drop(large);
        assert!(room.enter(90).is_some());
        drop((small, empty));
        assert!(room.enter(101).is_none(), "more than there are");
        assert!(room.enter(100).is_some());
        assert_eq!(room.taken(), 0);
    }
}
