//! The lease of this gateway, as it counts it itself.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::{GatewayId, LeaseTiming, Steady};

/// Until when one tenure may hand out messages. Shared by its runners, who ask before each attempt.
#[derive(Debug, Default)]
pub(crate) struct Hold(AtomicU64);

impl Hold {
    /// Whether the tenure still holds.
    pub(crate) fn is_held(&self, now: Steady) -> bool {
        millis(now) < self.0.load(Ordering::SeqCst)
    }

    /// How long it holds, if nothing extends it.
    pub(crate) fn left(&self, now: Steady) -> Steady {
        Steady::from_millis(self.0.load(Ordering::SeqCst)).saturating_sub(now)
    }
}

/// One life of this gateway in the eyes of the others.
#[derive(Debug)]
pub(crate) struct Tenure {
    id: GatewayId,
    timing: LeaseTiming,
    hold: Arc<Hold>,
}

impl Tenure {
    /// A tenure that begins to hold with its first beat.
    pub(crate) fn new(id: GatewayId, timing: LeaseTiming) -> Self {
        Self { id, timing, hold: Arc::default() }
    }

    /// A tenure that needs no beats, since nobody else can use the store.
    pub(crate) fn sole(id: GatewayId, timing: LeaseTiming) -> Self {
        Self { id, timing, hold: Arc::new(Hold(AtomicU64::new(u64::MAX))) }
    }

    pub(crate) const fn id(&self) -> GatewayId {
        self.id
    }

    pub(crate) const fn hold(&self) -> &Arc<Hold> {
        &self.hold
    }

    /// Whether it held once and does not any more: it never will again.
    pub(crate) fn is_over(&self, now: Steady) -> bool {
        self.hold.0.load(Ordering::SeqCst) > 0 && !self.hold.is_held(now)
    }

    /// A beat that was begun then is stored. One that was answered after the tenure was over changes
    /// nothing: the others may have judged it dead before the beat arrived.
    pub(crate) fn handle_beat(&self, begun: Steady, now: Steady) {
        if !self.is_over(now) {
            let until = (begun + self.timing.lease).saturating_sub(self.timing.margin);
            self.hold.0.store(millis(until), Ordering::SeqCst);
        }
    }
}

fn millis(time: Steady) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
