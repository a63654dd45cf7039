//! The services the broker itself answers (8/MMI; mdp.md §13).

use bytes::Bytes;

use super::tables::Service;
use super::{BrokerCore, Tag};
use crate::wire::{Envelope, Invalid, Outgoing, ToPeer};
use crate::{Frames, ServiceName};

const OK: Bytes = Bytes::from_static(b"200");
const NOT_FOUND: Bytes = Bytes::from_static(b"404");
const NOT_IMPLEMENTED: Bytes = Bytes::from_static(b"501");

impl BrokerCore {
    pub(super) fn answer_mmi(
        &mut self,
        to: Envelope,
        service: &[u8],
        body: &Frames,
        user: Option<&str>,
    ) {
        let Ok(name) = ServiceName::parse(service) else {
            return self.counters.invalid.add(Invalid::ServiceName);
        };
        let body = self.mmi_reply(service, body, user);
        let message = ToPeer::Reply { service: name, body };
        self.send(Tag::Nothing, Outgoing { to, message });
    }

    /// Returns an MMI reply: a status, and what it is about.
    pub(super) fn mmi_reply(
        &mut self,
        service: &[u8],
        body: &Frames,
        user: Option<&str>,
    ) -> Frames {
        self.counters.mmi += 1;
        match service {
            b"mmi.service" if self.served(body).is_some() => Frames::from([OK]),
            b"mmi.service" => Frames::from([NOT_FOUND]),
            b"mmi.services" if self.config.mmi_extensions => self.mmi_services(user),
            b"mmi.workers" if self.config.mmi_extensions => self.mmi_workers(body),
            b"mmi.stats" if self.config.mmi_extensions => Frames::from([OK, self.mmi_stats()]),
            _ => Frames::from([NOT_IMPLEMENTED]),
        }
    }

    /// Finds the service the first frame names, if a worker is registered for it (§13.2), here or at
    /// another broker.
    fn served(&self, body: &Frames) -> Option<&Service> {
        let key = self.names.get(body.get(0)?.as_ref())?;
        self.services.get(*key).filter(|service| service.is_served())
    }

    /// `200` and the names of all services that have a worker and that the user may call, in order.
    fn mmi_services(&self, user: Option<&str>) -> Frames {
        let services = self.services.iter().map(|(_, service)| service);
        let mut names: Vec<&ServiceName> = services
            .filter(|service| service.is_served())
            .map(|service| &service.name)
            .filter(|name| self.may_call(user, name.as_bytes()))
            .collect();
        names.sort_unstable();
        let names = names.into_iter().map(|name| name.as_bytes().clone());
        std::iter::once(OK).chain(names).collect()
    }

    /// `200` and how many workers are idle and busy here, or `404`.
    fn mmi_workers(&self, body: &Frames) -> Frames {
        let Some(service) = self.served(body) else {
            return Frames::from([NOT_FOUND]);
        };
        let idle = service.waiting.len();
        let busy = service.workers - idle;
        Frames::from([OK, Bytes::from(idle.to_string()), Bytes::from(busy.to_string())])
    }

    /// The sums over all services as a JSON object.
    fn mmi_stats(&self) -> Bytes {
        let (totals, requests) = (self.totals(self.now), &self.counters.requests);
        Bytes::from(format!(
            r#"{{"services":{},"workers":{{"idle":{},"busy":{}}},"queued":{},"requests":{{"accepted":{},"completed":{},"expired":{},"requeued":{},"lost":{},"dropped":{}}}}}"#,
            totals.services,
            totals.idle,
            totals.busy,
            totals.queued,
            requests.accepted,
            requests.completed,
            requests.expired,
            requests.requeued,
            requests.lost,
            requests.dropped.total(),
        ))
    }
}
