//! `push.subscribe`: PUT or POST an endpoint that is to be told of messages, by `push:subscribers`.
//!
//! The target is that of `bus.read`, so the right to be told is as wide as a right to read. The
//! argument is `{"endpoint", "scope"?, "subscribed"?}`: `scope` narrows what the grant allows,
//! `"subscribed": false` ends a subscription. A subscription ends with the grant under which it was
//! made, and with its endpoint.

use std::sync::Arc;

use buswire_belay::{
    BcapError, BcapValue, BindError, BusReadTarget, Invocation, Members, Method, MethodSet,
    NameSet, Operation, Subject, TargetChannels, TargetError,
};
use buswire_bus::Buses;
use buswire_message::{Clock, Field, Scope, Secret};
use buswire_simplepush::{NotifyError, SimplePush};
use futures::future::BoxFuture;

use super::{binding, bus_read};
use crate::push::subscriptions::{Endpoint, Subscription, SubscriptionError, Subscriptions};

/// Subscribes endpoints.
#[derive(Debug)]
pub(crate) struct PushSubscribe {
    pub(super) buses: Buses,
    pub(super) subscriptions: Subscriptions,
    pub(super) push: SimplePush,
    pub(super) clock: Arc<dyn Clock>,
}

/// What an invocation asks for.
struct Wish {
    endpoint: Secret<String>,
    scope: Scope,
    subscribed: bool,
}

impl PushSubscribe {
    async fn subscribe(
        &self,
        cx: &Invocation,
        method: Method,
        data: Option<&BcapValue>,
    ) -> Result<Option<BcapValue>, BcapError> {
        let target = BusReadTarget::parse(cx.target()).map_err(|_| BcapError::Internal)?;
        let Wish { endpoint, scope, subscribed } = Wish::read(&target, data)?;
        // An endpoint that is none, or none any more, is an argument that can't be used.
        let (user_agent, channel) =
            self.push.endpoint(endpoint.expose()).ok_or(BcapError::BadRequest)?;
        let endpoint = Endpoint { user_agent, channel };
        if subscribed {
            let checked = self.push.check_channel(user_agent, channel).await;
            checked.map_err(|error| match error {
                NotifyError::Gone => BcapError::BadRequest,
                _ => BcapError::unavailable(),
            })?;
            let (grant, created) = (cx.handle().clone(), self.clock.now());
            let new = Subscription { scope: scope.clone(), endpoint, grant, created };
            self.subscriptions.add(&new).await.map_err(|e| failure(&e))?;
        } else {
            self.subscriptions.remove(&scope, endpoint).await.map_err(|e| failure(&e))?;
        }
        let result = Members::new()
            .with("scope", scope.to_string())
            .with("subscribed", BcapValue::Bool(subscribed));
        Ok((method == Method::Post).then(|| result.into()))
    }
}

impl Operation for PushSubscribe {
    fn check_target(&self, target: &BcapValue) -> Result<(), TargetError> {
        BusReadTarget::parse(target).map(|_| ())
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
        _: Method,
        data: Option<&BcapValue>,
    ) -> Result<Subject, BcapError> {
        let target = BusReadTarget::parse(target).map_err(|_| BcapError::Internal)?;
        let scope = Wish::read(&target, data)?.scope;
        let values = |field| scope.values(field).map(str::to_owned).collect();
        Ok(Subject { channels: values(Field::Channel), types: values(Field::Type) })
    }

    fn reach(&self, target: &BcapValue) -> Option<NameSet> {
        BusReadTarget::parse(target).ok()?.channels.to_names()
    }

    fn invoke(
        &self,
        cx: Invocation,
        method: Method,
        data: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        Box::pin(async move { self.subscribe(&cx, method, data.as_ref()).await })
    }
}

impl Wish {
    fn read(target: &BusReadTarget, data: Option<&BcapValue>) -> Result<Self, BcapError> {
        let bad = || BcapError::BadRequest;
        let members = data.and_then(BcapValue::as_object).ok_or_else(bad)?;
        if !members.iter().all(|(name, _)| matches!(name, "endpoint" | "scope" | "subscribed")) {
            return Err(bad());
        }
        let endpoint = members.get("endpoint").and_then(BcapValue::as_str);
        let endpoint = endpoint.filter(|url| url.len() <= 2048).ok_or_else(bad)?;
        let allowed = bus_read::scope(target);
        let scope = match members.get("scope") {
            None => allowed,
            Some(text) => {
                let asked = text.as_str().and_then(|text| text.parse().ok()).ok_or_else(bad)?;
                narrowed(&allowed, &asked, &target.channels)?
            }
        };
        let subscribed = match members.get("subscribed") {
            None => true,
            Some(value) => value.as_bool().ok_or_else(bad)?,
        };
        Ok(Self { endpoint: Secret::new(endpoint.to_owned()), scope, subscribed })
    }
}

/// What is asked for, within what is allowed. A set of channels is no scope; whoever names channels
/// names some of the set, and for those who name none the sink looks at each message.
fn narrowed(allowed: &Scope, asked: &Scope, channels: &TargetChannels) -> Result<Scope, BcapError> {
    if !asked.values(Field::Channel).all(|channel| channels.admits(channel)) {
        return Err(BcapError::Forbidden);
    }
    allowed.narrow(asked).map_err(|_| BcapError::Forbidden)
}

fn failure(error: &SubscriptionError) -> BcapError {
    match error {
        SubscriptionError::Scope(_) => BcapError::BadRequest,
        SubscriptionError::TooMany(_) => BcapError::TooManyRequests { retry_after_secs: 60 },
        SubscriptionError::Contention
        | SubscriptionError::Store(_)
        | SubscriptionError::Name(_) => {
            tracing::warn!(error = %crate::cli::chain(error), "a subscription could not be changed");
            BcapError::unavailable()
        }
    }
}
