//! SimplePush: endpoints, user agents, channels.

use buswire_message::Version;
use buswire_simplepush::{
    Availability, ChannelId, ChannelSummary, NotifyError, SimplePush, Unavailable, UserAgentId,
    UserAgentPresence, UserAgentSummary,
};
use futures::future::BoxFuture;

use crate::admin::ports::{
    AdminError, AgentView, Missing, Page, PageRequest, PushAdmin, PushChannelView, PushStatusView,
    PushTarget,
};

/// Administers SimplePush.
#[derive(Debug)]
pub(crate) struct PushPort(pub(crate) SimplePush);

impl PushAdmin for PushPort {
    fn notify(
        &self,
        target: PushTarget,
        version: Option<Version>,
    ) -> BoxFuture<'_, Result<Version, AdminError>> {
        Box::pin(async move {
            let notified = match target {
                PushTarget::Endpoint(endpoint) => self.0.notify(endpoint.expose(), version).await,
                PushTarget::Channel { agent, channel } => {
                    let agent = named("agent", &agent)?;
                    self.0.notify_channel(agent, named("channel", &channel)?, version).await
                }
            };
            Ok(notified.map_err(failure)?.version)
        })
    }

    fn agents(&self, wanted: PageRequest) -> BoxFuture<'_, Result<Page<AgentView>, AdminError>> {
        Box::pin(async move {
            let after = wanted.after.map(|after| named("page_token", &after)).transpose()?;
            let page = self.0.user_agents(after, wanted.limit).await.map_err(unavailable)?;
            let items = page.user_agents.into_iter().map(|agent| view(&agent)).collect();
            Ok(Page { items, next: page.next.map(|next| next.to_string()) })
        })
    }

    fn agent<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<AgentView, AdminError>> {
        Box::pin(async move {
            let agent = self.0.user_agent(known(id)?).await.map_err(unavailable)?;
            agent.map(|agent| view(&agent)).ok_or_else(unknown)
        })
    }

    fn channels<'a>(
        &'a self,
        id: &'a str,
        wanted: PageRequest,
    ) -> BoxFuture<'a, Result<Page<PushChannelView>, AdminError>> {
        Box::pin(async move {
            let after: Option<ChannelId> =
                wanted.after.map(|after| named("page_token", &after)).transpose()?;
            let page = self.0.channels(known(id)?, after, wanted.limit).await;
            let page = page.map_err(unavailable)?.ok_or_else(unknown)?;
            let view = |summary: &ChannelSummary| PushChannelView {
                channel: summary.channel.to_string(),
                pending: summary.pending.map(|pending| (pending.version, pending.since)),
            };
            let items = page.channels.iter().map(view).collect();
            Ok(Page { items, next: page.next.map(|next| next.to_string()) })
        })
    }

    fn drop_agent<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), AdminError>> {
        Box::pin(async move {
            let dropped = self.0.drop_user_agent(known(id)?).await.map_err(unavailable)?;
            if dropped { Ok(()) } else { Err(unknown()) }
        })
    }

    fn status(&self) -> PushStatusView {
        let status = self.0.status();
        PushStatusView {
            connections: status.connections,
            agents: status.user_agents,
            draining: status.availability == Availability::Draining,
            store_unavailable: status.store_unavailable,
        }
    }
}

fn view(agent: &UserAgentSummary) -> AgentView {
    AgentView {
        id: agent.id.to_string(),
        connected: agent.presence == UserAgentPresence::Connected,
        created_at: agent.created,
        seen_at: agent.last_seen,
        channels: agent.channels,
        pending: agent.pending,
        pending_since: agent.pending_since,
    }
}

/// A text that must be a name. It is not repeated: somebody may have given a UAID.
fn named<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &str,
    text: &str,
) -> Result<T, AdminError> {
    text.parse().map_err(|problem| AdminError::invalid(format!("{field}: {problem}")))
}

/// A text that can't be a name names no user agent.
fn known(id: &str) -> Result<UserAgentId, AdminError> {
    id.parse().map_err(|_| unknown())
}

/// The text is not repeated: somebody may have given a UAID.
fn unknown() -> AdminError {
    AdminError::NotFound(
        Missing::new("agent", String::new())
            .told("there is no user agent of this name that has channels"),
    )
}

fn unavailable(error: Unavailable) -> AdminError {
    AdminError::Unavailable(error.to_string())
}

fn failure(error: NotifyError) -> AdminError {
    let text = error.to_string();
    match error {
        NotifyError::NotAnEndpoint => AdminError::invalid(text),
        NotifyError::Gone => {
            AdminError::NotFound(Missing::new("push channel", String::new()).told(text))
        }
        _ => AdminError::Unavailable(text),
    }
}
