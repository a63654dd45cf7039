//! SimplePush, as an administrator sees it.

use buswire_message::{BusName, ChannelName, MessageType, Secret, SourceUrl, Timestamp, Version};
use futures::future::BoxFuture;

use super::{AdminError, Page, PageRequest};

/// Which channel is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushTarget {
    /// The one behind this URL.
    Endpoint(Secret<String>),
    /// The one of this name.
    Channel {
        /// The name of its user agent.
        agent: String,
        /// Its name.
        channel: String,
    },
}

/// A user agent that has channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentView {
    /// Its name, a hash of its UAID.
    pub id: String,
    /// Whether it is connected to this gateway.
    pub connected: bool,
    /// When it registered its first channel.
    pub created_at: Timestamp,
    /// When it was last known to be there.
    pub seen_at: Timestamp,
    /// How many channels it has.
    pub channels: usize,
    /// How many of them have a version that it has not acknowledged.
    pub pending: usize,
    /// Since when the oldest of those waits.
    pub pending_since: Option<Timestamp>,
}

/// A channel of a user agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushChannelView {
    /// Its name.
    pub channel: String,
    /// The version that was not acknowledged, and since when it waits.
    pub pending: Option<(Version, Timestamp)>,
}

/// What a gateway holds at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushStatusView {
    /// Open WebSockets.
    pub connections: usize,
    /// User agents that are connected.
    pub agents: usize,
    /// Whether it takes nothing new.
    pub draining: bool,
    /// Why versions can't be stored.
    pub store_unavailable: Option<String>,
}

/// Notifies endpoints, shows and drops user agents.
pub trait PushAdmin: Send + Sync {
    /// Raises the version of a channel; `None` leaves the version to the gateway. Answers with the
    /// version that the channel has, once it is stored.
    ///
    /// # Errors
    ///
    /// `Invalid` if the endpoint is not one of this gateway's or a name is none, `NotFound` if the
    /// channel is gone, `Unavailable`.
    fn notify(
        &self,
        target: PushTarget,
        version: Option<Version>,
    ) -> BoxFuture<'_, Result<Version, AdminError>>;

    /// User agents that have channels, by name.
    ///
    /// # Errors
    ///
    /// `Invalid` if the page is none, `Unavailable`.
    fn agents(&self, wanted: PageRequest) -> BoxFuture<'_, Result<Page<AgentView>, AdminError>>;

    /// One user agent.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`.
    fn agent<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<AgentView, AdminError>>;

    /// The channels of a user agent.
    ///
    /// # Errors
    ///
    /// `Invalid` if the page is none, `NotFound`, `Unavailable`.
    fn channels<'a>(
        &'a self,
        id: &'a str,
        wanted: PageRequest,
    ) -> BoxFuture<'a, Result<Page<PushChannelView>, AdminError>>;

    /// Forgets a user agent with all its channels.
    ///
    /// # Errors
    ///
    /// `NotFound`, `Unavailable`.
    fn drop_agent<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), AdminError>>;

    /// What this gateway holds.
    fn status(&self) -> PushStatusView;
}

/// One endpoint that is told of the messages of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionView {
    /// Its name.
    pub id: String,
    /// Which messages.
    pub scope: String,
    /// The name of the user agent.
    pub agent: String,
    /// The name of its channel.
    pub channel: String,
    /// The handle of the capability under which it was made.
    pub grant: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Shows and removes subscriptions.
pub trait SubscriptionAdmin: Send + Sync {
    /// Subscriptions, those of a scope together.
    ///
    /// # Errors
    ///
    /// `Invalid` if the page is none, `Unavailable`.
    fn list(
        &self,
        wanted: PageRequest,
    ) -> BoxFuture<'_, Result<Page<SubscriptionView>, AdminError>>;

    /// Removes a subscription; whether there was one.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn delete<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<bool, AdminError>>;
}

/// An inbound endpoint that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewInbound {
    /// The bus of its messages.
    pub bus: BusName,
    /// Their channel.
    pub channel: ChannelName,
    /// Their type.
    pub kind: MessageType,
    /// Their source; the gateway's public URL if it is not given.
    pub source: Option<SourceUrl>,
}

/// An inbound endpoint, without its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundView {
    /// Its name.
    pub id: String,
    /// The bus of its messages.
    pub bus: BusName,
    /// Their channel.
    pub channel: ChannelName,
    /// Their type.
    pub kind: MessageType,
    /// Their source.
    pub source: SourceUrl,
    /// The handle of the capability under which it was made, if it was.
    pub grant: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An inbound endpoint that was just made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedInbound {
    /// Its name.
    pub id: String,
    /// What application servers PUT to.
    pub endpoint: Secret<String>,
}

/// Makes, shows and revokes inbound endpoints.
pub trait InboundAdmin: Send + Sync {
    /// Makes an endpoint, once it is stored.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such bus, `TooMany`, `Unavailable`.
    fn create(&self, new: NewInbound) -> BoxFuture<'_, Result<CreatedInbound, AdminError>>;

    /// Every endpoint.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn list(&self) -> BoxFuture<'_, Result<Vec<InboundView>, AdminError>>;

    /// Revokes an endpoint; whether there was one.
    ///
    /// # Errors
    ///
    /// `Unavailable`.
    fn revoke<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<bool, AdminError>>;
}
