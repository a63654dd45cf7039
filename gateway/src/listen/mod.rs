//! Listeners: binding, TLS, the accept loop, and what every request passes before its door.
//!
//! `axum::serve` has no header timeout, no limit of connections and no TLS, so the loop is our own, on
//! hyper-util.
//!
//! | module | does |
//! |---|---|
//! | `bind` | binds a socket, or says in one line why not and what to do |
//! | `inherited` | sockets that systemd has bound already |
//! | `tls` | certificates, read again when their files change |
//! | `watch` | notices that they change |
//! | `ordered` | certificates that are ordered: the handshake that proves it to an ACME server |
//! | `server` | accepts while there is room, and drains |
//! | `connection` | one connection: handshake, deadlines, requests |
//! | `activity` | what happens on it, so that one that nobody uses is closed |
//! | `stream` | the bytes of a connection and its place in the count of open ones |
//! | `certificate` | the names and the end of a certificate |
//! | `body` | a request body with a bound in bytes and in time |
//! | `bodies` | a bound of all request bodies together |
//! | `addresses` | how many connections come from one address |
//! | `transport` | who the client is, and whether the request is secure (Backplane §3.2) |
//! | `step` | what a request passes on its way to its door |
//! | `access` | the access log and its metrics |
//!
//! Never here: a protocol of a door.

mod access;
mod activity;
mod addresses;
mod bind;
mod bodies;
mod body;
mod certificate;
mod connection;
mod inherited;
mod ordered;
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
    inherited::{InheritedError, inherit},
    ordered::{ACME_TLS_ALPN, ChallengeAnswers},
    server::{Connections, Server},
    step::{Answering, Step, Stepped, Through},
    tls::{Certificates, TlsError},
    transport::{Channel, CheckTransport, Peer, TransportPolicy},
    watch::watch_certificates,
};
