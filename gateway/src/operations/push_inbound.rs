//! `push.inbound`: POST `{"type", "channel"?}` to make an inbound endpoint, get `{"endpoint", "id"}`;
//! PUT `{"revoke": ID}` to end one.
//!
//! The target is that of `bus.publish`: an endpoint is the right to publish, in the form that an
//! application server of SimplePush knows. It ends with the grant under which it was made.

use std::sync::Arc;

use buswire_belay::{
    BcapError, BcapValue, BindError, BusPublishTarget, Invocation, Members, Method, MethodSet,
    NameSet, Operation, Subject, TargetError,
};
use buswire_bus::Buses;
use buswire_message::{ChannelName, Clock, MessageType, SourceUrl};
use futures::future::BoxFuture;

use super::binding;
use crate::push::inbound::{InboundEndpoint, InboundError, InboundId, Inbounds};

/// Makes inbound endpoints.
#[derive(Debug)]
pub(crate) struct PushInbound {
    pub(super) buses: Buses,
    pub(super) inbounds: Inbounds,
    pub(super) clock: Arc<dyn Clock>,
    /// Who a message is from if the grant does not say.
    pub(super) source: SourceUrl,
}

/// What an invocation asks for.
enum Wish {
    Create { channel: ChannelName, kind: MessageType },
    Revoke(InboundId),
}

impl PushInbound {
    async fn perform(
        &self,
        cx: &Invocation,
        method: Method,
        data: Option<&BcapValue>,
    ) -> Result<Option<BcapValue>, BcapError> {
        let target = BusPublishTarget::parse(cx.target()).map_err(|_| BcapError::Internal)?;
        let (channel, kind) = match Wish::read(&target, method, data)? {
            Wish::Create { channel, kind } => (channel, kind),
            Wish::Revoke(id) => {
                let revoked = self.inbounds.revoke(&id, Some(cx.handle())).await;
                return if revoked.map_err(|e| failure(&e))? {
                    Ok(None)
                } else {
                    Err(BcapError::NotFound)
                };
            }
        };
        let source = target.source.unwrap_or_else(|| self.source.clone());
        let (grant, created) = (Some(cx.handle().clone()), self.clock.now());
        let new = InboundEndpoint { bus: target.bus, channel, kind, source, grant, created };
        let made = self.inbounds.create(&new).await.map_err(|e| failure(&e))?;
        let result = Members::new()
            .with("endpoint", made.url.expose().as_str())
            .with("id", made.id.to_string());
        Ok(Some(result.into()))
    }
}

impl Operation for PushInbound {
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
        MethodSet::of(&[Method::Put, Method::Post])
    }

    fn reading_methods(&self) -> MethodSet {
        MethodSet::NONE
    }

    fn subject(
        &self,
        target: &BcapValue,
        method: Method,
        data: Option<&BcapValue>,
    ) -> Result<Subject, BcapError> {
        let target = BusPublishTarget::parse(target).map_err(|_| BcapError::Internal)?;
        Ok(match Wish::read(&target, method, data)? {
            Wish::Create { channel, kind } => {
                Subject { channels: vec![channel.to_string()], types: vec![kind.to_string()] }
            }
            Wish::Revoke(_) => Subject::default(),
        })
    }

    fn reach(&self, target: &BcapValue) -> Option<NameSet> {
        BusPublishTarget::parse(target).ok()?.channels.to_names()
    }

    fn invoke(
        &self,
        cx: Invocation,
        method: Method,
        data: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        Box::pin(async move { self.perform(&cx, method, data.as_ref()).await })
    }
}

impl Wish {
    fn read(
        target: &BusPublishTarget,
        method: Method,
        data: Option<&BcapValue>,
    ) -> Result<Self, BcapError> {
        let bad = || BcapError::BadRequest;
        let members = data.and_then(BcapValue::as_object).ok_or_else(bad)?;
        let allowed: &[&str] =
            if method == Method::Put { &["revoke"] } else { &["channel", "type"] };
        if !members.iter().all(|(name, _)| allowed.contains(&name)) {
            return Err(bad());
        }
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or_else(bad),
        };
        if method == Method::Put {
            return text("revoke")?.and_then(InboundId::parse).map(Self::Revoke).ok_or_else(bad);
        }
        let channel = target.channels.named(text("channel")?).ok_or_else(bad)?;
        let kind = text("type")?.and_then(|kind| kind.parse().ok()).ok_or_else(bad)?;
        if !target.admits(&channel, &kind) {
            return Err(BcapError::Forbidden);
        }
        Ok(Self::Create { channel, kind })
    }
}

fn failure(error: &InboundError) -> BcapError {
    match error {
        InboundError::TooMany => BcapError::TooManyRequests { retry_after_secs: 60 },
        InboundError::Store(_) | InboundError::Damaged => {
            tracing::warn!(error = %crate::cli::chain(error), "an inbound endpoint failed");
            BcapError::unavailable()
        }
    }
}
