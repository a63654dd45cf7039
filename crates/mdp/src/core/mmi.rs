//! The services the broker itself answers (8/MMI; mdp.md §13).

use bytes::Bytes;

use super::{BrokerCore, Tag};
use crate::wire::{Envelope, Invalid, Outgoing, ToPeer};
use crate::{Frames, ServiceName};

impl BrokerCore {
    pub(super) fn answer_mmi(&mut self, to: Envelope, service: &[u8], body: &Frames) {
        let Ok(name) = ServiceName::parse(service) else {
            return self.counters.invalid.add(Invalid::ServiceName);
        };
        let body = self.mmi_reply(service, body);
        let message = ToPeer::Reply { service: name, body };
        self.send(Tag::Nothing, Outgoing { to, message });
    }

    /// Returns the one frame of an MMI reply: `200`, `404` or `501`.
    pub(super) fn mmi_reply(&mut self, service: &[u8], body: &Frames) -> Frames {
        self.counters.mmi += 1;
        let code: &'static [u8] = match service {
            b"mmi.service" if self.has_worker(body) => b"200",
            b"mmi.service" => b"404",
            _ => b"501",
        };
        Frames::from([Bytes::from_static(code)])
    }

    /// Says whether a worker is registered for the service the first frame names (§13.2).
    fn has_worker(&self, body: &Frames) -> bool {
        body.get(0)
            .and_then(|name| self.names.get(name.as_ref()))
            .and_then(|key| self.services.get(*key))
            .is_some_and(|service| service.workers > 0)
    }
}
