//! What the admin interface asks of the doors, in words of the domain.
//!
//! One small trait for each concern; whoever composes the gateway implements them over the doors. Never
//! here: protobuf types, statuses of gRPC.

use std::{fmt, sync::Arc};

use buswire_store::StoreError;

mod access;
mod broker;
mod capabilities;
mod dead_letters;
mod people;
mod push;
mod routes;
mod system;
mod tokens;
mod traces;

pub use access::{
    AccessAdmin, AuthorizationRequestView, ChannelView, CodeState, CodeView, DecisionView, Issued,
    SignInView, TokenFilter, TokenKind, TokenState, TokenView,
};
pub use broker::BrokerAdmin;
pub use capabilities::{
    AuditActionView, AuditView, CapabilityAdmin, CapabilityChange, CapabilityState, CapabilityView,
    GrantedCapability, NewCapability, NewWrap, Revoked,
};
pub use dead_letters::{DeadLetterAdmin, DeadLetterPage, DeadLetterView};
pub use people::{
    BusRemoval, ClientAdmin, ClientView, CreatedClient, GrantAdmin, GrantState, GrantView,
    NewClient, OwnerAdmin, OwnerView, Permission, UserAdmin, UserView,
};
pub use push::{
    AgentView, CreatedInbound, InboundAdmin, InboundView, NewInbound, PushAdmin, PushChannelView,
    PushStatusView, PushTarget, SubscriptionAdmin, SubscriptionView,
};
pub use routes::{ChangedRoute, NewRetry, NewRoute, RetryView, RouteAdmin, RouteState, RouteView};
pub use system::{ListenerView, SystemAdmin, SystemView, VersionView};
pub use tokens::{AdminTokenView, AdminTokens};
pub use traces::{HopView, PassageState, PassageView, TraceAdmin};

/// The doors that the admin interface reaches. What is `None` answers UNIMPLEMENTED.
#[derive(Clone, Default)]
pub struct Ports {
    /// What deletes a bus and every right to it. Without it deleting a bus deletes the bus alone.
    pub removal: Option<Arc<dyn BusRemoval>>,
    /// The routes of the bridge.
    pub routes: Option<Arc<dyn RouteAdmin>>,
    /// What the routes gave up.
    pub dead_letters: Option<Arc<dyn DeadLetterAdmin>>,
    /// The capabilities of Belay.
    pub capabilities: Option<Arc<dyn CapabilityAdmin>>,
    /// The owners of Backplane 2.0 buses.
    pub owners: Option<Arc<dyn OwnerAdmin>>,
    /// The clients of Backplane 2.0.
    pub clients: Option<Arc<dyn ClientAdmin>>,
    /// The grants of Backplane 2.0.
    pub grants: Option<Arc<dyn GrantAdmin>>,
    /// What Backplane 2.0 has handed out.
    pub access: Option<Arc<dyn AccessAdmin>>,
    /// The users of Backplane 1.x.
    pub users: Option<Arc<dyn UserAdmin>>,
    /// The endpoints of SimplePush.
    pub push: Option<Arc<dyn PushAdmin>>,
    /// The subscriptions of push endpoints.
    pub subscriptions: Option<Arc<dyn SubscriptionAdmin>>,
    /// The inbound endpoints.
    pub inbounds: Option<Arc<dyn InboundAdmin>>,
    /// The Majordomo broker.
    pub broker: Option<Arc<dyn BrokerAdmin>>,
    /// The tokens of administrators.
    pub tokens: Option<Arc<dyn AdminTokens>>,
    /// What became of messages.
    pub traces: Option<Arc<dyn TraceAdmin>>,
    /// The gateway itself.
    pub system: Option<Arc<dyn SystemAdmin>>,
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ports").finish_non_exhaustive()
    }
}

/// Why a door did not do what an administrator asked.
///
/// The texts are shown to the administrator; they name no secret.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// What was asked for makes no sense: every problem, each with its field before it, `name: why`, if it
    /// is one of a field.
    #[error("{}", .0.join("; "))]
    Invalid(Vec<String>),
    /// There is nothing of this name.
    #[error("{0}")]
    NotFound(Missing),
    /// It has another revision than was expected.
    #[error("the {kind} {name} was changed by somebody else")]
    Changed {
        /// What kind of thing it is.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// There is something of this name already.
    #[error("{0}")]
    Exists(String),
    /// It makes sense, but not as things are.
    #[error("{0}")]
    Refused(String),
    /// A limit is reached.
    #[error("{0}")]
    TooMany(String),
    /// There was no answer in time.
    #[error("{0}")]
    TimedOut(String),
    /// It may work later.
    #[error("{0}")]
    Unavailable(String),
    /// The gateway is at fault. The source is logged and not shown.
    #[error("the gateway failed")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl AdminError {
    /// That there is no `kind` called `name`.
    pub fn missing(kind: &'static str, name: impl fmt::Display) -> Self {
        Self::NotFound(Missing::new(kind, name.to_string()))
    }

    /// That one thing of what was asked for makes no sense.
    pub fn invalid(problem: impl Into<String>) -> Self {
        Self::Invalid(vec![problem.into()])
    }
}

/// What is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What kind of thing it is, such as `bus`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// What the administrator is told.
    text: String,
}

impl Missing {
    /// That there is no `kind` called `name`.
    pub fn new(kind: &'static str, name: String) -> Self {
        let text = format!("there is no {kind} {name}");
        Self { kind, name, text }
    }

    /// The same, told in other words.
    #[must_use]
    pub fn told(self, text: impl Into<String>) -> Self {
        Self { text: text.into(), ..self }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<StoreError> for AdminError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Retry(_) | StoreError::Unavailable(_) => {
                Self::Unavailable(error.to_string())
            }
            other => Self::Internal(Box::new(other)),
        }
    }
}

/// Which part of an ordered listing is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// `next` of the part before; `None` at the start.
    pub after: Option<String>,
    /// The most items, at least 1.
    pub limit: usize,
}

/// A part of an ordered listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The items, in the order of their keys.
    pub items: Vec<T>,
    /// `after` of the next part; `None` if this is the last. For [`Page::cut`] the key of the last item.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Cuts the wanted part out of all items, which may come in any order.
    pub fn cut(mut all: Vec<T>, wanted: &PageRequest, key: impl Fn(&T) -> String) -> Self {
        all.sort_by_cached_key(&key);
        let start = wanted
            .after
            .as_ref()
            .map_or(0, |after| all.partition_point(|item| key(item).as_str() <= after.as_str()));
        let mut items = all.split_off(start.min(all.len()));
        let has_more = items.len() > wanted.limit;
        items.truncate(wanted.limit);
        let next = if has_more { items.last().map(key) } else { None };
        Self { items, next }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pages_together_are_the_whole_in_order(
            names in proptest::collection::btree_set("[a-c]{1,3}", 0..30),
            limit in 1_usize..7,
            seed: u64,
        ) {
            let mut shuffled: Vec<String> = names.iter().cloned().collect();
            let turn = usize::try_from(seed % 31).unwrap();
            if !shuffled.is_empty() {
                let middle = turn % shuffled.len();
                shuffled.rotate_left(middle);
            }
            let (mut seen, mut after, mut pages) = (Vec::new(), None, 0);
            loop {
                let wanted = PageRequest { after, limit };
                let page = Page::cut(shuffled.clone(), &wanted, Clone::clone);
                prop_assert!(page.items.len() <= limit);
                seen.extend(page.items);
                pages += 1;
                after = page.next;
                if after.is_none() { break; }
            }
            prop_assert_eq!(pages, names.len().div_ceil(limit).max(1));
            prop_assert_eq!(seen, names.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_busy_store_is_not_the_gateways_fault() {
        let busy = AdminError::from(StoreError::Retry("queue".into()));
        assert!(matches!(busy, AdminError::Unavailable(_)));
        let damaged = AdminError::from(StoreError::Corrupt("row".into()));
        assert!(matches!(damaged, AdminError::Internal(_)));
    }
}
