//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// How long a test waits for what must happen: long, since it only shows when something is broken.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Tries until there is something, and returns it.
///
/// # Panics
///
/// After [`DEADLINE`], with `what`.
pub fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    #[expect(clippy::disallowed_methods, reason = "a test measures real time")]
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
