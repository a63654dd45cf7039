//! The operating system's clock and randomness.
//!
//! A program makes them once and hands them to everything else; they are here because every crate
//! that keeps state depends on this one. Never here: anything that uses them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use buswire_message::{Clock, Entropy, Timestamp};

/// The wall clock of the operating system. It may step.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let millis = self.since_epoch().as_millis();
        Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    fn since_epoch(&self) -> Duration {
        #[expect(clippy::disallowed_methods, reason = "this is the driver that reads the clock")]
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

/// The operating system's cryptographic source of randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// # Panics
    ///
    /// If the operating system has no randomness to give: nothing secret can be made then, and going
    /// on with guessable secrets would be worse.
    fn fill(&self, bytes: &mut [u8]) {
        #[expect(clippy::expect_used, reason = "without randomness no secret can be made")]
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}
