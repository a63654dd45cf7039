//! Publishing.
//!
//! Places are reserved under the lock of the bus, the commit runs without it, and the window then
//! reads the log on: many publishers share one commit and one read. Never here: what a protocol
//! answers.

use std::sync::Arc;

use buswire_message::{BusName, HOP_LIMIT, Message, MessageId, NewMessage, Sequence, Timestamp};
use buswire_store::{Ack, Applied, Batch, DedupeId, Operation, Outcome, Position, StoreError};

use crate::{
    buses::Buses,
    core::{Caps, Full},
    error::PublishError,
    ledger::Draft,
    published::{ByDoor, meter, tally},
    record,
    settings::Settings,
    spans,
    state::{Bus, Shared},
};

impl Buses {
    /// Publishes `message` on `bus`. When this returns the message is on stable storage and every
    /// reader of this process finds it; readers of other processes find it after a hint.
    ///
    /// A message whose dedupe key a live message of the bus has is not stored again: the id of that
    /// one is returned.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the message stored or not stored. With a dedupe key, publish it again.
    pub async fn publish(
        &self,
        bus: &BusName,
        message: NewMessage,
    ) -> Result<MessageId, PublishError> {
        let ids = self.publish_all(bus, vec![message]).await?;
        let missing = || StoreError::Corrupt("the store did not say where the message is".into());
        ids.first().copied().ok_or_else(|| PublishError::Store(missing()))
    }

    /// Publishes `messages` on `bus`, all or none, in their order (Backplane §5.3); their ids in the
    /// same order. Otherwise as [`publish`](Self::publish). An empty list is published at once.
    ///
    /// The limit of messages for each channel holds exactly for all publishers of this process
    /// (Backplane §5.4: the whole list is refused). Of several processes that share a store each
    /// counts what it knows of, so that together they may exceed it by what is under way.
    ///
    /// # Errors
    ///
    /// [`PublishError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the messages stored or not, all or none.
    pub async fn publish_all(
        &self,
        bus: &BusName,
        mut messages: Vec<NewMessage>,
    ) -> Result<Vec<MessageId>, PublishError> {
        let tracer = self.shared.tracer.as_ref();
        let spans = tracer.map(|tracer| spans::begin(tracer, bus, &mut messages));
        let ids = self.store_all(bus, messages).await;
        if let (Some(tracer), Some(spans)) = (tracer, spans) {
            spans::end(tracer, spans, &ids);
        }
        ids
    }

    async fn store_all(
        &self,
        bus: &BusName,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<MessageId>, PublishError> {
        let shared = &*self.shared;
        let bus = shared.bus(bus)?;
        let Some(settings) = shared.settings_of(&bus).await? else {
            return Err(PublishError::UnknownBus);
        };
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let bus = shared.fresh(&bus.name).await?;
        let now = shared.now();
        let tally = tally(&messages);
        let drafts = draft_all(shared, &bus.name, &settings, messages, now)?;
        let count = drafts.len();
        let (mut flight, batch) = admit(shared, &bus, &settings, drafts).await?;
        let is_new = !flight.tokens.is_empty();
        let outcome = shared.store.commit(batch, Ack::Safe, now).await;
        let positions = flight.settle(outcome, count).map_err(PublishError::Store)?;
        flight.land(&positions).await?;
        if is_new {
            shared.published.add(&tally);
            bus.published.add(&tally);
            meter(&tally);
        }
        Ok(positions.into_iter().map(|p| MessageId::from_sequence(p.sequence)).collect())
    }
}

impl Buses {
    /// How many messages came in by which door since the process started.
    pub fn published(&self) -> ByDoor {
        self.shared.published.read()
    }

    /// The same for each bus, in order of their names. A bus that nobody uses and that holds no
    /// message is left out, and begins at zero when it is used again.
    pub fn published_on_buses(&self) -> Vec<(BusName, ByDoor)> {
        let buses = self.shared.all_loaded().into_iter();
        buses.map(|bus| (bus.name.clone(), bus.published.read())).collect()
    }
}

/// Checks `messages` and writes their records.
fn draft_all(
    shared: &Shared,
    bus: &BusName,
    settings: &Settings,
    messages: Vec<NewMessage>,
    now: Timestamp,
) -> Result<Vec<Draft>, PublishError> {
    let limits = &shared.limits;
    let too_large = PublishError::ListTooLarge {
        max: limits.batch_messages_max,
        bytes_max: limits.batch_bytes_max,
    };
    if messages.len() > limits.batch_messages_max {
        return Err(too_large);
    }
    let mut bytes = 0;
    let mut drafts = Vec::with_capacity(messages.len());
    for message in messages {
        if message.headers.via.len() > HOP_LIMIT {
            return Err(PublishError::TooManyHops);
        }
        if message.payload.len() > limits.payload_bytes_max {
            return Err(PublishError::PayloadTooLarge { max: limits.payload_bytes_max });
        }
        let expires_at = settings
            .retention
            .expiry(now, message.sticky, message.expires_at)
            .map_err(PublishError::Expiry)?;
        let token = shared.token();
        let record = record::encode(token, &message);
        bytes += record.len();
        let payload = record::payload_of(&record, message.payload.len());
        let NewMessage { channel, source, kind, sticky, headers, .. } = message;
        let id = MessageId::from_sequence(Sequence::ZERO);
        let bus = bus.clone();
        let message =
            Message { id, bus, channel, source, kind, sticky, expires_at, payload, headers };
        drafts.push(Draft { token, message, record });
    }
    if bytes > limits.batch_bytes_max { Err(too_large) } else { Ok(drafts) }
}

/// Reserves places for `drafts` that are not known already, and says what to commit.
///
/// What the window knows is committed again all the same. It may have been read there after its own
/// commit was not answered; an answer that rests on it must rest on the store, which remembers who was
/// told, and stores it anew if it was lost meanwhile.
async fn admit<'a>(
    shared: &'a Shared,
    bus: &'a Arc<Bus>,
    settings: &Settings,
    drafts: Vec<Draft>,
) -> Result<(Flight<'a>, Batch), PublishError> {
    let limits = &shared.limits;
    let limit = settings.retention.messages_per_channel_max();
    let caps = Caps {
        channel: limit,
        messages: limits.bus_messages_max,
        bytes: limits.bus_bytes_max,
        in_doubt: limits.in_doubt,
    };
    let has_key = drafts.iter().any(|draft| draft.message.headers.dedupe_key.is_some());
    let mut is_last_look = !has_key;
    loop {
        let ticket = {
            let mut core = bus.lock();
            let refused = match core.admit(shared.now(), &drafts, &caps) {
                Ok(known) => {
                    let (tokens, batch) = enter(shared, bus, &mut core, drafts, &known)?;
                    return Ok((Flight { shared, bus, tokens }, batch));
                }
                Err(Full::Channel) => PublishError::ChannelFull { limit },
                Err(Full::Bus) => PublishError::BusFull,
            };
            if is_last_look {
                return Err(refused);
            }
            core.draw()
        };
        // A key may be that of a message which another process has just published.
        shared.catch_up(bus, ticket, None).await?;
        is_last_look = true;
    }
}

fn enter(
    shared: &Shared,
    bus: &Bus,
    core: &mut crate::core::BusCore,
    drafts: Vec<Draft>,
    known: &[Option<MessageId>],
) -> Result<(Vec<u64>, Batch), PublishError> {
    let mut batch = Batch::new(bus.partition.clone());
    let mut tokens = Vec::with_capacity(drafts.len());
    for draft in &drafts {
        let key = draft.message.headers.dedupe_key.as_ref();
        batch.operations.push(Operation::Append {
            log: shared.log().clone(),
            dedupe: key.and_then(|key| DedupeId::new(key.as_str().as_bytes().to_vec())),
            body: draft.record.clone(),
            expires: draft.message.expires_at,
        });
    }
    batch.check().map_err(|error| PublishError::Store(StoreError::Refused(error)))?;
    for (draft, known) in drafts.into_iter().zip(known) {
        if known.is_none() {
            tokens.push(draft.token);
            core.ledger.enter(draft);
        }
    }
    Ok((tokens, batch))
}

/// A publish under way: it holds places until it has landed. Dropped before, its places are in
/// doubt.
struct Flight<'a> {
    shared: &'a Shared,
    bus: &'a Bus,
    tokens: Vec<u64>,
}

impl Flight<'_> {
    /// What the commit came to: a position for each of `count` messages.
    fn settle(
        &mut self,
        outcome: Result<Outcome, StoreError>,
        count: usize,
    ) -> Result<Vec<Position>, StoreError> {
        let result = match outcome {
            Ok(Outcome::Committed(applied)) => {
                let position = |applied| match applied {
                    Applied::Appended(position) | Applied::Repeated(position) => Some(position),
                    Applied::Row(_) | Applied::Deleted | Applied::Buried => None,
                };
                let positions: Vec<_> = applied.into_iter().filter_map(position).collect();
                if positions.len() == count {
                    return Ok(positions);
                }
                Err(StoreError::Corrupt("the store did not say where the messages are".into()))
            }
            Ok(Outcome::Conflict(_)) => {
                Err(StoreError::Corrupt("the store met a conflict that nobody asked for".into()))
            }
            Err(error) => Err(error),
        };
        let mut core = self.bus.lock();
        if matches!(result, Err(StoreError::Refused(_))) {
            self.tokens.drain(..).for_each(|token| drop(core.ledger.leave(token)));
        } else {
            // It may have happened. A read of the log that begins after the answer tells.
            core.mark_stale();
            let ticket = core.stale_ticket();
            let until = self.shared.now().saturating_add(self.shared.limits.in_doubt);
            for token in self.tokens.drain(..) {
                core.ledger.doubt(token, until, Some(ticket));
            }
        }
        result
    }

    /// Waits until the window has the messages, so that every reader finds them.
    async fn land(mut self, positions: &[Position]) -> Result<(), PublishError> {
        let ticket = self.bus.lock().draw();
        self.shared.catch_up(self.bus, ticket, positions.iter().max().copied()).await?;
        // What is left was not appended, since its dedupe key was there.
        let mut core = self.bus.lock();
        self.tokens.drain(..).for_each(|token| drop(core.ledger.leave(token)));
        Ok(())
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if self.tokens.is_empty() {
            return;
        }
        let until = self.shared.now().saturating_add(self.shared.limits.in_doubt);
        let mut core = self.bus.lock();
        for token in &self.tokens {
            core.ledger.doubt(*token, until, None);
        }
        core.mark_stale();
    }
}
