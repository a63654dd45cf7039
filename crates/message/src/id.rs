//! Message ids: one number with two textual uses.
//!
//! A store gives each message of a log a [`Sequence`]: the milliseconds since 2020 in the upper 41
//! bits, a counter within the millisecond in the lower 12. A [`MessageId`] is the same number in
//! Backplane's form (Backplane §4.3). So an id needs no index to be found, its text order is the
//! order of the bus, and [`Version`](crate::Version) is the number itself.
//!
//! Never here: choosing the next sequence for a log; only [`Sequence::next`], the rule for it.

use std::{fmt, str::FromStr};

use crate::time::Timestamp;

/// 2020-01-01T00:00:00.000Z, the earliest moment that a sequence can hold.
const BASE_MILLIS: u64 = 1_577_836_800_000;
const COUNTER_BITS: u32 = 12;
const COUNTER_MASK: u64 = (1 << COUNTER_BITS) - 1;
const TEXT_LENGTH: usize = 35;
const SUFFIX_LENGTH: usize = 10;
const SUFFIX_ALPHABET: &[u8; 62] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The place of a message in its log: a number below 2^53 that only grows.
///
/// 4096 numbers a millisecond are a little over four million a second for each log. If a log takes
/// more than that, or its clock steps back, its sequences run ahead of the clock instead of
/// repeating. The last moment that fits is in the year 2089.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(u64);

impl Sequence {
    /// Before every message.
    pub const ZERO: Self = Self(0);
    /// The greatest sequence, 2^53 − 1: exact in a double, so that no peer rounds it.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// The first sequence of the millisecond `at`; the ends of the range outside of it.
    pub const fn at(at: Timestamp) -> Self {
        let shifted = at.as_millis().saturating_sub(BASE_MILLIS) << COUNTER_BITS;
        if shifted > Self::MAX.0 { Self::MAX } else { Self(shifted) }
    }

    /// The sequence that follows `self` in a log when the clock says `now`.
    ///
    /// `None` only at the end of the range, in the year 2089.
    #[must_use]
    pub fn next(self, now: Timestamp) -> Option<Self> {
        let follows = self.0 + 1;
        (follows <= Self::MAX.0).then(|| Self(follows.max(Self::at(now).0)))
    }

    /// Takes a number as a sequence; `None` above [`Self::MAX`].
    pub const fn from_u64(number: u64) -> Option<Self> {
        if number > Self::MAX.0 { None } else { Some(Self(number)) }
    }

    /// The number itself.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The moment in the sequence. It is the time of the commit unless the clock had stepped back.
    pub const fn timestamp(self) -> Timestamp {
        Timestamp::from_millis((self.0 >> COUNTER_BITS) + BASE_MILLIS)
    }

    fn text(self) -> [u8; TEXT_LENGTH] {
        let mut time = [0; 24];
        self.timestamp().write_millis(&mut time);
        let mut text = [b'0'; TEXT_LENGTH];
        for (to, from) in text.iter_mut().zip(time) {
            *to = from;
        }
        if let Some(dash) = text.get_mut(24) {
            *dash = b'-';
        }
        let mut rest = usize::try_from(self.0 & COUNTER_MASK).unwrap_or_default();
        for to in text.iter_mut().rev().take(SUFFIX_LENGTH) {
            *to = SUFFIX_ALPHABET.get(rest % 62).copied().unwrap_or(b'0');
            rest /= 62;
        }
        text
    }
}

/// The name of a message, `2024-03-09T14:05:21.337Z-0000000000`.
///
/// The moment of its [`Sequence`], then its counter in ten base-62 digits: fixed width, safe in URLs
/// without escaping, and byte order is bus order (Backplane §4.3). It is a name, not a secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Sequence);

/// Why a text is not the id of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message id must look like 2024-03-09T14:05:21.337Z-0000000000")]
pub struct MessageIdError;

impl MessageId {
    /// The id of the message at `sequence`.
    pub const fn from_sequence(sequence: Sequence) -> Self {
        Self(sequence)
    }

    /// The place of the message in its log.
    pub const fn sequence(self) -> Sequence {
        self.0
    }

    /// When the message was stored.
    pub const fn timestamp(self) -> Timestamp {
        self.0.timestamp()
    }
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, MessageIdError> {
        let at =
            text.get(..24).and_then(|time| Timestamp::parse(time).ok()).ok_or(MessageIdError)?;
        let suffix =
            text.get(24..).and_then(|rest| rest.strip_prefix('-')).ok_or(MessageIdError)?;
        if suffix.len() != SUFFIX_LENGTH || at.as_millis() < BASE_MILLIS {
            return Err(MessageIdError);
        }
        let counter = suffix.bytes().try_fold(0_u64, |value, byte| {
            let digit = SUFFIX_ALPHABET.binary_search(&byte).map_err(|_| MessageIdError)?;
            let value = value * 62 + u64::try_from(digit).map_err(|_| MessageIdError)?;
            (value <= COUNTER_MASK).then_some(value).ok_or(MessageIdError)
        })?;
        let base = Sequence::at(at);
        if base.timestamp() != at {
            return Err(MessageIdError);
        }
        Sequence::from_u64(base.0 | counter).map(Self).ok_or(MessageIdError)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.0.text()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// From where a reader goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Cursor {
    /// From the beginning of the window.
    #[default]
    Start,
    /// After this place; the message there need not exist any more.
    After(Sequence),
}

impl Cursor {
    /// Reads the `since` parameter (Backplane §6.6, §10.3).
    ///
    /// Blank is the whole window. A text of the form of Backplane §4.3, also one that another server
    /// minted, stands for its place in text order. Anything else is the whole window.
    pub fn parse_since(text: &str) -> Self {
        if let Ok(id) = text.parse::<MessageId>() {
            return Self::After(id.sequence());
        }
        if is_well_formed(text) { Self::at_or_before(text) } else { Self::Start }
    }

    /// The sequence after which to read; `None` for the beginning.
    pub const fn after(self) -> Option<Sequence> {
        match self {
            Self::Start => None,
            Self::After(sequence) => Some(sequence),
        }
    }

    /// The greatest sequence whose id is not greater than `text`, found by halving: text order and
    /// number order are the same.
    fn at_or_before(text: &str) -> Self {
        let (mut low, mut high) = (0, Sequence::MAX.0 + 1);
        while low < high {
            let middle = low.midpoint(high);
            if Sequence(middle).text().as_slice() <= text.as_bytes() {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1).map_or(Self::Start, |number| Self::After(Sequence(number)))
    }
}

/// The recogniser of Backplane §4.3.
fn is_well_formed(text: &str) -> bool {
    const PATTERN: &[u8; 25] = b"dddd-dd-ddTdd:dd:dd.dddZ-";
    let bytes = text.as_bytes();
    (26..=57).contains(&bytes.len())
        && bytes.iter().zip(PATTERN).all(|(byte, pattern)| match pattern {
            b'd' => byte.is_ascii_digit(),
            exact => byte == exact,
        })
        && bytes.iter().skip(25).all(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(text: &str) -> MessageId {
        text.parse().unwrap()
    }

    #[test]
    fn an_id_has_the_fixed_form() {
        let at = Timestamp::parse("2024-03-09T14:05:21.337Z").unwrap();
        let first = MessageId::from_sequence(Sequence::at(at));
        assert_eq!(first.to_string(), "2024-03-09T14:05:21.337Z-0000000000");
        let next = MessageId::from_sequence(first.sequence().next(at).unwrap());
        assert_eq!(next.to_string(), "2024-03-09T14:05:21.337Z-0000000001");
        assert_eq!(first.timestamp(), at);
    }

    #[test]
    fn a_clock_that_steps_back_does_not_take_ids_back() {
        // Rule: backplane §19.3 — the allocator goes on from the last id issued, whatever the clock says
        // Rule: backplane §17 row 35 — a clock step makes no id skip or repeat
        let last = Sequence::at(Timestamp::parse("2024-03-09T14:05:21.338Z").unwrap());
        let next = last.next(Timestamp::parse("2024-03-09T14:05:21.330Z").unwrap()).unwrap();
        assert!(next > last);
    }

    #[test]
    fn since_takes_ids_of_other_servers() {
        // Rule: backplane §19.3 — since compares ids as text, byte by byte
        // Rule: backplane §4.3 — ids have one width, and their order as text is the order of the bus
        let cases = [
            ("1970-01-01T00:00:00.000Z-0000000000", Cursor::Start),
            ("2024-03-09T14:05:21.337Z-q8Zt0LxV2m", {
                let next_ms = id("2024-03-09T14:05:21.338Z-0000000000").sequence().as_u64();
                Cursor::After(Sequence::from_u64(next_ms - 1).unwrap())
            }),
            ("2024-03-09T14:05:21.338Z-0", {
                let next_ms = id("2024-03-09T14:05:21.338Z-0000000000").sequence().as_u64();
                Cursor::After(Sequence::from_u64(next_ms - 1).unwrap())
            }),
            ("9999-03-09T14:05:21.338Z-0", Cursor::After(Sequence::MAX)),
            ("", Cursor::Start),
            ("garbage", Cursor::Start),
            ("2024-03-09T14:05:21.337Z-", Cursor::Start),
            ("2024-03-09T14:05:21.337Z_0000000000", Cursor::Start),
        ];
        for (text, cursor) in cases {
            assert_eq!(Cursor::parse_since(text), cursor, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parse_undoes_print(number in 0..=Sequence::MAX.as_u64()) {
            let id = MessageId::from_sequence(Sequence::from_u64(number).unwrap());
            prop_assert_eq!(id.to_string().parse::<MessageId>(), Ok(id));
            prop_assert_eq!(Cursor::parse_since(&id.to_string()), Cursor::After(id.sequence()));
        }

        #[test]
        fn text_order_is_number_order(a in 0..=Sequence::MAX.as_u64(), step in 0_u64..10_000) {
            let a = Sequence::from_u64(a).unwrap();
            let b = Sequence::from_u64((a.as_u64() + step).min(Sequence::MAX.as_u64())).unwrap();
            let (text_a, text_b) =
                (MessageId::from_sequence(a).to_string(), MessageId::from_sequence(b).to_string());
            prop_assert_eq!(a.cmp(&b), text_a.cmp(&text_b));
        }

        #[test]
        fn a_foreign_since_splits_the_bus_where_text_order_does(
            millis in 1_577_836_800_000_u64..3_000_000_000_000,
            suffix in "[0-9A-Za-z]{1,32}",
            other in 0..=Sequence::MAX.as_u64(),
        ) {
            let text = format!("{}-{suffix}", Timestamp::from_millis(millis));
            let other = Sequence::from_u64(other).unwrap();
            let is_newer = Cursor::parse_since(&text).after().is_none_or(|after| other > after);
            prop_assert_eq!(is_newer, MessageId::from_sequence(other).to_string() > text);
        }

        #[test]
        fn a_million_a_second_fit_without_running_far_ahead(start in 1_577_836_800_000_u64..3_000_000_000_000) {
            let now = Timestamp::from_millis(start);
            let mut last = Sequence::at(now);
            for _ in 0..4096 {
                let next = last.next(now).unwrap();
                prop_assert!(next > last);
                last = next;
            }
            prop_assert!(last.timestamp().as_millis() <= start + 1);
        }

        #[test]
        fn garbage_is_refused_without_a_panic(text in "\\PC{0,60}") {
            prop_assert!(text.len() == 35 || text.parse::<MessageId>().is_err());
            prop_assert!(text.len() > 25 || Cursor::parse_since(&text) == Cursor::Start);
        }
    }
}
