//! Every bound and tunable of the core, with default, unit and reason (mdp.md §12.6).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::access::Access;
use super::links::LinkConfig;
use crate::wire::WireLimits;
use crate::{Frames, ServiceName};

/// What stands in the client-address frame of a REQUEST to a worker (mdp.md §11.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressMode {
    /// A token of 16 bytes that names one assignment; hides the client. The default.
    #[default]
    Token,
    /// The client's routing id, for workers that use it as a key.
    Identity,
}

/// What a second READY for the same service from a registered worker means (mdp.md §8.2 note 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DuplicateReady {
    /// A violation, answered with DISCONNECT. The default.
    #[default]
    Disconnect,
    /// A sign of life, for Backbone services that repeat READY.
    Refresh,
}

/// What becomes of PARTIALs when the client speaks 0.1 (mdp.md §6.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PartialPolicy {
    /// Their frames come before those of the final reply. The default.
    #[default]
    Concatenate,
    /// They are dropped.
    Drop,
}

/// Settings that may differ per service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePolicy {
    /// How long a worker may work on one request; default 900 s, since a single-threaded worker
    /// cannot be told from a hung one. Longer loses the worker and the request is sent again.
    pub busy_timeout: Duration,
    /// How often one request is handed out in total; default 2. One for work that must not run
    /// twice.
    pub attempts_max: u32,
    /// Requests waiting; default 10 000. The newest is dropped.
    pub queue_max: usize,
    /// Sent as an ordinary final reply when a request is dropped, expires or is lost; default none.
    /// Clients cannot tell it from data, and without it they learn by silence (mdp.md §12.4).
    pub error_reply: Option<Frames>,
}

impl Default for ServicePolicy {
    fn default() -> Self {
        Self {
            busy_timeout: Duration::from_secs(900),
            attempts_max: 2,
            queue_max: 10_000,
            error_reply: None,
        }
    }
}

/// Tunables and bounds of the broker.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// A HEARTBEAT goes to a worker to which nothing was sent for this long; default 1000 ms.
    pub heartbeat_interval: Duration,
    /// An idle worker from which nothing came for this long is gone; default 7500 ms.
    pub worker_expiry: Duration,
    /// How long a request may wait for a worker, from its first arrival; default 60 s.
    pub request_ttl: Duration,
    /// Requests in hand per client connection; default 10 000. The newest is dropped.
    pub per_client_max: usize,
    /// Bytes of all requests in hand and of the PARTIALs kept for them, 256 added for each request;
    /// default 256 MiB. The newest is dropped.
    pub held_bytes_max: usize,
    /// Distinct services remembered; default 10 000. A request for one more is dropped unless an
    /// unused service can be forgotten.
    pub services_max: usize,
    /// Registered workers; default 100 000. One more is answered with DISCONNECT.
    pub workers_max: usize,
    /// How long an unused service is remembered; default 300 s.
    pub service_idle: Duration,
    /// Bytes of PARTIALs kept for one 0.1 request; default 16 MiB. Beyond it the request fails.
    pub partial_bytes_max: usize,
    /// Unknown peers remembered so that each gets one DISCONNECT per heartbeat interval; default
    /// 4096. Beyond it the oldest is forgotten.
    pub refusals_max: usize,
    /// Client-address frames.
    pub address_mode: AddressMode,
    /// Repeated READY.
    pub duplicate_ready: DuplicateReady,
    /// PARTIALs towards 0.1.
    pub partial_policy: PartialPolicy,
    /// The policy of services not named in `services`.
    pub default_policy: ServicePolicy,
    /// Policies by service.
    pub services: BTreeMap<ServiceName, ServicePolicy>,
    /// Who may register and call; default everybody everything.
    pub access: Option<Arc<Access>>,
    /// Whether `mmi.services`, `mmi.workers` and `mmi.stats` are answered (mdp.md §13.3); default
    /// no, which answers 501.
    pub mmi_extensions: bool,
    /// Links to other brokers; default none.
    pub links: Option<LinkConfig>,
    /// Bounds of one message.
    pub wire: WireLimits,
}

impl Default for CoreConfig {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_secs(1),
            worker_expiry: Duration::from_millis(7500),
            request_ttl: Duration::from_secs(60),
            per_client_max: 10_000,
            held_bytes_max: 256 << 20,
            services_max: 10_000,
            workers_max: 100_000,
            service_idle: Duration::from_secs(300),
            partial_bytes_max: 16 << 20,
            refusals_max: 4096,
            address_mode: AddressMode::default(),
            duplicate_ready: DuplicateReady::default(),
            partial_policy: PartialPolicy::default(),
            default_policy: ServicePolicy::default(),
            services: BTreeMap::new(),
            access: None,
            mmi_extensions: false,
            links: None,
            wire: WireLimits::default(),
        }
    }
}

/// The longest of all times: keeps sums of durations in range.
pub(super) const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

impl CoreConfig {
    /// Brings every time into the range the core can count with: a heartbeat interval of zero
    /// would have no end.
    pub(super) fn bounded(mut self) -> Self {
        let least = Duration::from_millis(1);
        self.heartbeat_interval = self.heartbeat_interval.clamp(least, TIME_MAX);
        for time in [&mut self.worker_expiry, &mut self.request_ttl, &mut self.service_idle] {
            *time = (*time).clamp(least, TIME_MAX);
        }
        for policy in self.services.values_mut().chain([&mut self.default_policy]) {
            policy.busy_timeout = policy.busy_timeout.clamp(least, TIME_MAX);
        }
        self
    }

    pub(super) fn policy(&self, service: &ServiceName) -> ServicePolicy {
        self.services.get(service).unwrap_or(&self.default_policy).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_the_reference() {
        // Rule: mdp §12.6 — the defaults are the suggested ones
        let it = CoreConfig::default();
        assert_eq!(it.heartbeat_interval, Duration::from_secs(1));
        assert_eq!(it.worker_expiry, Duration::from_millis(7500));
        assert_eq!(it.request_ttl, Duration::from_secs(60));
        assert_eq!(it.default_policy.busy_timeout, Duration::from_secs(900));
        assert_eq!((it.default_policy.attempts_max, it.default_policy.queue_max), (2, 10_000));
        assert_eq!((it.held_bytes_max, it.per_client_max), (256 << 20, 10_000));
        assert_eq!((it.services_max, it.service_idle), (10_000, Duration::from_secs(300)));
        assert_eq!((it.wire.frames_max, it.partial_bytes_max), (1024, 16 << 20));
        assert_eq!((it.address_mode, it.duplicate_ready), Default::default());
        assert_eq!(it.partial_policy, PartialPolicy::Concatenate);
        assert!(!it.wire.dialects.majortomo && !it.wire.dialects.zproto && !it.mmi_extensions);
    }
}
