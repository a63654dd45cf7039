//! Sockets that whoever started the process has bound already: systemd's socket activation.
//!
//! They outlive the process, so a restart refuses no connection: whoever connects meanwhile waits. Never
//! here: binding one.

use std::{
    io,
    net::TcpListener,
    sync::{Mutex, PoisonError},
};

use listenfd::ListenFd;

/// What the listeners are called, as `FileDescriptorName=` of the socket unit has it, with their settings.
const NAMES: [(&str, &str); 3] =
    [("http", "http.listen"), ("admin", "admin.listen"), ("ops", "ops.listen")];

/// Sockets that nobody has taken yet, by the key of their setting. File descriptors belong to the whole
/// process, and so does this.
static WAITING: Mutex<Vec<(&'static str, TcpListener)>> = Mutex::new(Vec::new());

/// Why a socket that was handed over can't be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritedError {
    /// It has no name, or one that is not known.
    #[error("the socket {0:?} that was handed over is not named http, admin or ops")]
    Name(String),
    /// Another one has the same name.
    #[error("more than one socket that was handed over is named {0}")]
    Twice(&'static str),
    /// It is no TCP socket, or can't be used.
    #[error("the socket {name} that was handed over can't be used")]
    Socket {
        /// Its name.
        name: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl InheritedError {
    /// What the operator can do.
    pub fn hint(&self) -> String {
        match self {
            Self::Name(_) => "set FileDescriptorName= in the socket unit".to_owned(),
            Self::Twice(_) => {
                "a listener has one socket: one ListenStream= for each name".to_owned()
            }
            Self::Socket { .. } => "set ListenStream=ADDRESS:PORT in the socket unit".to_owned(),
        }
    }
}

/// Takes the sockets that `LISTEN_FDS` counts (sd_listen_fds(3)), by `names`, the value of
/// `LISTEN_FDNAMES`. The listeners of those names are not bound then. Call it once, before there are
/// threads: it takes `LISTEN_FDS` and `LISTEN_PID` away, so that no child takes the sockets for its own.
/// `LISTEN_FDNAMES` stays, and says nothing without them.
///
/// # Errors
///
/// [`InheritedError`].
pub fn inherit(names: Option<&str>) -> Result<(), InheritedError> {
    let mut handed = ListenFd::from_env();
    let names: Vec<&str> = names.unwrap_or_default().split(':').collect();
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    for place in 0..handed.len() {
        let name = names.get(place).copied().unwrap_or_default();
        let known = NAMES.into_iter().find(|(known, _)| *known == name);
        let (name, key) = known.ok_or_else(|| InheritedError::Name(name.to_owned()))?;
        let refused = |source| InheritedError::Socket { name, source };
        // Whoever connected to the second one would wait for ever.
        if waiting.iter().any(|(of, _)| *of == key) {
            return Err(InheritedError::Twice(name));
        }
        let Some(socket) = handed.take_tcp_listener(place).map_err(refused)? else { continue };
        socket.set_nonblocking(true).map_err(refused)?;
        waiting.push((key, socket));
    }
    Ok(())
}

/// The socket for the listener whose setting is `key`, if one was handed over.
pub(super) fn take(key: &str) -> Option<TcpListener> {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    let place = waiting.iter().position(|(of, _)| *of == key)?;
    Some(waiting.swap_remove(place).1)
}
