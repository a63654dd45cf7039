//! Between the types of the wire and those of the domain.
//!
//! What comes in is parsed once, here, and every problem of a request is named at once. Never here:
//! calling anything.

use std::{fmt::Display, str::FromStr, time::Duration};

use buswire_message::Timestamp;
use tonic::Status;

use super::{ports::PageRequest, status};

pub(crate) mod access;
pub(crate) mod activity;
pub(crate) mod audit;
pub(crate) mod broker;
pub(crate) mod buses;
pub(crate) mod capabilities;
pub(crate) mod messages;
pub(crate) mod people;
pub(crate) mod push;
pub(crate) mod routes;
pub(crate) mod traces;

/// The most items of a page, unless fewer are asked for.
pub(crate) const PAGE_ITEMS_MAX: usize = 1000;

/// Collects what is wrong with the fields of a request.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    problems: Vec<String>,
}

impl Fields {
    /// Keeps a value or notes the problem of `field`.
    pub(crate) fn take<T, E: Display>(&mut self, field: &str, value: Result<T, E>) -> Option<T> {
        value.map_err(|problem| self.problems.push(format!("{field}: {problem}"))).ok()
    }

    /// Parses the text of a field.
    pub(crate) fn parse<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        self.take(field, text.parse())
    }

    /// Parses the text of a field that may be empty: `None` if it is, or if it has a problem.
    pub(crate) fn parse_optional<T: FromStr<Err: Display>>(
        &mut self,
        field: &str,
        text: &str,
    ) -> Option<T> {
        if text.is_empty() { None } else { self.parse(field, text) }
    }

    /// Notes that a field must not be empty.
    pub(crate) fn require(&mut self, field: &str, text: String) -> Option<String> {
        self.take(field, if text.is_empty() { Err("must not be empty") } else { Ok(text) })
    }

    /// Nothing, if no field has a problem.
    pub(crate) fn check(&self) -> Result<(), Status> {
        if self.problems.is_empty() { Ok(()) } else { Err(self.status()) }
    }

    /// INVALID_ARGUMENT with every problem.
    pub(crate) fn status(&self) -> Status {
        status::invalid(&self.problems)
    }
}

/// Parses the one field of a request.
pub(crate) fn parse<T: FromStr<Err: Display>>(field: &str, text: &str) -> Result<T, Status> {
    let mut fields = Fields::default();
    let value = fields.parse(field, text);
    value.ok_or_else(|| fields.status())
}

/// Nothing, if every path of a mask is one of `known`.
pub(crate) fn check_mask(paths: &[String], known: &[&str]) -> Result<(), Status> {
    let mut fields = Fields::default();
    for path in paths.iter().filter(|path| !known.contains(&path.as_str())) {
        fields.take("update_mask", Err::<(), _>(format!("{path} can't be changed")));
    }
    fields.check()
}

/// A text that is absent when it is empty.
pub(crate) fn non_empty(text: String) -> Option<String> {
    if text.is_empty() { None } else { Some(text) }
}

/// The revision that a request expects; 0 is whatever revision.
pub(crate) fn expected(revision: u64) -> Option<u64> {
    (revision != 0).then_some(revision)
}

/// The part of a listing that a request asks for.
pub(crate) fn page(size: u32, token: String) -> PageRequest {
    let limit = match usize::try_from(size) {
        Ok(size @ 1..=PAGE_ITEMS_MAX) => size,
        Ok(_) | Err(_) => PAGE_ITEMS_MAX,
    };
    PageRequest { after: non_empty(token), limit }
}

/// A time on the wire.
pub(crate) fn to_wire_time(at: Timestamp) -> prost_types::Timestamp {
    let millis = i32::try_from(at.as_millis() % 1000).unwrap_or(0);
    prost_types::Timestamp {
        seconds: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
        nanos: millis * 1_000_000,
    }
}

/// A time from the wire, without what is smaller than a millisecond.
pub(crate) fn from_wire_time(at: prost_types::Timestamp) -> Result<Timestamp, &'static str> {
    const PROBLEM: &str = "not a time from 1970 on";
    let seconds = u64::try_from(at.seconds).map_err(|_| PROBLEM)?;
    let nanos = u64::try_from(at.nanos).ok().filter(|n| *n < 1_000_000_000).ok_or(PROBLEM)?;
    Ok(Timestamp::from_millis(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000)))
}

/// A length of time on the wire; centuries at most.
pub(crate) fn to_wire_duration(time: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(time.subsec_nanos()).unwrap_or(0),
    }
}

/// A length of time from the wire.
pub(crate) fn from_wire_duration(time: prost_types::Duration) -> Result<Duration, &'static str> {
    Duration::try_from(time).map_err(|_| "not a length of time")
}

/// A length of time from the wire that may be absent: `None` if it is, or if it has a problem.
pub(crate) fn optional_duration(
    fields: &mut Fields,
    field: &str,
    time: Option<prost_types::Duration>,
) -> Option<Duration> {
    time.and_then(|time| fields.take(field, from_wire_duration(time)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn times_survive_the_wire(millis in 0..=Timestamp::MAX.as_millis()) {
            let at = Timestamp::from_millis(millis);
            prop_assert_eq!(from_wire_time(to_wire_time(at)), Ok(at));
        }

        #[test]
        fn lengths_of_time_survive_the_wire(seconds in 0..4_000_000_000_u64, nanos in 0..1_000_000_000_u32) {
            let time = Duration::new(seconds, nanos);
            prop_assert_eq!(from_wire_duration(to_wire_duration(time)), Ok(time));
        }

        #[test]
        fn any_time_is_taken_or_refused(seconds: i64, nanos: i32) {
            let taken = from_wire_time(prost_types::Timestamp { seconds, nanos }).is_ok();
            prop_assert_eq!(taken, seconds >= 0 && (0..1_000_000_000).contains(&nanos));
            let length = from_wire_duration(prost_types::Duration { seconds, nanos });
            prop_assert!(length.is_err() || seconds >= 0);
        }
    }

    #[test]
    fn a_page_has_a_thousand_items_at_most() {
        for (asked, given) in [(0, 1000), (1, 1), (1000, 1000), (1001, 1000), (u32::MAX, 1000)] {
            assert_eq!(page(asked, String::new()), PageRequest { after: None, limit: given });
        }
        assert_eq!(page(5, "x".into()).after.as_deref(), Some("x"));
    }

    #[test]
    fn every_problem_is_named() {
        let mut fields = Fields::default();
        assert!(fields.parse::<buswire_message::BusName>("bus", "a b").is_none());
        assert!(fields.require("name", String::new()).is_none());
        let status = fields.status();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert!(status.message().contains("bus: a bus name has"), "{}", status.message());
        assert!(status.message().ends_with("; name: must not be empty"), "{}", status.message());
    }
}
