//! A worker: a handler registered for one service.
//!
//! The socket is served by a thread of its own, so heartbeats go on while the handler works
//! (mdp.md §11.5). With a concurrency of n there are n such threads for each broker, each a worker
//! of its own to it, since MDP gives a worker one request at a time.

mod handler;
mod io;
mod responder;
mod session;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use tokio::sync::oneshot;

pub use responder::{Responder, Unwanted};

use crate::brokers::Brokers;
use crate::dialer::{Dialer, FRAME_BYTES_MAX, QUEUE_MAX};
use crate::io::{Clock, random_u64, wake_pair};
use crate::security::{ClientCurve, has_curve};
use crate::service_name::is_mmi;
use crate::wire::{Shape, Version};
use crate::{Frames, ServiceName};
use handler::Handler;
use io::{ANSWERS_MAX, Jobs, StopFlag};
use session::{Session, Tunables};

/// What a handler made of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// This is the answer.
    Reply(Frames),
    /// Somebody else shall do it: the worker leaves and comes back, and the broker hands the
    /// request to another one (mdp.md §10).
    Reject,
}

impl From<Frames> for Outcome {
    fn from(frames: Frames) -> Self {
        Self::Reply(frames)
    }
}

/// Why a worker does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkerError {
    /// No handler was given.
    #[error("a worker needs a handler")]
    NoHandler,
    /// An async handler was given and the worker is started outside a tokio runtime.
    #[error("an async handler needs a tokio runtime to run in")]
    NoRuntime,
    /// Names beginning with `mmi.` are the broker's own.
    #[error("names beginning with mmi. are the broker's own")]
    Reserved,
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
    /// A thread cannot be started.
    #[error("cannot start the worker's thread")]
    Thread(#[source] std::io::Error),
}

/// Settings of a [`Worker`].
#[derive(Clone)]
pub struct WorkerBuilder {
    service: ServiceName,
    brokers: Brokers,
    tunables: Tunables,
    concurrency: usize,
    frame_bytes_max: i64,
    curve: Option<ClientCurve>,
    handler: Option<Handler>,
}

impl std::fmt::Debug for WorkerBuilder {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("WorkerBuilder")
            .field("service", &self.service)
            .field("brokers", &self.brokers)
            .finish_non_exhaustive()
    }
}

impl WorkerBuilder {
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

    /// Serves several brokers at once, live/live (mdp.md §12.7): each gets a worker of its own.
    #[must_use]
    pub fn endpoints<T: Into<String>>(mut self, endpoints: impl IntoIterator<Item = T>) -> Self {
        self.brokers.set_endpoints(endpoints.into_iter().map(Into::into).collect());
        self
    }

    /// Sets protocol version and shape; default MDP/0.1, delimited. Bare 0.1 does not exist, so
    /// the shape counts for 0.2 only.
    #[must_use]
    pub fn dialect(mut self, version: Version, shape: Shape) -> Self {
        self.tunables.version = version;
        self.tunables.shape = if version == Version::V01 { Shape::Delimited } else { shape };
        self
    }

    /// Sets how many requests of each broker are worked on at once; default 1. Each costs a thread,
    /// and one more for a handler that may block.
    #[must_use]
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests.max(1);
        self
    }

    /// Sets how often the broker hears of the worker; default 1000 ms, at least 1 ms.
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.tunables.heartbeat_interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Sets after how much silence an idle worker takes the broker for gone; default 7500 ms.
    #[must_use]
    pub fn broker_expiry(mut self, expiry: Duration) -> Self {
        self.tunables.broker_expiry = expiry;
        self
    }

    /// Sets the first and the longest delay before connecting again; default 1 s, doubling to
    /// 32 s, each lengthened by up to a quarter at random.
    #[must_use]
    pub fn reconnect(mut self, first: Duration, longest: Duration) -> Self {
        self.tunables.reconnect_first = first;
        self.tunables.reconnect_longest = longest;
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

    /// Sets what answers the requests. It runs in a thread of its own and may block; a panic
    /// rejects the request.
    #[must_use]
    pub fn handler<R: Into<Outcome>>(
        self,
        handler: impl Fn(Frames) -> R + Send + Sync + 'static,
    ) -> Self {
        self.streaming_handler(move |request, responder| {
            let outcome = handler(request).into();
            finish(responder, outcome);
        })
    }

    /// Sets what answers the requests in parts, or later, or from elsewhere: the [`Responder`] may
    /// be moved to another thread or task. The handler runs as that of [`Self::handler`] does.
    #[must_use]
    pub fn streaming_handler(
        mut self,
        handler: impl Fn(Frames, Responder) + Send + Sync + 'static,
    ) -> Self {
        self.handler = Some(Handler::Blocking(Arc::new(handler)));
        self
    }

    /// Sets a future that answers the requests. It runs as a task of the runtime in which the
    /// worker is started and must not block; a panic rejects the request.
    #[must_use]
    pub fn async_handler<R, F>(
        mut self,
        handler: impl Fn(Frames) -> F + Send + Sync + 'static,
    ) -> Self
    where
        R: Into<Outcome>,
        F: Future<Output = R> + Send + 'static,
    {
        self.handler = Some(Handler::Async(Arc::new(move |request, responder| {
            let answer = handler(request);
            Box::pin(async move { finish(responder, answer.await.into()) })
        })));
        self
    }

    /// Connects and registers in the background, and again whenever the broker was lost.
    ///
    /// # Errors
    ///
    /// A [`WorkerError`] when a setting is missing or wrong. A broker that is not there is no
    /// error: the worker waits for it.
    pub fn start(self) -> Result<Worker, WorkerError> {
        let handler = self.handler.clone().ok_or(WorkerError::NoHandler)?;
        if is_mmi(self.service.as_bytes()) {
            return Err(WorkerError::Reserved);
        }
        if self.curve.is_some() && !has_curve() {
            return Err(WorkerError::NoCurve);
        }
        let mut worker = Worker { lanes: Vec::new() };
        for endpoint in self.brokers.endpoints() {
            for _ in 0..self.concurrency {
                worker.lanes.push(self.start_lane(&endpoint, handler.clone())?);
            }
        }
        Ok(worker)
    }

    fn start_lane(&self, endpoint: &str, handler: Handler) -> Result<Lane, WorkerError> {
        let (waker, wake_source) = wake_pair().map_err(WorkerError::Thread)?;
        let waker = Arc::new(waker);
        let stop = StopFlag::new(Arc::clone(&waker));
        let (sender, answers) = sync_channel(ANSWERS_MAX);
        let wanted = Arc::new(AtomicBool::new(false));
        let jobs = Jobs { runner: handler.start()?, answers, sender, waker, wanted };
        let dialer = Dialer::new(self.curve.clone(), self.frame_bytes_max, QUEUE_MAX);
        // Connected here, so that a wrong address or key is an error and not silence.
        let spare = dialer
            .dial(endpoint)
            .map_err(|source| WorkerError::Connect { endpoint: endpoint.to_owned(), source })?;
        let (done, ended) = oneshot::channel();
        let thread = io::IoThread {
            session: Session::new(self.service.clone(), self.tunables.clone(), random_u64()),
            clock: Clock::start(),
            wakes: wake_source,
            stop: stop.clone(),
            jobs,
            socket: None,
            spare: Some(spare),
            endpoint: endpoint.to_owned(),
            dialer,
            stalled_since: None,
        };
        std::thread::Builder::new()
            .name("mdp-worker".to_owned())
            .spawn(move || {
                thread.run();
                drop(done);
            })
            .map_err(WorkerError::Thread)?;
        Ok(Lane { stop, ended })
    }
}

fn finish(responder: Responder, outcome: Outcome) {
    match responder.finish(outcome) {
        // The socket's thread discards what nobody waits for.
        Ok(()) | Err(Unwanted) => {}
    }
}

/// Tells a worker to stop, from anywhere.
#[derive(Clone, Debug)]
pub struct WorkerStop(Vec<StopFlag>);

impl WorkerStop {
    /// Asks the worker to finish the request in hand, to sign off and to end.
    pub fn stop(&self) {
        self.0.iter().for_each(StopFlag::raise);
    }
}

/// A running worker. Dropped, it stops in the background as [`Worker::stop`] does.
#[derive(Debug)]
pub struct Worker {
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    stop: StopFlag,
    ended: oneshot::Receiver<()>,
}

impl Worker {
    /// Begins to configure a worker for a service.
    pub fn builder(service: ServiceName) -> WorkerBuilder {
        WorkerBuilder {
            service,
            brokers: Brokers::default(),
            tunables: Tunables::default(),
            concurrency: 1,
            frame_bytes_max: FRAME_BYTES_MAX,
            curve: None,
            handler: None,
        }
    }

    /// Returns what stops the worker from elsewhere.
    pub fn stopper(&self) -> WorkerStop {
        WorkerStop(self.lanes.iter().map(|lane| lane.stop.clone()).collect())
    }

    /// Finishes the requests in hand, sends DISCONNECT and waits for the end (mdp.md §8.10): until
    /// every [`Responder`] is answered or dropped.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the worker stops all the same.
    pub async fn stop(self) {
        self.stopper().stop();
        self.ended().await;
    }

    /// Waits until a [`WorkerStop`] ended the worker.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the worker in the background.
    pub async fn ended(mut self) {
        for lane in &mut self.lanes {
            // The sender is dropped at the very end of the thread.
            match (&mut lane.ended).await {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.lanes.iter().for_each(|lane| lane.stop.raise());
    }
}
