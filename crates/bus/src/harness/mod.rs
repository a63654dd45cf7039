//! One vocabulary of operations for every test of the buses: [`exercise`] applies a list of
//! [`Op`]s to buses over a store with faults and to a plain list of messages, and compares.
//!
//! Panics when they differ. Never here: anything that production code calls.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness fails by panicking"
)]

mod model;
mod store;
mod world;

#[cfg(test)]
mod concurrent;
#[cfg(test)]
mod tests;

pub use store::FaultyStore;
pub use world::exercise;

/// How many buses operations know; the last one is never created.
pub const BUSES: u8 = 3;
/// How many channels operations know.
pub const CHANNELS: u8 = 3;

/// One step of a test.
#[derive(Debug, Clone)]
pub enum Op {
    /// Publishes a list, the store failing as told.
    Publish {
        /// The number of the bus.
        bus: u8,
        /// What is published.
        items: Vec<Item>,
        /// How the store fails.
        fault: Fault,
    },
    /// Reads a page.
    Read {
        /// What is read.
        query: Query,
        /// From where.
        since: Since,
        /// The length of the page.
        limit: u8,
    },
    /// Reads page after page to the end.
    Walk {
        /// What is read.
        query: Query,
        /// The length of the pages.
        limit: u8,
    },
    /// Reads one message by its id.
    Fetch {
        /// Which of the messages so far.
        pick: u8,
        /// The scope that it must be in.
        query: Query,
    },
    /// Begins a long poll.
    Wait {
        /// What is read.
        query: Query,
        /// From where.
        since: Since,
        /// How long.
        millis: u16,
    },
    /// Begins a subscription.
    Subscribe {
        /// What is read.
        query: Query,
        /// From where.
        since: Since,
    },
    /// Takes all that a subscription has.
    Drain {
        /// Which of the subscriptions.
        pick: u8,
    },
    /// Drops a long poll and a subscription.
    DropReaders {
        /// Which of each.
        pick: u8,
    },
    /// The clock goes on.
    Advance {
        /// How far.
        millis: u32,
    },
    /// The clock goes on to where the next message expires.
    NextExpiry {
        /// A millisecond before.
        early: bool,
    },
    /// The clock steps back, by two seconds more than this.
    StepBack {
        /// How far.
        millis: u32,
    },
    /// Commits that were dropped under way happen.
    Land,
    /// What has expired is removed.
    Sweep,
    /// The process ends and another begins over the same store.
    Reopen,
}

/// A message to publish.
#[derive(Debug, Clone)]
pub struct Item {
    /// The number of its channel.
    pub channel: u8,
    /// The number of its type.
    pub kind: u8,
    /// Whether it is sticky.
    pub sticky: bool,
    /// How many seconds it asks to be kept.
    pub ttl: Option<u16>,
    /// The number of its dedupe key.
    pub key: Option<u8>,
}

/// How a store fails in one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not.
    None,
    /// It says so and has done nothing.
    Before,
    /// It says so and has done it.
    Answer,
    /// The caller gives up; nothing was done.
    DropBefore,
    /// The caller gives up; it was done.
    DropAfter,
    /// The caller gives up; it is done later.
    DropLate,
}

/// A scope, by numbers.
#[derive(Debug, Clone)]
pub struct Query {
    /// One bit for each bus; none is taken as all.
    pub buses: u8,
    /// One bit for each channel; `None` for all.
    pub channels: Option<u8>,
    /// The number of a type.
    pub kind: Option<u8>,
    /// Stickiness.
    pub sticky: Option<bool>,
}

/// From where a reader goes on.
#[derive(Debug, Clone, Copy)]
pub enum Since {
    /// From the start.
    Start,
    /// After one of the messages so far.
    Message(u8),
    /// After the last message so far.
    Last,
}
