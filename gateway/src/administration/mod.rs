//! What administrators ask of the doors, done: one short adapter for each port of the admin interface.
//!
//! Each translates, calls its door and translates back. Never here: gRPC, a rule of a protocol.

mod access;
mod backup;
mod broker;
mod capabilities;
mod people;
mod push;
mod push_bus;
mod routes;
mod system;
mod traces;

pub(crate) use self::{
    backup::Backups,
    broker::BrokerPort,
    capabilities::CapabilityPort,
    people::BackplanePort,
    push::PushPort,
    push_bus::{InboundPort, SubscriptionPort},
    routes::RoutePort,
    system::{InForce, SystemPort},
    traces::TracePort,
};
