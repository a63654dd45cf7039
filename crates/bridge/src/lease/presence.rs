//! Whether a gateway is to run a route, by where the sink of the route is.

use super::Steady;
use crate::sink::Reach;

/// Where the sink of a route is, and since when this gateway sees it there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presence {
    reach: Reach,
    since: Steady,
}

impl Presence {
    /// Of a sink that nobody has looked for.
    pub(crate) const fn new() -> Self {
        Self { reach: Reach::Anywhere, since: Steady::ZERO }
    }

    /// Takes where the sink was found.
    pub(crate) fn observe(&mut self, reach: Reach, now: Steady) {
        if self.reach != reach {
            *self = Self { reach, since: now };
        }
    }

    /// Whether the sink can't be reached from here.
    pub(crate) const fn is_elsewhere(self) -> bool {
        matches!(self.reach, Reach::Elsewhere)
    }

    /// Whether this gateway may take the route if nobody has it. `is_ours` is whether the route would be
    /// its own if any gateway could run it.
    pub(crate) const fn may_take(self, is_ours: bool) -> bool {
        match self.reach {
            Reach::Anywhere => is_ours,
            Reach::Here => true,
            Reach::Elsewhere => false,
        }
    }

    /// Whether this gateway, which runs the route, is to give it up: to one that came later, or because
    /// its sink has not been here for the time `settle`. A sink that is here keeps it here.
    pub(crate) fn must_leave(self, is_theirs: bool, now: Steady, settle: Steady) -> bool {
        match self.reach {
            Reach::Anywhere => is_theirs,
            Reach::Here => false,
            Reach::Elsewhere => now.saturating_sub(self.since) >= settle,
        }
    }
}
