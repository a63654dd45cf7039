//! Names to services, and forgetting the unused ones.

use super::BrokerCore;
use super::arena::Key;
use super::tables::Service;
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
        self.update_offer(key);
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
}
