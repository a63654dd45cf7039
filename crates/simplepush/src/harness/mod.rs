//! The vocabulary of the model test: operations, and a world in which to carry them out.
//!
//! [`exercise`] runs real sessions of two gateways over the real registry on one store that can be
//! held and made to fail, with devices that behave as the specification's client (SimplePush §17.7), and checks the
//! invariants S1 to S14 at each step and, when all is quiet, L1 to L9 (§17.3, §17.4). The property test here and a fuzz
//! target differ only in who makes the operations. Nothing here is part of the crate's interface.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::missing_panics_doc,
    clippy::manual_assert,
    reason = "a violated invariant is a failed test"
)]

mod model;
mod store;
#[cfg(test)]
mod tests;
mod world;

pub use self::world::exercise;

/// Devices in the world.
pub const PEERS: u8 = 3;
/// Names of channels; all devices use the same names, which must not matter (R-ID-9).
pub const CHANNELS: u8 = 4;

/// Gateways that share the store.
pub const GATEWAYS: u8 = 2;

/// Which gateway.
pub type GatewayIx = u8;
/// Which device.
pub type PeerIx = u8;
/// Which channel of a device.
pub type ChannelIx = u8;

/// Which channels a device lists in `hello`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// All that it believes to be registered.
    All,
    /// None, as simple clients do.
    None,
    /// All but this one, as after a lost `unregister`.
    AllBut(ChannelIx),
}

/// How the store fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Nothing is done.
    Before,
    /// It is done, but nobody learns that.
    After,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// A device opens a connection and shakes hands; an older connection of it may still be open.
    Connect(PeerIx, Listed),
    /// A device sends another `hello` on its connection.
    HelloAgain(PeerIx),
    /// A device registers a channel.
    Register(PeerIx, ChannelIx),
    /// A device unregisters a channel.
    Unregister(PeerIx, ChannelIx),
    /// An application server PUTs this version; 0 for none.
    Put(PeerIx, ChannelIx, u64),
    /// A device acknowledges the last version that it was shown.
    Ack(PeerIx, ChannelIx),
    /// A device acknowledges some version, perhaps of a channel that it does not have.
    AckWrong(PeerIx, ChannelIx, u64),
    /// The connection of a device breaks.
    DropLink(PeerIx),
    /// A device stops reading.
    Block(PeerIx),
    /// A device reads again.
    Unblock(PeerIx),
    /// The balancer sends connections and PUTs to this gateway from now on.
    Use(GatewayIx),
    /// A gateway is killed and started again: what it had under way is gone.
    Crash(GatewayIx),
    /// Time passes, in seconds.
    Advance(u32),
    /// The clock is set back by so many seconds.
    StepBack(u32),
    /// Days pass.
    AdvanceDays(u8),
    /// The store answers nothing until it is released.
    Hold,
    /// The store answers what waits.
    Release,
    /// The next calls of the store fail.
    Fail(Failure, u8),
}
