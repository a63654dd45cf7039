//! The audit log.

use buswire_proto::v1;
use tonic::Status;

use super::{non_empty, to_wire_time};
use crate::admin::audit::{Filter, Record};

/// Which records are wanted.
pub(crate) fn filter(caller: String, resource: String) -> Filter {
    Filter { caller: non_empty(caller), resource: non_empty(resource) }
}

/// Before which number a page begins.
pub(crate) fn before(page_token: Option<String>) -> Result<Option<u64>, Status> {
    page_token.map(|token| super::parse("page_token", &token)).transpose()
}

/// A record on the wire.
pub(crate) fn to_wire((number, record): (u64, Record)) -> v1::AuditRecord {
    v1::AuditRecord {
        number,
        at: Some(to_wire_time(record.at())),
        caller: record.caller,
        via: record.via,
        address: record.address,
        method: record.method,
        resource: record.resource,
        request: record.request,
        before: record.before,
        after: record.after,
        code: record.code,
        error: record.error,
        request_id: record.request_id,
    }
}
