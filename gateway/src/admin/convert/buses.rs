//! Buses.

use buswire_bus::BusInfo;
use buswire_message::{BusName, Realm, Retention};
use buswire_proto::v1;
use tonic::Status;

use super::{Fields, optional_duration, to_wire_duration, to_wire_time};
use crate::admin::status;

/// What of a bus can be changed.
const RETENTION_PATHS: [&str; 4] = [
    "retention",
    "retention.default_time",
    "retention.sticky_time",
    "retention.messages_per_channel_max",
];

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

/// The retention of a bus that has `present`, as a request changes it. A field that the mask names and the
/// request leaves open goes back to that of `usual`; without a mask it stays.
pub(crate) fn changed_retention(
    present: Retention,
    usual: Retention,
    request: &v1::UpdateBusRetentionRequest,
) -> Result<Retention, Status> {
    let paths = request.update_mask.as_ref().map_or(&[][..], |mask| &mask.paths);
    if paths.is_empty() {
        return retention(present, request.retention);
    }
    super::check_mask(paths, &RETENTION_PATHS)?;
    let is_named = |path: &str| paths.iter().any(|named| named == path || named == "retention");
    let wanted = request.retention.unwrap_or_default();
    let time = |path, wanted: Option<_>, usual| {
        is_named(path).then(|| wanted.unwrap_or_else(|| to_wire_duration(usual)))
    };
    let [_, default_time, sticky_time, messages] = RETENTION_PATHS;
    let count = wanted.messages_per_channel_max.unwrap_or(usual.messages_per_channel_max());
    let wanted = v1::Retention {
        default_time: time(default_time, wanted.default_time, usual.default_time()),
        sticky_time: time(sticky_time, wanted.sticky_time, usual.maximum_time()),
        messages_per_channel_max: is_named(messages).then_some(count),
    };
    retention(present, Some(wanted))
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
        Err(_) => Err(status::invalid(["realm: unknown"])),
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
        revision: bus.revision.0,
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
    fn a_mask_says_what_changes() {
        let present = Retention::new(Duration::from_secs(90), Duration::from_secs(200), 7).unwrap();
        let changed = |paths: &[&str]| {
            let wanted = v1::Retention { default_time: Some(seconds(120)), ..Default::default() };
            let paths = paths.iter().map(|path| (*path).to_owned()).collect();
            let request = v1::UpdateBusRetentionRequest {
                retention: Some(wanted),
                update_mask: Some(prost_types::FieldMask { paths }),
                ..Default::default()
            };
            let changed = changed_retention(present, Retention::default(), &request)?;
            let times = [changed.default_time(), changed.maximum_time()];
            Ok::<_, Status>((times.map(|time| time.as_secs()), changed.messages_per_channel_max()))
        };
        assert_eq!(changed(&[]).unwrap(), ([120, 200], 7));
        assert_eq!(changed(&["retention.sticky_time"]).unwrap(), ([90, 28_800], 7));
        let count = "retention.messages_per_channel_max";
        assert_eq!(changed(&["retention.default_time", count]).unwrap(), ([120, 200], 100));
        assert_eq!(changed(&["retention"]).unwrap(), ([120, 28_800], 100));
        let status = changed(&["name", "retention", "colour"]).unwrap_err();
        let problems = "update_mask: name can't be changed; update_mask: colour can't be changed";
        assert_eq!((status.code(), status.message()), (tonic::Code::InvalidArgument, problems));
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
