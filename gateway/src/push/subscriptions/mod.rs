//! Which endpoints are told of the messages of a scope: records in the store, which is their index too.
//!
//! One partition holds everything, so that a subscription and its counts change together:
//!
//! | row | holds |
//! |---|---|
//! | `s` + scope + endpoint | one subscription |
//! | `e` + endpoint + scope | that the endpoint has it; counted for the bound of an endpoint |
//! | `n` + scope | how many endpoints the scope has |
//! | `p` + place + scope | the text of a scope, under each place that it looks at: a channel, or a whole bus |
//!
//! Scopes, endpoints and places are named by hashes. A message is looked up under two places, its
//! channel and its bus, so what it costs does not grow with the subscriptions to others.
//!
//! Never here: whether an endpoint or a grant still exists; whoever delivers finds out and removes.

mod rows;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use buswire_belay::Handle;
use buswire_message::{Clock, Field, Message, Scope, Timestamp};
use buswire_simplepush::{ChannelId, UserAgentId};
use buswire_store::{
    Ack, Batch, Direction, Expectation, Key, KeyRange, Operation, Outcome, Partition, Row, Store,
    StoreError, StoreNameError,
};
use bytes::Bytes;
use tokio::sync::Mutex;

use self::rows::SUBSCRIPTION;

/// Where everything is.
const PARTITION: &str = "push-subscriptions";
/// How often a change is tried again that another gateway came before.
const ATTEMPTS_MAX: usize = 16;

/// The bounds of subscriptions. What would exceed one is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubscriptionLimits {
    /// The most endpoints of one scope; default 100 000.
    pub(crate) endpoints_per_scope: u64,
    /// The most scopes of one endpoint; default 32.
    pub(crate) scopes_per_endpoint: usize,
    /// The most scopes that look at one channel, or at one whole bus; default 1000. A message is
    /// compared with no more than twice as many.
    pub(crate) scopes_per_place: usize,
    /// The most channels that one scope may name; default 16.
    pub(crate) channels_per_scope: usize,
}

impl Default for SubscriptionLimits {
    fn default() -> Self {
        Self {
            endpoints_per_scope: 100_000,
            scopes_per_endpoint: 32,
            scopes_per_place: 1000,
            channels_per_scope: 16,
        }
    }
}

/// The channel behind a push endpoint: no secret, and the same whatever key made the endpoint's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    /// Whose channel it is.
    pub(crate) user_agent: UserAgentId,
    /// The channel.
    pub(crate) channel: ChannelId,
}

/// One endpoint that is told of the messages of a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    /// Which messages.
    pub(crate) scope: Scope,
    /// Whose channel is told.
    pub(crate) endpoint: Endpoint,
    /// The grant under which it was made; it ends with it.
    pub(crate) grant: Handle,
    /// When it was made, or made anew under another grant.
    pub(crate) created: Timestamp,
}

/// Names a subscription; knowing it grants nothing. Ordered by scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubscriptionKey(Key);

/// Names a scope that has subscriptions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ScopeKey(super::Name);

/// Some subscriptions, in the order of their keys.
#[derive(Debug, Default)]
pub(crate) struct SubscriptionPage {
    /// The subscriptions.
    pub(crate) subscriptions: Vec<(SubscriptionKey, Subscription)>,
    /// Where to go on; `None` at the end.
    pub(crate) next: Option<SubscriptionKey>,
}

/// Why a subscription was not made or removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubscriptionError {
    /// The scope can't be subscribed to.
    #[error("a subscription names one bus, no messageURL and at most {0} channels")]
    Scope(usize),
    /// The scope or the endpoint has as many subscriptions as it may have.
    #[error("there are too many subscriptions of this {0}")]
    TooMany(&'static str),
    /// Other gateways changed the same subscriptions again and again.
    #[error("the subscriptions changed too often")]
    Contention,
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A name within the store is not one, which can't happen.
    #[error("a name in the store")]
    Name(#[from] StoreNameError),
}

/// The subscriptions of all gateways that share a store. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Subscriptions(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    partition: Partition,
    limits: SubscriptionLimits,
    /// Changes of this process go one at a time, over their commits: otherwise all but one of those
    /// to the same scope would have to be tried again.
    changes: Mutex<()>,
}

impl Subscriptions {
    /// The subscriptions in `store`.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        limits: SubscriptionLimits,
    ) -> Result<Self, StoreNameError> {
        let partition = Partition::new(PARTITION)?;
        Ok(Self(Arc::new(Inner { store, clock, partition, limits, changes: Mutex::default() })))
    }

    /// Makes a subscription and returns when it is on stable storage. One of the same scope and
    /// endpoint is made anew: it then ends with this grant.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it is then made or not; making it again is fine.
    pub(crate) async fn add(&self, new: &Subscription) -> Result<(), SubscriptionError> {
        let names = rows::Names::of(&new.scope, new.endpoint)?;
        let places = self.places(&new.scope)?;
        let _turn = self.0.changes.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let now = self.0.clock.now();
            let batch = match self.row(&names.subscription, now).await? {
                Some(row) if rows::read(&row).is_some_and(|old| old.grant == new.grant) => {
                    return Ok(());
                }
                Some(row) => self
                    .batch()
                    .expect(Expectation::Unchanged(names.subscription.clone(), row.revision))
                    .then(rows::write(&names, new)),
                None => self.first(&names, &places, new, now).await?,
            };
            if self.commit(batch, now).await? {
                return Ok(());
            }
        }
        Err(SubscriptionError::Contention)
    }

    /// Removes a subscription; `false` if there was none.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it is then removed or not; removing it again is fine.
    pub(crate) async fn remove(
        &self,
        scope: &Scope,
        endpoint: Endpoint,
    ) -> Result<bool, SubscriptionError> {
        let names = rows::Names::of(scope, endpoint)?;
        let _turn = self.0.changes.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let now = self.0.clock.now();
            let Some(row) = self.row(&names.subscription, now).await? else { return Ok(false) };
            let (count, expectation) = self.count(&names.count, now).await?;
            let mut batch = self
                .batch()
                .expect(Expectation::Unchanged(names.subscription.clone(), row.revision))
                .expect(expectation)
                .then(Operation::Delete { key: names.subscription.clone() })
                .then(Operation::Delete { key: names.endpoint.clone() });
            if count > 1 {
                batch = batch.then(rows::write_count(&names, count - 1));
            } else {
                batch = batch.then(Operation::Delete { key: names.count.clone() });
                for place in self.places(scope)? {
                    batch = batch.then(Operation::Delete { key: names.at(place)? });
                }
            }
            if self.commit(batch, now).await? {
                return Ok(true);
            }
        }
        Err(SubscriptionError::Contention)
    }

    /// Removes the subscriptions of an endpoint that were made until `at`, when its channel ended.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: some are then removed.
    pub(crate) async fn end(
        &self,
        endpoint: Endpoint,
        at: Timestamp,
    ) -> Result<(), SubscriptionError> {
        let (limit, now) = (self.0.limits.scopes_per_endpoint, self.0.clock.now());
        for (key, _) in self.scan(rows::of_endpoint(endpoint), limit, now).await? {
            let Some(key) = rows::subscription_of(&key)? else { continue };
            let found = self.row(&key, now).await?.as_ref().and_then(rows::read);
            if let Some(found) = found.filter(|found| found.created <= at) {
                self.remove(&found.scope, endpoint).await?;
            }
        }
        Ok(())
    }

    /// The scopes with subscriptions that `message` is in, in the order of their keys.
    pub(crate) async fn scopes_of(
        &self,
        message: &Message,
    ) -> Result<Vec<ScopeKey>, SubscriptionError> {
        let now = self.0.clock.now();
        let channel = rows::place(&message.bus, Some(message.channel.as_str()));
        let mut found = Vec::new();
        for place in [channel, rows::place(&message.bus, None)] {
            for (key, row) in
                self.scan(rows::at_place(place), self.0.limits.scopes_per_place, now).await?
            {
                let Some((name, scope)) = rows::read_place(&key, &row) else { continue };
                // No subscription looks at the URL of a message.
                if scope.matches(&message.subject("")) {
                    found.push(name);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// At most `limit` subscriptions of a scope, after `after`.
    pub(crate) async fn page(
        &self,
        scope: ScopeKey,
        after: Option<&SubscriptionKey>,
        limit: usize,
    ) -> Result<SubscriptionPage, SubscriptionError> {
        self.read_page(KeyRange::prefix(&rows::of_scope(scope)), after, limit).await
    }

    /// One subscription; `None` if there is none of this name.
    pub(crate) async fn get(
        &self,
        key: &SubscriptionKey,
    ) -> Result<Option<Subscription>, SubscriptionError> {
        Ok(self.row(&key.0, self.0.clock.now()).await?.as_ref().and_then(rows::read))
    }

    /// At most `limit` subscriptions of all scopes, after `after`.
    pub(crate) async fn list(
        &self,
        after: Option<&SubscriptionKey>,
        limit: usize,
    ) -> Result<SubscriptionPage, SubscriptionError> {
        self.read_page(KeyRange::prefix(SUBSCRIPTION), after, limit).await
    }

    async fn read_page(
        &self,
        range: KeyRange,
        after: Option<&SubscriptionKey>,
        limit: usize,
    ) -> Result<SubscriptionPage, SubscriptionError> {
        let range = after.map_or(range.clone(), |after| range.after(&after.0));
        let (inner, now) = (&self.0, self.0.clock.now());
        let page =
            inner.store.scan(&inner.partition, range, limit, Direction::Ascending, now).await?;
        let last = page.rows.last().map(|(key, _)| SubscriptionKey(key.clone()));
        let read = |(key, row): (Key, Row)| Some((SubscriptionKey(key), rows::read(&row)?));
        let subscriptions = page.rows.into_iter().filter_map(read).collect();
        Ok(SubscriptionPage { subscriptions, next: last.filter(|_| page.more) })
    }

    /// What to commit for the first subscription of an endpoint to a scope.
    async fn first(
        &self,
        names: &rows::Names,
        places: &[super::Name],
        new: &Subscription,
        now: Timestamp,
    ) -> Result<Batch, SubscriptionError> {
        let limits = self.0.limits;
        let own =
            self.scan(rows::of_endpoint(new.endpoint), limits.scopes_per_endpoint, now).await?;
        if own.len() >= limits.scopes_per_endpoint {
            return Err(SubscriptionError::TooMany("endpoint"));
        }
        let (count, expectation) = self.count(&names.count, now).await?;
        if count >= limits.endpoints_per_scope {
            return Err(SubscriptionError::TooMany("scope"));
        }
        let mut batch = self
            .batch()
            .expect(Expectation::Absent(names.subscription.clone()))
            .expect(expectation)
            .then(rows::write(names, new))
            .then(Operation::Put {
                key: names.endpoint.clone(),
                value: Bytes::new(),
                expires: None,
            })
            .then(rows::write_count(names, count + 1));
        if count == 0 {
            for &place in places {
                let range = rows::at_place(place);
                let others = self.scan(range, limits.scopes_per_place, now).await?;
                if others.len() >= limits.scopes_per_place {
                    return Err(SubscriptionError::TooMany("channel"));
                }
                let value = new.scope.to_string().into();
                batch = batch.then(Operation::Put { key: names.at(place)?, value, expires: None });
            }
        }
        Ok(batch)
    }

    /// The places that a scope looks at, if it can be subscribed to.
    fn places(&self, scope: &Scope) -> Result<Vec<super::Name>, SubscriptionError> {
        let max = self.0.limits.channels_per_scope;
        let mut buses = scope.buses();
        let (Some(bus), None) = (buses.next(), buses.next()) else {
            return Err(SubscriptionError::Scope(max));
        };
        let channels: Vec<_> = scope.values(Field::Channel).collect();
        if scope.has(Field::MessageUrl) || channels.len() > max {
            return Err(SubscriptionError::Scope(max));
        }
        if channels.is_empty() {
            return Ok(vec![rows::place(&bus, None)]);
        }
        Ok(channels.into_iter().map(|channel| rows::place(&bus, Some(channel))).collect())
    }

    async fn count(
        &self,
        key: &Key,
        now: Timestamp,
    ) -> Result<(u64, Expectation), SubscriptionError> {
        Ok(match self.row(key, now).await? {
            Some(row) => {
                let count = rows::read_count(&row);
                (count, Expectation::Unchanged(key.clone(), row.revision))
            }
            None => (0, Expectation::Absent(key.clone())),
        })
    }

    async fn row(&self, key: &Key, now: Timestamp) -> Result<Option<Row>, StoreError> {
        self.0.store.get(&self.0.partition, key, now).await
    }

    async fn scan(
        &self,
        range: KeyRange,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(Key, Row)>, StoreError> {
        let Inner { store, partition, .. } = &*self.0;
        Ok(store.scan(partition, range, limit, Direction::Ascending, now).await?.rows)
    }

    fn batch(&self) -> Batch {
        Batch::new(self.0.partition.clone())
    }

    /// Whether the batch was applied.
    async fn commit(&self, batch: Batch, now: Timestamp) -> Result<bool, StoreError> {
        let outcome = self.0.store.commit(batch, Ack::Safe, now).await?;
        Ok(matches!(outcome, Outcome::Committed(_)))
    }
}

impl fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscriptions")
    }
}
