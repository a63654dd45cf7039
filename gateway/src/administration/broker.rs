//! The Majordomo broker.

use std::time::Duration;

use buswire_mdp::{BrokerHandle, Frames, RequestError, ServiceName};
use bytes::Bytes;
use futures::future::BoxFuture;

use crate::admin::ports::{AdminError, BrokerAdmin, ServiceView};

/// Administers the broker.
#[derive(Debug)]
pub(crate) struct BrokerPort(pub(crate) BrokerHandle);

impl BrokerAdmin for BrokerPort {
    fn services(&self) -> BoxFuture<'_, Result<Vec<ServiceView>, AdminError>> {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Box::pin(async move {
            let services = self.0.services().await.into_iter();
            let views = services.map(|service| ServiceView {
                name: service.name.to_string(),
                workers: count(service.workers),
                idle: count(service.idle),
                queued: count(service.queued),
            });
            Ok(views.collect())
        })
    }

    fn request<'a>(
        &'a self,
        service: &'a str,
        frames: Vec<Bytes>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Vec<Bytes>, AdminError>> {
        Box::pin(async move {
            let name = service.parse::<ServiceName>();
            let name = name.map_err(|error| AdminError::Invalid(error.to_string()))?;
            let answer = self.0.request(&name, Frames::from(frames), timeout).await;
            answer.map(|frames| frames.into_iter().collect()).map_err(failure)
        })
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
