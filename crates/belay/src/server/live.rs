//! Invocations in progress, and cutting them off when a grant above them is revoked.
//!
//! An invocation is entered with the generation that was current before its chain was read. If
//! something was cut since, what was read may be out of date, and the caller reads again; so no
//! invocation slips through between being checked and being entered. Never here: the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::names::Handle;

/// How many cuts there were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Generation(u64);

/// Why an invocation was not entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Something was cut since the chain was read.
    Stale,
    /// Too many are in progress.
    Full,
}

/// The invocations in progress.
#[derive(Debug)]
pub(crate) struct Live {
    running: Mutex<Running>,
    most: usize,
}

#[derive(Debug, Default)]
struct Running {
    generation: u64,
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    // From the grant to the root.
    chain: Arc<[Handle]>,
    token: CancellationToken,
}

/// One invocation in progress, until it is dropped.
#[derive(Debug)]
pub(crate) struct Entered {
    live: Arc<Live>,
    number: u64,
    token: CancellationToken,
}

impl Entered {
    /// Cancelled when a grant of the chain is cut.
    pub(crate) const fn token(&self) -> &CancellationToken {
        &self.token
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.live.lock().entries.remove(&self.number);
    }
}

impl Live {
    pub(crate) fn new(most: usize) -> Self {
        Self { running: Mutex::default(), most }
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be taken before the chain is read.
    pub(crate) fn generation(&self) -> Generation {
        Generation(self.lock().generation)
    }

    /// Enters an invocation whose chain was read at `seen` or later.
    pub(crate) fn enter(
        self: &Arc<Self>,
        seen: Generation,
        chain: Arc<[Handle]>,
    ) -> Result<Entered, Refused> {
        let mut running = self.lock();
        if running.generation != seen.0 {
            return Err(Refused::Stale);
        }
        if running.entries.len() >= self.most {
            return Err(Refused::Full);
        }
        let number = running.next;
        running.next += 1;
        let token = CancellationToken::new();
        running.entries.insert(number, Entry { chain, token: token.clone() });
        Ok(Entered { live: Arc::clone(self), number, token })
    }

    /// Cancels every invocation that has `handle` in its chain.
    pub(crate) fn cut(&self, handle: &Handle) {
        let mut running = self.lock();
        running.generation += 1;
        for entry in running.entries.values() {
            if entry.chain.contains(handle) {
                entry.token.cancel();
            }
        }
    }

    /// The different chains that are in use, in all trees or in one.
    pub(crate) fn chains(&self, tree: Option<&Handle>) -> BTreeSet<Arc<[Handle]>> {
        let running = self.lock();
        let entries = running.entries.values();
        let of_tree = |chain: &&Arc<[Handle]>| tree.is_none_or(|tree| chain.last() == Some(tree));
        entries.map(|entry| &entry.chain).filter(of_tree).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use buswire_testkit::SeededEntropy;

    use super::*;

    #[test]
    fn a_cut_reaches_everything_below_and_nothing_else() {
        // Rule: belay 20.6 — blocked invocations of a revoked grant and its descendants are cancelled
        let entropy = SeededEntropy::new(3);
        let [root, child, other] = std::array::from_fn(|_| Handle::mint(&entropy));
        let live = Arc::new(Live::new(10));
        let seen = live.generation();
        let below = live.enter(seen, [child.clone(), root.clone()].into()).unwrap();
        let top = live.enter(seen, [root.clone()].into()).unwrap();
        let apart = live.enter(seen, [other].into()).unwrap();
        live.cut(&child);
        assert!(below.token().is_cancelled());
        assert!(!top.token().is_cancelled() && !apart.token().is_cancelled());
        live.cut(&root);
        assert!(top.token().is_cancelled() && !apart.token().is_cancelled());
        assert_eq!(live.chains(Some(&root)).len(), 2);
        drop((below, top));
        assert_eq!(live.chains(None).len(), 1);
    }

    #[test]
    fn what_was_read_before_a_cut_is_not_entered_after_it() {
        let handle = Handle::mint(&SeededEntropy::new(3));
        let live = Arc::new(Live::new(1));
        let seen = live.generation();
        live.cut(&handle);
        assert_eq!(live.enter(seen, [handle.clone()].into()).unwrap_err(), Refused::Stale);
        let held = live.enter(live.generation(), [handle.clone()].into()).unwrap();
        let full = live.enter(live.generation(), [handle.clone()].into());
        assert_eq!(full.unwrap_err(), Refused::Full);
        drop(held);
        assert!(live.enter(live.generation(), [handle].into()).is_ok());
    }
}
