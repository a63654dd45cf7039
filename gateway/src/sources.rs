//! Where messages come from that no door publishes by itself: PUTs to inbound endpoints.
//!
//! Translates what an application server brought, publishes it, translates the result back. Never
//! here: HTTP, what an endpoint is.

use buswire_belay::{BusPublishTarget, CapServer, Handle, Standing};
use buswire_bus::{Buses, PublishError};
use buswire_message::{
    DedupeKey, Door, Headers, NewMessage, Payload, SecretHash, TraceParent, Version,
};
use buswire_simplepush::{ForeignEndpoints, NotifyError};
use buswire_store::BoxFuture;
use bytes::Bytes;
use serde_json::Map;

use crate::push::{
    hex,
    inbound::{Found, InboundEndpoint, InboundId, Inbounds},
};

/// The inbound endpoints, as SimplePush asks for them.
#[derive(Debug)]
pub(crate) struct PushSource {
    pub(crate) inbounds: Inbounds,
    pub(crate) buses: Buses,
    pub(crate) caps: CapServer,
}

impl ForeignEndpoints for PushSource {
    fn knows<'a>(&'a self, token: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move { matches!(self.inbounds.find(token).await, Ok(Found::Endpoint(..))) })
    }

    fn put<'a>(
        &'a self,
        token: &'a str,
        version: Option<Version>,
        data: Option<&'a str>,
        traceparent: Option<TraceParent>,
    ) -> BoxFuture<'a, Option<Result<(), NotifyError>>> {
        Box::pin(async move {
            match self.inbounds.find(token).await {
                Ok(Found::Endpoint(id, endpoint)) => {
                    Some(self.publish(&id, &endpoint, version, data, traceparent).await)
                }
                Ok(Found::Revoked) => Some(Err(NotifyError::Gone)),
                Ok(Found::Nothing) => None,
                Err(error) => Some(Err(failed("an inbound endpoint could not be read", &error))),
            }
        })
    }
}

impl PushSource {
    async fn publish(
        &self,
        id: &InboundId,
        endpoint: &InboundEndpoint,
        version: Option<Version>,
        data: Option<&str>,
        traceparent: Option<TraceParent>,
    ) -> Result<(), NotifyError> {
        if let Some(grant) = &endpoint.grant {
            self.check(id, endpoint, grant).await?;
        }
        let json = payload(version, data);
        let message = NewMessage {
            channel: endpoint.channel.clone(),
            source: endpoint.source.clone(),
            kind: endpoint.kind.clone(),
            sticky: false,
            expires_at: None,
            headers: Headers {
                traceparent,
                dedupe_key: version.and_then(|_| dedupe_key(id, &json)),
                door: Some(Door::SimplePush),
                ..Headers::default()
            },
            payload: Payload::from_stored(Bytes::from(json)),
        };
        match self.buses.publish(&endpoint.bus, message).await {
            Ok(_) => Ok(()),
            Err(PublishError::UnknownBus) => Err(NotifyError::Gone),
            Err(error) => Err(failed("a PUT could not be published", &error)),
        }
    }

    /// Whether the grant under which an endpoint was made still allows it.
    async fn check(
        &self,
        id: &InboundId,
        endpoint: &InboundEndpoint,
        grant: &Handle,
    ) -> Result<(), NotifyError> {
        let standing = self.caps.standing(grant).await;
        match standing.map_err(|error| failed("a grant could not be read", &error))? {
            Standing::Current { target, bounds, .. } => {
                let InboundEndpoint { bus, channel, kind, .. } = endpoint;
                let granted = BusPublishTarget::parse(&target)
                    .is_ok_and(|target| target.bus == *bus && target.admits(channel, kind));
                let allowed = granted && bounds.admits(channel.as_str(), kind.as_str());
                if allowed { Ok(()) } else { Err(NotifyError::Gone) }
            }
            Standing::Dormant => Err(NotifyError::Unavailable),
            Standing::Ended => {
                let revoked = self.inbounds.revoke(id, None).await;
                revoked
                    .map_err(|error| failed("an inbound endpoint could not be ended", &error))?;
                Err(NotifyError::Gone)
            }
        }
    }
}

/// `{"version", "data"}`, without what the PUT did not bring.
fn payload(version: Option<Version>, data: Option<&str>) -> String {
    let version = version.map(|version| ("version".to_owned(), version.get().into()));
    let data = data.map(|data| ("data".to_owned(), data.into()));
    let members: Map<_, serde_json::Value> = version.into_iter().chain(data).collect();
    serde_json::Value::Object(members).to_string()
}

/// The same version with the same data is the same PUT again: an application server that got no answer
/// repeats it.
fn dedupe_key(id: &InboundId, json: &str) -> Option<DedupeKey> {
    format!("inbound:{id}:{}", hex(SecretHash::of(json).as_bytes())).parse().ok()
}

fn failed(what: &'static str, error: &(dyn std::error::Error + 'static)) -> NotifyError {
    tracing::warn!(error = %crate::cli::chain(error), "{what}");
    NotifyError::Unavailable
}
