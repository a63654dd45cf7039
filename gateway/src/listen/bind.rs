//! Binds a socket, or says in one line why not and what to do.

use std::{io, net::SocketAddr};

use tokio::net::{TcpListener, TcpSocket, lookup_host};

use super::inherited;
use crate::config::ListenAddress;

/// How many connections the operating system may hold for us before they are accepted.
pub(super) const BACKLOG: u32 = 4096;

/// A socket that listens.
#[derive(Debug)]
pub struct Bound {
    /// The socket.
    pub socket: TcpListener,
    /// Its address, with the real port.
    pub address: SocketAddr,
}

/// Why a socket could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The host has no address.
    #[error("{key}: the host of {address} is not known")]
    Host {
        /// The key of the setting.
        key: &'static str,
        /// Its value.
        address: ListenAddress,
        /// What the resolver said.
        source: io::Error,
    },
    /// The operating system refused.
    #[error("{key}: can't listen on {address}")]
    Listen {
        /// The key of the setting.
        key: &'static str,
        /// Its value.
        address: ListenAddress,
        /// What the operating system said.
        source: io::Error,
    },
    /// A socket that was handed over is open to others, and the setting says that it is not.
    #[error(
        "{key}: the socket {socket} that was handed over is not of this machine alone, as {address} is"
    )]
    Open {
        /// The key of the setting.
        key: &'static str,
        /// Its value.
        address: ListenAddress,
        /// The address of the socket.
        socket: SocketAddr,
    },
}

impl BindError {
    /// What the operator can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Host { key, .. } => format!("set {key} to an address, as 127.0.0.1:8080"),
            Self::Open { key, socket, .. } => {
                format!("set {key} to the address of the socket, {socket}: what is safe goes by it")
            }
            Self::Listen { key, address, source } => match source.kind() {
                io::ErrorKind::AddrInUse => format!(
                    "stop the process that uses port {}, or choose another with --set {key}={}:PORT",
                    address.port(),
                    address.host(),
                ),
                io::ErrorKind::PermissionDenied => {
                    format!("choose a port above 1023 with --set {key}={}:PORT", address.host())
                }
                io::ErrorKind::AddrNotAvailable => {
                    format!(
                        "no interface of this machine has the address; set {key} to one that has"
                    )
                }
                _ => format!("choose another address with --set {key}=HOST:PORT"),
            },
        }
    }
}

/// Binds the listener whose setting is `key`, unless a socket for it was handed over. Nothing is accepted
/// yet.
///
/// # Errors
///
/// [`BindError`].
///
/// # Cancel safety
///
/// Safe to drop; nothing is bound then.
pub async fn bind(key: &'static str, address: &ListenAddress) -> Result<Bound, BindError> {
    let unknown = |source| BindError::Host { key, address: address.clone(), source };
    let refused = |source| BindError::Listen { key, address: address.clone(), source };
    if let Some(socket) = inherited::take(key) {
        let socket = TcpListener::from_std(socket).map_err(refused)?;
        let local = socket.local_addr().map_err(refused)?;
        // Whether TLS is required, and what is warned of, was decided by the setting.
        if address.is_loopback() && !local.ip().to_canonical().is_loopback() {
            return Err(BindError::Open { key, address: address.clone(), socket: local });
        }
        return Ok(Bound { socket, address: local });
    }
    let mut last = None;
    for candidate in lookup_host((address.host(), address.port())).await.map_err(unknown)? {
        match listen(candidate) {
            Ok(bound) => return Ok(bound),
            Err(error) => last = Some(error),
        }
    }
    let nowhere = || unknown(io::ErrorKind::NotFound.into());
    Err(last.map_or_else(nowhere, refused))
}

fn listen(address: SocketAddr) -> io::Result<Bound> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Without it a restart would wait for connections of the previous process to be forgotten.
    socket.set_reuseaddr(true)?;
    // Accepted sockets inherit it, so that peers which vanished are noticed in the end.
    socket.set_keepalive(true)?;
    socket.bind(address)?;
    let socket = socket.listen(BACKLOG)?;
    let address = socket.local_addr()?;
    Ok(Bound { socket, address })
}
