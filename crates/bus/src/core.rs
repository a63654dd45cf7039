//! One bus: its window, the publishes under way, and how far the window is behind the log.
//!
//! The window grows only by reading the log on from where it ends, whoever wrote: so no smaller id
//! becomes visible after a greater one (Backplane §5.3). At most one read is under way. A *ticket* is
//! a number that rises; a read serves every ticket drawn before it began.
//!
//! Never here: a clock, the store, locks, who is waiting.

use std::{collections::HashSet, sync::Arc, time::Duration};

use buswire_message::{BusName, Message, MessageId, Sequence, Timestamp};
use buswire_store::{Entry, Page, Position};

use crate::{
    ledger::{Draft, Ledger},
    names::Names,
    record,
    settings::Settings,
    stored::StoredMessage,
    window::Window,
};

/// The bounds of one publish.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    /// Live messages of a channel.
    pub(crate) channel: u32,
    /// Live messages of the bus.
    pub(crate) messages: usize,
    /// Bytes of live messages of the bus.
    pub(crate) bytes: usize,
    /// How long a dropped publish keeps its places.
    pub(crate) in_doubt: Duration,
}

/// Why a publish is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Channel,
    Bus,
}

/// Whether a read of the log may go ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Read on after this; from the start of the log if it is `None`.
    After(Option<Position>),
    /// Another read is under way.
    Busy,
}

/// One bus.
#[derive(Debug)]
pub(crate) struct BusCore {
    name: BusName,
    pub(crate) window: Window,
    pub(crate) ledger: Ledger,
    settings: Option<Settings>,
    settings_changes: u64,
    names: Names,
    end: Option<Position>,
    complete: Sequence,
    drawn: u64,
    served: u64,
    stale: u64,
    reading: Option<u64>,
}

impl BusCore {
    pub(crate) fn new(name: BusName) -> Self {
        Self {
            name,
            window: Window::default(),
            ledger: Ledger::default(),
            settings: None,
            settings_changes: 0,
            names: Names::default(),
            end: None,
            complete: Sequence::ZERO,
            drawn: 1,
            served: 0,
            stale: 1,
            reading: None,
        }
    }

    /// Draws a ticket: it is served when everything that is in the log by now is in the window.
    pub(crate) const fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    /// Something may be in the log that the window lacks: whoever reads must read the log first.
    pub(crate) const fn mark_stale(&mut self) {
        self.stale = self.draw();
    }

    /// Whether the window may be read without reading the log first.
    pub(crate) const fn is_fresh(&self) -> bool {
        self.served >= self.stale
    }

    /// Whether a read with `ticket` is done.
    pub(crate) const fn has_served(&self, ticket: u64) -> bool {
        self.served >= ticket
    }

    /// The ticket that a reader must wait for.
    pub(crate) const fn stale_ticket(&self) -> u64 {
        self.stale
    }

    /// The settings as last read, and how often they have changed; `None` if they must be read.
    pub(crate) const fn settings(&self) -> (Option<Settings>, u64) {
        (self.settings, self.settings_changes)
    }

    /// Keeps settings that were read when they had changed `changes` times, unless they changed
    /// meanwhile.
    pub(crate) fn keep_settings(&mut self, changes: u64, settings: Settings) {
        if self.settings_changes == changes {
            self.settings = Some(settings);
        }
    }

    /// The settings may have changed: they must be read again.
    pub(crate) const fn forget_settings(&mut self) {
        self.settings = None;
        self.settings_changes += 1;
    }

    /// Whether nothing is lost if it is dropped and read again.
    pub(crate) fn is_idle(&self) -> bool {
        self.ledger.is_empty() && self.reading.is_none()
    }

    /// Where the window ends; `None` before anything was read.
    pub(crate) const fn end(&self) -> Option<Position> {
        self.end
    }

    /// Up to where the window has all that the log will ever have.
    pub(crate) fn complete_to(&self) -> Sequence {
        self.end.map_or(Sequence::ZERO, |end| end.sequence.max(self.complete))
    }

    /// The log was read after it was certain that nothing comes up to `through` any more.
    pub(crate) fn completed(&mut self, through: Sequence) {
        self.complete = self.complete.max(through);
    }

    /// Begins a read of the log, unless one is under way.
    pub(crate) const fn begin_read(&mut self) -> Begun {
        if self.reading.is_some() {
            return Begun::Busy;
        }
        self.reading = Some(self.drawn);
        Begun::After(self.end)
    }

    /// Ends a read that did not come to its end.
    pub(crate) const fn abandon_read(&mut self) {
        self.reading = None;
    }

    /// Takes a page of the log that the read under way gave; the messages that it added.
    pub(crate) fn apply(&mut self, page: Page) -> Vec<Arc<StoredMessage>> {
        if page.gap {
            tracing::warn!(bus = %self.name, "the store may have lost messages; starting again");
            self.window.clear();
            self.end = None;
            self.complete = Sequence::ZERO;
        }
        let mut added = Vec::with_capacity(page.entries.len());
        for entry in page.entries {
            if self.end.is_some_and(|end| entry.sequence <= end.sequence) {
                continue;
            }
            if let Some(message) = self.message(&entry) {
                self.window.push(Arc::clone(&message));
                added.push(message);
            }
        }
        self.end = Some(self.end.map_or(page.next, |end| end.max(page.next)));
        if !page.more
            && let Some(ticket) = self.reading.take()
        {
            self.served = self.served.max(ticket);
        }
        added
    }

    /// The message of `entry`. One that was published here is already at hand.
    fn message(&mut self, entry: &Entry) -> Option<Arc<StoredMessage>> {
        let id = MessageId::from_sequence(entry.sequence);
        let ours = record::token(&entry.body)
            .and_then(|token| self.ledger.claim(token, &entry.body))
            .map(|draft| draft.message);
        let mut message = match ours {
            Some(message) => Message {
                source: self.names.same_source(&message.source),
                kind: self.names.same_kind(&message.kind),
                ..message
            },
            None => self.decode(entry)?,
        };
        message.id = id;
        message.expires_at = entry.expires;
        message.channel = self.window.same_channel(message.channel);
        Some(StoredMessage::new(message, entry.body.len()))
    }

    fn decode(&mut self, entry: &Entry) -> Option<Message> {
        let id = MessageId::from_sequence(entry.sequence);
        let record = match record::decode(&entry.body, &mut self.names) {
            Ok(record) => record,
            Err(error) => {
                // One bad record must not hide the rest of the bus.
                tracing::error!(bus = %self.name, %id, %error, "a message can't be read");
                return None;
            }
        };
        Some(Message {
            id,
            bus: self.name.clone(),
            channel: record.channel,
            source: record.source,
            kind: record.kind,
            sticky: record.sticky,
            expires_at: entry.expires,
            payload: record.payload,
            headers: record.headers,
        })
    }

    /// Whether `drafts` may be published: for each the id that its dedupe key already has, or `None`
    /// if it is to be stored (Backplane §5.4: live messages count, all or none).
    pub(crate) fn admit(
        &mut self,
        now: Timestamp,
        drafts: &[Draft],
        caps: &Caps,
    ) -> Result<Vec<Option<MessageId>>, Full> {
        self.ledger.settle(now, self.served, caps.in_doubt);
        self.window.set_time(now);
        let known: Vec<Option<MessageId>> =
            drafts.iter().map(|draft| self.keyed(now, &draft.message)).collect();
        let mut new: Vec<&Draft> = Vec::with_capacity(drafts.len());
        let mut keys = HashSet::new();
        for (draft, known) in drafts.iter().zip(&known) {
            let key = draft.message.headers.dedupe_key.as_ref();
            let repeats = key.is_some_and(|key| !keys.insert(key));
            if known.is_none() && !repeats {
                new.push(draft);
            }
        }
        let live = self.window.live();
        let bytes: usize = new.iter().map(|draft| draft.record.len()).sum();
        if new.is_empty() {
            return Ok(known);
        }
        if live.messages + self.ledger.len() + new.len() > caps.messages
            || live.bytes + self.ledger.bytes() + bytes > caps.bytes
        {
            return Err(Full::Bus);
        }
        new.sort_unstable_by(|a, b| a.message.channel.cmp(&b.message.channel));
        let limit = usize::try_from(caps.channel).unwrap_or(usize::MAX);
        for same in new.chunk_by(|a, b| a.message.channel == b.message.channel) {
            let Some(channel) = same.first().map(|draft| &draft.message.channel) else { continue };
            if self.window.live_in(channel) + self.ledger.held_in(channel) + same.len() > limit {
                return Err(Full::Channel);
            }
        }
        Ok(known)
    }

    fn keyed(&self, now: Timestamp, message: &Message) -> Option<MessageId> {
        let key = message.headers.dedupe_key.as_ref()?;
        self.window.keyed(key).filter(|kept| now < kept.expires_at).map(|kept| kept.id)
    }
}

#[cfg(test)]
mod tests {
    use buswire_message::{Headers, NewMessage, Payload, Sequence};
    use buswire_store::Epoch;
    use bytes::Bytes;

    use super::*;

    fn new(channel: &str) -> NewMessage {
        NewMessage {
            channel: channel.parse().unwrap(),
            source: "https://s.example/".parse().unwrap(),
            kind: "t".parse().unwrap(),
            sticky: false,
            expires_at: None,
            payload: Payload::parse(&Bytes::from_static(b"{\"a\":1}")).unwrap(),
            headers: Headers::default(),
        }
    }

    fn position(epoch: u64, number: u64) -> Position {
        Position { epoch: Epoch(epoch), sequence: Sequence::from_u64(number).unwrap() }
    }

    fn entry(number: u64, body: &Bytes) -> Entry {
        let sequence = Sequence::from_u64(number).unwrap();
        Entry { sequence, body: body.clone(), expires: Timestamp::MAX }
    }

    fn page(entries: Vec<Entry>, next: Position) -> Page {
        Page { entries, next, more: false, gap: false }
    }

    fn core() -> BusCore {
        BusCore::new("b.example".parse().unwrap())
    }

    fn numbers(messages: &[Arc<StoredMessage>]) -> Vec<u64> {
        messages.iter().map(|message| message.id.sequence().as_u64()).collect()
    }

    #[test]
    fn a_ticket_is_served_when_the_read_has_come_to_its_end() {
        let mut core = core();
        let body = record::encode(1, &new("c"));
        assert_eq!(core.begin_read(), Begun::After(None));
        assert_eq!(core.begin_read(), Begun::Busy);
        let late = core.draw();
        core.apply(Page { more: true, ..page(vec![entry(1, &body)], position(1, 1)) });
        assert!(!core.is_fresh());
        core.apply(page(vec![entry(2, &body)], position(1, 2)));
        assert!(core.is_fresh() && !core.has_served(late), "drawn after the read had begun");
        assert_eq!(core.begin_read(), Begun::After(Some(position(1, 2))));
        // What was read before is not taken twice.
        let again = page(vec![entry(2, &body), entry(3, &body)], position(1, 3));
        assert_eq!(numbers(&core.apply(again)), [3]);
        assert!(core.has_served(late));
    }

    #[test]
    fn a_store_that_lost_messages_makes_the_window_begin_again() {
        let mut core = core();
        let body = record::encode(1, &new("c"));
        core.begin_read();
        core.apply(page(vec![entry(5, &body), entry(9, &body)], position(1, 9)));
        core.begin_read();
        let restored = page(vec![entry(5, &body), entry(7, &body)], position(2, 7));
        assert_eq!(numbers(&core.apply(Page { gap: true, ..restored })), [5, 7]);
        assert_eq!(core.end(), Some(position(2, 7)));
        assert!(core.window.at(Sequence::from_u64(9).unwrap()).is_none());
    }

    #[test]
    fn a_record_that_cannot_be_read_hides_nothing_else() {
        let mut core = core();
        let body = record::encode(1, &new("c"));
        let mut newer = body.to_vec();
        newer[0] = 200;
        core.begin_read();
        let entries = vec![entry(1, &newer.into()), entry(2, &body)];
        assert_eq!(numbers(&core.apply(page(entries, position(1, 2)))), [2]);
    }

    #[test]
    fn what_was_published_here_is_not_decoded_and_shares_the_bytes_of_its_record() {
        let mut core = core();
        let caps = Caps { channel: 1, messages: 9, bytes: 9999, in_doubt: Duration::from_secs(10) };
        let draft = |token| {
            let message = new("c");
            let record = record::encode(token, &message);
            let payload = record::payload_of(&record, message.payload.len());
            let NewMessage { channel, source, kind, sticky, headers, .. } = message;
            let id = MessageId::from_sequence(Sequence::ZERO);
            let (bus, expires_at) = ("b.example".parse().unwrap(), Timestamp::MAX);
            let message =
                Message { id, bus, channel, source, kind, sticky, expires_at, payload, headers };
            Draft { token, message, record }
        };
        let ours = draft(7);
        let record = ours.record.clone();
        assert_eq!(
            core.admit(Timestamp::EPOCH, std::slice::from_ref(&ours), &caps),
            Ok(vec![None])
        );
        core.ledger.enter(ours);
        let second = [draft(8)];
        assert_eq!(core.admit(Timestamp::EPOCH, &second, &caps), Err(Full::Channel));
        // Another process may use the same token: its record is another one.
        let foreign = record::encode(7, &new("d"));
        core.begin_read();
        core.apply(page(vec![entry(1, &foreign)], position(1, 1)));
        assert!(!core.ledger.is_empty());
        core.begin_read();
        let added = core.apply(page(vec![entry(2, &record)], position(1, 2)));
        assert!(core.ledger.is_empty());
        let payload = added[0].payload.as_bytes().as_ptr_range();
        let bytes = record.as_ptr_range();
        assert!(bytes.start < payload.start && payload.end == bytes.end);
    }
}
