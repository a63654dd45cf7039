//! How many bytes of request bodies are in memory at once, over all connections of a listener.
//!
//! A body is read whole before a door looks at it. Without this the bound would be the greatest body
//! times the number of connections. Never here: the bound of one body.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// The bytes of all bodies. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Bodies {
    held: Arc<AtomicUsize>,
    max: usize,
}

/// What one request holds of them, until it is answered; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Held {
    bodies: Bodies,
    own: AtomicUsize,
    refused: AtomicBool,
}

impl Bodies {
    pub(super) fn new(max: usize) -> Self {
        Self { held: Arc::default(), max }
    }

    /// For one request, which holds nothing yet.
    pub(super) fn request(&self) -> Arc<Held> {
        let (own, refused) = (AtomicUsize::new(0), AtomicBool::new(false));
        Arc::new(Held { bodies: self.clone(), own, refused })
    }
}

impl Held {
    /// Holds so many bytes more. `false` if there is no room for them.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let before = self.bodies.held.fetch_add(bytes, Ordering::Relaxed);
        let fits = before.checked_add(bytes).is_some_and(|sum| sum <= self.bodies.max);
        if fits {
            self.own.fetch_add(bytes, Ordering::Relaxed);
        } else {
            self.bodies.held.fetch_sub(bytes, Ordering::Relaxed);
            self.refused.store(true, Ordering::Relaxed);
        }
        fits
    }

    /// Whether there was no room once.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies.held.fetch_sub(*self.own.get_mut(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_share_the_bytes_and_give_them_back() {
        let bodies = Bodies::new(100);
        let (one, two) = (bodies.request(), bodies.request());
        assert!(one.take(60) && two.take(40));
        assert!(!two.take(1) && two.is_refused() && !one.is_refused());
        drop(one);
        assert!(two.take(60));
        drop(two);
        assert_eq!(bodies.held.load(Ordering::Relaxed), 0);
        assert!(!bodies.request().take(usize::MAX));
        assert!(bodies.request().take(100));
    }
}
