//! The Majordomo broker.

use std::time::Duration;

use buswire_mdp::{
    BrokerHandle, Frames, RequestError, ServiceName,
    core::{AdminError as BrokerError, Dismissal, ServiceInfo, WorkerId, WorkerInfo},
};
use bytes::Bytes;
use futures::future::BoxFuture;

use crate::admin::ports::{AdminError, BrokerAdmin, Missing};

/// Administers the broker.
#[derive(Debug)]
pub(crate) struct BrokerPort(pub(crate) BrokerHandle);

impl BrokerAdmin for BrokerPort {
    fn services(&self) -> BoxFuture<'_, Result<Vec<ServiceInfo>, AdminError>> {
        Box::pin(async move { Ok(self.0.services().await) })
    }

    fn set_paused<'a>(
        &'a self,
        service: &'a str,
        paused: bool,
    ) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let name = parse(service)?;
            let done = if paused { self.0.pause(&name).await } else { self.0.resume(&name).await };
            done.map_err(refusal)
        })
    }

    fn workers(&self) -> BoxFuture<'_, Result<Vec<WorkerInfo>, AdminError>> {
        Box::pin(async move { Ok(self.0.workers().await) })
    }

    fn dismiss(&self, id: WorkerId, when: Dismissal) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            let done = match when {
                Dismissal::Drain => self.0.drain_worker(id).await,
                Dismissal::Now => self.0.disconnect_worker(id).await,
            };
            done.map_err(refusal)
        })
    }

    fn request<'a>(
        &'a self,
        service: &'a str,
        frames: Vec<Bytes>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Vec<Bytes>, AdminError>> {
        Box::pin(async move {
            let answer = self.0.request(&parse(service)?, Frames::from(frames), timeout).await;
            answer.map(|frames| frames.into_iter().collect()).map_err(failure)
        })
    }
}

fn parse(service: &str) -> Result<ServiceName, AdminError> {
    service.parse().map_err(|error: buswire_mdp::ServiceNameError| {
        AdminError::invalid(format!("name: {error}"))
    })
}

fn refusal(error: BrokerError) -> AdminError {
    let text = error.to_string();
    match error {
        BrokerError::Reserved => AdminError::invalid(text),
        BrokerError::ServicesFull => AdminError::TooMany(text),
        BrokerError::UnknownWorker => {
            AdminError::NotFound(Missing::new("worker", String::new()).told(text))
        }
        _ => AdminError::Unavailable(text),
    }
}

fn failure(error: RequestError) -> AdminError {
    let text = error.to_string();
    match error {
        RequestError::Timeout => AdminError::TimedOut(text),
        RequestError::QueueFull => AdminError::TooMany(text),
        _ => AdminError::Unavailable(text),
    }
}
