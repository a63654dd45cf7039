//! Lengths of time as people write them: `10m`, `8h`, `1h30m`, `500ms`.

use std::{fmt::Write as _, time::Duration};

const UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a length of time: numbers with a unit each, `d`, `h`, `m`, `s` or `ms`.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    let problem = || format!("{text:?} is not a length of time such as 10m, 8h or 30s");
    let mut rest = text;
    let mut millis = 0_u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(problem)?;
        let (number, unit_and_rest) = rest.split_at_checked(digits).ok_or_else(problem)?;
        let unit_end =
            unit_and_rest.find(|c: char| c.is_ascii_digit()).unwrap_or(unit_and_rest.len());
        let (unit, after) = unit_and_rest.split_at_checked(unit_end).ok_or_else(problem)?;
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(problem)?;
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*size));
        millis = part.and_then(|part| millis.checked_add(part)).ok_or_else(problem)?;
        rest = after;
    }
    if text.is_empty() { Err(problem()) } else { Ok(Duration::from_millis(millis)) }
}

/// Writes a length of time as [`parse`] reads it, without what is smaller than a millisecond.
pub(super) fn print(time: Duration) -> String {
    let mut rest = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, size) in UNITS {
        if rest >= size {
            // Writing to a string can't fail.
            write!(text, "{}{unit}", rest / size).unwrap_or_default();
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Writes a length of time from the wire; `-` if there is none.
pub(super) fn print_wire(time: Option<prost_types::Duration>) -> String {
    time.and_then(|time| Duration::try_from(time).ok()).map_or_else(|| "-".to_owned(), print)
}

/// A length of time for the wire.
pub(super) fn to_wire(time: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(time.subsec_nanos()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_of_time_are_written_with_units() {
        let cases = [
            ("10m", 600_000),
            ("8h", 28_800_000),
            ("30s", 30_000),
            ("500ms", 500),
            ("7d", 604_800_000),
            ("1h30m", 5_400_000),
        ];
        for (text, millis) in cases {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(print(Duration::from_millis(millis)), text);
        }
        assert_eq!(print(Duration::ZERO), "0s");
        for text in ["", "10", "m", "10x", "1.5h", "-1s", "10 m", "99999999999999999999s", "10mü"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parse_undoes_print(millis: u64) {
            let time = Duration::from_millis(millis);
            prop_assert_eq!(parse(&print(time)), Ok(time));
        }

        #[test]
        fn garbage_is_refused_without_a_panic(text in "\\PC{0,20}") {
            if let Ok(time) = parse(&text) {
                prop_assert_eq!(parse(&print(time)), Ok(time));
            }
        }
    }
}
