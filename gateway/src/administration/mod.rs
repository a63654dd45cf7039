//! What administrators ask of the doors, done: one short adapter for each port of the admin interface.
//!
//! Each translates, calls its door and translates back. Never here: gRPC, a rule of a protocol.

mod access;
mod activity;
mod backup;
mod broker;
mod capabilities;
mod people;
mod provisioning;
mod push;
mod push_bus;
mod routes;
mod system;
mod traces;

pub(crate) use self::{
    activity::ActivityPort,
    backup::Backups,
    broker::BrokerPort,
    capabilities::CapabilityPort,
    people::BackplanePort,
    provisioning::ProvisioningJournal,
    push::PushPort,
    push_bus::{InboundPort, SubscriptionPort},
    routes::RoutePort,
    system::{InForce, SystemPort},
    traces::TracePort,
};
