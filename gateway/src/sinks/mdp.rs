//! `mdp:`: requests a service of the broker, whose answer is the reply.

use std::time::Duration;

use buswire_bridge::{Reply, Sink, SinkDelivery, SinkError};
use buswire_mdp::{RequestError, ServiceName};
use buswire_store::BoxFuture;

use crate::{
    requests::Requests,
    translate::{Answer, answer_of, frames_of},
};

/// Longer than any attempt of a route; the route gives up first.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Requests a service.
#[derive(Debug)]
pub(crate) struct MdpSink {
    requests: Requests,
    service: ServiceName,
}

impl MdpSink {
    pub(crate) const fn new(requests: Requests, service: ServiceName) -> Self {
        Self { requests, service }
    }
}

impl Sink for MdpSink {
    fn deliver(&self, delivery: SinkDelivery) -> BoxFuture<'_, Result<Option<Reply>, SinkError>> {
        Box::pin(async move {
            let frames = frames_of(&delivery.message);
            let trace = Some(delivery.traceparent);
            match self.requests.ask(trace, &self.service, frames, TIMEOUT).await {
                Ok(frames) => match answer_of(&frames) {
                    Answer::Body(reply) => Ok(Some(reply)),
                    Answer::Failed(text) => Err(SinkError::Answered(text)),
                },
                Err(error) => Err(failure(error)),
            }
        })
    }
}

fn failure(error: RequestError) -> SinkError {
    SinkError::Retry(error.to_string())
}
