//! The handler of a worker, and where it runs: a thread of its own, or a runtime.
//!
//! Never in here: the protocol, a socket.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::WorkerError;
use super::responder::Responder;
use crate::{BoxFuture, Frames};

type Blocking = Arc<dyn Fn(Frames, Responder) + Send + Sync>;
type Async = Arc<dyn Fn(Frames, Responder) -> BoxFuture<'static, ()> + Send + Sync>;

/// What answers the requests. Whatever happens to the responder it is given is the answer; a panic
/// drops it.
#[derive(Clone)]
pub(super) enum Handler {
    Blocking(Blocking),
    Async(Async),
}

impl Handler {
    /// Makes the handler ready to run.
    pub(super) fn start(self) -> Result<Runner, WorkerError> {
        match self {
            Self::Blocking(handler) => {
                start_thread(handler).map(Runner::Thread).map_err(WorkerError::Thread)
            }
            Self::Async(handler) => {
                let runtime = Handle::try_current().map_err(|_| WorkerError::NoRuntime)?;
                Ok(Runner::Tasks { handler, runtime, tasks: JoinSet::new() })
            }
        }
    }
}

/// A handler at work. A worker has one request at a time, so one place in the queue is enough.
pub(super) enum Runner {
    Thread(SyncSender<(Frames, Responder)>),
    Tasks { handler: Async, runtime: Handle, tasks: JoinSet<()> },
}

impl Runner {
    /// Gives the handler a request. A handler that is gone rejects it by dropping the responder.
    pub(super) fn run(&mut self, body: Frames, responder: Responder) {
        match self {
            Self::Thread(queue) => {
                if queue.send((body, responder)).is_err() {
                    tracing::error!("the worker's handler thread is gone");
                }
            }
            Self::Tasks { handler, runtime, tasks } => {
                while tasks.try_join_next().is_some() {}
                let handler = Arc::clone(handler);
                tasks.spawn_on(async move { handler(body, responder).await }, runtime);
            }
        }
    }
}

fn start_thread(handler: Blocking) -> std::io::Result<SyncSender<(Frames, Responder)>> {
    let (queue, jobs) = sync_channel::<(Frames, Responder)>(1);
    std::thread::Builder::new().name("mdp-handler".to_owned()).spawn(move || {
        // Ends when the socket's thread drops its end.
        while let Ok((body, responder)) = jobs.recv() {
            match catch_unwind(AssertUnwindSafe(|| handler(body, responder))) {
                // The unwound responder has rejected the request.
                Ok(()) | Err(_) => {}
            }
        }
    })?;
    Ok(queue)
}
