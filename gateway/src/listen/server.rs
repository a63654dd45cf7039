//! The accept loop: accepts while there is room, and drains.

use std::{
    fmt, io,
    net::{self, SocketAddr},
    os::fd::AsFd as _,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use futures::FutureExt as _;
use tokio::{
    net::TcpStream,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    addresses::Addresses,
    bind::{BACKLOG, Bound},
    bodies::Bodies,
    connection::{self, Shared},
    stream::Place,
    tls::Certificates,
};
use crate::config::ConnectionLimits;

/// The pause after the operating system could not give a connection, as when file descriptors ran
/// out: without one the loop would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The open connections of one or more listeners. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    tracker: TaskTracker,
    open: Arc<AtomicUsize>,
    retire: Arc<Notify>,
    drain: CancellationToken,
    abort: CancellationToken,
}

impl Connections {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many are open, WebSockets included.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Tells the HTTP/2 clients that are connected to go elsewhere (GOAWAY). Their requests are
    /// finished, and whoever connects later is served.
    pub fn retire(&self) {
        self.retire.notify_waiters();
    }

    /// Stops accepting, and lets every connection finish the requests it has begun.
    pub fn drain(&self) {
        self.drain.cancel();
        self.tracker.close();
    }

    /// Waits until all are closed. Ends only after [`drain`](Self::drain).
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn closed(&self) {
        self.tracker.wait().await;
    }

    /// Closes what is open at once. Returns how many that were.
    ///
    /// A connection that was upgraded is counted, but belongs to its door: the door closes it when it
    /// drains, or it ends with the process.
    pub fn abort(&self) -> usize {
        self.drain();
        let left = self.open();
        self.abort.cancel();
        left
    }
}

/// A listener with its router.
pub struct Server {
    bound: Bound,
    connections: Connections,
    room: Arc<Semaphore>,
    addresses: Arc<Addresses>,
    shared: Arc<Shared>,
}

impl Server {
    /// A server that is called `name` in logs and metrics. Without `certificates` it speaks plain
    /// HTTP.
    pub fn new(
        name: &'static str,
        bound: Bound,
        certificates: Option<Arc<Certificates>>,
        limits: ConnectionLimits,
        router: Router,
        connections: Connections,
    ) -> Self {
        let room = usize::try_from(limits.connections_max).unwrap_or(usize::MAX);
        let http = connection::http(&limits, connections.tracker.clone());
        let addresses = Addresses::new(limits.address.clone());
        let bodies = Bodies::new(limits.bodies_max);
        let shared = Shared {
            name,
            router,
            certificates,
            limits,
            bodies,
            retire: connections.retire.clone(),
            drain: connections.drain.clone(),
            abort: connections.abort.clone(),
            http,
        };
        Self {
            bound,
            connections,
            room: Arc::new(Semaphore::new(room.min(Semaphore::MAX_PERMITS))),
            addresses,
            shared: Arc::new(shared),
        }
    }

    /// Accepts connections until the connections drain, those included that wait by then. When there
    /// is no room, further ones wait in the accept queue of the operating system.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; connections that were accepted go on.
    pub async fn run(self) {
        // Nobody takes all connections for closed before the last one is accepted.
        let _accepting = self.connections.tracker.token();
        let drain = self.shared.drain.clone();
        drain.run_until_cancelled(self.accept()).await;
        if let Err(error) = self.accept_waiting() {
            self.accept_failed(&error).await;
        }
    }

    /// Accepts whoever waits in the queue and so believes to be connected, as far as there is room.
    /// Past the event loop, which may not have seen them yet.
    fn accept_waiting(&self) -> io::Result<()> {
        let socket = net::TcpListener::from(self.bound.socket.as_fd().try_clone_to_owned()?);
        for _ in 0..BACKLOG {
            let Ok(permit) = self.room.clone().try_acquire_owned() else { break };
            match socket.accept() {
                Ok((tcp, peer)) => {
                    tcp.set_nonblocking(true)?;
                    self.serve(TcpStream::from_std(tcp)?, peer, permit);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn accept(&self) {
        loop {
            // The semaphore is never closed.
            let Ok(permit) = self.room.clone().acquire_owned().await else { return };
            match self.bound.socket.accept().await {
                Ok((tcp, peer)) => self.serve(tcp, peer, permit),
                Err(error) => self.accept_failed(&error).await,
            }
        }
    }

    fn serve(&self, tcp: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let (shared, name) = (self.shared.clone(), self.shared.name);
        let Some(address) = self.addresses.take(peer.ip()) else {
            // Closing is all that costs us less than serving.
            metrics::counter!("buswire_connections_refused_total", "listener" => name).increment(1);
            return;
        };
        let Connections { tracker, open, .. } = &self.connections;
        let place = Place::take(open.clone(), name, permit, address, tracker.token());
        tracker.spawn(async move {
            let served = connection::serve(shared, tcp, peer, place);
            // A panic ends this connection and no other.
            if AssertUnwindSafe(served).catch_unwind().await.is_err() {
                metrics::counter!("buswire_connection_panics_total", "listener" => name)
                    .increment(1);
                tracing::error!(listener = name, "a connection panicked");
            }
        });
    }

    async fn accept_failed(&self, error: &io::Error) {
        if is_passing(error) {
            return;
        }
        tracing::warn!(listener = self.shared.name, %error, "a connection can't be accepted");
        time::sleep(ACCEPT_PAUSE).await;
    }
}

/// Whether the next one can be accepted at once: the peer gave up before it was accepted, which is its
/// own business, or a signal came.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.shared.name)
            .field("address", &self.bound.address)
            .finish_non_exhaustive()
    }
}
