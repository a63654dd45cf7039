//! Notices when the clock of the machine jumps: retention, tokens and certificates go by it.
//!
//! What the gateway promises holds then too (sequences never go back), but what expires does so too
//! early or too late, and the operator should know why. Never here: setting a clock.

use std::{sync::Arc, time::Duration};

use buswire_message::{Clock, Timestamp};
use tokio::time::{self, Instant};
use tokio_util::sync::CancellationToken;

/// How often the clocks are compared.
const EVERY: Duration = Duration::from_secs(5);
/// What is a jump: a daemon that corrects the clock turns it slowly.
const LEAST: Duration = Duration::from_secs(2);

/// The clock of the wall, beside one that only goes on.
#[derive(Clone, Copy, Debug)]
struct Pair {
    wall: Timestamp,
    steady: Instant,
}

impl Pair {
    /// By how much the wall clock went wrong from `self` to `next`, and whether it went back; `None` if
    /// it went as it should.
    fn jump_to(self, next: Self) -> Option<(Duration, bool)> {
        let passed = next.steady.saturating_duration_since(self.steady);
        let ahead = next.wall.saturating_since(self.wall);
        let back = self.wall.saturating_since(next.wall);
        let jump = if back.is_zero() { ahead.abs_diff(passed) } else { back + passed };
        (jump >= LEAST).then_some((jump, !back.is_zero() || ahead < passed))
    }
}

/// Counts and logs every jump of `clock`, until `stop`.
///
/// # Cancel safety
///
/// Safe to drop; then nobody notices.
pub async fn watch_clock(clock: Arc<dyn Clock>, stop: CancellationToken) {
    let jumps =
        |direction| metrics::counter!("buswire_clock_jumps_total", "direction" => direction);
    let (forward, back) = (jumps("forward"), jumps("back"));
    let look = || Pair { wall: clock.now(), steady: Instant::now() };
    let mut last = look();
    while stop.run_until_cancelled(time::sleep(EVERY)).await.is_some() {
        let next = look();
        if let Some((jump, is_back)) = last.jump_to(next) {
            let (counter, direction) =
                if is_back { (&back, "back") } else { (&forward, "forward") };
            counter.increment(1);
            tracing::warn!(?jump, direction, "the clock of this machine jumped");
        }
        last = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_jump_is_one() {
        let steady = Instant::now();
        let at = |wall: u64, passed: u64| Pair {
            wall: Timestamp::from_millis(wall),
            steady: steady + Duration::from_millis(passed),
        };
        let start = at(1_000_000, 0);
        let ms = Duration::from_millis;
        for (next, expect) in [
            (at(1_005_000, 5_000), None),
            (at(1_006_999, 5_000), None),
            (at(1_007_000, 5_000), Some((ms(2_000), false))),
            (at(1_002_000, 5_000), Some((ms(3_000), true))),
            (at(999_000, 5_000), Some((ms(6_000), true))),
            (at(4_605_000, 5_000), Some((ms(3_600_000), false))),
        ] {
            assert_eq!(start.jump_to(next), expect, "{next:?}");
        }
    }
}
