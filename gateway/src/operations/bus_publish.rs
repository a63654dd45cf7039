//! `bus.publish`: POST a message, get `{"id": …}`.
//!
//! The message is `{"type", "payload", "channel"?, "sticky"?, "expire"?}`; `channel` may be left out
//! where the grant fixes one. `from`, which a `cap:` sink adds, is passed over. The payload is published
//! as it is spelt, where it came as text.

use buswire_belay::{
    BcapError, BcapValue, BindError, BusPublishTarget, Invocation, Members, Method, MethodSet,
    NameSet, Operation, Origin, Subject, TargetChannels, TargetError,
};
use buswire_bus::{Buses, PublishError};
use buswire_message::{
    BusName, ChannelName, Headers, MessageType, NewMessage, Payload, Scope, SourceUrl,
    Subject as ScopeSubject, Timestamp,
};
use bytes::Bytes;
use futures::future::BoxFuture;

use super::binding;

const PAYLOAD: &str = "payload";
const MEMBERS: [&str; 6] = ["type", PAYLOAD, "channel", "sticky", "expire", "from"];

/// Publishes on a bus.
#[derive(Debug)]
pub(crate) struct BusPublish {
    buses: Buses,
    /// Who a message is from if the grant does not say.
    source: SourceUrl,
}

/// A message as an invocation gives it.
struct Posted {
    channel: ChannelName,
    kind: MessageType,
    payload: Payload,
    sticky: bool,
    expires_at: Option<Timestamp>,
}

impl BusPublish {
    pub(crate) const fn new(buses: Buses, source: SourceUrl) -> Self {
        Self { buses, source }
    }

    async fn publish(
        &self,
        target: &BcapValue,
        data: Option<&BcapValue>,
        origin: &Origin,
    ) -> Result<Option<BcapValue>, BcapError> {
        let target = parse_target(target)?;
        let posted = Posted::within(&target, data, origin.member_text(PAYLOAD))?;
        let headers = headers(origin);
        self.post(&target.bus, target.source.as_ref(), headers, posted).await
    }

    /// Publishes a message that is within `right`, on `channels` of `bus`.
    ///
    /// # Errors
    ///
    /// [`BcapError::Forbidden`] for another message, and as an invocation.
    ///
    /// # Cancel safety
    ///
    /// The message may be published or not.
    pub(crate) async fn publish_within(
        &self,
        right: &Scope,
        bus: &BusName,
        channels: &TargetChannels,
        data: Option<&BcapValue>,
        origin: &Origin,
    ) -> Result<Option<BcapValue>, BcapError> {
        let posted = Posted::read(channels, data, origin.member_text(PAYLOAD))?;
        let subject = ScopeSubject {
            bus,
            channel: posted.channel.as_str(),
            kind: posted.kind.as_str(),
            source: self.source.as_str(),
            sticky: posted.sticky,
            message_url: None,
        };
        if !right.matches(&subject) || !channels.admits(posted.channel.as_str()) {
            return Err(BcapError::Forbidden);
        }
        self.post(bus, None, headers(origin), posted).await
    }

    async fn post(
        &self,
        bus: &BusName,
        source: Option<&SourceUrl>,
        headers: Headers,
        posted: Posted,
    ) -> Result<Option<BcapValue>, BcapError> {
        let message = NewMessage {
            channel: posted.channel,
            source: source.unwrap_or(&self.source).clone(),
            kind: posted.kind,
            sticky: posted.sticky,
            expires_at: posted.expires_at,
            payload: posted.payload,
            headers,
        };
        let id = self.buses.publish(bus, message).await.map_err(|e| failure(&e))?;
        Ok(Some(Members::new().with("id", id.to_string()).into()))
    }
}

impl Operation for BusPublish {
    fn check_target(&self, target: &BcapValue) -> Result<(), TargetError> {
        BusPublishTarget::parse(target).map(|_| ())
    }

    fn bind(&self, target: BcapValue) -> BoxFuture<'_, Result<BcapValue, BindError>> {
        binding::bind(&self.buses, target)
    }

    fn is_bound<'a>(&'a self, target: &'a BcapValue) -> BoxFuture<'a, Result<bool, BcapError>> {
        binding::is_bound(&self.buses, target)
    }

    fn methods(&self, _: &BcapValue) -> MethodSet {
        MethodSet::POST
    }

    fn reading_methods(&self) -> MethodSet {
        MethodSet::NONE
    }

    fn subject(
        &self,
        target: &BcapValue,
        _: Method,
        data: Option<&BcapValue>,
    ) -> Result<Subject, BcapError> {
        let posted = Posted::within(&parse_target(target)?, data, None)?;
        Ok(Subject {
            channels: vec![posted.channel.to_string()],
            types: vec![posted.kind.to_string()],
        })
    }

    fn reach(&self, target: &BcapValue) -> Option<NameSet> {
        BusPublishTarget::parse(target).ok()?.channels.to_names()
    }

    fn invoke(
        &self,
        cx: Invocation,
        _: Method,
        data: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        Box::pin(async move { self.publish(cx.target(), data.as_ref(), cx.origin()).await })
    }
}

/// The headers of a message that came like that.
fn headers(origin: &Origin) -> Headers {
    let (traceparent, door) = (origin.traceparent().cloned(), Some(origin.door()));
    Headers { traceparent, door, ..Headers::default() }
}

/// A stored target was checked when it was granted.
fn parse_target(target: &BcapValue) -> Result<BusPublishTarget, BcapError> {
    BusPublishTarget::parse(target).map_err(|_| BcapError::Internal)
}

impl Posted {
    /// Reads a message that the target admits.
    fn within(
        target: &BusPublishTarget,
        data: Option<&BcapValue>,
        sent: Option<Bytes>,
    ) -> Result<Self, BcapError> {
        let posted = Self::read(&target.channels, data, sent)?;
        let is_admitted = target.admits(&posted.channel, &posted.kind);
        is_admitted.then_some(posted).ok_or(BcapError::Forbidden)
    }

    /// Reads a message; `sent` is the text of its payload, which is published as it is.
    fn read(
        channels: &TargetChannels,
        data: Option<&BcapValue>,
        sent: Option<Bytes>,
    ) -> Result<Self, BcapError> {
        let bad = || BcapError::BadRequest;
        let members = data.and_then(BcapValue::as_object).ok_or_else(bad)?;
        if !members.iter().all(|(name, _)| MEMBERS.contains(&name)) {
            return Err(bad());
        }
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(bad),
        };
        let channel = channels.named(text("channel")?).ok_or_else(bad)?;
        let kind = text("type")?.and_then(|kind| kind.parse().ok()).ok_or_else(bad)?;
        // A capability is no part of a message, however it is spelt.
        let json = members.get(PAYLOAD).ok_or_else(bad)?.to_json().map_err(|_| bad())?;
        let spelt = sent.unwrap_or_else(|| json.to_string().into());
        let payload = Payload::parse(&spelt).map_err(|_| bad())?;
        let sticky = match members.get("sticky") {
            None => false,
            Some(value) => value.as_bool().ok_or_else(bad)?,
        };
        let expires_at = text("expire")?.map(Timestamp::parse).transpose().map_err(|_| bad())?;
        Ok(Self { channel, kind, payload, sticky, expires_at })
    }
}

fn failure(error: &PublishError) -> BcapError {
    match error {
        PublishError::UnknownBus => BcapError::NotFound,
        PublishError::ChannelFull { .. } | PublishError::BusFull => {
            BcapError::TooManyRequests { retry_after_secs: 60 }
        }
        PublishError::Expiry(_) | PublishError::TooManyHops => BcapError::BadRequest,
        PublishError::PayloadTooLarge { .. } | PublishError::ListTooLarge { .. } => {
            BcapError::TooLarge
        }
        _ => BcapError::unavailable(),
    }
}
