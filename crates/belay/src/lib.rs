//! Belay: capabilities as unguessable, revocable links.
//!
//! A [`CapServer`] grants capabilities whose items are [`Operation`]s that the program registers, lets
//! whoever holds one wrap it into a narrower one, and revokes any of them with everything below. No
//! request reaches an operation but through a grant; what an operation may touch was fixed when it was
//! granted. The specification is the Belay reference; section numbers in this crate are its.
//!
//! | module | holds |
//! |---|---|
//! | `wire` | serialisations and bcapJson: [`Bcap`], [`BcapValue`], [`encode`], [`decode`] |
//! | `limits` | [`Limits`] and how they intersect along a chain |
//! | `target` | what the gateway's own kinds are granted for |
//! | `operation` | [`Operation`], [`Invocation`] |
//! | `items` | the kinds that every server has: `url`, `record` |
//! | `egress` | the way out to other servers, with its policy; the client needs feature `egress` |
//! | `grants` | grants in the store: one partition for each tree |
//! | `seal` | the encryption of stored targets |
//! | `server` | [`CapServer`] |
//! | `http` | the endpoint: `/cap/{id}`, `/belay/wrap` |
//!
//! Never here: another door, a bus, the operations of the gateway, a clock, randomness.

mod audit;
mod config;
mod derive;
mod egress;
mod error;
mod grants;
#[cfg(test)]
mod harness;
mod http;
mod items;
mod limits;
mod method;
mod names;
mod operation;
mod request;
mod seal;
mod server;
mod target;
mod wire;

pub use audit::{AuditAction, AuditEvent, AuditPage, Invoked, Peer};
pub use config::{Config, ConfigError};
pub use derive::RegrantKey;
pub use egress::{Allowed, AllowedError, EgressPolicy, Network, NetworkError, Refused};
#[cfg(feature = "egress")]
pub use egress::{Answer, Egress, EgressConfig, EgressError, Resolver, SystemResolver};
pub use error::BcapError;
pub use http::ClientAddress;
pub use items::{Outward, UrlItem};
pub use limits::{Bounds, Limits, LimitsError, NameSet, Rate};
pub use method::{Method, MethodSet};
pub use names::{Handle, Kind, Label, NameError};
pub use operation::{BindError, Invocation, InvocationId, Operation, Subject};
pub use request::{GrantRequest, IdForm, RequestError, parse_limits};
pub use seal::SealKeys;
pub use server::{
    AdminError, CapServer, GrantError, GrantInfo, GrantPage, GrantState, Granted, RegisterError,
    Revoked, Standing,
};
pub use target::{
    BusPublishTarget, BusReadTarget, GENERATION, NamedTarget, PushNotifyTarget, RecordTarget,
    RpcCallTarget, TargetChannels, TargetError, UrlTarget,
};
pub use wire::{
    Bcap, BcapValue, CapId, CapUrl, DecodeError, EncodeError, ForgedReference, HasCapability,
    InstanceId, Members, Serialisation, WireLimits, decode, decode_bare, encode, encode_bare,
};
