//! Names to services, and forgetting the unused ones.

use std::time::Duration;

use super::arena::Key;
use super::tables::Service;
use super::{BrokerCore, ServiceInfo, Totals};
use crate::ServiceName;
use crate::wire::Invalid;

/// Why a service frame leads to no service.
pub(super) enum NoService {
    Invalid(Invalid),
    /// The bound on services is reached.
    Full,
}

impl BrokerCore {
    /// Finds the service of this frame or begins to remember it.
    pub(super) fn intern(&mut self, frame: &[u8]) -> Result<Key<Service>, NoService> {
        if let Some(key) = self.names.get(frame) {
            return Ok(*key);
        }
        let name =
            ServiceName::parse(frame).map_err(|_| NoService::Invalid(Invalid::ServiceName))?;
        while self.services.len() >= self.config.services_max {
            if !self.forget_oldest_unused() {
                return Err(NoService::Full);
            }
        }
        Ok(self.remember(name))
    }

    /// Begins to remember a service.
    pub(super) fn remember(&mut self, name: ServiceName) -> Key<Service> {
        let policy = self.config.policy(&name);
        let key = self.services.insert(Service::new(name.clone(), policy));
        self.names.insert(name, key);
        key
    }

    /// To be called whenever a service may have gained or lost its last worker or request.
    pub(super) fn note_use(&mut self, key: Key<Service>) {
        let now = self.now;
        let Some(service) = self.services.get_mut(key) else {
            return;
        };
        match (service.is_unused(), service.unused_since) {
            (true, None) => {
                service.unused_since = Some(now);
                self.unused.insert((now, key));
            }
            (false, Some(since)) => {
                service.unused_since = None;
                self.unused.remove(&(since, key));
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Forgets the services that were unused for long enough.
    pub(super) fn forget_unused(&mut self) {
        while let Some((since, _)) = self.unused.first()
            && *since + self.config.service_idle <= self.now
        {
            self.forget_oldest_unused();
        }
    }

    fn forget_oldest_unused(&mut self) -> bool {
        let Some((_, key)) = self.unused.pop_first() else {
            return false;
        };
        if let Some(service) = self.services.remove(key) {
            self.names.remove(&service.name);
        }
        true
    }

    /// Returns the sums over all services.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for (_, service) in self.services.iter() {
            totals.idle += service.waiting.len();
            totals.busy += service.workers - service.waiting.len();
            totals.queued += service.queued;
        }
        totals
    }

    /// Returns what is held for each service, by name.
    pub fn services(&self, now: Duration) -> Vec<ServiceInfo> {
        let mut infos: Vec<ServiceInfo> =
            self.services.iter().map(|(_, service)| self.info(service, now)).collect();
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    fn info(&self, service: &Service, now: Duration) -> ServiceInfo {
        let heads = service.turn.iter().filter_map(|client| service.queues.get(client)?.front());
        let oldest = heads.filter_map(|key| Some(self.requests.get(*key)?.arrived)).min();
        ServiceInfo {
            name: service.name.clone(),
            kind: service.kind,
            workers: service.workers,
            idle: service.waiting.len(),
            busy: service.workers - service.waiting.len(),
            queued: service.queued,
            oldest_wait: oldest.map_or(Duration::ZERO, |at| now.saturating_sub(at)),
        }
    }
}
