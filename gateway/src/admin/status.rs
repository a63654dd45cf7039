//! From errors of the domain to statuses of gRPC, one function for each kind of error.
//!
//! What the gateway is to blame for is logged here, once, with its causes; the administrator is told
//! that it is in the log.

use std::{collections::HashMap, error::Error, time::Duration};

use buswire_bus::{BusError, PublishError};
use buswire_store::StoreError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use super::ports::{AdminError, Missing};

/// Who says why, in `google.rpc.ErrorInfo`.
const DOMAIN: &str = "buswire";
/// After which time to ask again what may work later.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Why a call failed, for programs: `reason` of `google.rpc.ErrorInfo` in the domain [`DOMAIN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Fields of the request are wrong; `google.rpc.BadRequest` names each.
    InvalidRequest,
    /// What it is about is not there; `google.rpc.ResourceInfo` names it.
    NotFound,
    /// There is something of this name already.
    Exists,
    /// What it is about was changed by somebody else; `google.rpc.PreconditionFailure` names it.
    RevisionChanged,
    /// The id of the request was used for another request.
    RequestIdReused,
    /// The same request with this id is under way; `google.rpc.RetryInfo` says when to ask again.
    RequestUnderWay,
    /// The same request with this id was answered with a secret, which is shown once.
    SecretShownOnce,
    /// The same request with this id was made, and nobody knows what came of it.
    OutcomeUnknown,
    /// The call was made and could not be written down, so that its answer is not given.
    NotRecorded,
    /// It can't be done as things are.
    Refused,
    /// A limit is reached.
    LimitReached,
    /// There was no answer in time.
    TimedOut,
    /// It may work later; `google.rpc.RetryInfo` says when.
    Unavailable,
    /// This gateway has no such door.
    Absent,
    /// The gateway is at fault.
    Internal,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::NotFound => "NOT_FOUND",
            Self::Exists => "EXISTS",
            Self::RevisionChanged => "REVISION_CHANGED",
            Self::RequestIdReused => "REQUEST_ID_REUSED",
            Self::RequestUnderWay => "REQUEST_UNDER_WAY",
            Self::SecretShownOnce => "SECRET_SHOWN_ONCE",
            Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Self::NotRecorded => "NOT_RECORDED",
            Self::Refused => "REFUSED",
            Self::LimitReached => "LIMIT_REACHED",
            Self::TimedOut => "TIMED_OUT",
            Self::Unavailable => "UNAVAILABLE",
            Self::Absent => "ABSENT",
            Self::Internal => "INTERNAL",
        }
    }

    const fn code(self) -> Code {
        match self {
            Self::InvalidRequest | Self::RequestIdReused => Code::InvalidArgument,
            Self::NotFound => Code::NotFound,
            Self::Exists | Self::SecretShownOnce => Code::AlreadyExists,
            Self::RevisionChanged | Self::RequestUnderWay => Code::Aborted,
            Self::OutcomeUnknown | Self::NotRecorded => Code::Unknown,
            Self::Refused => Code::FailedPrecondition,
            Self::LimitReached => Code::ResourceExhausted,
            Self::TimedOut => Code::DeadlineExceeded,
            Self::Unavailable => Code::Unavailable,
            Self::Absent => Code::Unimplemented,
            Self::Internal => Code::Internal,
        }
    }
}

/// A status with its reason, and when to ask again if that helps.
pub(crate) fn of(reason: Reason, text: impl Into<String>) -> Status {
    detailed(reason, text, ErrorDetails::new())
}

fn detailed(reason: Reason, text: impl Into<String>, mut details: ErrorDetails) -> Status {
    details.set_error_info(reason.as_str(), DOMAIN, HashMap::new());
    if matches!(reason, Reason::Unavailable | Reason::RequestUnderWay) {
        details.set_retry_info(Some(RETRY_DELAY));
    }
    Status::with_error_details(reason.code(), text, details)
}

/// INVALID_ARGUMENT with every problem. A problem begins with its field, as `name: must not be empty`,
/// unless it is one of the request as a whole.
pub(crate) fn invalid<T: Into<String>>(problems: impl IntoIterator<Item = T>) -> Status {
    let problems: Vec<String> = problems.into_iter().map(Into::into).collect();
    let violations = problems.iter().map(|problem| match problem.split_once(": ") {
        Some((field, text)) if !field.contains(' ') => FieldViolation::new(field, text),
        _ => FieldViolation::new("", problem),
    });
    let details = ErrorDetails::with_bad_request(violations.collect::<Vec<_>>());
    detailed(Reason::InvalidRequest, problems.join("; "), details)
}

/// NOT_FOUND with what is missing.
pub(crate) fn missing(missing: &Missing) -> Status {
    let text = missing.to_string();
    let details = ErrorDetails::with_resource_info(missing.kind, &missing.name, "", &text);
    detailed(Reason::NotFound, text, details)
}

/// ABORTED: what is called `name` has another revision than was expected.
pub(crate) fn changed(kind: &str, name: &str) -> Status {
    let text = format!("the {kind} {name} was changed by somebody else; look at it and try again");
    let subject = format!("{kind}/{name}");
    let details = ErrorDetails::with_precondition_failure_violation("REVISION", subject, &text);
    detailed(Reason::RevisionChanged, text, details)
}

/// ABORTED if a revision is expected and it is not `present`.
pub(crate) fn check_revision(
    kind: &str,
    name: &str,
    expected: u64,
    present: u64,
) -> Result<(), Status> {
    if expected == 0 || expected == present { Ok(()) } else { Err(changed(kind, name)) }
}

/// The status of an error of a door.
pub(crate) fn of_admin(error: AdminError) -> Status {
    match error {
        AdminError::Invalid(problems) => invalid(problems),
        AdminError::NotFound(what) => missing(&what),
        AdminError::Changed { kind, name } => changed(kind, &name),
        AdminError::Exists(text) => of(Reason::Exists, text),
        AdminError::Refused(text) => of(Reason::Refused, text),
        AdminError::TooMany(text) => of(Reason::LimitReached, text),
        AdminError::TimedOut(text) => of(Reason::TimedOut, text),
        AdminError::Unavailable(text) => of(Reason::Unavailable, text),
        AdminError::Internal(_) => internal(&error),
    }
}

/// The status of an error of reading or administering buses.
pub(crate) fn of_bus(error: &BusError) -> Status {
    match error {
        BusError::NoBus => invalid(["scope: name at least one bus, such as bus:example.com"]),
        BusError::UnknownBus(name) => missing(&Missing::new("bus", name.to_string())),
        BusError::Changed(name) => changed("bus", &name.to_string()),
        BusError::TooManyWaiters { .. } => of(Reason::LimitReached, error.to_string()),
        BusError::Store(store) => of_store(store),
        other => internal(other),
    }
}

/// The status of an error of publishing.
pub(crate) fn of_publish(error: &PublishError) -> Status {
    match error {
        PublishError::UnknownBus => of(Reason::NotFound, error.to_string()),
        PublishError::ChannelFull { .. } | PublishError::BusFull => {
            of(Reason::LimitReached, error.to_string())
        }
        PublishError::Expiry(why) => invalid([format!("expires_at: {why}")]),
        PublishError::PayloadTooLarge { .. } => invalid([format!("payload: {error}")]),
        PublishError::ListTooLarge { .. } => invalid([error.to_string()]),
        PublishError::TooManyHops => of(Reason::Refused, error.to_string()),
        PublishError::Store(store) => of_store(store),
        other => internal(other),
    }
}

/// The status of an error of the store.
pub(super) fn of_store(error: &StoreError) -> Status {
    match error {
        StoreError::Retry(_) | StoreError::Unavailable(_) => {
            tracing::warn!(%error, "the store did not answer an administrator");
            of(Reason::Unavailable, error.to_string())
        }
        StoreError::Refused(_) | StoreError::Corrupt(_) => internal(error),
        other => internal(other),
    }
}

/// What is not there in this gateway.
pub(crate) fn absent(what: &str) -> Status {
    of(Reason::Absent, format!("this gateway has no {what}"))
}

fn internal(error: &dyn Error) -> Status {
    let mut causes = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    tracing::error!(error = causes.join(": "), "an administrator's call failed");
    of(Reason::Internal, "the gateway failed; its log says why")
}

#[cfg(test)]
mod tests {
    use buswire_message::RetentionError;

    use super::*;

    #[test]
    fn each_error_of_a_door_has_its_code() {
        let text = || "why".to_owned();
        let cases = [
            (AdminError::Invalid(vec![text()]), Code::InvalidArgument),
            (AdminError::Exists(text()), Code::AlreadyExists),
            (AdminError::Refused(text()), Code::FailedPrecondition),
            (AdminError::TooMany(text()), Code::ResourceExhausted),
            (AdminError::TimedOut(text()), Code::DeadlineExceeded),
            (AdminError::Unavailable(text()), Code::Unavailable),
        ];
        for (error, code) in cases {
            let status = of_admin(error);
            assert_eq!((status.code(), status.message()), (code, "why"));
        }
    }

    #[test]
    fn programs_are_told_why_and_about_what() {
        let status = invalid(["name: must not be empty", "give a name, or a number"]);
        assert_eq!(status.message(), "name: must not be empty; give a name, or a number");
        let details = status.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        let fields: Vec<_> = violations.iter().map(|v| (&*v.field, &*v.description)).collect();
        assert_eq!(fields, [("name", "must not be empty"), ("", "give a name, or a number")]);
        let info = details.error_info().unwrap();
        assert_eq!((&*info.reason, &*info.domain), ("INVALID_REQUEST", "buswire"));

        let status = missing(&Missing::new("bus", "a".to_owned()));
        assert_eq!((status.code(), status.message()), (Code::NotFound, "there is no bus a"));
        let resource = status.get_details_resource_info().unwrap();
        assert_eq!((&*resource.resource_type, &*resource.resource_name), ("bus", "a"));

        let status = check_revision("bus", "a", 7, 8).unwrap_err();
        assert_eq!(status.code(), Code::Aborted);
        let failure = status.get_details_precondition_failure().unwrap();
        assert_eq!(failure.violations.first().unwrap().subject, "bus/a");
        check_revision("bus", "a", 0, 8).unwrap();
        check_revision("bus", "a", 8, 8).unwrap();

        let busy = of_bus(&BusError::Store(StoreError::Retry("queue".into())));
        assert_eq!(busy.get_details_retry_info().unwrap().retry_delay, Some(RETRY_DELAY));
        for done in [Reason::OutcomeUnknown, Reason::NotRecorded] {
            let status = of(done, "look first");
            assert_eq!(status.code(), Code::Unknown);
            assert!(status.get_details_retry_info().is_none(), "it must not be sent again");
        }
    }

    #[test]
    fn what_the_gateway_is_to_blame_for_is_not_shown() {
        let status = of_admin(AdminError::Internal("row 7 of hunter2".into()));
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), "the gateway failed; its log says why");
        assert_eq!(
            of_bus(&BusError::Store(StoreError::Corrupt("x".into()))).code(),
            Code::Internal
        );
    }

    #[test]
    fn each_error_of_a_bus_has_its_code() {
        let name = "example.com".parse().unwrap();
        let busy = || StoreError::Retry("queue".into());
        let cases = [
            (of_bus(&BusError::NoBus), Code::InvalidArgument),
            (of_bus(&BusError::UnknownBus(name)), Code::NotFound),
            (of_bus(&BusError::TooManyWaiters { max: 1 }), Code::ResourceExhausted),
            (of_bus(&BusError::Store(busy())), Code::Unavailable),
            (of_publish(&PublishError::UnknownBus), Code::NotFound),
            (of_publish(&PublishError::ChannelFull { limit: 1 }), Code::ResourceExhausted),
            (of_publish(&PublishError::BusFull), Code::ResourceExhausted),
            (of_publish(&PublishError::Expiry(RetentionError::Past)), Code::InvalidArgument),
            (of_publish(&PublishError::PayloadTooLarge { max: 1 }), Code::InvalidArgument),
            (of_publish(&PublishError::TooManyHops), Code::FailedPrecondition),
            (of_publish(&PublishError::Store(busy())), Code::Unavailable),
        ];
        for (status, code) in cases {
            assert_eq!(status.code(), code, "{}", status.message());
        }
    }
}
