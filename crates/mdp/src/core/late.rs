//! Late results: a worker that was taken for lost answers after all (mdp.md §8.2 note 2).
//!
//! While the request it had waits in the queue again, its answer is as good as another's. It is
//! taken from the very peer that had the request only: addresses can be guessed, peers cannot.

use std::collections::HashMap;

use super::arena::Key;
use super::tables::{Assignment, Place, Request};
use super::{AddressMode, BrokerCore};
use crate::Frames;
use crate::wire::{Hop, PeerKey};

/// Who had a request that waits again. One entry at most per waiting request, and per peer.
#[derive(Default)]
pub(super) struct LateResults {
    expected: HashMap<PeerKey, Expected>,
}

struct Expected {
    address: Hop,
    request: Key<Request>,
}

impl LateResults {
    #[cfg(any(test, feature = "__harness"))]
    pub(super) fn len(&self) -> usize {
        self.expected.len()
    }

    /// Forgets that `peer` once had the request.
    pub(super) fn forget(&mut self, peer: &PeerKey, request: Key<Request>) {
        if self.expected.get(peer).is_some_and(|expected| expected.request == request) {
            self.expected.remove(peer);
        }
    }
}

impl BrokerCore {
    /// Remembers that a lost worker may still answer a request, if that waits again.
    pub(super) fn expect_late(&mut self, peer: PeerKey, assignment: Assignment) {
        let Assignment { request: key, address, parts, .. } = assignment;
        // The address names one assignment only as a token; what came of a stream is thrown away.
        if self.config.address_mode != AddressMode::Token || parts {
            return;
        }
        let request = self.requests.get_mut(key);
        let Some(request) = request.filter(|request| request.place == Place::Queue) else {
            return;
        };
        request.lost_by = Some(peer.clone());
        self.late.expected.insert(peer, Expected { address, request: key });
    }

    /// Takes the answer of a peer that is not registered any more; says whether it was of use.
    pub(super) fn take_late(&mut self, peer: &PeerKey, address: &Hop, body: Frames) -> bool {
        let expected = self.late.expected.get(peer);
        let Some(key) = expected.filter(|it| it.address == *address).map(|it| it.request) else {
            return false;
        };
        let service = self.requests.get(key).map(|request| request.service);
        self.count(service, |counters| counters.late += 1);
        self.finish(key, Ok(body));
        true
    }
}
