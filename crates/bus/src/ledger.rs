//! The publishes of one bus that are under way, and the places that they hold.
//!
//! A place is held from before the commit until the message is in the window, or until it is known
//! that it never will be. So the limits hold exactly, with any number of publishes at once and no
//! lock held while the store works. Never here: a clock, the store.

use std::collections::HashMap;

use buswire_message::{ChannelName, Message, Timestamp};
use bytes::Bytes;
use std::time::Duration;

/// A message on its way to the store.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What its record names it by.
    pub(crate) token: u64,
    /// The message; its id is not known yet.
    pub(crate) message: Message,
    /// Its record.
    pub(crate) record: Bytes,
}

/// A publish whose outcome nobody waits for any more.
#[derive(Debug, Clone, Copy)]
struct Doubt {
    token: u64,
    /// It is over when the time is not before this.
    until: Timestamp,
    /// It is over when a read of the log with this ticket is done.
    ticket: Option<u64>,
}

/// The publishes of one bus that are under way.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    drafts: HashMap<u64, Draft>,
    held: HashMap<ChannelName, usize>,
    bytes: usize,
    doubts: Vec<Doubt>,
}

impl Ledger {
    /// Whether nothing is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// How many messages are under way.
    pub(crate) fn len(&self) -> usize {
        self.drafts.len()
    }

    /// The bytes of their records.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many places of `channel` are held.
    pub(crate) fn held_in(&self, channel: &ChannelName) -> usize {
        self.held.get(channel).copied().unwrap_or(0)
    }

    /// Holds a place for `draft`.
    pub(crate) fn enter(&mut self, draft: Draft) {
        self.bytes += draft.record.len();
        *self.held.entry(draft.message.channel.clone()).or_default() += 1;
        self.drafts.insert(draft.token, draft);
    }

    /// Gives the place of `token` up and hands its draft out.
    pub(crate) fn leave(&mut self, token: u64) -> Option<Draft> {
        let draft = self.drafts.remove(&token)?;
        self.bytes -= draft.record.len();
        if let Some(held) = self.held.get_mut(&draft.message.channel) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&draft.message.channel);
            }
        }
        Some(draft)
    }

    /// The draft that the record at hand was written from, if it is ours; its place becomes that of
    /// the message. The whole record is compared, since another process may use the same token.
    pub(crate) fn claim(&mut self, token: u64, record: &[u8]) -> Option<Draft> {
        if self.drafts.get(&token)?.record != record {
            return None;
        }
        self.leave(token)
    }

    /// Nobody waits for `token` any more: its place is held until the message turns up, or `until`,
    /// or a read of the log with `ticket` is done.
    pub(crate) fn doubt(&mut self, token: u64, until: Timestamp, ticket: Option<u64>) {
        if self.drafts.contains_key(&token) {
            self.doubts.push(Doubt { token, until, ticket });
        }
    }

    /// Gives up the places of doubts that are over. `longest` is how far ahead of `now` an end can
    /// be unless the clock stepped back.
    pub(crate) fn settle(&mut self, now: Timestamp, served: u64, longest: Duration) {
        if self.doubts.is_empty() {
            return;
        }
        let mut over = Vec::new();
        self.doubts.retain(|doubt| {
            let is_over = doubt.until <= now
                || doubt.until > now.saturating_add(longest)
                || doubt.ticket.is_some_and(|ticket| ticket <= served);
            if is_over {
                over.push(doubt.token);
            }
            !is_over
        });
        for token in over {
            self.leave(token);
        }
    }
}
