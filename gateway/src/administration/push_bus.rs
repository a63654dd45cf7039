//! What joins buses and push endpoints: subscriptions and inbound endpoints.

use std::sync::Arc;

use buswire_bus::Buses;
use buswire_message::{Clock, SourceUrl};
use futures::future::BoxFuture;

use crate::{
    admin::ports::{
        AdminError, CreatedInbound, InboundAdmin, InboundView, NewInbound, Page, PageRequest,
        SubscriptionAdmin, SubscriptionView,
    },
    push::{
        inbound::{InboundEndpoint, InboundError, InboundId, Inbounds},
        subscriptions::{Subscription, SubscriptionError, SubscriptionKey, Subscriptions},
    },
};

/// Administers subscriptions.
#[derive(Debug)]
pub(crate) struct SubscriptionPort(pub(crate) Subscriptions);

impl SubscriptionAdmin for SubscriptionPort {
    fn list(
        &self,
        wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<SubscriptionView>, AdminError>> {
        Box::pin(async move {
            let no_page = || AdminError::invalid("page_token: not one");
            let after = wanted.after.map(|text| SubscriptionKey::parse(&text).ok_or_else(no_page));
            let page = self.0.list(after.transpose()?.as_ref(), wanted.limit).await?;
            let items = page.subscriptions.iter().map(|(key, one)| view(key, one)).collect();
            Ok(Page { items, next: page.next.map(|next| next.to_text()) })
        })
    }

    fn delete<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<bool, AdminError>> {
        Box::pin(async move {
            let Some(key) = SubscriptionKey::parse(id) else { return Ok(false) };
            let Some(found) = self.0.get(&key).await? else { return Ok(false) };
            Ok(self.0.remove(&found.scope, found.endpoint).await?)
        })
    }
}

fn view(key: &SubscriptionKey, subscription: &Subscription) -> SubscriptionView {
    SubscriptionView {
        id: key.to_text(),
        scope: subscription.scope.to_string(),
        agent: subscription.endpoint.user_agent.to_string(),
        channel: subscription.endpoint.channel.to_string(),
        grant: subscription.grant.to_string(),
        created_at: subscription.created,
    }
}

/// Administers inbound endpoints.
#[derive(Debug)]
pub(crate) struct InboundPort {
    pub(crate) inbounds: Inbounds,
    pub(crate) buses: Buses,
    pub(crate) clock: Arc<dyn Clock>,
    /// Who messages are from if an administrator does not say.
    pub(crate) source: SourceUrl,
}

impl InboundAdmin for InboundPort {
    fn create(&self, new: NewInbound) -> BoxFuture<'_, Result<CreatedInbound, AdminError>> {
        Box::pin(async move {
            let unavailable =
                |error: buswire_bus::BusError| AdminError::Unavailable(crate::cli::chain(&error));
            if self.buses.get(&new.bus).await.map_err(unavailable)?.is_none() {
                return Err(AdminError::missing("bus", &new.bus));
            }
            let NewInbound { bus, channel, kind, source } = new;
            let source = source.unwrap_or_else(|| self.source.clone());
            let created = self.clock.now();
            let new = InboundEndpoint { bus, channel, kind, source, grant: None, created };
            let made = self.inbounds.create(&new).await?;
            Ok(CreatedInbound { id: made.id.to_string(), endpoint: made.url })
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<InboundView>, AdminError>> {
        Box::pin(async move {
            let all = self.inbounds.list().await?;
            let view = |(id, one): (InboundId, InboundEndpoint)| InboundView {
                id: id.to_string(),
                bus: one.bus,
                channel: one.channel,
                kind: one.kind,
                source: one.source,
                grant: one.grant.map(|grant| grant.to_string()),
                created_at: one.created,
            };
            Ok(all.into_iter().map(view).collect())
        })
    }

    fn revoke<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<bool, AdminError>> {
        Box::pin(async move {
            let Some(id) = InboundId::parse(id) else { return Ok(false) };
            Ok(self.inbounds.revoke(&id, None).await?)
        })
    }
}

impl From<SubscriptionError> for AdminError {
    fn from(error: SubscriptionError) -> Self {
        match error {
            SubscriptionError::Store(store) => store.into(),
            SubscriptionError::Contention => Self::Unavailable(error.to_string()),
            SubscriptionError::Scope(_) => Self::invalid(format!("scope: {error}")),
            SubscriptionError::TooMany(_) => Self::TooMany(error.to_string()),
            SubscriptionError::Name(_) => Self::Internal(Box::new(error)),
        }
    }
}

impl From<InboundError> for AdminError {
    fn from(error: InboundError) -> Self {
        match error {
            InboundError::Store(store) => store.into(),
            InboundError::TooMany => Self::TooMany(error.to_string()),
            InboundError::Damaged => Self::Internal(Box::new(error)),
        }
    }
}
