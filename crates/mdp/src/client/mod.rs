//! A client: many requests in flight over one DEALER socket.
//!
//! MDP has no negative reply: an unknown service, a full queue and a lost worker all look like
//! silence, which ends as [`ClientError::Timeout`] (mdp.md §8.4).

mod conversation;
mod io;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

pub use conversation::Correlation;
pub(crate) use io::dial;

use crate::io::{Clock, WakeOnDrop, wake_pair};
use crate::security::ClientCurve;
use crate::service_name::ServiceNameError;
use crate::wire::Version;
use crate::{Frames, ServiceName};
use conversation::Conversation;
use io::Command;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No answer came in time; the service may not exist.
    #[error("no answer came in time")]
    Timeout,
    /// Too many requests are in flight, or the broker takes none.
    #[error("too many requests are in flight")]
    QueueFull,
    /// The parts of the answer are larger than allowed.
    #[error("the answer is larger than allowed")]
    AnswerTooLarge,
    /// The client is disconnected.
    #[error("the client is disconnected")]
    Disconnected,
    /// The name is none.
    #[error("the service name is not valid")]
    ServiceName(#[source] ServiceNameError),
    /// The socket cannot be set up.
    #[error("cannot set up the socket")]
    Socket(#[source] zmq::Error),
    /// The thread cannot be started.
    #[error("cannot start the client's thread")]
    Thread(#[source] std::io::Error),
}

/// Settings of a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    endpoint: String,
    version: Version,
    correlation: Correlation,
    in_flight_max: usize,
    answer_bytes_max: usize,
    curve: Option<ClientCurve>,
}

impl ClientBuilder {
    /// Sets the broker's address; default `tcp://127.0.0.1:5555`.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = endpoint.into();
        self
    }

    /// Sets the protocol version; default MDP/0.1.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Sets how answers find their requests; default [`Correlation::Correlated`].
    #[must_use]
    pub fn correlation(mut self, correlation: Correlation) -> Self {
        self.correlation = correlation;
        self
    }

    /// Sets how many requests may be in flight; default 10 000. More are refused.
    #[must_use]
    pub fn in_flight_max(mut self, requests: usize) -> Self {
        self.in_flight_max = requests.max(1);
        self
    }

    /// Sets how many bytes of PARTIALs are kept for one answer; default 64 MiB. An answer beyond
    /// it fails.
    #[must_use]
    pub fn answer_bytes_max(mut self, bytes: usize) -> Self {
        self.answer_bytes_max = bytes;
        self
    }

    /// Sets the CURVE keys; default none.
    #[must_use]
    pub fn curve(mut self, keys: ClientCurve) -> Self {
        self.curve = Some(keys);
        self
    }

    /// Starts the client. The connection is made, and made again, in the background.
    ///
    /// # Errors
    ///
    /// [`ClientError::Socket`] for an endpoint or keys libzmq does not take,
    /// [`ClientError::Thread`] when no thread can be started.
    pub fn connect(self) -> Result<Client, ClientError> {
        let context = zmq::Context::new();
        let line = io::Line::open(context, self.endpoint.clone(), self.curve)
            .map_err(ClientError::Socket)?;
        let (waker, wake_source) = wake_pair().map_err(ClientError::Thread)?;
        let (commands, queue) = mpsc::channel(self.in_flight_max.min(4096));
        let conversation = Conversation::new(
            self.version,
            self.correlation,
            self.in_flight_max,
            self.answer_bytes_max,
        );
        let thread = io::IoThread::new(line, conversation, Clock::start(), wake_source, queue);
        std::thread::Builder::new()
            .name("mdp-client".to_owned())
            .spawn(move || thread.run())
            .map_err(ClientError::Thread)?;
        let waker = WakeOnDrop(Arc::new(waker));
        let shared = Shared { commands, endpoint: self.endpoint, waker };
        Ok(Client { shared: Arc::new(shared) })
    }
}

/// The sender drops before the wake-up, so that the thread sees an ended queue when it looks.
#[derive(Debug)]
struct Shared {
    commands: mpsc::Sender<Command>,
    endpoint: String,
    waker: WakeOnDrop,
}

/// A connection to a broker; clones share it. The last clone dropped ends it.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

impl Client {
    /// Begins to configure a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder {
            endpoint: "tcp://127.0.0.1:5555".to_owned(),
            version: Version::V01,
            correlation: Correlation::default(),
            in_flight_max: 10_000,
            answer_bytes_max: 64 << 20,
            curve: None,
        }
    }

    /// Returns the broker's address as given.
    pub fn endpoint(&self) -> &str {
        &self.shared.endpoint
    }

    /// Sends a request and waits for its answer, at most `timeout`. PARTIALs come in front of the
    /// frames of the final reply.
    ///
    /// # Errors
    ///
    /// - [`ClientError::Timeout`] when no answer came, for whatever reason.
    /// - [`ClientError::QueueFull`] when too much is in flight.
    /// - [`ClientError::AnswerTooLarge`] when the PARTIALs exceed the bound.
    /// - [`ClientError::ServiceName`] for a name that mdp.md §7 does not allow.
    /// - [`ClientError::Disconnected`] when the client's thread is gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the answer up; the request runs all the same.
    pub async fn request(
        &self,
        service: &str,
        body: impl Into<Frames>,
        timeout: Duration,
    ) -> Result<Frames, ClientError> {
        let answer = self.submit(service, body.into(), timeout)?;
        answer.await.unwrap_or(Err(ClientError::Disconnected))
    }

    /// Does what [`Self::request`] does, blocking the thread; not for async contexts.
    ///
    /// # Errors
    ///
    /// Those of [`Self::request`].
    ///
    /// # Panics
    ///
    /// When called on a thread that runs async tasks.
    pub fn request_blocking(
        &self,
        service: &str,
        body: impl Into<Frames>,
        timeout: Duration,
    ) -> Result<Frames, ClientError> {
        let answer = self.submit(service, body.into(), timeout)?;
        answer.blocking_recv().unwrap_or(Err(ClientError::Disconnected))
    }

    fn submit(
        &self,
        service: &str,
        body: Frames,
        timeout: Duration,
    ) -> Result<oneshot::Receiver<Result<Frames, ClientError>>, ClientError> {
        let service = ServiceName::parse(service.as_bytes()).map_err(ClientError::ServiceName)?;
        let (reply, answer) = oneshot::channel();
        match self.shared.commands.try_send(Command { service, body, timeout, reply }) {
            Ok(()) => {
                self.shared.waker.0.wake();
                Ok(answer)
            }
            Err(TrySendError::Full(_)) => Err(ClientError::QueueFull),
            Err(TrySendError::Closed(_)) => Err(ClientError::Disconnected),
        }
    }
}
