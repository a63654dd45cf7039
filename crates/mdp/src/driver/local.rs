//! Services of this process, run on a tokio runtime.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::config::BrokerConfig;
use super::handle::Command;
use crate::core::{Access, CallId, LocalId, RequestError};
use crate::io::Waker;
use crate::{Frames, ServiceName};

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A request to a service of this process.
#[derive(Debug, Clone)]
pub struct LocalRequest {
    /// The service asked for.
    pub service: ServiceName,
    /// The body.
    pub frames: Frames,
    /// The public CURVE key of the caller's connection in Z85; `None` without CURVE, and for a
    /// caller in this process.
    pub user: Option<Arc<str>>,
    pub(super) access: Option<Arc<Access>>,
}

impl LocalRequest {
    /// Says whether the caller may call a service of this name: for a service that calls others in
    /// its caller's stead, so that nobody reaches through it what is closed to them (mdp.md §14.2).
    pub fn may_call(&self, service: &ServiceName) -> bool {
        let may = |access: &Arc<Access>| access.may_call(self.user.as_deref(), service.as_bytes());
        self.access.as_ref().is_none_or(may)
    }
}

/// A service of this process.
pub trait LocalService: Send + Sync {
    /// Answers one request. The body's meaning, failures included, is the service's own.
    ///
    /// Runs on the broker's runtime, at most `local_calls_max` at once; dropped at
    /// `local_call_timeout`. A panic makes the request lost.
    fn call(&self, request: LocalRequest) -> BoxFuture<'static, Frames>;
}

/// The broker thread's record of this process's services, calls and callers.
pub(super) struct Callers {
    runtime: Option<Handle>,
    services: HashMap<ServiceName, Arc<dyn LocalService>>,
    /// Bounded by the core: it hands out no more calls than a service has slots.
    calls: JoinSet<()>,
    waiting: HashMap<LocalId, oneshot::Sender<Result<Frames, RequestError>>>,
    commands: mpsc::WeakSender<Command>,
    waker: Arc<Waker>,
    pub(super) slots: u32,
    timeout: Duration,
}

impl Callers {
    pub(super) fn new(
        config: &BrokerConfig,
        commands: mpsc::WeakSender<Command>,
        waker: Arc<Waker>,
    ) -> Self {
        Self {
            runtime: config.runtime.clone().or_else(|| Handle::try_current().ok()),
            services: HashMap::new(),
            calls: JoinSet::new(),
            waiting: HashMap::new(),
            commands,
            waker,
            slots: config.local_calls_max.max(1),
            timeout: config.local_call_timeout,
        }
    }

    /// Notes a service; says whether it can ever run.
    pub(super) fn add(&mut self, name: ServiceName, service: Arc<dyn LocalService>) -> bool {
        if self.runtime.is_none() {
            return false;
        }
        self.services.insert(name, service);
        true
    }

    pub(super) fn wait(
        &mut self,
        id: LocalId,
        reply: oneshot::Sender<Result<Frames, RequestError>>,
    ) {
        self.waiting.insert(id, reply);
    }

    pub(super) fn forget(&mut self, id: LocalId) {
        self.waiting.remove(&id);
    }

    pub(super) fn answer(&mut self, id: LocalId, result: Result<Frames, RequestError>) {
        if let Some(reply) = self.waiting.remove(&id) {
            // A caller that went away in the meantime wants no answer.
            match reply.send(result) {
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Starts a call; `false` when there is nothing to run it.
    pub(super) fn call(&mut self, call: CallId, request: LocalRequest) -> bool {
        while self.calls.try_join_next().is_some() {}
        let (Some(runtime), Some(service), Some(commands)) =
            (&self.runtime, self.services.get(&request.service).cloned(), self.commands.upgrade())
        else {
            return false;
        };
        let (waker, timeout) = (Arc::clone(&self.waker), self.timeout);
        let work = async move {
            let answer = tokio::time::timeout(timeout, guarded(service, request)).await;
            let answer = answer.ok().flatten();
            // The broker's thread is gone when this fails, and the request with it.
            if commands.send(Command::CallEnded(call, answer)).await.is_ok() {
                waker.wake();
            }
        };
        self.calls.spawn_on(work, runtime);
        true
    }
}

/// Runs a call; `None` when it panicked.
async fn guarded(service: Arc<dyn LocalService>, request: LocalRequest) -> Option<Frames> {
    let mut call = catch_unwind(AssertUnwindSafe(|| service.call(request))).ok()?;
    poll_fn(move |context| match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(context))) {
        Ok(Poll::Ready(frames)) => Poll::Ready(Some(frames)),
        Ok(Poll::Pending) => Poll::Pending,
        Err(_) => Poll::Ready(None),
    })
    .await
}
