//! `bus:`: publishes on another bus, exactly once in effect.

use buswire_bridge::{Reply, Sink, SinkDelivery, SinkError};
use buswire_bus::{Buses, PublishError};
use buswire_message::{BusName, ChannelName, Headers, NewMessage};
use buswire_store::BoxFuture;

/// Publishes on a bus.
#[derive(Debug)]
pub(crate) struct BusSink {
    buses: Buses,
    bus: BusName,
    channel: Option<ChannelName>,
}

impl BusSink {
    pub(crate) const fn new(buses: Buses, bus: BusName, channel: Option<ChannelName>) -> Self {
        Self { buses, bus, channel }
    }
}

impl Sink for BusSink {
    fn deliver(&self, delivery: SinkDelivery) -> BoxFuture<'_, Result<Option<Reply>, SinkError>> {
        Box::pin(async move {
            let message = &delivery.message;
            let copy = NewMessage {
                channel: self.channel.clone().unwrap_or_else(|| message.channel.clone()),
                source: message.source.clone(),
                kind: message.kind.clone(),
                sticky: message.sticky,
                expires_at: None,
                payload: message.payload.clone(),
                headers: Headers {
                    traceparent: Some(delivery.traceparent),
                    via: delivery.via,
                    in_reply_to: message.headers.in_reply_to,
                    dedupe_key: Some(delivery.dedupe_key),
                    content_type: message.headers.content_type.clone(),
                    door: None,
                },
            };
            match self.buses.publish(&self.bus, copy).await {
                Ok(_) => Ok(None),
                Err(error) => Err(failure(&self.bus, &error)),
            }
        })
    }
}

/// Whether publishing the same again may work.
fn failure(bus: &BusName, error: &PublishError) -> SinkError {
    let text = format!("bus {bus}: {error}");
    match error {
        PublishError::Expiry(_)
        | PublishError::PayloadTooLarge { .. }
        | PublishError::ListTooLarge { .. }
        | PublishError::TooManyHops => SinkError::Reject(text),
        _ => SinkError::Retry(text),
    }
}
