//! SimplePush with one user agent, one subscription and one inbound endpoint.

use buswire::admin::ports::{
    AdminError, AgentView, CreatedInbound, InboundAdmin, InboundView, Missing, NewInbound, Page,
    PageRequest, PushAdmin, PushChannelView, PushStatusView, PushTarget, SubscriptionAdmin,
    SubscriptionView,
};
use buswire_message::{Secret, Timestamp, Version};
use futures::future::BoxFuture;

use crate::fakes::{AT, Fake, done};

pub(crate) const AGENT: &str = "0123456789abcdef0123456789abcdef";
const CHANNEL: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";

fn agent(id: &str) -> Result<AgentView, AdminError> {
    if id != AGENT {
        return Err(AdminError::NotFound(
            Missing::new("agent", id.into()).told("there is no such user agent"),
        ));
    }
    Ok(AgentView {
        id: AGENT.into(),
        connected: true,
        created_at: AT,
        seen_at: AT,
        channels: 2,
        pending: 1,
        pending_since: Some(AT),
    })
}

impl PushAdmin for Fake {
    fn notify(
        &self,
        target: PushTarget,
        version: Option<Version>,
    ) -> BoxFuture<'_, Result<Version, AdminError>> {
        let known = match &target {
            PushTarget::Endpoint(url) => {
                url.expose().starts_with("https://gateway.example/update/")
            }
            PushTarget::Channel { agent, channel } => agent == AGENT && channel == CHANNEL,
        };
        if !known {
            let text = "the endpoint is not one of this gateway's";
            return done(Err(AdminError::invalid(text)));
        }
        done(Ok(version.unwrap_or_else(|| Version::new(4711).unwrap())))
    }

    fn agents(&self, _: PageRequest) -> BoxFuture<'_, Result<Page<AgentView>, AdminError>> {
        done(agent(AGENT).map(|agent| Page { items: vec![agent], next: None }))
    }

    fn agent<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<AgentView, AdminError>> {
        done(agent(id))
    }

    /// One channel a page.
    fn channels<'a>(
        &'a self,
        id: &'a str,
        wanted: PageRequest,
    ) -> BoxFuture<'a, Result<Page<PushChannelView>, AdminError>> {
        let pending = wanted.after.is_none().then(|| (Version::new(7).unwrap(), AT));
        let channel = if pending.is_some() { CHANNEL } else { "another" };
        let next = pending.map(|_| CHANNEL.to_owned());
        let items = vec![PushChannelView { channel: channel.into(), pending }];
        done(agent(id).map(|_| Page { items, next }))
    }

    fn drop_agent<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), AdminError>> {
        done(agent(id).map(|_| ()))
    }

    fn status(&self) -> PushStatusView {
        PushStatusView { connections: 3, agents: 2, draining: false, store_unavailable: None }
    }
}

impl SubscriptionAdmin for Fake {
    fn list(&self, _: PageRequest) -> BoxFuture<'_, Result<Page<SubscriptionView>, AdminError>> {
        let view = SubscriptionView {
            id: "s1".into(),
            scope: "bus:example.com channel:news".into(),
            agent: "a1".into(),
            channel: "c1".into(),
            grant: "g1".into(),
            created_at: AT,
        };
        done(Ok(Page { items: vec![view], next: None }))
    }

    fn delete<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<bool, AdminError>> {
        done(Ok(id == "s1"))
    }
}

impl InboundAdmin for Fake {
    fn create(&self, new: NewInbound) -> BoxFuture<'_, Result<CreatedInbound, AdminError>> {
        if new.bus.to_string() != "example.com" {
            return done(Err(AdminError::missing("bus", &new.bus)));
        }
        let endpoint = Secret::new("https://gateway.example/update/secret".to_owned());
        done(Ok(CreatedInbound { id: "i1".into(), endpoint }))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<InboundView>, AdminError>> {
        done(Ok(vec![InboundView {
            id: "i1".into(),
            bus: "example.com".parse().unwrap(),
            channel: "news".parse().unwrap(),
            kind: "push".parse().unwrap(),
            source: "https://shop.example/".parse().unwrap(),
            grant: None,
            created_at: Timestamp::from_secs(0),
        }]))
    }

    fn revoke<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<bool, AdminError>> {
        done(Ok(id == "i1"))
    }
}
