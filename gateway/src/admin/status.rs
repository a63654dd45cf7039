//! From errors of the domain to statuses of gRPC, one function for each kind of error.
//!
//! What the gateway is to blame for is logged here, once, with its causes; the administrator is told
//! that it is in the log.

use std::error::Error;

use buswire_bus::{BusError, PublishError};
use buswire_store::StoreError;
use tonic::Status;

use super::ports::AdminError;

/// The status of an error of a door.
pub(crate) fn of_admin(error: AdminError) -> Status {
    match error {
        AdminError::Invalid(text) => Status::invalid_argument(text),
        AdminError::NotFound(text) => Status::not_found(text),
        AdminError::Exists(text) => Status::already_exists(text),
        AdminError::Refused(text) => Status::failed_precondition(text),
        AdminError::TooMany(text) => Status::resource_exhausted(text),
        AdminError::TimedOut(text) => Status::deadline_exceeded(text),
        AdminError::Unavailable(text) => Status::unavailable(text),
        AdminError::Internal(_) => internal(&error),
    }
}

/// The status of an error of reading or administering buses.
pub(crate) fn of_bus(error: &BusError) -> Status {
    match error {
        BusError::NoBus => {
            Status::invalid_argument("scope: name at least one bus, such as bus:example.com")
        }
        BusError::UnknownBus(_) => Status::not_found(error.to_string()),
        BusError::TooManyWaiters { .. } => Status::resource_exhausted(error.to_string()),
        BusError::Store(store) => of_store(store),
        other => internal(other),
    }
}

/// The status of an error of publishing.
pub(crate) fn of_publish(error: &PublishError) -> Status {
    match error {
        PublishError::UnknownBus => Status::not_found(error.to_string()),
        PublishError::ChannelFull { .. } | PublishError::BusFull => {
            Status::resource_exhausted(error.to_string())
        }
        PublishError::Expiry(why) => Status::invalid_argument(format!("expires_at: {why}")),
        PublishError::PayloadTooLarge { .. } => {
            Status::invalid_argument(format!("payload: {error}"))
        }
        PublishError::ListTooLarge { .. } => Status::invalid_argument(error.to_string()),
        PublishError::TooManyHops => Status::failed_precondition(error.to_string()),
        PublishError::Store(store) => of_store(store),
        other => internal(other),
    }
}

fn of_store(error: &StoreError) -> Status {
    match error {
        StoreError::Retry(_) | StoreError::Unavailable(_) => {
            tracing::warn!(%error, "the store did not answer an administrator");
            Status::unavailable(error.to_string())
        }
        StoreError::Refused(_) | StoreError::Corrupt(_) => internal(error),
        other => internal(other),
    }
}

/// What is not there in this gateway.
pub(crate) fn absent(what: &str) -> Status {
    Status::unimplemented(format!("this gateway has no {what}"))
}

fn internal(error: &dyn Error) -> Status {
    let mut causes = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    tracing::error!(error = causes.join(": "), "an administrator's call failed");
    Status::internal("the gateway failed; its log says why")
}

#[cfg(test)]
mod tests {
    use buswire_message::RetentionError;
    use tonic::Code;

    use super::*;

    #[test]
    fn each_error_of_a_door_has_its_code() {
        let text = || "why".to_owned();
        let cases = [
            (AdminError::Invalid(text()), Code::InvalidArgument),
            (AdminError::NotFound(text()), Code::NotFound),
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
