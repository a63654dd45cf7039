//! Which gateway runs a route: leases with fencing, decided without comparing two clocks.
//!
//! Gateways that share a store meet in it. Each has a *member row*, which it writes anew with every
//! beat. The others observe it: a gateway whose row did not change for [`LeaseTiming::lease`], by the
//! observer's own steady clock, is dead. The gateway itself counts from the moment before its last
//! stored beat and stops [`LeaseTiming::margin`] earlier, so it has stopped before anybody judges it
//! dead. Once it has stopped, that [`Tenure`] is over for ever: it goes on under a new [`GatewayId`].
//!
//! Who runs a route is said by its *owner row*. Whoever takes a route writes that row, expecting it as
//! it was read; whatever a runner stores expects the row as it wrote it. So at most one gateway
//! records anything of a route, whatever clocks, pauses and late packets do: the revision of the
//! owner row is the fencing token. What leases add is that at most one gateway hands messages out;
//! that needs steady clocks that drift by less than the margin within a lease.
//!
//! A call of a sink that is under way when its gateway stalls may end after another gateway has made
//! it again: delivery is at least once. The later end of such a call is a repeat, so the first
//! deliveries of a channel stay in order.
//!
//! A sink in the memory of one gateway, such as a service of its broker, binds the route: any gateway
//! that has it may take the route, and keeps it as long as it has it.
//!
//! Sans-IO: the time goes in, rows are handed in as they were read. Never here: the store, a clock.

mod members;
mod presence;
mod tenure;
#[cfg(test)]
mod tests;

use std::{fmt, time::Duration};

pub(crate) use members::{MemberRow, Members};
pub(crate) use presence::Presence;
pub(crate) use tenure::{Hold, Tenure};

/// Time since this process began to look, by a clock that never steps. That of one process means
/// nothing to another.
pub(crate) type Steady = Duration;

/// How leases are timed. Another gateway takes a dead one's routes after at most `lease` and two
/// beats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTiming {
    /// How often a gateway says that it lives, and looks after the others: default 500 ms.
    pub beat: Duration,
    /// A gateway that was seen to say nothing for so long is dead: default 2.5 s.
    pub lease: Duration,
    /// So much earlier a gateway counts itself as dead: default 500 ms. Clocks that drift apart by
    /// less within a lease never show two gateways that hand out messages of one route.
    pub margin: Duration,
    /// Routes are moved to another living gateway only when it was seen to live for so long: default
    /// 5 s.
    pub settle: Duration,
}

impl Default for LeaseTiming {
    fn default() -> Self {
        Self {
            beat: Duration::from_millis(500),
            lease: Duration::from_millis(2500),
            margin: Duration::from_millis(500),
            settle: Duration::from_secs(5),
        }
    }
}

/// Names one tenure of a gateway: random, never used again after it is over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GatewayId(pub(crate) [u8; 8]);

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GatewayId({self})")
    }
}

impl std::str::FromStr for GatewayId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes()))
    }
}
