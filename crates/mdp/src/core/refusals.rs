//! Who was sent away lately, so that nobody is told twice within one heartbeat interval.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::wire::PeerKey;

/// Bounded: at the bound the oldest entry is forgotten, whose peer may then be told once more.
pub(super) struct Refusals {
    max: usize,
    told: HashMap<PeerKey, Duration>,
    order: VecDeque<(Duration, PeerKey)>,
}

impl Refusals {
    pub(super) fn new(max: usize) -> Self {
        Self { max: max.max(1), told: HashMap::new(), order: VecDeque::new() }
    }

    /// Says whether the peer may be told, and remembers that it was.
    pub(super) fn admit(&mut self, now: Duration, interval: Duration, peer: PeerKey) -> bool {
        if self.told.get(&peer).is_some_and(|at| now < *at + interval) {
            return false;
        }
        self.note(now, peer);
        true
    }

    /// Remembers that the peer was told.
    pub(super) fn note(&mut self, now: Duration, peer: PeerKey) {
        self.told.insert(peer.clone(), now);
        self.order.push_back((now, peer));
        while self.order.len() > self.max {
            let Some((at, oldest)) = self.order.pop_front() else {
                return;
            };
            if self.told.get(&oldest) == Some(&at) {
                self.told.remove(&oldest);
            }
        }
    }

    /// Forgets a peer that registered.
    pub(super) fn forget(&mut self, peer: &PeerKey) {
        self.told.remove(peer);
    }
}
