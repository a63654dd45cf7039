//! Reading and waiting.
//!
//! Never here: subscriptions, which keep a place for each bus.

use std::sync::Arc;

use buswire_message::{BusName, Cursor, DedupeKey, MessageId, Scope, Sequence, Timestamp};
use buswire_store::{Epoch, Position};
use futures::future::try_join_all;
use smallvec::SmallVec;

use crate::{
    buses::Buses,
    error::BusError,
    select::{Filter, Selection},
    state::{Bus, Shared},
    stored::StoredMessage,
    wait::Wait,
    waiting::Fired,
    window::{Reach, Scan},
};

/// How many messages a scan looks at before it lets publishers in.
const BUDGET: usize = 4096;

/// What a read found.
#[derive(Clone, Debug)]
pub struct ReadPage {
    /// The messages, in the order of their ids.
    pub messages: Vec<Arc<StoredMessage>>,
    /// From where to go on: after the last message of the page; if there is none, after the last
    /// one that was looked at within the scope's buses and channels; if there is none, as before
    /// (Backplane §10.3).
    pub next: Cursor,
    /// Whether more were there at that moment.
    pub more: bool,
}

impl Buses {
    /// Reads at most `limit` live messages of `scope` after `since`, in the order of their ids,
    /// across buses. A bus that does not exist is empty; one that was deleted still shows its
    /// messages. `limit` 0 is taken as 1.
    ///
    /// One cursor for several buses misses nothing: a page ends where all of them are known to get
    /// nothing smaller any more, which takes a look at the store where other processes publish too.
    ///
    /// # Errors
    ///
    /// [`BusError::NoBus`] if the scope names no bus, [`BusError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn read(
        &self,
        scope: &Scope,
        since: Cursor,
        limit: usize,
    ) -> Result<ReadPage, BusError> {
        let reader = Reader::new(&self.shared, scope)?;
        reader.read(&self.shared, since, limit).await
    }

    /// Reads as [`read`](Self::read) does, but if nothing is there waits until something is or the
    /// time is `deadline`; then the page is empty. It is also empty, without waiting, once
    /// [`run`](Self::run) has been shut down.
    ///
    /// A wait costs one entry in a list, no task and no timer. If the clock steps back by more than
    /// a second the wait does not get longer.
    ///
    /// # Errors
    ///
    /// [`BusError::NoBus`], [`BusError::TooManyWaiters`], [`BusError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: the entry is removed at once.
    pub async fn read_wait(
        &self,
        scope: &Scope,
        since: Cursor,
        limit: usize,
        deadline: Timestamp,
    ) -> Result<ReadPage, BusError> {
        let shared = &self.shared;
        let reader = Reader::new(shared, scope)?;
        let (mut since, mut deadline, mut wait) = (since, deadline, None);
        loop {
            let page = reader.read(shared, since, limit).await?;
            let now = shared.now();
            if !page.messages.is_empty() || now >= deadline {
                return Ok(page);
            }
            since = page.next;
            match wait.take() {
                // Entered before the next read: what comes after that ends the wait.
                None => wait = Some(reader.enter(shared, scope, now, Some(deadline))?),
                Some(entered) => {
                    let over = entered.await;
                    deadline = over.deadline.unwrap_or(deadline);
                    match over.fired {
                        Fired::Message => {}
                        Fired::Deadline => return reader.read(shared, since, limit).await,
                        Fired::Closed => return Ok(page),
                    }
                }
            }
        }
    }

    /// The live message `id`, if it is in `scope`. Where the store has no order across buses, two
    /// buses of the scope may both have the id; then the first in the order of bus names is found.
    ///
    /// # Errors
    ///
    /// [`BusError::NoBus`], [`BusError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn message(
        &self,
        id: MessageId,
        scope: &Scope,
    ) -> Result<Option<Arc<StoredMessage>>, BusError> {
        let shared = &self.shared;
        let reader = Reader::new(shared, scope)?;
        for name in &reader.selection.buses {
            let bus = shared.fresh(name).await?;
            let ticket = {
                let mut core = bus.lock();
                // Beyond the window only another process can have stored it.
                let is_beyond = core.end().is_none_or(|end| end.sequence < id.sequence());
                is_beyond.then(|| core.draw())
            };
            if let Some(ticket) = ticket {
                shared.catch_up(&bus, ticket, None).await?;
            }
            let found = bus.lock().window.at(id.sequence()).cloned();
            let now = shared.now();
            let is_meant = |message: &Arc<StoredMessage>| {
                now < message.expires_at && reader.selection.admits_any(message)
            };
            if let Some(message) = found.filter(is_meant) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}

impl Buses {
    /// The live message of a bus that was published with a dedupe key.
    ///
    /// # Errors
    ///
    /// [`BusError::UnknownBus`], [`BusError::Store`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub async fn keyed(
        &self,
        bus: &BusName,
        key: &DedupeKey,
    ) -> Result<Option<Arc<StoredMessage>>, BusError> {
        let bus = self.shared.fresh(bus).await?;
        let found = bus.lock().window.keyed(key).cloned();
        let now = self.shared.now();
        Ok(found.filter(|message| now < message.expires_at))
    }
}

/// A scope made ready for reading.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) selection: Selection,
}

impl Reader {
    pub(crate) fn new(shared: &Shared, scope: &Scope) -> Result<Self, BusError> {
        let selection = Selection::new(scope, &shared.message_url_prefix);
        if selection.buses.is_empty() { Err(BusError::NoBus) } else { Ok(Self { selection }) }
    }

    /// Enters a reader that waits for what this one selects.
    pub(crate) fn enter(
        &self,
        shared: &Shared,
        scope: &Scope,
        now: Timestamp,
        deadline: Option<Timestamp>,
    ) -> Result<Wait, BusError> {
        let whole = || Arc::new(Filter::new(scope.clone(), &shared.message_url_prefix));
        shared.room.enter(&self.selection, whole, now, deadline)
    }

    async fn read(
        &self,
        shared: &Shared,
        since: Cursor,
        limit: usize,
    ) -> Result<ReadPage, BusError> {
        let limit = limit.max(1);
        if let Some(page) = self.read_now(shared, since, limit)? {
            return Ok(page);
        }
        // In a box, so that the many futures that wait are small.
        Box::pin(self.read_slowly(shared, since, limit)).await
    }

    /// Reads if nothing has to be awaited: the usual case.
    fn read_now(
        &self,
        shared: &Shared,
        since: Cursor,
        limit: usize,
    ) -> Result<Option<ReadPage>, BusError> {
        let mut buses: SmallVec<[Arc<Bus>; 1]> = SmallVec::new();
        for name in &self.selection.buses {
            buses.push(shared.bus(name)?);
        }
        let is_single = buses.len() == 1;
        let through = if is_single { Sequence::MAX } else { greatest_end(&buses) };
        let is_complete = |bus: &Arc<Bus>| {
            let core = bus.lock();
            if shared.has_others { core.complete_to() >= through } else { core.is_idle() }
        };
        if !is_single && !buses.iter().all(is_complete) {
            return Ok(None);
        }
        let wanted = limit.saturating_add(1);
        let (after, now) = (since.after(), shared.now());
        let mut found = Found::default();
        for bus in &buses {
            let core = bus.lock();
            if !core.is_fresh() {
                return Ok(None);
            }
            let reach = Reach { after, through, now, limit: wanted, budget: BUDGET };
            let scan = core.window.scan(&self.selection, reach);
            if !scan.ended && scan.messages.len() < wanted {
                return Ok(None);
            }
            found.add(scan);
        }
        Ok(Some(found.page(since, limit)))
    }

    async fn read_slowly(
        &self,
        shared: &Shared,
        since: Cursor,
        limit: usize,
    ) -> Result<ReadPage, BusError> {
        let mut buses: SmallVec<[Arc<Bus>; 1]> = SmallVec::new();
        for name in &self.selection.buses {
            buses.push(shared.fresh(name).await?);
        }
        let is_single = buses.len() == 1;
        let wanted = limit.saturating_add(1);
        loop {
            let through =
                if is_single { Sequence::MAX } else { complete_through(shared, &buses).await? };
            let epochs = epochs(&buses);
            let (after, now) = (since.after(), shared.now());
            let mut found = Found::default();
            for bus in &buses {
                let reach = Reach { after, through, now, limit: wanted, budget: BUDGET };
                self.collect(bus, reach, &mut found).await;
            }
            // A window that was read anew from its start meanwhile was not complete for a while.
            if is_single || epochs.eq(&self::epochs(&buses)) {
                return Ok(found.page(since, limit));
            }
        }
    }

    /// Adds what one bus has within `reach` to `found`; the last message that was looked at.
    pub(crate) async fn collect(
        &self,
        bus: &Bus,
        mut reach: Reach,
        found: &mut Found,
    ) -> Option<Sequence> {
        let mut examined = None;
        loop {
            let scan = bus.lock().window.scan(&self.selection, reach);
            let (count, ended) = (scan.messages.len(), scan.ended);
            examined = scan.examined.or(examined);
            reach.after = examined.or(reach.after);
            reach.limit = reach.limit.saturating_sub(count);
            found.add(scan);
            if ended || reach.limit == 0 {
                return examined;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// What several scans found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    messages: Vec<Arc<StoredMessage>>,
    examined: Option<Sequence>,
}

impl Found {
    fn add(&mut self, scan: Scan) {
        self.examined = self.examined.max(scan.examined);
        if self.messages.is_empty() {
            self.messages = scan.messages;
        } else {
            self.messages.extend(scan.messages);
        }
    }

    /// The messages in the order of their ids.
    pub(crate) fn into_sorted(mut self) -> Vec<Arc<StoredMessage>> {
        // Fast if it is sorted already, as what comes from one bus is.
        self.messages.sort_by_key(|message| message.id);
        self.messages
    }

    fn page(self, since: Cursor, limit: usize) -> ReadPage {
        let examined = self.examined;
        let mut messages = self.into_sorted();
        let more = messages.len() > limit;
        messages.truncate(limit);
        let last = messages.last().map(|message| message.id.sequence());
        let next = last.or(examined).map_or(since, Cursor::After);
        ReadPage { messages, next, more }
    }
}

fn epochs(buses: &[Arc<Bus>]) -> SmallVec<[Option<Epoch>; 1]> {
    buses.iter().map(|bus| bus.lock().end().map(|end| end.epoch)).collect()
}

fn greatest_end(buses: &[Arc<Bus>]) -> Sequence {
    let end = |bus: &Arc<Bus>| bus.lock().end().map_or(Sequence::ZERO, |end| end.sequence);
    buses.iter().map(end).max().unwrap_or(Sequence::ZERO)
}

/// Up to where all of `buses` are complete, so that no smaller id turns up in one of them after a
/// greater one was read in another.
///
/// What any window ends with was visible in the store, and with it everything smaller on any bus. A
/// window can lack such a message only while a publish on its bus is under way; then it is read on.
///
/// Where other processes publish too, the hint of a message that one of them published may be on its
/// way, and a store of several servers may yet give a smaller id. So the store is asked which logs grew,
/// and from then on gives none; those are read on.
async fn complete_through(shared: &Shared, buses: &[Arc<Bus>]) -> Result<Sequence, BusError> {
    let through = greatest_end(buses);
    if shared.has_others {
        complete_shared(shared, buses, through).await?;
        return Ok(through);
    }
    for bus in buses {
        let ticket = {
            let mut core = bus.lock();
            (!core.is_idle()).then(|| core.draw())
        };
        if let Some(ticket) = ticket {
            shared.catch_up(bus, ticket, None).await?;
        }
    }
    Ok(through)
}

async fn complete_shared(
    shared: &Shared,
    buses: &[Arc<Bus>],
    through: Sequence,
) -> Result<(), BusError> {
    let is_behind = |bus: &&Arc<Bus>| bus.lock().complete_to() < through;
    let Some(first) = buses.iter().find(is_behind) else { return Ok(()) };
    first.asking.one_by_one(ask_for_growth(shared, buses, through)).await
}

async fn ask_for_growth(
    shared: &Shared,
    buses: &[Arc<Bus>],
    through: Sequence,
) -> Result<(), BusError> {
    // Whoever asked before may have seen to it.
    let is_behind = |bus: &&Arc<Bus>| bus.lock().complete_to() < through;
    let behind: Vec<_> = buses.iter().filter(is_behind).collect();
    if behind.is_empty() {
        return Ok(());
    }
    let start = Position { epoch: Epoch(0), sequence: Sequence::ZERO };
    let place = |bus: &&Arc<Bus>| (bus.partition.clone(), bus.lock().end().unwrap_or(start));
    let places: Vec<_> = behind.iter().map(place).collect();
    let grown = shared.store.grown(shared.log(), &places, through).await?;
    let mut reads = Vec::new();
    for (bus, has_grown) in behind.into_iter().zip(grown) {
        if has_grown {
            reads.push(complete(shared, bus, through));
        } else {
            bus.lock().completed(through);
        }
    }
    // The store bounds how many are under way.
    try_join_all(reads).await?;
    Ok(())
}

/// Reads the log of `bus`, which gets nothing up to `through` any more.
async fn complete(shared: &Shared, bus: &Bus, through: Sequence) -> Result<(), BusError> {
    let ticket = bus.lock().draw();
    shared.catch_up(bus, ticket, None).await?;
    bus.lock().completed(through);
    Ok(())
}
