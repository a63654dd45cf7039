//! `push:`: tells a SimplePush endpoint of a new version, the message's own.

use buswire_bridge::{Reply, Sink, SinkDelivery, SinkError};
use buswire_message::{Secret, Version};
use buswire_simplepush::{NotifyError, SimplePush};
use buswire_store::BoxFuture;

/// Notifies one endpoint.
#[derive(Debug)]
pub(crate) struct PushSink {
    push: SimplePush,
    endpoint: Secret<String>,
}

impl PushSink {
    pub(crate) const fn new(push: SimplePush, endpoint: Secret<String>) -> Self {
        Self { push, endpoint }
    }
}

impl Sink for PushSink {
    fn deliver(&self, delivery: SinkDelivery) -> BoxFuture<'_, Result<Option<Reply>, SinkError>> {
        Box::pin(async move {
            let version = Version::of_message(delivery.message.id);
            match self.push.notify(self.endpoint.expose(), Some(version)).await {
                Ok(_) => Ok(None),
                Err(error) => Err(failure(error)),
            }
        })
    }
}

fn failure(error: NotifyError) -> SinkError {
    let text = error.to_string();
    match error {
        NotifyError::NotAnEndpoint | NotifyError::Gone => SinkError::Reject(text),
        _ => SinkError::Retry(text),
    }
}
