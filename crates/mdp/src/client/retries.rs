//! How often and how patiently a request is sent again.
//!
//! Never in here: the sending.

use std::time::Duration;

/// What a client does about silence within the time its caller gives it (mdp.md §8.4).
///
/// MDP has no negative reply: a try without answer may have been executed, or be executed later.
/// Each retry is a new request to the broker and to the service, so retries are for services that
/// are idempotent or know an operation by an id of its own (mdp.md §11.8). A late answer to an
/// earlier try is discarded. Nothing is tried again once a PARTIAL has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How often a request is sent again after its first try; default 0.
    pub count: u32,
    /// How long a try waits for its answer before the next one; default 2500 ms. The last one waits
    /// for what is left of the caller's time.
    pub try_timeout: Duration,
    /// The pause before the first retry; default 100 ms. It doubles with each, and each is
    /// lengthened by up to a quarter at random.
    pub first_pause: Duration,
    /// The longest pause, without what is random; default 5 s.
    pub longest_pause: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            count: 0,
            try_timeout: Duration::from_millis(2500),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
        }
    }
}

impl From<u32> for Retries {
    /// Retries `count` times, with the default times.
    fn from(count: u32) -> Self {
        Self { count, ..Self::default() }
    }
}
