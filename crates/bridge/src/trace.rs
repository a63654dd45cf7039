//! What became of a message on every route, and what came of it.
//!
//! How a message was delivered is a row `t/SEQUENCE` of the partition of its route, stored with the
//! position of the route and kept as long as the message. What was given up is a dead letter. What a
//! route made of a message, a copy on another bus or an answer, has a dedupe key that names both.
//! Never here: how it is shown.

use std::sync::Arc;

use buswire_bus::{BusError, StoredMessage};
use buswire_message::{DedupeKey, Message, MessageId, RouteName, Scope, Timestamp};
use buswire_store::Operation;
use serde::{Deserialize, Serialize};

use crate::{
    delivery::Failures,
    error::RouteError,
    ledger::{Ledger, route_partition, sequence_key},
    letters::WrittenFailure,
    routes::Routes,
    uri::SinkUri,
};

const TRACE: &[u8] = b"t/";

/// What became of a message on one route.
#[derive(Clone, Debug)]
pub struct Passage {
    /// The route.
    pub route: RouteName,
    /// Where it leads; `Display` hides what is secret.
    pub sink: SinkUri,
    /// How it ended, if it did.
    pub fate: PassageFate,
    /// How often it was tried; what is under way is counted when it is over.
    pub attempts: u32,
    /// The last failures, oldest first.
    pub failures: Failures,
    /// What came of it on buses: the copy that a bus sink made, the answer of a sink.
    pub results: Vec<Arc<StoredMessage>>,
}

/// How the passage of a message by a route ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassageFate {
    /// It is waiting, being tried, or behind another of its channel.
    Pending,
    /// The sink took it.
    Delivered(Timestamp),
    /// It was given up and is a dead letter.
    Dead(Timestamp),
    /// It came by this route and does not take it again.
    Skipped,
    /// It is behind the route: from before the route began or looked for such messages, delivered
    /// without the trace being stored, or a dead letter that is gone.
    Passed,
}

/// How a message was delivered, as it is written down.
#[derive(Serialize, Deserialize)]
struct Written {
    at_ms: u64,
    attempts: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    failures: Vec<WrittenFailure>,
}

/// The row of a message that was delivered `at` that time.
pub(crate) fn put(
    message: &Message,
    attempts: u32,
    failures: &Failures,
    at: Timestamp,
) -> Result<Operation, RouteError> {
    let written = Written {
        at_ms: at.as_millis(),
        attempts,
        failures: failures.iter().map(WrittenFailure::of).collect(),
    };
    let value =
        serde_json::to_vec(&written).map_err(|_| RouteError::Damaged(message.id.to_string()))?;
    let key = sequence_key(TRACE, message.id.sequence())?;
    Ok(Operation::Put { key, value: value.into(), expires: Some(message.expires_at) })
}

/// The key under which a bus keeps what `route` makes of `message`, once.
pub(crate) fn result_key(route: &RouteName, message: MessageId) -> Option<DedupeKey> {
    format!("route:{route}:{message}").parse().ok()
}

/// The message that a route made this one of.
fn origin(message: &Message) -> Option<MessageId> {
    let key = message.headers.dedupe_key.as_ref()?.as_str();
    let (_, id) = key.strip_prefix("route:")?.split_once(':')?;
    id.parse().ok()
}

type Ending = (Timestamp, u32, Failures);

impl Ledger {
    async fn delivered(
        &self,
        name: &RouteName,
        id: MessageId,
        now: Timestamp,
    ) -> Result<Option<Ending>, RouteError> {
        let key = sequence_key(TRACE, id.sequence())?;
        let Some(row) = self.store().get(&route_partition(name)?, &key, now).await? else {
            return Ok(None);
        };
        let written = row.value.as_bytes().and_then(|bytes| serde_json::from_slice(bytes).ok());
        let written: Written = written.ok_or_else(|| RouteError::Damaged(name.to_string()))?;
        let failures = written.failures.into_iter().map(WrittenFailure::read).collect();
        Ok(Some((Timestamp::from_millis(written.at_ms), written.attempts, failures)))
    }
}

impl Routes {
    /// The live message of an id, on whichever bus, and the first one that it came of: routes make
    /// copies and answers, which are followed back as far as the messages are kept.
    ///
    /// # Errors
    ///
    /// [`RouteError::Bus`], [`RouteError::Store`].
    pub async fn find(
        &self,
        id: MessageId,
    ) -> Result<Option<(Arc<StoredMessage>, Arc<StoredMessage>)>, RouteError> {
        let Some(wanted) = self.on_any_bus(id).await? else { return Ok(None) };
        let mut first = Arc::clone(&wanted);
        for _ in 0..buswire_message::HOP_LIMIT {
            let Some(before) = origin(&first) else { break };
            let Some(before) = self.on_any_bus(before).await? else { break };
            first = before;
        }
        Ok(Some((wanted, first)))
    }

    async fn on_any_bus(&self, id: MessageId) -> Result<Option<Arc<StoredMessage>>, RouteError> {
        let buses = &self.inner.shared.buses;
        for bus in buses.list(None).await.map_err(RouteError::Bus)? {
            if let Some(found) = absent_is_none(buses.message(id, &Scope::bus(&bus.name)).await)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What became of a message on every route that takes it or has taken it, by name.
    ///
    /// # Errors
    ///
    /// [`RouteError::Bus`], [`RouteError::Store`], [`RouteError::Damaged`].
    pub async fn passages(&self, message: &Message) -> Result<Vec<Passage>, RouteError> {
        let mut passages = Vec::new();
        for route in self.all_described().await? {
            let ending = self.ending(&route.name, message).await?;
            let (fate, attempts, failures) = match ending {
                Some(ending) => ending,
                None => match self.without_ending(&route, message).await? {
                    Some(fate) => (fate, 0, Failures::default()),
                    None => continue,
                },
            };
            let results = self.results(&route.name, &route.sink, message).await?;
            let (route, sink) = (route.name, route.sink);
            passages.push(Passage { route, sink, fate, attempts, failures, results });
        }
        Ok(passages)
    }

    async fn ending(
        &self,
        name: &RouteName,
        message: &Message,
    ) -> Result<Option<(PassageFate, u32, Failures)>, RouteError> {
        let (ledger, now) = (&self.inner.shared.ledger, self.inner.shared.clock.now());
        if let Some((at, attempts, failures)) = ledger.delivered(name, message.id, now).await? {
            return Ok(Some((PassageFate::Delivered(at), attempts, failures)));
        }
        let letter = ledger.dead_letter(name, message.id, now).await?.map(|kept| kept.letter);
        let letter = letter.filter(|letter| letter.message.bus == message.bus);
        Ok(letter.map(|letter| {
            (PassageFate::Dead(letter.given_up_at), letter.attempts, letter.failures)
        }))
    }

    /// What is known of a message of which a route has stored nothing; `None` if it does not take it.
    async fn without_ending(
        &self,
        route: &crate::route::Route,
        message: &Message,
    ) -> Result<Option<PassageFate>, RouteError> {
        let shared = &self.inner.shared;
        let is_on_bus = route.scope.buses().any(|bus| bus == message.bus);
        if !is_on_bus
            || absent_is_none(shared.buses.message(message.id, &route.scope).await)?.is_none()
        {
            return Ok(None);
        }
        if message.headers.via.contains(&route.name) {
            return Ok(Some(PassageFate::Skipped));
        }
        let progress = shared.ledger.progress(&route.name, shared.clock.now()).await?;
        let start = route.start.cursor(message.id);
        let position = progress.position.unwrap_or(start).after();
        let is_behind = position.is_some_and(|at| message.id.sequence() <= at);
        Ok(Some(if is_behind { PassageFate::Passed } else { PassageFate::Pending }))
    }

    async fn results(
        &self,
        name: &RouteName,
        sink: &SinkUri,
        message: &Message,
    ) -> Result<Vec<Arc<StoredMessage>>, RouteError> {
        let Some(key) = result_key(name, message.id) else { return Ok(Vec::new()) };
        let mut results = Vec::new();
        let to = match sink {
            SinkUri::Bus { bus, .. } => Some(bus),
            _ => None,
        };
        for bus in to.into_iter().chain(Some(&message.bus)) {
            let found = absent_is_none(self.inner.shared.buses.keyed(bus, &key).await)?;
            results.extend(found.filter(|found| found.id != message.id));
        }
        results.dedup_by(|a, b| a.id == b.id);
        Ok(results)
    }
}

/// A bus that was deleted has no messages.
fn absent_is_none<T>(found: Result<Option<T>, BusError>) -> Result<Option<T>, RouteError> {
    match found {
        Ok(found) => Ok(found),
        Err(BusError::UnknownBus(_)) => Ok(None),
        Err(error) => Err(RouteError::Bus(error)),
    }
}
