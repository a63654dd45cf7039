//! How many reads wait (Backplane §10.3).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use buswire_message::SecretHash;

/// Counts reads that wait, in total and by token.
#[derive(Debug)]
pub(crate) struct Waiting {
    inner: Mutex<Counts>,
    max: usize,
    per_token_max: usize,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_token: HashMap<SecretHash, usize>,
}

/// The place of one waiting read; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    waiting: &'a Waiting,
    token: SecretHash,
}

impl Waiting {
    pub(crate) fn new(max: usize, per_token_max: usize) -> Self {
        Self { inner: Mutex::new(Counts::default()), max, per_token_max }
    }

    /// A place for a read with `token`; `None` if all are taken.
    pub(crate) fn enter(&self, token: SecretHash) -> Option<Place<'_>> {
        let mut counts = self.lock();
        let own = counts.by_token.get(&token).copied().unwrap_or(0);
        if counts.total >= self.max || own >= self.per_token_max {
            return None;
        }
        counts.total += 1;
        counts.by_token.insert(token, own + 1);
        Some(Place { waiting: self, token })
    }

    // Held for two map operations; counts stay right even if a holder panicked.
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = self.waiting.lock();
        counts.total = counts.total.saturating_sub(1);
        if let Some(own) = counts.by_token.get_mut(&self.token) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                counts.by_token.remove(&self.token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        // Rule: backplane §10.3 — the number of waiting requests is bounded per token and in total
        // Rule: backplane §17 row 27 — long polls are bounded per token and in total
        let waiting = Waiting::new(3, 2);
        let (a, b) = (SecretHash::of("a"), SecretHash::of("b"));
        let first = waiting.enter(a);
        let second = waiting.enter(a);
        assert!(first.is_some() && second.is_some());
        assert!(waiting.enter(a).is_none());
        let third = waiting.enter(b);
        assert!(third.is_some());
        assert!(waiting.enter(b).is_none());
        drop((first, third));
        assert!(waiting.enter(a).is_some());
        drop(second);
        assert_eq!(waiting.lock().total, 0);
        assert!(waiting.lock().by_token.is_empty());
    }
}
