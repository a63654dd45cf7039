//! Backplane 1.x and 2.0 over a Buswire bus.
//!
//! A *bus* belongs to a customer, a *channel* to one visit of a page. Back ends post messages to a
//! channel; the page polls it. In 1.x it gets whole messages. In 2.0 it gets headers, and the back
//! ends that it tells of them read the payloads with privileged tokens.
//!
//! ```text
//! wire/       bytes: paths, parameters, callbacks, bodies, frames      pure
//! rules/      names, tokens, scopes                                    pure
//! state/      accounts, clients, grants, tokens, channels              over the store
//! admin/      what administrators do
//! browser/    the scripts that pages load
//! http/       the endpoints
//! client/     clients of such servers
//! scenarios/  what applications say to each other, typed               pure
//! ```
//!
//! | feature | adds |
//! |---|---|
//! | `client` | the module `client` |
//!
//! [`Backplane::new`] makes the door, [`Backplane::router`] is what the outside sees, its other methods
//! are the administration. `examples/backplane_server.rs` serves it alone over a store in memory.
//!
//! The door has no dealings with other doors: everything goes through the buses.

mod admin;
mod backplane;
mod browser;
#[cfg(feature = "client")]
pub mod client;
mod config;
mod error;
#[cfg(any(test, feature = "__harness"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod harness;
mod http;
mod journal;
mod post;
mod rules;
pub mod scenarios;
mod state;
mod wire;

pub use admin::{
    Account, ChannelInfo, ClientInfo, CreatedClient, Grant, NewClient, NewPassword, OwnedBus, V1Bus,
};
pub use backplane::Backplane;
pub use config::{
    Administrator, ChannelBinding, Config, ConfigError, Cors, Generations, Lifetimes, Limits,
    Origin, PaddingPrefix, PasswordCost, PublicUrl, SecureTransport, StickyForm, TlsPolicy,
};
pub use error::AdminError;
pub use journal::{Denied, Journal, Provisioned, Provisioning, Recording};
pub use post::Post;
pub use rules::names::{
    AccountNameError, ClientId, GrantId, OwnerName, Permission, Permissions, RedirectUri, UserName,
};
pub use rules::token::TokenKind;
pub use state::{
    handles::{Handle, Listing, PageEnd, Wanted},
    issued::{
        AuthorizationRequestInfo, CodeInfo, CodeState, DecisionInfo, IssuedKind, SignInInfo,
        TokenFilter, TokenHolder, TokenInfo, TokenState,
    },
    password::ImportedHash,
};

#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
