//! Whether the tables of links agree with the others. For tests and fuzzing alone.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a violated invariant is a failed test"
)]

use crate::core::BrokerCore;
use crate::core::arena::Key;
use crate::core::tables::{Origin, Place, Service};

impl BrokerCore {
    /// Says whether another broker may be given a request of a service now.
    pub(in crate::core) fn has_room_elsewhere(&self, key: Key<Service>) -> bool {
        let Some(config) = &self.links.config else { return false };
        let service = self.services.get(key).unwrap();
        service.workers == 0
            && service.elsewhere.iter().any(|it| {
                let all = self.links.ways.get(it.link).unwrap().in_flight.len();
                it.in_flight < config.service_in_flight_max && all < config.in_flight_max
            })
    }

    /// Returns how many requests other brokers have in hand.
    pub(in crate::core) fn check_links(&self) -> usize {
        let mut in_flight = 0;
        for (key, link) in self.links.ways.iter() {
            assert_eq!(self.links.by_id.get(&link.address.id), Some(&key));
            assert!(link.is_up() || link.services.is_empty() && link.in_flight.is_empty());
            for service in &link.services {
                let service = self.services.get(*service).unwrap();
                assert_eq!(service.elsewhere.iter().filter(|it| it.link == key).count(), 1);
            }
            for (number, (request, service)) in &link.in_flight {
                let request = self.requests.get(*request).unwrap();
                assert_eq!(request.place, Place::Elsewhere(key, *number));
                assert_eq!(request.service, *service);
                let own = matches!(request.from, Origin::Remote(_) | Origin::Local(_));
                assert!(own, "what another broker asked was given to a third");
            }
            in_flight += link.in_flight.len();
        }
        for (key, service) in self.services.iter() {
            for it in &service.elsewhere {
                let link = self.links.ways.get(it.link).unwrap();
                assert!(link.services.contains(&key));
                let of_it = link.in_flight.values().filter(|(_, service)| *service == key).count();
                assert_eq!(of_it, it.in_flight);
            }
            let offered = self.links.config.is_some() && service.is_for_others();
            assert!(offered || !service.offered);
        }
        for (key, asker) in self.links.askers.iter() {
            for (number, request) in &asker.requests {
                let from = &self.requests.get(*request).unwrap().from;
                assert!(matches!(from, Origin::Broker(whose, it) if (whose, it) == (&key, number)));
            }
        }
        let asking: usize = self.links.askers.iter().map(|(_, it)| it.requests.len()).sum();
        let of_others = |request: &crate::core::Request| matches!(request.from, Origin::Broker(..));
        assert_eq!(asking, self.requests.iter().filter(|(_, it)| of_others(it)).count());
        if let Some(config) = &self.links.config {
            assert!(self.links.ways.len() <= config.brokers_max);
            assert!(self.links.askers.len() <= config.brokers_max);
            assert!(
                self.links.ways.iter().all(|(_, it)| it.in_flight.len() <= config.in_flight_max)
            );
        }
        in_flight
    }

    /// Returns how many timers of links run.
    pub(in crate::core) fn link_timers(&self) -> usize {
        self.links.ways.iter().filter(|(_, it)| it.session.timer_at.is_some()).count()
            + self.links.askers.iter().filter(|(_, it)| it.session.timer_at.is_some()).count()
    }
}
