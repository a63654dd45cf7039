//! A client: many requests in flight over one DEALER socket.
//!
//! MDP has no negative reply: an unknown service, a full queue and a lost worker all look like
//! silence, which ends as [`ClientError::Timeout`] (mdp.md §8.4).

mod builder;
mod conversation;
mod io;
mod message;
mod retries;
mod stream;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

pub use builder::ClientBuilder;
pub use conversation::Correlation;
pub use message::{ClientMessage, Reply, ReplyError, ReplyOptions};
pub use retries::Retries;
pub use stream::{ReplyIter, ReplyPart, ReplyStream};

use crate::io::WakeOnDrop;
use crate::service_name::ServiceNameError;
use crate::{Frames, ServiceName};
use conversation::Question;
use io::{Caller, Command};

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
    /// No connection was made in time.
    #[error("no broker could be reached at {0}")]
    NotConnected(String),
    /// The parts of the answer came faster than they were read.
    #[error("the parts of the answer came faster than they were read")]
    SlowReader,
    /// A broker answered `mmi.service` with something else than a status.
    #[error("the broker's answer is no MMI status")]
    NoStatus,
    /// The parts of the answer are larger than allowed.
    #[error("the answer is larger than allowed")]
    AnswerTooLarge,
    /// The client is disconnected.
    #[error("the client is disconnected")]
    Disconnected,
    /// The name is none.
    #[error("the service name is not valid")]
    ServiceName(#[source] ServiceNameError),
    /// CURVE keys were given and this libzmq has no CURVE.
    #[error("this libzmq was built without CURVE")]
    NoCurve,
    /// libzmq does not take the endpoint or the keys.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// The endpoint as given.
        endpoint: String,
        /// What libzmq says.
        #[source]
        source: zmq::Error,
    },
    /// The thread cannot be started.
    #[error("cannot start the client's thread")]
    Thread(#[source] std::io::Error),
}

/// What a broker says about a service (8/MMI).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmiStatus {
    /// 200: a worker is registered for it.
    Registered,
    /// 404: no worker is.
    NotRegistered,
    /// 501: the broker cannot say.
    NotImplemented,
}

impl MmiStatus {
    /// Returns the status of 8/MMI.
    pub fn code(self) -> u16 {
        match self {
            Self::Registered => 200,
            Self::NotRegistered => 404,
            Self::NotImplemented => 501,
        }
    }

    /// Reads the body of a reply; a text after the digits means nothing.
    fn parse(body: &Frames) -> Result<Self, ClientError> {
        match body.get(0).and_then(|frame| frame.get(..3)) {
            Some(b"200") => Ok(Self::Registered),
            Some(b"404") => Ok(Self::NotRegistered),
            Some(b"501") => Ok(Self::NotImplemented),
            Some(_) | None => Err(ClientError::NoStatus),
        }
    }
}

/// The sender drops before the wake-up, so that the thread sees an ended queue when it looks.
#[derive(Debug)]
struct Shared {
    commands: mpsc::Sender<Command>,
    endpoints: Arc<[String]>,
    current: Arc<AtomicUsize>,
    /// Until the client is disconnected.
    open: Mutex<Option<oneshot::Sender<()>>>,
    timeout: Duration,
    stream_parts_max: usize,
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
        ClientBuilder::default()
    }

    /// Returns the address of the broker in use.
    pub fn endpoint(&self) -> &str {
        let current = self.shared.current.load(Ordering::Relaxed);
        self.shared.endpoints.get(current).map_or("", String::as_str)
    }

    /// Disconnects this client and its clones: requests without answer end at once with
    /// [`ClientError::Disconnected`], and so do later ones.
    pub fn disconnect(self) {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(open.take());
        self.shared.waker.0.wake();
    }

    /// Sends a request and waits for its answer, at most `timeout`, or [`ClientBuilder::timeout`]
    /// for `None`. PARTIALs come in front of the frames of the final reply.
    ///
    /// # Errors
    ///
    /// - [`ClientError::Timeout`] when no answer came, for whatever reason.
    /// - [`ClientError::QueueFull`] when too much is in flight.
    /// - [`ClientError::AnswerTooLarge`] when the PARTIALs exceed the bound.
    /// - [`ClientError::ServiceName`] for a name that mdp.md §7 does not allow.
    /// - [`ClientError::Disconnected`] when the client is disconnected.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the answer up: the request is not sent again, but a try that was
    /// sent is not withdrawn, and holds its place in flight until its answer or its time ends.
    pub async fn send(
        &self,
        service: &str,
        body: impl Into<Frames>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Frames, ClientError> {
        let answer = self.submit(service, body.into(), timeout.into(), None)?;
        answer.await.unwrap_or(Err(ClientError::Disconnected))
    }

    /// Does what [`Self::send`] does, blocking the thread; not for async contexts.
    ///
    /// # Errors
    ///
    /// Those of [`Self::send`].
    ///
    /// # Panics
    ///
    /// When called on a thread that runs async tasks.
    pub fn send_blocking(
        &self,
        service: &str,
        body: impl Into<Frames>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Frames, ClientError> {
        let answer = self.submit(service, body.into(), timeout.into(), None)?;
        answer.blocking_recv().unwrap_or(Err(ClientError::Disconnected))
    }

    /// Sends a request and returns its answer part by part. The time limit is that of the whole
    /// answer. Only a client of 0.2 gets PARTIALs: to one of 0.1 a broker sends one reply.
    ///
    /// # Errors
    ///
    /// [`ClientError::QueueFull`], [`ClientError::ServiceName`] or [`ClientError::Disconnected`] as
    /// for [`Self::send`]; everything else comes from the stream.
    pub fn send_stream(
        &self,
        service: &str,
        body: impl Into<Frames>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<ReplyStream, ClientError> {
        let (sender, parts) = mpsc::channel(self.shared.stream_parts_max);
        let end = self.submit(service, body.into(), timeout.into(), Some(sender))?;
        Ok(ReplyStream::new(parts, end))
    }

    /// Does what [`Self::send_stream`] does, for threads that may block.
    ///
    /// # Errors
    ///
    /// Those of [`Self::send_stream`].
    pub fn send_stream_blocking(
        &self,
        service: &str,
        body: impl Into<Frames>,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<ReplyIter, ClientError> {
        self.send_stream(service, body, timeout).map(ReplyIter)
    }

    /// Asks the broker whether a worker is registered for `service` (8/MMI, `mmi.service`).
    ///
    /// # Errors
    ///
    /// Those of [`Self::send`], and [`ClientError::NoStatus`].
    ///
    /// # Cancel safety
    ///
    /// That of [`Self::send`].
    pub async fn mmi(
        &self,
        service: &ServiceName,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<MmiStatus, ClientError> {
        let name = service.as_bytes().clone();
        MmiStatus::parse(&self.send("mmi.service", name, timeout).await?)
    }

    /// Does what [`Self::mmi`] does, blocking the thread; not for async contexts.
    ///
    /// # Errors
    ///
    /// Those of [`Self::mmi`].
    ///
    /// # Panics
    ///
    /// When called on a thread that runs async tasks.
    pub fn mmi_blocking(
        &self,
        service: &ServiceName,
        timeout: impl Into<Option<Duration>>,
    ) -> Result<MmiStatus, ClientError> {
        let name = service.as_bytes().clone();
        MmiStatus::parse(&self.send_blocking("mmi.service", name, timeout)?)
    }

    fn submit(
        &self,
        service: &str,
        body: Frames,
        timeout: Option<Duration>,
        parts: Option<mpsc::Sender<Frames>>,
    ) -> Result<oneshot::Receiver<Result<Frames, ClientError>>, ClientError> {
        let service = ServiceName::parse(service.as_bytes()).map_err(ClientError::ServiceName)?;
        let timeout = timeout.unwrap_or(self.shared.timeout);
        let question = Question { service, body, timeout, streaming: parts.is_some() };
        let (end, answer) = oneshot::channel();
        let caller = Caller { parts, end };
        match self.shared.commands.try_send(Command { question, caller }) {
            Ok(()) => {
                self.shared.waker.0.wake();
                Ok(answer)
            }
            Err(TrySendError::Full(_)) => Err(ClientError::QueueFull),
            Err(TrySendError::Closed(_)) => Err(ClientError::Disconnected),
        }
    }
}
