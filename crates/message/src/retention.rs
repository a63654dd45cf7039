//! How long a message is kept (Backplane §5).
//!
//! Never here: deleting anything.

use std::time::Duration;

use crate::time::Timestamp;

/// The retention settings of a bus.
///
/// | setting | default | bounds |
/// |---|---|---|
/// | kept by default | 10 minutes | 60 s to 7 days |
/// | kept if sticky, and the longest | 8 hours | 60 s to 7 days |
/// | live messages per channel | 100 | 1 to 1 000 000 |
///
/// Worst case of memory and disk: channels × messages per channel × the largest message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    default: Duration,
    maximum: Duration,
    messages_per_channel_max: u32,
}

/// Why a retention setting or the expiry of a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RetentionError {
    /// A retention time is outside of what any bus may have.
    #[error("a retention time is from 60 seconds to 7 days")]
    OutOfBounds,
    /// The limit of messages per channel is outside of its bounds.
    #[error("a channel holds 1 to 1000000 messages")]
    LimitOutOfBounds,
    /// The message asks to be kept longer than the bus allows.
    #[error("the message would be kept longer than the bus allows")]
    TooLate,
    /// The message has expired before it was posted.
    #[error("the message has already expired")]
    Past,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            default: Duration::from_secs(600),
            maximum: Duration::from_secs(8 * 3600),
            messages_per_channel_max: 100,
        }
    }
}

impl Retention {
    /// The shortest retention time, one minute (Backplane §5.1).
    pub const SHORTEST: Duration = Duration::from_secs(60);
    /// The longest retention time, one week (Backplane §5.1).
    pub const LONGEST: Duration = Duration::from_secs(604_800);

    /// Makes retention settings. If `default` is longer than `maximum`, it is the maximum too
    /// (Backplane §5.1).
    ///
    /// # Errors
    ///
    /// [`RetentionError::OutOfBounds`], [`RetentionError::LimitOutOfBounds`].
    pub fn new(
        default: Duration,
        maximum: Duration,
        messages_per_channel_max: u32,
    ) -> Result<Self, RetentionError> {
        let bounds = Self::SHORTEST..=Self::LONGEST;
        if !bounds.contains(&default) || !bounds.contains(&maximum) {
            return Err(RetentionError::OutOfBounds);
        }
        if !(1..=1_000_000).contains(&messages_per_channel_max) {
            return Err(RetentionError::LimitOutOfBounds);
        }
        Ok(Self { default, maximum: maximum.max(default), messages_per_channel_max })
    }

    /// How long a message is kept that is not sticky and names no expiry.
    pub const fn default_time(&self) -> Duration {
        self.default
    }

    /// How long a sticky message is kept, and the longest that any message may ask for.
    pub const fn maximum_time(&self) -> Duration {
        self.maximum
    }

    /// How many live messages a channel holds before posts are refused.
    pub const fn messages_per_channel_max(&self) -> u32 {
        self.messages_per_channel_max
    }

    /// When a message that is posted `now` expires (Backplane §5.1, §5.2).
    ///
    /// An expiry that is asked for overrides stickiness in both directions. One that is computed is
    /// cut to whole seconds.
    ///
    /// # Errors
    ///
    /// [`RetentionError::Past`] if it is not in the future, [`RetentionError::TooLate`] if it is
    /// beyond the maximum, counted to the next whole second.
    pub fn expiry(
        &self,
        now: Timestamp,
        sticky: bool,
        asked: Option<Timestamp>,
    ) -> Result<Timestamp, RetentionError> {
        let Some(asked) = asked else {
            let kept = if sticky { self.maximum } else { self.default };
            return Ok(now.saturating_add(kept).truncate_to_secs());
        };
        let latest = now.saturating_add(Duration::from_millis(999)).truncate_to_secs();
        if asked <= now {
            Err(RetentionError::Past)
        } else if asked > latest.saturating_add(self.maximum) {
            Err(RetentionError::TooLate)
        } else {
            Ok(asked)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_applies_to_a_message() {
        let retention = Retention::default();
        let now = Timestamp::from_millis(1_000_000_000_500);
        let at = |seconds: u64| Timestamp::from_secs(1_000_000_000 + seconds);
        // Rule: backplane §5.1 — without expire: the default, or the maximum if sticky
        assert_eq!(retention.expiry(now, false, None), Ok(at(600)));
        assert_eq!(retention.expiry(now, true, None), Ok(at(28_800)));
        // Rule: backplane §5.1 — an explicit expire overrides stickiness in both directions
        assert_eq!(retention.expiry(now, true, Some(at(5))), Ok(at(5)));
        assert_eq!(retention.expiry(now, false, Some(at(28_000))), Ok(at(28_000)));
        // Rule: backplane §5.2 — accepted up to and including now + maximum, at whole seconds rounded up
        assert_eq!(retention.expiry(now, false, Some(at(28_801))), Ok(at(28_801)));
        assert_eq!(retention.expiry(now, false, Some(at(28_802))), Err(RetentionError::TooLate));
        // Rule: backplane §5.2 — an expire that is already past is refused
        assert_eq!(retention.expiry(now, false, Some(at(0))), Err(RetentionError::Past));
    }

    #[test]
    fn settings_have_bounds() {
        let (minute, day) = (Duration::from_secs(60), Duration::from_secs(86_400));
        assert!(Retention::new(minute, day, 1).is_ok());
        assert_eq!(Retention::new(minute / 2, day, 1), Err(RetentionError::OutOfBounds));
        assert_eq!(Retention::new(minute, day * 8, 1), Err(RetentionError::OutOfBounds));
        assert_eq!(Retention::new(minute, day, 0), Err(RetentionError::LimitOutOfBounds));
        // Rule: backplane §5.1 — the larger of the two retention times is the maximum
        assert_eq!(Retention::new(day, minute, 1).map(|r| r.maximum_time()), Ok(day));
    }
}
