//! The services, one file each: convert, call, convert back.
//!
//! Never here: rules, locks, what more than one service could share but conversions.

use std::sync::Arc;

use super::Shared;

mod access;
mod activity;
mod broker;
mod buses;
mod capabilities;
mod clients;
mod dead_letters;
mod grants;
mod inbound;
mod messages;
mod owners;
mod push;
mod routes;
mod subscriptions;
mod system;
mod tokens;
mod traces;
mod users;

/// Every service of the interface, over the same state.
#[derive(Clone, Debug)]
pub(super) struct Api(pub(super) Arc<Shared>);
