//! What the broker is told at its start, and the socket that follows from it.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::runtime::Handle;

use super::curve::{self, CurveConfig};
use super::links::{LinkSettings, LinkSockets};
use crate::core::CoreConfig;
use crate::io::set_common_options;
use crate::wire::Side;

/// Settings of [`super::Broker::start`].
#[derive(Debug)]
pub struct BrokerConfig {
    /// Where to listen; default `tcp://127.0.0.1:5555`. Port 0 takes any free port.
    pub endpoints: Vec<String>,
    /// Where workers connect; default none, which means where clients do. With one, workers are
    /// refused at `endpoints` and clients here, so that each side can have a network of its own.
    pub worker_endpoints: Vec<String>,
    /// Tunables and bounds of the protocol.
    pub core: CoreConfig,
    /// Keys of the broker and of its peers; default none. Needs a libzmq with CURVE.
    pub curve: Option<CurveConfig>,
    /// Links to other brokers; default none. Needs a libzmq with CURVE, and `core.links`.
    pub links: Option<LinkSettings>,
    /// Whether listening on other than loopback addresses without CURVE is wanted; default no.
    pub insecure_public: bool,
    /// Messages queued per connection and direction; default 10 000. A worker beyond it counts as
    /// lost; a reply beyond it is dropped and counted.
    pub queue_per_peer: i32,
    /// Bytes of one frame; default 64 MiB. The connection that sends more is closed by libzmq.
    pub frame_bytes_max: i64,
    /// Threads of libzmq; default 1, enough for about a gigabyte a second (mdp.md §15.2).
    pub io_threads: u16,
    /// Calls from other threads waiting for the broker's thread; default 4096. More are refused.
    pub commands_max: usize,
    /// Messages handled before timers are looked at again; default 1000.
    pub batch_max: usize,
    /// Where services of this process run; default the runtime `start` is called in.
    pub runtime: Option<Handle>,
    /// Calls of one service of this process that may run at once; default 64. More wait in the
    /// service's queue.
    pub local_calls_max: u32,
    /// How long a call of a service of this process may run; default 60 s. Its request is then
    /// lost.
    pub local_call_timeout: Duration,
    /// How long unsent messages are kept at the end; default 1 s.
    pub linger: Duration,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            endpoints: vec!["tcp://127.0.0.1:5555".to_owned()],
            worker_endpoints: Vec::new(),
            core: CoreConfig::default(),
            curve: None,
            links: None,
            insecure_public: false,
            queue_per_peer: 10_000,
            frame_bytes_max: 64 << 20,
            io_threads: 1,
            commands_max: 4096,
            batch_max: 1000,
            runtime: None,
            local_calls_max: 64,
            local_call_timeout: Duration::from_secs(60),
            linger: Duration::from_secs(1),
        }
    }
}

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No endpoint was given.
    #[error("no endpoint to listen on")]
    NoEndpoint,
    /// Another socket listens there.
    #[error("endpoint {0} is already in use")]
    InUse(String),
    /// The endpoint cannot be bound for another reason.
    #[error("cannot listen on {endpoint}")]
    Bind {
        /// The endpoint as given.
        endpoint: String,
        /// What libzmq says.
        #[source]
        source: zmq::Error,
    },
    /// The endpoint is reachable from other machines and has no CURVE.
    #[error("refusing to listen on {0} without CURVE: set keys, or allow it as insecure")]
    PublicWithoutCurve(String),
    /// CURVE was asked for and this libzmq has none.
    #[error("this libzmq was built without CURVE")]
    NoCurve,
    /// The socket cannot be set up.
    #[error("cannot set up the socket")]
    Socket(#[source] zmq::Error),
    /// The thread cannot be started.
    #[error("cannot start the broker's thread")]
    Thread(#[source] std::io::Error),
}

/// A ROUTER, whom it serves, and where.
pub(super) struct Lane {
    pub(super) router: zmq::Socket,
    pub(super) side: Side,
    pub(super) endpoints: Vec<String>,
}

/// The sockets of the broker's thread. Fields drop in order: sockets before their context.
pub(super) struct Sockets {
    /// The socket of clients, and of workers too unless they have their own.
    pub(super) clients: Lane,
    /// The socket of workers, if they have their own.
    pub(super) workers: Option<Lane>,
    /// Those of links with other brokers, if there may be any.
    pub(super) links: Option<LinkSockets>,
    /// Answers libzmq's question who may connect.
    pub(super) zap: Option<zmq::Socket>,
    _context: zmq::Context,
}

impl Sockets {
    pub(super) fn open(config: &BrokerConfig) -> Result<Self, StartError> {
        let context = zmq::Context::new();
        context.set_io_threads(i32::from(config.io_threads.max(1))).map_err(StartError::Socket)?;
        // Before any ROUTER is bound: nobody shall connect unasked.
        let asks = config.curve.is_some() || config.links.is_some();
        let zap = asks.then(|| curve::bind_zap(&context)).transpose()?;
        let separate = !config.worker_endpoints.is_empty();
        let side = if separate { Side::Clients } else { Side::Both };
        let clients = Lane::open(&context, config, side, &config.endpoints)?;
        let workers = separate
            .then(|| Lane::open(&context, config, Side::Workers, &config.worker_endpoints))
            .transpose()?;
        let links = config.links.as_ref();
        let links = links.map(|links| LinkSockets::open(&context, config, links)).transpose()?;
        Ok(Self { clients, workers, links, zap, _context: context })
    }

    /// Returns the sockets that receive messages.
    pub(super) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        std::iter::once(&self.clients).chain(&self.workers)
    }

    /// Returns the socket through which workers are reached.
    pub(super) fn for_workers(&self) -> &Lane {
        self.workers.as_ref().unwrap_or(&self.clients)
    }
}

impl Lane {
    fn open(
        context: &zmq::Context,
        config: &BrokerConfig,
        side: Side,
        endpoints: &[String],
    ) -> Result<Self, StartError> {
        if endpoints.is_empty() {
            return Err(StartError::NoEndpoint);
        }
        let router = context.socket(zmq::ROUTER).map_err(StartError::Socket)?;
        set_router_options(&router, config, endpoints).map_err(StartError::Socket)?;
        if let Some(curve) = &config.curve {
            curve::secure_lane(&router, curve).map_err(StartError::Socket)?;
        }
        let mut bound = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let public = !is_private(endpoint);
            if public && config.curve.is_none() && !config.insecure_public {
                return Err(StartError::PublicWithoutCurve(endpoint.clone()));
            }
            bound.push(bind(&router, endpoint)?);
        }
        Ok(Self { router, side, endpoints: bound })
    }
}

/// Sets every option of mdp.md §15.2.
pub(super) fn set_router_options(
    router: &zmq::Socket,
    config: &BrokerConfig,
    endpoints: &[String],
) -> Result<(), zmq::Error> {
    set_common_options(router)?;
    // Without it a message to a lost or full peer vanishes without a word (mdp.md §11.3).
    router.set_router_mandatory(true)?;
    // A restarted peer with a fixed identity must not be locked out (mdp.md §11.4).
    router.set_router_handover(true)?;
    router.set_sndhwm(config.queue_per_peer)?;
    router.set_rcvhwm(config.queue_per_peer)?;
    router.set_maxmsgsize(config.frame_bytes_max)?;
    router.set_backlog(1024)?;
    router.set_ipv6(endpoints.iter().any(|endpoint| endpoint.contains('[')))?;
    router.set_linger(i32::try_from(config.linger.as_millis()).unwrap_or(i32::MAX))
}

pub(super) fn bind(router: &zmq::Socket, endpoint: &str) -> Result<String, StartError> {
    // libzmq would replace the socket file of another broker without a word (mdp.md §15.1).
    if endpoint.strip_prefix("ipc://").is_some_and(|path| UnixStream::connect(path).is_ok()) {
        return Err(StartError::InUse(endpoint.to_owned()));
    }
    match router.bind(endpoint) {
        Ok(()) => {}
        Err(zmq::Error::EADDRINUSE) => return Err(StartError::InUse(endpoint.to_owned())),
        Err(source) => {
            return Err(StartError::Bind { endpoint: endpoint.to_owned(), source });
        }
    }
    match router.get_last_endpoint() {
        Ok(Ok(actual)) => Ok(actual),
        Ok(Err(_)) => Ok(endpoint.to_owned()),
        Err(source) => Err(StartError::Socket(source)),
    }
}

/// Says whether only this machine can connect to the endpoint.
fn is_private(endpoint: &str) -> bool {
    let Some(address) = endpoint.strip_prefix("tcp://") else {
        return true;
    };
    ["127.", "localhost:", "[::1]:", "lo:"].iter().any(|prefix| address.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_set_on_the_socket() {
        // Rule: mdp §15.2 — the options of the broker's ROUTER are those of the table
        let context = zmq::Context::new();
        let config = BrokerConfig::default();
        let lane = Lane::open(&context, &config, Side::Both, &["inproc://x".to_owned()]).unwrap();
        let it = &lane.router;
        assert_eq!((it.get_sndhwm(), it.get_rcvhwm()), (Ok(10_000), Ok(10_000)));
        assert_eq!(it.get_maxmsgsize(), Ok(64 << 20));
        assert_eq!((it.get_linger(), it.get_backlog()), (Ok(1000), Ok(1024)));
        assert_eq!(it.get_handshake_ivl(), Ok(10_000));
        assert_eq!((it.get_heartbeat_ivl(), it.get_heartbeat_timeout()), (Ok(5000), Ok(15_000)));
        assert_eq!(it.get_heartbeat_ttl(), Ok(0));
        assert_eq!((it.get_tcp_keepalive(), it.get_tcp_keepalive_idle()), (Ok(1), Ok(60)));
        assert_eq!((it.get_tcp_keepalive_intvl(), it.get_tcp_keepalive_cnt()), (Ok(10), Ok(3)));
        // ROUTER_MANDATORY cannot be read back: an unknown peer is an error because of it.
        let sent = it.send_multipart(["nobody", ""], zmq::DONTWAIT);
        assert_eq!(sent, Err(zmq::Error::EHOSTUNREACH));
    }

    #[test]
    fn only_loopback_is_private() {
        for endpoint in ["tcp://127.0.0.1:5555", "tcp://[::1]:1", "tcp://localhost:0", "ipc:///x"] {
            assert!(is_private(endpoint), "{endpoint}");
        }
        for endpoint in
            ["tcp://*:5555", "tcp://0.0.0.0:5555", "tcp://10.0.0.1:5555", "tcp://[::]:1"]
        {
            assert!(!is_private(endpoint), "{endpoint}");
        }
    }
}
