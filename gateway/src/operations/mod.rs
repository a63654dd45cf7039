//! What capabilities do: one short adapter for each kind of operation (Belay §20.2).
//!
//! Each translates an invocation, calls its door and translates the result back. Never here: whether
//! the invocation is allowed; the CapServer has seen to it.

mod bus_publish;
mod bus_read;
mod push_notify;
mod rpc_call;

use std::{sync::Arc, time::Duration};

use buswire_belay::{CapServer, Operation, RegisterError};
use buswire_bus::Buses;
use buswire_mdp::BrokerHandle;
use buswire_message::{Clock, SourceUrl};
use buswire_simplepush::SimplePush;

pub(crate) use self::{bus_publish::BusPublish, bus_read::BusRead};

/// The operations on buses, for a door that takes another authority for them than a capability.
#[derive(Clone, Debug)]
pub(crate) struct BusOperations {
    pub(crate) publish: Arc<BusPublish>,
    pub(crate) read: Arc<BusRead>,
}

/// Lets `caps` grant every operation of this gateway, and returns those on buses.
///
/// # Errors
///
/// [`RegisterError`]: never, unless a kind is misspelled here.
pub(crate) fn register(
    caps: &CapServer,
    buses: &Buses,
    broker: &BrokerHandle,
    push: &SimplePush,
    clock: &Arc<dyn Clock>,
    source: &SourceUrl,
    block_max: Duration,
) -> Result<BusOperations, RegisterError> {
    let buses = BusOperations {
        publish: Arc::new(BusPublish::new(buses.clone(), source.clone())),
        read: Arc::new(BusRead::new(buses.clone(), Arc::clone(clock), block_max)),
    };
    let operations: [(&str, Arc<dyn Operation>); 4] = [
        ("bus.publish", buses.publish.clone()),
        ("bus.read", buses.read.clone()),
        ("push.notify", Arc::new(push_notify::PushNotify::new(push.clone()))),
        ("rpc.call", Arc::new(rpc_call::RpcCall::new(broker.clone()))),
    ];
    operations.into_iter().try_for_each(|(kind, operation)| caps.register(kind, operation))?;
    Ok(buses)
}
