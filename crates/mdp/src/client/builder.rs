//! How a client is configured and started.

use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::conversation::{Conversation, Settings};
use super::io::{IoThread, Line};
use super::{Client, ClientError, Correlation, Retries, Shared};
use crate::brokers::Brokers;
use crate::dialer::{Dialer, FRAME_BYTES_MAX, QUEUE_MAX};
use crate::io::{Clock, Inbox, WakeOnDrop, random_u64, wake_pair};
use crate::security::{ClientCurve, has_curve};
use crate::wire::Version;

/// Settings of a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    brokers: Brokers,
    version: Version,
    correlation: Correlation,
    timeout: Duration,
    retries: Retries,
    broker_patience: Duration,
    connect_patience: Option<Duration>,
    in_flight_max: usize,
    answer_bytes_max: usize,
    stream_parts_max: usize,
    frame_bytes_max: i64,
    curve: Option<ClientCurve>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            brokers: Brokers::default(),
            version: Version::V01,
            correlation: Correlation::default(),
            timeout: Duration::from_secs(3),
            retries: Retries::default(),
            broker_patience: Duration::from_secs(10),
            connect_patience: None,
            in_flight_max: 10_000,
            answer_bytes_max: 64 << 20,
            stream_parts_max: 256,
            frame_bytes_max: FRAME_BYTES_MAX,
            curve: None,
        }
    }
}

impl ClientBuilder {
    /// Sets the broker's host; default `127.0.0.1`.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.brokers.set_host(host.into());
        self
    }

    /// Sets the broker's port; default 5555.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.brokers.set_port(port);
        self
    }

    /// Sets the broker's address in libzmq's notation, in place of host and port.
    #[must_use]
    pub fn endpoint(self, endpoint: impl Into<String>) -> Self {
        self.endpoints([endpoint])
    }

    /// Sets the addresses of several brokers (mdp.md §12.7). One is used at a time; see
    /// [`Self::broker_patience`].
    #[must_use]
    pub fn endpoints<T: Into<String>>(mut self, endpoints: impl IntoIterator<Item = T>) -> Self {
        self.brokers.set_endpoints(endpoints.into_iter().map(Into::into).collect());
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

    /// Sets how long a request waits for its answer, retries included, where none is given with
    /// it; default 3000 ms.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how requests without answer are sent again; default not at all. A number stands for
    /// that many retries with the times of [`Retries::default`].
    #[must_use]
    pub fn retries(mut self, retries: impl Into<Retries>) -> Self {
        self.retries = retries.into();
        self
    }

    /// Sets how long one of several brokers may be asked in vain before the next is used; default
    /// 10 s, which should not be shorter than a broker takes to restart. What may still be sent
    /// again is sent to the next one at once.
    #[must_use]
    pub fn broker_patience(mut self, patience: Duration) -> Self {
        self.broker_patience = patience;
        self
    }

    /// Lets [`Self::connect`] wait until a connection was made, at most `patience` for each
    /// endpoint; default it does not wait. Of several brokers the first that is reached is used.
    #[must_use]
    pub fn wait_for_connection(mut self, patience: Duration) -> Self {
        self.connect_patience = Some(patience);
        self
    }

    /// Sets how many requests may be in flight; default 10 000. More are refused.
    #[must_use]
    pub fn in_flight_max(mut self, requests: usize) -> Self {
        self.in_flight_max = requests.max(1);
        self
    }

    /// Sets how many bytes of PARTIALs are kept for one answer; default 64 MiB. An answer beyond
    /// it fails. Streams keep none.
    #[must_use]
    pub fn answer_bytes_max(mut self, bytes: usize) -> Self {
        self.answer_bytes_max = bytes;
        self
    }

    /// Sets how many parts a stream keeps for a reader that is behind; default 256. One more ends
    /// the stream with [`ClientError::SlowReader`].
    #[must_use]
    pub fn stream_parts_max(mut self, parts: usize) -> Self {
        self.stream_parts_max = parts.max(1);
        self
    }

    /// Sets how many bytes one frame of the broker may have; default 64 MiB. Beyond it the connection
    /// is closed.
    #[must_use]
    pub fn frame_bytes_max(mut self, bytes: u32) -> Self {
        self.frame_bytes_max = bytes.into();
        self
    }

    /// Sets the CURVE keys; default none.
    #[must_use]
    pub fn curve(mut self, keys: ClientCurve) -> Self {
        self.curve = Some(keys);
        self
    }

    /// Starts the client. The connection is made, and made again, in the background; with
    /// [`Self::wait_for_connection`] the thread blocks until it was made once.
    ///
    /// # Errors
    ///
    /// - [`ClientError::NoCurve`] for keys without a libzmq that knows them.
    /// - [`ClientError::Connect`] for an endpoint or keys libzmq does not take.
    /// - [`ClientError::NotConnected`] when no connection was made in time.
    /// - [`ClientError::Thread`] when no thread can be started.
    pub fn connect(self) -> Result<Client, ClientError> {
        if self.curve.is_some() && !has_curve() {
            return Err(ClientError::NoCurve);
        }
        let endpoints: Arc<[String]> = self.brokers.endpoints().into();
        let current = Arc::new(AtomicUsize::new(0));
        // Room for all that is in flight, so that a full queue means a broker that takes nothing.
        let queue_max = i32::try_from(self.in_flight_max).unwrap_or(i32::MAX).max(QUEUE_MAX);
        let line = Line::open(
            Arc::clone(&endpoints),
            Arc::clone(&current),
            Dialer::new(self.curve, self.frame_bytes_max, queue_max),
            self.connect_patience,
        )?;
        let (waker, wake_source) = wake_pair().map_err(ClientError::Thread)?;
        let (commands, queue) = mpsc::channel(self.in_flight_max.min(4096));
        let (open, closing) = oneshot::channel();
        let settings = Settings {
            version: self.version,
            correlation: self.correlation,
            in_flight_max: self.in_flight_max,
            answer_bytes_max: self.answer_bytes_max,
            retries: self.retries,
            brokers: endpoints.len(),
            broker: line.current(),
            broker_patience: self.broker_patience,
        };
        let thread = IoThread {
            line,
            conversation: Conversation::new(settings, random_u64()),
            clock: Clock::start(),
            wakes: wake_source,
            queue,
            closing,
            callers: HashMap::new(),
            inbox: Inbox::default(),
        };
        std::thread::Builder::new()
            .name("mdp-client".to_owned())
            .spawn(move || thread.run())
            .map_err(ClientError::Thread)?;
        let shared = Shared {
            commands,
            endpoints,
            current,
            open: Mutex::new(Some(open)),
            timeout: self.timeout,
            stream_parts_max: self.stream_parts_max,
            waker: WakeOnDrop(Arc::new(waker)),
        };
        Ok(Client { shared: Arc::new(shared) })
    }

    /// Does what [`Self::connect`] does, without blocking the task.
    ///
    /// # Errors
    ///
    /// Those of [`Self::connect`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; a client that was started ends by itself.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn connect_async(self) -> Result<Client, ClientError> {
        let connecting = tokio::task::spawn_blocking(move || self.connect());
        connecting.await.unwrap_or(Err(ClientError::Disconnected))
    }
}
