//! Majordomo (MDP): a broker, a client and a worker for ZeroMQ request/reply by service name.
//!
//! Speaks MDP/0.1 and MDP/0.2, bare and delimited, on one socket, as RFC 7/MDP, 18/MDP and 8/MMI
//! describe them and as Dispatchr Backbone uses them. Needs nothing of the rest of Buswire.
//!
//! | part | what it is |
//! |---|---|
//! | [`wire`] | frames to messages and back, without I/O |
//! | [`core`] | the broker as a state machine, without I/O or clock |
//! | [`Broker`], [`BrokerHandle`] | the core on a ROUTER socket in a thread of its own |
//! | [`Client`] | correlated requests over one DEALER socket |
//! | [`Worker`] | a handler registered for one service, with heartbeats while it is busy |
//! | [`CmdService`] | a worker that runs a command for each request |
//! | [`titanic`] | requests that are stored, and answered when their service is there |
//!
//! Brokers that have links ask each other for services that they have no worker for
//! ([`LinkSettings`], [`BrokerHandle::set_brokers`]).
//!
//! What is deliberately absent: an engine for durable state, how brokers find each other, any other
//! front door.

pub mod core;
pub mod titanic;
pub mod wire;

mod back_off;
mod brokers;
mod client;
mod closed_set;
mod cmd_service;
mod dialer;
mod driver;
mod frames;
mod io;
mod reply_text;
mod security;
mod service_name;
mod worker;

pub use brokers::tcp_endpoint;
pub use client::{
    Client, ClientBuilder, ClientError, ClientMessage, Correlation, MmiStatus, Reply, ReplyError,
    ReplyIter, ReplyOptions, ReplyPart, ReplyStream, Retries,
};
pub use closed_set::ClosedSet;
pub use cmd_service::{Arguments, CmdOptions, CmdService};
pub use driver::{
    AllowedKeys, BoxFuture, Broker, BrokerConfig, BrokerHandle, CurveConfig, CurveSecret,
    LinkSettings, LocalRequest, LocalService, RegisterError, RequestError, StartError,
};
pub use frames::Frames;
pub use reply_text::{ReplyFormat, render_reply};
pub use security::{ClientCurve, CurveKeys, KeygenError, has_curve};
pub use service_name::{ServiceName, ServiceNameError};
pub use worker::{Outcome, Responder, Unwanted, Worker, WorkerBuilder, WorkerError, WorkerStop};
