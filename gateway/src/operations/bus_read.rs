//! `bus.read`: GET what is kept, or POST `{"since"?, "block"?}` to go on and to wait.
//!
//! `{"version": N}` in place of `since` begins with the message that a push notification of that
//! version told of, so that a woken client reads on from there.
//!
//! The result is `{"messages": […], "next": cursor, "more": boolean}`, at most 1000 messages.

use std::{sync::Arc, time::Duration};

use buswire_belay::{
    BcapError, BcapValue, BindError, BusReadTarget, Invocation, Members, Method, MethodSet,
    NameSet, Operation, TargetChannels, TargetError,
};
use buswire_bus::{BusError, Buses, ReadPage, StoredMessage};
use buswire_message::{Clock, Cursor, Field, MessageId, Scope, Sequence, Timestamp};
use futures::future::BoxFuture;

use super::binding;

/// The most messages of one answer.
const MESSAGES_MAX: usize = 1000;

/// Reads a bus.
#[derive(Debug)]
pub(crate) struct BusRead {
    buses: Buses,
    clock: Arc<dyn Clock>,
    /// The longest wait that may be asked for (Belay §21.6).
    block_max: Duration,
}

impl BusRead {
    pub(crate) const fn new(buses: Buses, clock: Arc<dyn Clock>, block_max: Duration) -> Self {
        Self { buses, clock, block_max }
    }

    /// Reads what is within `scope`, as a capability for all of it would.
    ///
    /// # Errors
    ///
    /// As an invocation.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub(crate) async fn read_within(
        &self,
        scope: &Scope,
        data: Option<&BcapValue>,
    ) -> Result<Option<BcapValue>, BcapError> {
        let wanted = Wanted::parse(data, self.block_max)?;
        self.read(scope, wanted, |_| true).await
    }

    async fn read(
        &self,
        scope: &Scope,
        Wanted { mut since, block }: Wanted,
        is_shown: impl Fn(&StoredMessage) -> bool + Send + Sync,
    ) -> Result<Option<BcapValue>, BcapError> {
        let deadline = self.clock.now().saturating_add(block);
        loop {
            let page = self.page(scope, since, deadline).await?;
            let shown: Vec<_> = page.messages.iter().filter(|m| is_shown(m)).collect();
            let is_over = page.messages.is_empty() || self.clock.now() >= deadline;
            if shown.is_empty() && !is_over {
                // What woke us is hidden from this reader: go on waiting after it.
                since = page.next;
                continue;
            }
            return Ok(Some(result(&shown, &page)));
        }
    }

    async fn page(
        &self,
        scope: &Scope,
        since: Cursor,
        deadline: Timestamp,
    ) -> Result<ReadPage, BcapError> {
        let page = if deadline > self.clock.now() {
            self.buses.read_wait(scope, since, MESSAGES_MAX, deadline).await
        } else {
            self.buses.read(scope, since, MESSAGES_MAX).await
        };
        page.map_err(|error| match error {
            BusError::UnknownBus(_) | BusError::NoBus => BcapError::NotFound,
            _ => BcapError::unavailable(),
        })
    }
}

impl Operation for BusRead {
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
        MethodSet::of(&[Method::Get, Method::Post])
    }

    fn reading_methods(&self) -> MethodSet {
        MethodSet::of(&[Method::Get, Method::Post])
    }

    fn reach(&self, target: &BcapValue) -> Option<NameSet> {
        BusReadTarget::parse(target).ok()?.channels.to_names()
    }

    fn invoke(
        &self,
        cx: Invocation,
        _: Method,
        data: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        Box::pin(async move {
            let target = BusReadTarget::parse(cx.target()).map_err(|_| BcapError::Internal)?;
            let wanted = Wanted::parse(data.as_ref(), self.block_max)?;
            let shown = |message: &StoredMessage| is_shown(&target, &cx, message);
            let result = self.read(&scope(&target), wanted, shown).await?;
            if !wanted.block.is_zero() {
                cx.still_valid().await?;
            }
            Ok(result)
        })
    }
}

/// Where to go on, and how long to wait for something.
#[derive(Clone, Copy)]
struct Wanted {
    since: Cursor,
    block: Duration,
}

impl Wanted {
    fn parse(data: Option<&BcapValue>, block_max: Duration) -> Result<Self, BcapError> {
        let Some(data) = data else {
            return Ok(Self { since: Cursor::Start, block: Duration::ZERO });
        };
        let members = data.as_object().ok_or(BcapError::BadRequest)?;
        if !members.iter().all(|(name, _)| matches!(name, "since" | "version" | "block")) {
            return Err(BcapError::BadRequest);
        }
        let since = match (members.get("since"), members.get("version")) {
            (Some(_), Some(_)) => return Err(BcapError::BadRequest),
            (None | Some(BcapValue::Null), None) => Cursor::Start,
            (Some(value), None) => {
                Cursor::parse_since(value.as_str().ok_or(BcapError::BadRequest)?)
            }
            (None, Some(version)) => before(version)?,
        };
        let block = match members.get("block") {
            None => Some(Duration::ZERO),
            Some(value) => value.as_u64().map(Duration::from_secs),
        };
        let block = block.filter(|block| *block <= block_max).ok_or(BcapError::BadRequest)?;
        Ok(Self { since, block })
    }
}

/// Before the message that has this version. Versions of messages are their places on the bus.
fn before(version: &BcapValue) -> Result<Cursor, BcapError> {
    let number = version.as_u64().or_else(|| version.as_str()?.parse().ok());
    let sequence = number.and_then(|number| Sequence::from_u64(number.checked_sub(1)?));
    sequence.map(Cursor::After).ok_or(BcapError::BadRequest)
}

/// The part of the target that the bus can filter by its index.
pub(super) fn scope(target: &BusReadTarget) -> Scope {
    let scope = match &target.channels {
        TargetChannels::One(channel) => Scope::channel(&target.bus, channel),
        TargetChannels::All | TargetChannels::Some(_) => Scope::bus(&target.bus),
    };
    let types = target.types.iter().flatten();
    types.fold(scope, |scope, kind| scope.with(Field::Type, kind.as_str()))
}

fn is_shown(target: &BusReadTarget, cx: &Invocation, message: &StoredMessage) -> bool {
    target.channels.admits(message.channel.as_str())
        && cx.bounds().admits_channel(message.channel.as_str())
        && cx.bounds().admits_type(message.kind.as_str())
}

fn result(shown: &[&Arc<StoredMessage>], page: &ReadPage) -> BcapValue {
    let messages: Vec<BcapValue> = shown.iter().map(|message| value(message)).collect();
    let next = match page.next.after() {
        Some(sequence) => MessageId::from_sequence(sequence).to_string().into(),
        None => BcapValue::Null,
    };
    Members::new()
        .with("messages", messages)
        .with("next", next)
        .with("more", BcapValue::Bool(page.more))
        .into()
}

fn value(message: &StoredMessage) -> BcapValue {
    // A payload that would turn into a capability on the other side is shown as its text
    // (Belay §4.4).
    let payload = serde_json::from_slice(message.payload.as_bytes())
        .ok()
        .and_then(|json: serde_json::Value| BcapValue::from_json(json).ok())
        .unwrap_or_else(|| BcapValue::from(message.payload.as_str()));
    Members::new()
        .with("id", message.id.to_string())
        .with("bus", message.bus.to_string())
        .with("channel", message.channel.as_str())
        .with("type", message.kind.as_str())
        .with("source", message.source.as_str())
        .with("sticky", BcapValue::Bool(message.sticky))
        .with("expire", message.expires_at.to_rfc3339().to_string())
        .with("payload", payload)
        .into()
}
