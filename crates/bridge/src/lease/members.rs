//! The gateways that share a store, as one of them sees the others, and whose a route is.

use std::{collections::BTreeMap, time::Duration};

use buswire_message::RouteName;
use buswire_store::Revision;

use super::{GatewayId, LeaseTiming, Steady};

/// The row of a dead gateway is removed after so long.
const KEPT: Duration = Duration::from_secs(60);

/// The row of a gateway as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemberRow {
    pub(crate) id: GatewayId,
    pub(crate) revision: Revision,
    /// It has stopped everything and said so.
    pub(crate) has_left: bool,
}

/// What is known of another gateway.
#[derive(Debug)]
struct Seen {
    /// `None` if it has no row.
    revision: Option<Revision>,
    /// Since when its row has not changed.
    since: Steady,
    /// Since when it has been alive.
    alive_since: Steady,
    is_dead: bool,
}

/// The other gateways as this one sees them.
#[derive(Debug)]
pub(crate) struct Members {
    timing: LeaseTiming,
    own: GatewayId,
    /// Nobody else can use the store: whatever another gateway left behind is from before.
    is_alone: bool,
    seen: BTreeMap<GatewayId, Seen>,
    /// The last observation began then.
    looked: Steady,
}

impl Members {
    pub(crate) const fn new(own: GatewayId, timing: LeaseTiming, is_alone: bool) -> Self {
        Self { timing, own, is_alone, seen: BTreeMap::new(), looked: Duration::ZERO }
    }

    /// This gateway goes on under another id.
    pub(crate) const fn rename(&mut self, own: GatewayId) {
        self.own = own;
    }

    /// Takes the member rows of a scan that began and ended at these times. Returns whether somebody
    /// came, went, or has lived long enough to be given routes.
    pub(crate) fn observe(&mut self, begun: Steady, ended: Steady, rows: &[MemberRow]) -> bool {
        let before = self.placed(self.looked);
        self.looked = begun;
        for (id, seen) in &mut self.seen {
            if seen.revision.is_some() && !rows.iter().any(|row| row.id == *id) {
                (seen.revision, seen.since) = (None, ended);
            }
        }
        for row in rows.iter().filter(|row| row.id != self.own) {
            let seen = self.seen.entry(row.id).or_insert_with(|| Seen::first(None, ended));
            if seen.revision != Some(row.revision) {
                (seen.revision, seen.since) = (Some(row.revision), ended);
            }
            seen.is_dead = row.has_left;
        }
        for seen in self.seen.values_mut() {
            // Judged from the beginning of the scan: at that time the row was as it is shown, or later.
            seen.is_dead |= begun.saturating_sub(seen.since) >= self.timing.lease;
            if seen.is_dead {
                seen.alive_since = ended;
            }
        }
        self.seen.retain(|_, seen| seen.revision.is_some() || !seen.is_gone(begun));
        before != self.placed(begun)
    }

    /// Whether what `owner` owned can be taken from it. One that was never seen is looked after from
    /// now on.
    pub(crate) fn is_dead(&mut self, owner: GatewayId, now: Steady) -> bool {
        if self.is_alone {
            return true;
        }
        owner != self.own
            && self.seen.entry(owner).or_insert_with(|| Seen::first(None, now)).is_dead
    }

    /// Rows of gateways that are long dead.
    pub(crate) fn remains(&self) -> impl Iterator<Item = (GatewayId, Revision)> {
        let gone = self.seen.iter().filter(|(_, seen)| seen.is_gone(self.looked));
        gone.filter_map(|(id, seen)| Some((*id, seen.revision?)))
    }

    /// Whether this gateway is the one of all living that is to have the route.
    pub(crate) fn is_ours(&self, route: &RouteName) -> bool {
        self.is_best(route, |_| true)
    }

    /// Whether a gateway that has lived for a while is to have the route in place of this one.
    pub(crate) fn is_theirs(&self, route: &RouteName) -> bool {
        !self.is_best(route, |seen| self.is_settled(seen, self.looked))
    }

    /// Rendezvous hashing: when a gateway comes or goes, no route moves between two others.
    fn is_best(&self, route: &RouteName, counts: impl Fn(&Seen) -> bool) -> bool {
        let own = (weight(self.own, route), self.own);
        let alive = self.seen.iter().filter(|(_, seen)| seen.is_alive() && counts(seen));
        !alive.map(|(id, _)| (weight(*id, route), *id)).any(|other| other > own)
    }

    fn is_settled(&self, seen: &Seen, at: Steady) -> bool {
        at.saturating_sub(seen.alive_since) >= self.timing.settle
    }

    /// Who is alive, and whether routes are moved to it.
    fn placed(&self, at: Steady) -> Vec<(GatewayId, bool)> {
        let alive = self.seen.iter().filter(|(_, seen)| seen.is_alive());
        alive.map(|(id, seen)| (*id, self.is_settled(seen, at))).collect()
    }
}

impl Seen {
    const fn first(revision: Option<Revision>, at: Steady) -> Self {
        Self { revision, since: at, alive_since: at, is_dead: false }
    }

    const fn is_alive(&self) -> bool {
        self.revision.is_some() && !self.is_dead
    }

    fn is_gone(&self, at: Steady) -> bool {
        self.is_dead && at.saturating_sub(self.since) >= KEPT
    }
}

/// FNV-1a of gateway and route, then the finalizer of SplitMix64, since FNV alone does not spread the
/// last bytes. Part of what gateways of different releases must agree on.
fn weight(gateway: GatewayId, route: &RouteName) -> u64 {
    let bytes = gateway.0.iter().chain(route.as_str().as_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
