//! How much a connection may send: a bucket of tokens (Belay §22.4: per-frame rate limits).
//!
//! Never here: what happens to a message that is too much.

use buswire_message::Timestamp;

use crate::relay::RelayConfig;

/// A message takes a token for each so many bytes that it begins.
const BYTES_PER_TOKEN: usize = 16 * 1024;

/// What a message may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There were tokens for it.
    Pass,
    /// There were none: it is answered 429.
    Refuse,
    /// It goes on and on: the connection is closed.
    Close,
}

/// The tokens of one connection, in thousandths; below zero it is overdrawn.
#[derive(Debug)]
pub(super) struct Allowance {
    millis: i64,
    at: Timestamp,
}

impl Allowance {
    pub(super) fn full(config: &RelayConfig, now: Timestamp) -> Self {
        Self { millis: i64::from(config.tokens_max) * 1000, at: now }
    }

    /// Takes what a message of `bytes` costs, whatever the verdict.
    pub(super) fn take(&mut self, config: &RelayConfig, now: Timestamp, bytes: usize) -> Verdict {
        let most = i64::from(config.tokens_max) * 1000;
        let elapsed = now.saturating_since(self.at).as_millis();
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        let gained = elapsed.saturating_mul(i64::from(config.tokens_per_second));
        self.millis = self.millis.saturating_add(gained).min(most);
        self.at = now;
        let tokens = i64::try_from(1 + bytes / BYTES_PER_TOKEN).unwrap_or(i64::MAX);
        self.millis = self.millis.saturating_sub(tokens.saturating_mul(1000));
        match self.millis {
            0.. => Verdict::Pass,
            overdrawn if overdrawn > -most => Verdict::Refuse,
            _ => Verdict::Close,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn messages_cost_tokens_that_come_back() {
        // Rule: belay 22.4 — each frame's rate is limited
        let config = RelayConfig { tokens_max: 3, tokens_per_second: 2, ..RelayConfig::default() };
        let start = Timestamp::from_secs(100);
        let mut allowance = Allowance::full(&config, start);
        let mut take = |after_ms, bytes| {
            allowance.take(&config, start.saturating_add(Duration::from_millis(after_ms)), bytes)
        };
        assert_eq!(take(0, 0), Verdict::Pass);
        assert_eq!(take(0, 16 * 1024), Verdict::Pass);
        assert_eq!(take(0, 0), Verdict::Refuse);
        assert_eq!(take(0, 0), Verdict::Refuse);
        assert_eq!(take(0, 0), Verdict::Close);
        // Two seconds are four tokens: one is left, and one is what this takes.
        assert_eq!(take(2000, 0), Verdict::Pass);
        assert_eq!(take(2000, 0), Verdict::Refuse);
        // There are never more than three.
        assert_eq!(take(90_000, 2 * 16 * 1024), Verdict::Pass);
        assert_eq!(take(90_000, 0), Verdict::Refuse);
    }
}
