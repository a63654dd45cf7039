//! What the door must know of a bus besides its messages.

use std::sync::Arc;

use buswire_bus::BusError;
use buswire_message::{BusName, Retention, Timestamp};

use super::State;
use crate::rules::token::BoundBus;

/// What the door must know of a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BusFacts {
    pub(crate) name: BusName,
    pub(crate) created_at: Timestamp,
    pub(crate) retention: Retention,
}

impl BusFacts {
    /// What is bound to it is bound to.
    pub(crate) fn to_bound(&self) -> BoundBus {
        BoundBus { name: self.name.clone(), created_at: self.created_at }
    }
}

impl State {
    /// The facts of a bus; `None` if there is none of this name.
    pub(crate) async fn bus_facts(&self, bus: &BusName) -> Result<Option<Arc<BusFacts>>, BusError> {
        if let Some(found) = self.bus_facts.get(bus, self.now()) {
            return Ok(Some(found));
        }
        let version = self.bus_facts.version();
        let Some(info) = self.buses.get(bus).await? else { return Ok(None) };
        let facts = Arc::new(BusFacts {
            name: info.name,
            created_at: info.created_at,
            retention: info.retention,
        });
        self.bus_facts.insert(version, bus.clone(), Arc::clone(&facts), self.now());
        Ok(Some(facts))
    }

    /// Makes a change of a bus count at once.
    pub(crate) fn forget_bus(&self, bus: &BusName) {
        self.bus_facts.remove(bus);
    }
}
