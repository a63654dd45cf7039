//! Points in time, their textual forms, and where they come from.
//!
//! Never here: reading a clock. Drivers implement [`Clock`]; everything else is handed a
//! [`Timestamp`].

use std::{fmt, time::Duration};

/// A point in time: whole milliseconds since 1970-01-01T00:00:00Z, leap seconds ignored.
///
/// Covers the years 1970 to 9999, so that it always has an RFC 3339 form of fixed width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

/// Where the time comes from.
///
/// Implemented by drivers (the operating system's clock) and by tests (a virtual clock). May step
/// backwards; whoever needs more than that says so.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present time.
    fn now(&self) -> Timestamp;

    /// The present time since 1970, as precisely as the clock shows it, for measuring: whole
    /// milliseconds by default.
    fn since_epoch(&self) -> Duration {
        Duration::from_millis(self.now().as_millis())
    }
}

/// Why a text is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// The text has not the form `YYYY-MM-DDTHH:MM:SS[.mmm]Z`.
    #[error("a time must look like 2024-03-09T14:05:21Z")]
    Form,
    /// The form is right, but no such moment exists or it is before 1970.
    #[error("there is no such time")]
    Impossible,
}

const MILLIS_PER_DAY: u64 = 86_400_000;

impl Timestamp {
    /// 1970-01-01T00:00:00.000Z.
    pub const EPOCH: Self = Self(0);
    /// 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// Makes a time from milliseconds since the epoch; later than [`Self::MAX`] becomes that.
    pub const fn from_millis(millis: u64) -> Self {
        if millis > Self::MAX.0 { Self::MAX } else { Self(millis) }
    }

    /// Makes a time from seconds since the epoch; later than [`Self::MAX`] becomes that.
    pub const fn from_secs(seconds: u64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// The time `by` later, at most [`Self::MAX`]. Parts of a millisecond are dropped.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How much later `self` is than `earlier`; zero if it is not later.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The same time without its milliseconds.
    #[must_use]
    pub const fn truncate_to_secs(self) -> Self {
        Self(self.0 - self.0 % 1000)
    }

    /// Parses `YYYY-MM-DDTHH:MM:SSZ` or the same with `.mmm`.
    ///
    /// Stricter than RFC 3339, as Backplane §5.2 chooses: capital `T` and `Z`, no offset, no leap
    /// second.
    ///
    /// # Errors
    ///
    /// [`TimeError::Form`] for any other form, [`TimeError::Impossible`] for 30 February.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let bytes = text.as_bytes();
        let millis = match bytes.len() {
            20 => 0,
            24 => {
                if bytes.get(19) != Some(&b'.') {
                    return Err(TimeError::Form);
                }
                digits(bytes, 20, 3)?
            }
            _ => return Err(TimeError::Form),
        };
        let separators =
            [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (bytes.len() - 1, b'Z')];
        if separators.iter().any(|&(at, byte)| bytes.get(at) != Some(&byte)) {
            return Err(TimeError::Form);
        }
        let (year, month, day) = (digits(bytes, 0, 4)?, digits(bytes, 5, 2)?, digits(bytes, 8, 2)?);
        let (hour, minute, second) =
            (digits(bytes, 11, 2)?, digits(bytes, 14, 2)?, digits(bytes, 17, 2)?);
        let valid = year >= 1970
            && (1..=12).contains(&month)
            && (1..=days_in_month(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !valid {
            return Err(TimeError::Impossible);
        }
        let days = days_from_civil(year, month, day);
        Ok(Self(days * MILLIS_PER_DAY + ((hour * 60 + minute) * 60 + second) * 1000 + millis))
    }

    /// The form with milliseconds, `2024-03-09T14:05:21.337Z`: always 24 characters.
    pub fn to_rfc3339_millis(self) -> Rfc3339 {
        Rfc3339 { at: self, millis: true }
    }

    /// The form with whole seconds, `2024-03-09T14:05:21Z`: always 20 characters, rounded down.
    pub fn to_rfc3339(self) -> Rfc3339 {
        Rfc3339 { at: self, millis: false }
    }

    pub(crate) fn write_millis(self, out: &mut [u8; 24]) {
        let (days, in_day) = (self.0 / MILLIS_PER_DAY, self.0 % MILLIS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        let fields = [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, in_day / 3_600_000),
            (14, 2, in_day / 60_000 % 60),
            (17, 2, in_day / 1000 % 60),
            (20, 3, in_day % 1000),
        ];
        *out = *b"0000-00-00T00:00:00.000Z";
        for (at, width, value) in fields {
            let mut rest = value;
            for byte in out.iter_mut().skip(at).take(width).rev() {
                *byte = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                rest /= 10;
            }
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_rfc3339_millis().fmt(f)
    }
}

/// A [`Timestamp`] that prints as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rfc3339 {
    at: Timestamp,
    millis: bool,
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 24];
        self.at.write_millis(&mut text);
        let text = std::str::from_utf8(&text).map_err(|_| fmt::Error)?;
        if self.millis {
            f.write_str(text)
        } else {
            f.write_str(text.get(..19).unwrap_or_default())?;
            f.write_str("Z")
        }
    }
}

fn digits(bytes: &[u8], at: usize, width: usize) -> Result<u64, TimeError> {
    let field = bytes.get(at..at + width).ok_or(TimeError::Form)?;
    field.iter().try_fold(0, |value, byte| {
        byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0')).ok_or(TimeError::Form)
    })
}

fn is_leap(year: u64) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

// Days are counted from 0000-03-01, so that the leap day is the last of its year and a 400-year
// era has always 146 097 days; 719 468 of them lie before 1970-01-01.
const DAYS_PER_ERA: u64 = 146_097;
const DAYS_BEFORE_EPOCH: u64 = 719_468;

fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let shifted_year = if month > 2 { year } else { year - 1 };
    let shifted_month = (month + 9) % 12;
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - DAYS_BEFORE_EPOCH
}

fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + DAYS_BEFORE_EPOCH;
    let (era, day_of_era) = (shifted / DAYS_PER_ERA, shifted % DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_moments_have_their_known_forms() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_993_121_337, "2024-03-09T14:05:21.337Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ];
        for (millis, text) in cases {
            assert_eq!(Timestamp::from_millis(millis).to_string(), text);
            assert_eq!(Timestamp::parse(text), Ok(Timestamp::from_millis(millis)));
        }
        assert_eq!(Timestamp::from_millis(1999).to_rfc3339().to_string(), "1970-01-01T00:00:01Z");
    }

    #[test]
    fn other_forms_are_refused() {
        for text in [
            "2024-03-09t14:05:21z",
            "2024-03-09T14:05:21+00:00",
            "2024-03-09T14:05:21.3Z",
            "2024-03-09 14:05:21Z",
            "2024-3-9T14:05:21Z",
            "",
            "+024-03-09T14:05:21Z",
        ] {
            assert_eq!(Timestamp::parse(text), Err(TimeError::Form), "{text}");
        }
        for text in ["2024-02-30T00:00:00Z", "2023-02-29T00:00:00Z", "2024-03-09T14:05:60Z"] {
            assert_eq!(Timestamp::parse(text), Err(TimeError::Impossible), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parse_undoes_print(millis in 0..=Timestamp::MAX.as_millis()) {
            let at = Timestamp::from_millis(millis);
            prop_assert_eq!(Timestamp::parse(&at.to_rfc3339_millis().to_string()), Ok(at));
            prop_assert_eq!(
                Timestamp::parse(&at.to_rfc3339().to_string()),
                Ok(at.truncate_to_secs())
            );
        }

        #[test]
        fn text_order_is_time_order(a in 0..=Timestamp::MAX.as_millis(), b in 0..=Timestamp::MAX.as_millis()) {
            let (a, b) = (Timestamp::from_millis(a), Timestamp::from_millis(b));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }
    }
}
