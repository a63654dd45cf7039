//! Listeners: binding, TLS, the accept loop, and what every request passes before its door.
//!
//! `axum::serve` has no header timeout, no limit of connections and no TLS, so the loop is our own, on
//! hyper-util.
//!
//! | module | does |
//! |---|---|
//! | `bind` | binds a socket, or says in one line why not and what to do |
//! | `tls` | certificates, read again when their files change |
//! | `watch` | notices that they change |
//! | `server` | accepts while there is room, and drains |
//! | `connection` | one connection: handshake, deadlines, requests |
//! | `stream` | the bytes of a connection and its place in the count of open ones |
//! | `certificate` | the names and the end of a certificate |
//! | `body` | a request body with a bound in bytes and in time |
//! | `transport` | who the client is, and whether the request is secure (Backplane §3.2) |
//! | `step` | what a request passes on its way to its door |
//! | `access` | the access log and its metrics |
//!
//! Never here: a protocol of a door.

mod access;
mod bind;
mod body;
mod certificate;
mod connection;
mod server;
mod step;
mod stream;
mod tls;
mod transport;
mod watch;

#[cfg(test)]
mod tests;

pub(crate) use self::transport::refusal;
pub use self::{
    access::{LogRequests, Seen},
    bind::{BindError, Bound, bind},
    certificate::ClientNames,
    server::{Connections, Server},
    step::{Answering, Step, Stepped, Through},
    tls::{Certificates, TlsError},
    transport::{Channel, CheckTransport, Peer, TransportPolicy},
    watch::watch_certificates,
};
