//! The Buswire gateway: one process that composes the doors.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | settings: layers, checks, reference |
//! | [`app`] | the composition root: which doors there are |
//! | [`listen`] | listeners: accept loop, TLS, deadlines, access log |
//! | [`acme`](mod@acme) | the certificate of the public listener from an ACME server (feature `acme`, on by default) |
//! | [`serve`] | the life cycle: open, bind, serve, drain, close |
//! | [`ops`] | health, readiness, metrics |
//! | [`tasks`] | tasks that live as long as the process |
//! | [`telemetry`] | log lines, spans of traces |
//! | [`demo`] | one message through all four doors |
//! | [`admin`] | the gRPC interface of administrators |
//! | `admin_tokens` | tokens of administrators with a role |
//! | `activity` | what moved in the last minutes, and how long it took |
//! | `console` | the web page of administrators |
//! | [`cli`] | the command line |
//! | `push` | what is kept of subscriptions and inbound endpoints of SimplePush |
//! | `sinks`, `sources`, `operations`, `services`, `administration` | what joins two doors: short adapters |
//! | `peers` | how the brokers of gateways on one store find and trust each other |
//! | `requests` | requests of the gateway itself to Majordomo services |
//! | `service_metrics` | metrics of the broker's services that the operator lists |
//! | `titanic` | durable Majordomo requests on the store |
//!
//! Never here: a rule of a protocol. Doors have them; the gateway gives a door its store, its clock,
//! its bytes and its limits.

#[cfg(feature = "acme")]
pub mod acme;
mod activity;
pub mod admin;
mod admin_tokens;
mod administration;
pub mod app;
pub mod cli;
pub mod config;
mod console;
pub mod demo;
pub mod listen;
mod operations;
pub mod ops;
mod peers;
mod push;
mod requests;
pub mod serve;
mod service_metrics;
mod services;
mod sinks;
mod sources;
pub mod tasks;
pub mod telemetry;
mod titanic;
mod translate;
