//! Subscriptions.
//!
//! Never here: what a subscriber does with a message.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use buswire_message::{Cursor, Scope, Sequence};
use futures::{Stream, stream};

use crate::{
    buses::Buses,
    error::BusError,
    read::{Found, Reader},
    state::Shared,
    stored::StoredMessage,
    waiting::Fired,
    window::Reach,
};

/// How many messages of one bus are taken at once.
const CHUNK: usize = 64;
/// How many messages a scan looks at before it lets publishers in.
const BUDGET: usize = 4096;

impl Buses {
    /// Every message of `scope` after `since`, those to come included, as long as it is polled.
    ///
    /// Never skips a live message and never repeats one: it keeps a place for each bus. The messages
    /// of a bus come in the order of their ids; those of several buses nearly so. A message that
    /// expires before it is polled is left out. After an error the next poll goes on at the same
    /// place. Ends when [`run`](Self::run) is shut down; yields [`BusError::NoBus`] and ends if the
    /// scope names no bus.
    ///
    /// Holds at most 64 messages of each bus. Each waiting subscription counts as a waiting reader;
    /// above their bound it yields [`BusError::TooManyWaiters`].
    pub fn subscribe(&self, scope: Scope, since: Cursor) -> Subscription {
        let shared = Arc::clone(&self.shared);
        let state = match Reader::new(&shared, &scope) {
            Ok(reader) => {
                let places = vec![since.after(); reader.selection.buses.len()];
                State::Open(Box::new(Open {
                    shared,
                    scope,
                    reader,
                    places,
                    ready: VecDeque::new(),
                }))
            }
            Err(error) => State::Refused(error),
        };
        Subscription(Box::pin(stream::unfold(state, State::step)))
    }
}

/// The messages of a scope as they come; see [`Buses::subscribe`].
pub struct Subscription(Pin<Box<dyn Stream<Item = Item> + Send>>);

type Item = Result<Arc<StoredMessage>, BusError>;

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

impl Stream for Subscription {
    type Item = Result<Arc<StoredMessage>, BusError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.0.as_mut().poll_next(context)
    }
}

enum State {
    Open(Box<Open>),
    Refused(BusError),
    Ended,
}

struct Open {
    shared: Arc<Shared>,
    scope: Scope,
    reader: Reader,
    /// After which message to go on, for each bus of the reader.
    places: Vec<Option<Sequence>>,
    ready: VecDeque<Arc<StoredMessage>>,
}

impl State {
    async fn step(self) -> Option<(Item, Self)> {
        match self {
            Self::Open(mut open) => {
                let item = open.next().await?;
                Some((item, Self::Open(open)))
            }
            Self::Refused(error) => Some((Err(error), Self::Ended)),
            Self::Ended => None,
        }
    }
}

impl Open {
    async fn next(&mut self) -> Option<Item> {
        loop {
            if let Some(message) = self.pop() {
                return Some(Ok(message));
            }
            if let Err(error) = self.fill().await {
                return Some(Err(error));
            }
            if !self.ready.is_empty() {
                continue;
            }
            // Entered before the second look: what comes after it ends the wait.
            let now = self.shared.now();
            let wait = match self.reader.enter(&self.shared, &self.scope, now, None) {
                Ok(wait) => wait,
                Err(error) => return Some(Err(error)),
            };
            if let Err(error) = self.fill().await {
                return Some(Err(error));
            }
            if self.ready.is_empty() && wait.await.fired == Fired::Closed {
                return None;
            }
        }
    }

    fn pop(&mut self) -> Option<Arc<StoredMessage>> {
        let now = self.shared.now();
        while let Some(message) = self.ready.pop_front() {
            if now < message.expires_at {
                return Some(message);
            }
        }
        None
    }

    async fn fill(&mut self) -> Result<(), BusError> {
        let mut found = Found::default();
        let mut failed = Ok(());
        for (name, place) in self.reader.selection.buses.iter().zip(&mut self.places) {
            let bus = match self.shared.fresh(name).await {
                Ok(bus) => bus,
                Err(error) => {
                    failed = Err(error);
                    break;
                }
            };
            let now = self.shared.now();
            let through = Sequence::MAX;
            let reach = Reach { after: *place, through, now, limit: CHUNK, budget: BUDGET };
            // `unfold` keeps the future of a step until it is done, so that the place and what was
            // found up to it are never parted.
            *place = self.reader.collect(&bus, reach, &mut found).await.or(*place);
        }
        self.ready.extend(found.into_sorted());
        failed
    }
}
