//! The operating system's clock and randomness.
//!
//! A program makes them once and hands them to everything else; they are here because every crate
//! that keeps state depends on this one. Never here: anything that uses them.

use std::{
    cell::RefCell,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

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
///
/// Every message and every invocation needs a few bytes for its place in a trace, so each thread asks
/// for [`AHEAD`] bytes at a time. What was handed out is wiped from the thread's store.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

/// How many bytes a thread asks for at a time. More at once is asked for directly.
const AHEAD: usize = 512;

/// Bytes that a thread has left; those before `used` are wiped.
struct Ahead {
    bytes: [u8; AHEAD],
    used: usize,
}

thread_local! {
    static LEFT: RefCell<Ahead> = const { RefCell::new(Ahead { bytes: [0; AHEAD], used: AHEAD }) };
}

impl Ahead {
    /// Fills `bytes`, of which there are at most [`AHEAD`].
    fn take(&mut self, bytes: &mut [u8]) {
        if self.bytes.len() - self.used < bytes.len() {
            ask(&mut self.bytes);
            self.used = 0;
        }
        let end = self.used + bytes.len();
        if let Some(taken) = self.bytes.get_mut(self.used..end) {
            bytes.copy_from_slice(taken);
            taken.fill(0);
            self.used = end;
        }
    }
}

#[expect(clippy::expect_used, reason = "without randomness no secret can be made")]
fn ask(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}

impl Entropy for SystemEntropy {
    /// # Panics
    ///
    /// If the operating system has no randomness to give: nothing secret can be made then, and going
    /// on with guessable secrets would be worse.
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > AHEAD {
            return ask(bytes);
        }
        // A thread that ends has no store any more.
        if LEFT.try_with(|left| left.borrow_mut().take(bytes)).is_err() {
            ask(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_bytes_are_handed_out_twice() {
        let mut seen = HashSet::new();
        for length in [16, 24, 32, AHEAD - 1, AHEAD, AHEAD + 1, 17].into_iter().cycle().take(2000) {
            let mut bytes = vec![0; length];
            SystemEntropy.fill(&mut bytes);
            for chunk in bytes.as_chunks::<16>().0 {
                assert!(seen.insert(*chunk), "the same 16 bytes again");
            }
        }
    }

    #[test]
    fn what_was_handed_out_is_wiped() {
        let mut left = Ahead { bytes: [0; AHEAD], used: AHEAD };
        let mut bytes = [0; 32];
        left.take(&mut bytes);
        assert_ne!(bytes, [0; 32]);
        assert_eq!(left.bytes[..32], [0; 32]);
        assert_eq!(left.used, 32);
    }
}
