//! What the audit log says of one call.
//!
//! Never here: storing it; finding out what a call does.

use buswire_message::Timestamp;
use serde::{Deserialize, Serialize};

/// The code of UNKNOWN: the call was begun, and nobody knows how it ended.
const CODE_UNKNOWN: i32 = 2;

/// The longest text of a record in bytes; a longer one is left out, and its place says so.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// A change by an administrator, or the try of one. Holds no secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// When the call was answered, in milliseconds since 1970.
    pub at_ms: u64,
    /// Who called.
    pub caller: String,
    /// How the caller showed who it is; empty for the gateway itself.
    pub via: String,
    /// From which address; empty for the gateway itself.
    pub address: String,
    /// What was called, such as `BusService/CreateBus`.
    pub method: String,
    /// What it was about, such as `bus/example.com`.
    pub resource: String,
    /// The request as JSON.
    pub request: String,
    /// What was there before, as JSON; empty if there was nothing or nobody asked.
    pub before: String,
    /// What is there since, as JSON; empty if there is nothing.
    pub after: String,
    /// How it ended: a status code of gRPC.
    pub code: i32,
    /// The text of the status.
    pub error: String,
    /// The id that the caller gave the request.
    pub request_id: String,
}

impl Record {
    /// The record of what the gateway made at its start because its configuration says so.
    pub fn of_configuration(method: &str, resource: String) -> Self {
        let caller = "configuration".to_owned();
        Self { caller, method: method.to_owned(), resource, ..Self::default() }
    }

    /// When the call was answered.
    pub const fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.at_ms)
    }

    /// How long its texts are together, in bytes.
    pub(super) fn text_bytes(&self) -> usize {
        let Self { caller, via, address, method, resource, request, before, after, .. } = self;
        let texts = [caller, via, address, method, resource, request, before, after];
        let texts = texts.into_iter().chain([&self.error, &self.request_id]);
        texts.map(String::len).sum()
    }

    /// The same, for a call of which nobody knows how it ended.
    #[must_use]
    pub(super) fn abandoned(self) -> Self {
        let error = "the caller went away or the gateway stopped before it ended".to_owned();
        Self { code: CODE_UNKNOWN, error, ..self }
    }

    /// The same, at a time, with every text in its bounds.
    #[must_use]
    pub(super) fn bounded(mut self, at: Timestamp) -> Self {
        self.at_ms = at.as_millis();
        let Self { method, resource, request, before, after, error, .. } = &mut self;
        for text in [method, resource, request, before, after, error] {
            if text.len() > TEXT_BYTES_MAX {
                *text = format!("\"left out: {} bytes\"", text.len());
            }
        }
        self
    }
}

/// Which records are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those of this caller.
    pub caller: Option<String>,
    /// Only those about this, or about what begins with it if it ends with a slash.
    pub resource: Option<String>,
}

impl Filter {
    /// Whether `record` is wanted.
    pub(super) fn admits(&self, record: &Record) -> bool {
        let is_about = |wanted: &String| {
            record.resource == *wanted
                || (wanted.ends_with('/') && record.resource.starts_with(wanted.as_str()))
        };
        self.caller.as_ref().is_none_or(|caller| record.caller == *caller)
            && self.resource.as_ref().is_none_or(is_about)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_one_caller_and_one_resource_or_all_below_it() {
        let resource = "bus/a".to_owned();
        let record = Record { caller: "ann".to_owned(), resource, ..Record::default() };
        let admits = |caller: &str, resource: &str| {
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            Filter { caller: some(caller), resource: some(resource) }.admits(&record)
        };
        assert!(admits("", "") && admits("ann", "bus/a") && admits("", "bus/"));
        assert!(!admits("bob", "") && !admits("", "bus") && !admits("", "bus/ab"));
    }

    #[test]
    fn a_record_has_bounds() {
        let request = "x".repeat(TEXT_BYTES_MAX + 1);
        let record = Record { request, ..Record::default() };
        let record = record.bounded(Timestamp::from_millis(7));
        assert_eq!((record.at_ms, record.request.as_str()), (7, "\"left out: 16385 bytes\""));
    }
}
