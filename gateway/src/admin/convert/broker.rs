//! Services and workers of the Majordomo broker.

use buswire_mdp::{
    ClosedSet as _,
    core::{RequestCounters, ServiceInfo, ServiceKind, WorkerInfo, WorkerState},
    wire::{Shape, Version},
};
use buswire_proto::v1;

use super::to_wire_duration;

/// A service on the wire.
pub(crate) fn service_to_wire(service: &ServiceInfo) -> v1::Service {
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    v1::Service {
        name: service.name.to_string(),
        workers: count(service.workers),
        idle: count(service.idle),
        busy: count(service.busy),
        queued: count(service.queued),
        paused: service.paused,
        local: service.kind == ServiceKind::Local,
        oldest_wait: Some(to_wire_duration(service.oldest_wait)),
        counts: Some(counts_to_wire(&service.counters)),
        gateways: service.elsewhere.iter().map(ToString::to_string).collect(),
    }
}

fn counts_to_wire(counts: &RequestCounters) -> v1::RequestCounts {
    let dropped = counts.dropped.iter();
    let dropped =
        dropped.map(|(reason, count)| v1::DropCount { reason: reason.name().to_owned(), count });
    v1::RequestCounts {
        accepted: counts.accepted,
        completed: counts.completed,
        expired: counts.expired,
        requeued: counts.requeued,
        lost: counts.lost,
        cancelled: counts.cancelled,
        orphaned: counts.orphaned,
        undelivered: counts.undelivered,
        partials_full: counts.partials_full,
        dropped: dropped.collect(),
    }
}

/// A worker on the wire.
pub(crate) fn worker_to_wire(worker: &WorkerInfo) -> v1::Worker {
    let version = match worker.version {
        Version::V01 => "0.1",
        Version::V02 => "0.2",
    };
    let state = match worker.state {
        WorkerState::Idle => v1::WorkerState::Idle,
        WorkerState::Busy => v1::WorkerState::Busy,
        WorkerState::Draining => v1::WorkerState::Draining,
    };
    v1::Worker {
        id: worker.id.0,
        service: worker.service.to_string(),
        version: version.to_owned(),
        delimited: worker.shape == Shape::Delimited,
        user: worker.user.as_deref().unwrap_or_default().to_owned(),
        state: state.into(),
        registered_for: Some(to_wire_duration(worker.registered)),
        in_state_for: Some(to_wire_duration(worker.since)),
        silent_for: Some(to_wire_duration(worker.last_received)),
        answered: worker.answered,
    }
}
