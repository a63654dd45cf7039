//! What a device knows, and what it is owed.

use std::collections::{BTreeMap, BTreeSet};

use buswire_message::Timestamp;

use super::ChannelIx;

/// One life of a channel: from a `register` that was answered 200 to its end (§17.2).
#[derive(Debug, Default, Clone)]
pub(super) struct Life {
    /// Its endpoint.
    pub(super) endpoint: String,
    /// Versions that were PUT, answered or not.
    attempted: BTreeSet<u64>,
    /// Whether a version that the server chose is not known, since its PUT failed.
    wild: bool,
    /// Versions that were answered 2xx and that no notification has reached since (L1). A device that
    /// acknowledges a version says that it has it.
    owed: BTreeSet<u64>,
    /// The greatest version that was answered 2xx and not acknowledged since (S3 to S5).
    unacked: Option<u64>,
    /// The greatest version that was answered 2xx while an `ack` that covers it was on its way: it
    /// may be pending or not.
    loose: Option<u64>,
    /// The greatest acknowledgement that the store may not have seen yet.
    acked_held: u64,
    /// The last version that the device was shown.
    pub(super) shown: Option<u64>,
    /// The greatest that it was shown and has not acknowledged since.
    reached: Option<u64>,
}

/// A PUT that was not answered yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Attempt {
    /// The greatest version that was shown since it was sent.
    pub(super) shown_max: u64,
    /// The greatest version that was acknowledged since it was sent.
    pub(super) acked_max: u64,
}

impl Life {
    /// A PUT is sent.
    pub(super) fn attempt(&mut self, version: u64) {
        if version > 0 {
            self.attempted.insert(version);
        }
    }

    /// A PUT is answered 2xx.
    pub(super) fn accepted(&mut self, version: u64, attempt: &Attempt) {
        self.attempted.insert(version);
        // An acknowledgement that was under way may have come after the PUT: then it covers it.
        let acked = attempt.acked_max.max(self.acked_held);
        if attempt.shown_max.max(acked) < version {
            self.owed.insert(version);
        }
        if acked < version {
            self.unacked = self.unacked.max(Some(version));
        } else {
            self.loose = self.loose.max(Some(version));
        }
    }

    /// A PUT without a version failed, perhaps after it was stored.
    pub(super) fn failed(&mut self, version: u64) {
        self.wild |= version == 0;
    }

    /// A gateway crashed with a PUT under way: it may be stored or not.
    pub(super) const fn lose_track(&mut self) {
        self.loose = Some(u64::MAX);
    }

    /// L2: nothing that was accepted is above what was shown. A version that is not greater than a
    /// pending one is not shown again if it comes through another gateway.
    pub(super) fn check_reached(&self) {
        assert!(self.owed.last().copied() <= self.reached, "L2: not shown at once: {self:?}");
    }

    /// The device is shown a version.
    pub(super) fn show(&mut self, version: u64) {
        // S1: every version that is sent was accepted, or at least PUT.
        assert!(
            self.wild || self.attempted.contains(&version),
            "S1: {version} is an invention: {self:?}"
        );
        self.owed = self.owed.split_off(&(version + 1));
        self.shown = Some(version);
        self.reached = self.reached.max(self.shown);
    }

    /// The device acknowledges a version.
    pub(super) fn ack(&mut self, version: u64) {
        self.owed = self.owed.split_off(&(version + 1));
        if self.unacked.is_some_and(|unacked| version >= unacked) {
            self.unacked = None;
            self.reached = None;
        }
        self.acked_held = self.acked_held.max(version);
        if self.loose.is_some_and(|loose| version >= loose) {
            self.loose = None;
        }
    }

    /// Another connection takes over. If it learns of a version whose acknowledgement is still on its
    /// way on the older one, it shows that again, and may do so until it is acknowledged anew.
    pub(super) fn hand_over(&mut self) {
        if self.acked_held > 0 {
            self.loose = Some(u64::MAX);
        }
    }

    /// The store has seen every acknowledgement.
    pub(super) const fn settle(&mut self) {
        self.acked_held = 0;
    }

    /// S3, S4, S5: a `hello` shows what is pending; more only if the store had failed.
    pub(super) fn check_flushed(&self, shown: Option<u64>, faulty: bool) {
        let most = if faulty { Some(u64::MAX) } else { self.unacked.max(self.loose) };
        assert!(shown >= self.unacked && shown <= most, "S3, S4, S5: {shown:?} of {self:?}");
    }

    /// L1: what was accepted was shown.
    pub(super) fn check_delivered(&self) {
        assert!(self.owed.is_empty(), "L1: never shown: {self:?}");
    }
}

/// The state of a device (§17.7).
#[derive(Debug, Default)]
pub(super) struct Device {
    /// The UAID that the server gave it.
    pub(super) uaid: String,
    /// When it was last connected.
    pub(super) seen: Timestamp,
    /// The channels that were registered for it.
    pub(super) lives: BTreeMap<ChannelIx, Life>,
    /// Channels whose `register` was not answered: the server may have them.
    pub(super) maybe: BTreeSet<ChannelIx>,
    /// Channels whose life may have ended or not: the next may be the same.
    ghosts: BTreeSet<ChannelIx>,
    /// Channels to which a version was PUT while an answer about them was on its way: it may belong
    /// to this life or to the next.
    pub(super) blurred: BTreeSet<ChannelIx>,
    /// Endpoints of lives that ended for certain.
    pub(super) dead: Vec<(ChannelIx, String)>,
}

impl Device {
    /// Begins a life, or goes on with the one that is there.
    pub(super) fn register(&mut self, channel: ChannelIx, endpoint: &str) -> &Life {
        self.maybe.remove(&channel);
        self.dead.retain(|(_, dead)| dead != endpoint);
        let (ghosts, blurred) = (&mut self.ghosts, &mut self.blurred);
        self.lives.entry(channel).or_insert_with(|| {
            let uncertain = ghosts.remove(&channel) | blurred.remove(&channel);
            let loose = uncertain.then_some(u64::MAX);
            Life { endpoint: endpoint.to_owned(), wild: uncertain, loose, ..Life::default() }
        })
    }

    /// Ends the life of a channel for certain.
    pub(super) fn bury(&mut self, channel: ChannelIx) {
        self.maybe.remove(&channel);
        self.ghosts.remove(&channel);
        if let Some(life) = self.lives.remove(&channel) {
            self.dead.push((channel, life.endpoint));
        }
    }

    /// Ends the life of a channel, perhaps.
    pub(super) fn forsake(&mut self, channel: ChannelIx) {
        self.maybe.insert(channel);
        if self.lives.remove(&channel).is_some() {
            self.ghosts.insert(channel);
        }
    }

    /// Takes the UAID of a `hello` reply: another one ends every life.
    pub(super) fn identify(&mut self, uaid: &str) {
        if self.uaid != uaid {
            uaid.clone_into(&mut self.uaid);
            for (channel, life) in std::mem::take(&mut self.lives) {
                self.dead.push((channel, life.endpoint));
            }
            self.maybe.clear();
            self.ghosts.clear();
            self.blurred.clear();
        }
    }
}
