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
//! | `station` | [`Station`]: a person's memberships, and the pages for people |
//! | `relay` | [`Relay`]: windows and the program invoke each other over `/belay/relay` |
//! | `start` | [`StartRecords`]: what a window leaves for one that is being opened |
//! | `http` | the endpoint: `/cap/{id}`, `/belay/wrap`, `/belay/describe`; the files of `browser` |
//! | `browser` | what pages load: the library `/belay/client.js`, the frame `/belay/frame.html` |
//! | [`instance`] | another CapServer, for capabilities within a program: no HTTP, no store |
//!
//! Never here: another door, a bus, the operations of the gateway, a clock, randomness.

mod audit;
mod browser;
mod config;
mod derive;
mod egress;
mod error;
#[cfg(any(test, feature = "__harness"))]
#[doc(hidden)]
pub mod fuzzing;
mod grants;
#[cfg(test)]
mod harness;
mod http;
pub mod instance;
mod items;
mod limits;
mod method;
mod names;
mod operation;
mod origin;
mod relay;
mod request;
mod seal;
mod server;
mod start;
mod station;
mod target;
mod wire;

pub use audit::{AuditAction, AuditEvent, AuditPage, Invoked, Peer};
pub use browser::{client_integrity, client_path};
pub use config::{Config, ConfigError, FrameAncestor, FrameConfig};
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
pub use origin::Origin;
pub use relay::{Relay, RelayConfig, RelayError, RelayStatus};
pub use request::{GrantRequest, IdForm, RequestError, parse_limits};
pub use seal::SealKeys;
pub use server::{
    AdminError, CapServer, GrantError, GrantInfo, GrantPage, GrantState, Granted, RegisterError,
    Revoked, Standing,
};
pub use start::{StartConfig, StartRecords};
pub use station::Station;
pub use target::{
    BusPublishTarget, BusReadTarget, GENERATION, NamedTarget, PushNotifyTarget, RecordTarget,
    RpcCallTarget, TargetChannels, TargetError, UrlTarget,
};
pub use wire::{
    Bcap, BcapValue, CapId, CapUrl, DecodeError, EncodeError, ForgedReference, HasCapability,
    InstanceId, Members, PreImage, Serialisation, WireLimits, decode, decode_bare, encode,
    encode_bare, new_uuid,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
