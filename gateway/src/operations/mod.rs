//! What capabilities do: one short adapter for each kind of operation (Belay §20.2).
//!
//! Each translates an invocation, calls its door and translates the result back. Never here: whether
//! the invocation is allowed; the CapServer has seen to it.

mod binding;
mod bus_publish;
mod bus_read;
mod push_inbound;
mod push_notify;
mod push_subscribe;
mod rpc_call;

use std::{sync::Arc, time::Duration};

use buswire_belay::{CapServer, Egress, Operation, RegisterError, Station, UrlItem};
use buswire_bus::Buses;
use buswire_message::{Clock, SourceUrl};
use buswire_simplepush::SimplePush;

pub(crate) use self::{bus_publish::BusPublish, bus_read::BusRead};
use crate::{
    push::{inbound::Inbounds, subscriptions::Subscriptions},
    requests::Requests,
};

/// The operations on buses, for a door that takes another authority for them than a capability.
#[derive(Clone, Debug)]
pub(crate) struct BusOperations {
    pub(crate) publish: Arc<BusPublish>,
    pub(crate) read: Arc<BusRead>,
}

/// What the operations work on.
pub(crate) struct Operations {
    pub(crate) buses: Buses,
    pub(crate) requests: Requests,
    pub(crate) push: SimplePush,
    pub(crate) egress: Egress,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) inbounds: Inbounds,
    pub(crate) clock: Arc<dyn Clock>,
    /// Who a message is from if a grant does not say.
    pub(crate) source: SourceUrl,
    /// The longest wait of a read.
    pub(crate) block_max: Duration,
}

impl Operations {
    /// Lets `caps` grant every operation of this gateway, and returns those on buses.
    ///
    /// # Errors
    ///
    /// [`RegisterError`]: never, unless a kind is misspelled here.
    pub(crate) fn register(self, caps: &CapServer) -> Result<BusOperations, RegisterError> {
        let Self {
            buses,
            requests,
            push,
            egress,
            subscriptions,
            inbounds,
            clock,
            source,
            block_max,
        } = self;
        caps.register(Station::KIND, Station::new(caps))?;
        let [read_clock, inbound_clock] = [Arc::clone(&clock), Arc::clone(&clock)];
        let inbound = push_inbound::PushInbound {
            buses: buses.clone(),
            inbounds,
            clock: inbound_clock,
            source: source.clone(),
        };
        let subscribe = push_subscribe::PushSubscribe {
            buses: buses.clone(),
            subscriptions,
            push: push.clone(),
            clock,
        };
        let on_buses = BusOperations {
            publish: Arc::new(BusPublish::new(buses.clone(), source)),
            read: Arc::new(BusRead::new(buses, read_clock, block_max)),
        };
        let notify = push_notify::PushNotify::new(push);
        let operations: [(&str, Arc<dyn Operation>); 7] = [
            ("bus.publish", on_buses.publish.clone()),
            ("bus.read", on_buses.read.clone()),
            ("push.inbound", Arc::new(inbound)),
            ("push.notify", Arc::new(notify)),
            ("push.subscribe", Arc::new(subscribe)),
            ("rpc.call", Arc::new(rpc_call::RpcCall::new(requests))),
            ("url", Arc::new(UrlItem::new(caps.config(), Arc::new(egress)))),
        ];
        operations.into_iter().try_for_each(|(kind, operation)| caps.register(kind, operation))?;
        Ok(on_buses)
    }
}
