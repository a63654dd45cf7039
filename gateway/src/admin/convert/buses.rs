//! Buses.

use buswire_bus::BusInfo;
use buswire_message::{BusName, Realm, Retention};
use buswire_proto::v1;
use tonic::Status;

use super::{Fields, optional_duration, to_wire_duration, to_wire_time};

/// The retention that a request asks for: what it leaves open is that of `base`.
pub(crate) fn retention(
    base: Retention,
    wanted: Option<v1::Retention>,
) -> Result<Retention, Status> {
    let wanted = wanted.unwrap_or_default();
    let mut fields = Fields::default();
    let default = optional_duration(&mut fields, "retention.default_time", wanted.default_time);
    let sticky = optional_duration(&mut fields, "retention.sticky_time", wanted.sticky_time);
    fields.check()?;
    let retention = Retention::new(
        default.unwrap_or(base.default_time()),
        sticky.unwrap_or(base.maximum_time()),
        wanted.messages_per_channel_max.unwrap_or(base.messages_per_channel_max()),
    );
    fields.take("retention", retention).ok_or_else(|| fields.status())
}

/// The bus and the retention of a new bus; what the request leaves open is as `usual`.
pub(crate) fn new_bus(
    request: &v1::CreateBusRequest,
    usual: Retention,
) -> Result<(BusName, Retention), Status> {
    let name = super::parse("name", &request.name)?;
    Ok((name, retention(usual, request.retention)?))
}

/// The realm that a listing is for; `None` is every realm.
pub(crate) fn realm(realm: i32) -> Result<Option<Realm>, Status> {
    match v1::Realm::try_from(realm) {
        Ok(v1::Realm::Unspecified) => Ok(None),
        Ok(v1::Realm::V1) => Ok(Some(Realm::V1)),
        Ok(v1::Realm::V2) => Ok(Some(Realm::V2)),
        Err(_) => Err(Status::invalid_argument("realm: unknown")),
    }
}

/// A bus on the wire.
pub(crate) fn to_wire(bus: &BusInfo) -> v1::Bus {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    v1::Bus {
        name: bus.name.to_string(),
        retention: Some(v1::Retention {
            default_time: Some(to_wire_duration(bus.retention.default_time())),
            sticky_time: Some(to_wire_duration(bus.retention.maximum_time())),
            messages_per_channel_max: Some(bus.retention.messages_per_channel_max()),
        }),
        created_at: Some(to_wire_time(bus.created_at)),
        messages: count(bus.messages),
        channels: count(bus.channels),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn seconds(seconds: i64) -> prost_types::Duration {
        prost_types::Duration { seconds, nanos: 0 }
    }

    #[test]
    fn what_is_unset_stays() {
        let base = Retention::default();
        assert_eq!(retention(base, None).unwrap(), base);
        let wanted = v1::Retention { default_time: Some(seconds(120)), ..v1::Retention::default() };
        let changed = retention(base, Some(wanted)).unwrap();
        assert_eq!(changed.default_time(), Duration::from_secs(120));
        assert_eq!(changed.maximum_time(), base.maximum_time());
        assert_eq!(changed.messages_per_channel_max(), 100);
    }

    #[test]
    fn retention_has_bounds() {
        // Rule: backplane §5.1 — retention times are from 60 seconds to 7 days
        let wanted = v1::Retention { default_time: Some(seconds(59)), ..v1::Retention::default() };
        let status = retention(Retention::default(), Some(wanted)).unwrap_err();
        assert_eq!(status.code(), tonic::Code::InvalidArgument);
        assert_eq!(status.message(), "retention: a retention time is from 60 seconds to 7 days");
        let wanted = v1::Retention {
            default_time: Some(seconds(-1)),
            sticky_time: Some(seconds(-1)),
            messages_per_channel_max: None,
        };
        let status = retention(Retention::default(), Some(wanted)).unwrap_err();
        assert_eq!(
            status.message(),
            "retention.default_time: not a length of time; retention.sticky_time: not a length of time"
        );
    }
}
