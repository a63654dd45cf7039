//! Following messages page by page: what to ask for next, and when.
//!
//! A position moves only together with the messages that it lies behind, so whatever fails or is
//! given up in between, nothing is skipped and nothing comes twice. Never here: I/O, a clock.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;
use url::Url;

use super::{
    answer::{Message, Page},
    backoff::Backoff,
};

/// A place in a sequence of messages: its start, or behind a message. Its text may be stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position(Option<String>);

impl Position {
    /// The start of what the server still has.
    pub const fn start() -> Self {
        Self(None)
    }

    /// Behind the message of this id.
    pub fn after(id: impl Into<String>) -> Self {
        Self(Some(id.into()))
    }

    /// The id that it lies behind, for `since`; `None` at the start.
    pub fn since(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The position in a `nextURL`. Only that is taken from it: the token must not go to whatever
    /// server an answer names, and a gateway may be reached under another name than it knows itself.
    pub(super) fn of_url(next_url: &str) -> Option<Self> {
        let url = Url::parse(next_url).ok()?;
        let since = url.query_pairs().find(|(name, value)| name == "since" && !value.is_empty())?;
        Some(Self::after(since.1))
    }
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Step {
    /// Hand this on.
    Deliver(Message),
    /// Wait until then.
    Wait(Instant),
    /// Ask for what lies behind this position.
    Ask(Position),
}

/// The state of one stream.
#[derive(Debug)]
pub(super) struct Poller {
    backoff: Backoff,
    idle: Duration,
    /// Behind what was handed on: where another stream would have to begin.
    delivered: Position,
    /// Behind what was received: one page ahead of `delivered` at most.
    received: Position,
    /// One page, which an answer's length bounds.
    ready: VecDeque<Message>,
    not_before: Option<Instant>,
    failures: u32,
}

impl Poller {
    pub(super) fn new(start: Position, idle: Duration, backoff: Backoff) -> Self {
        Self {
            backoff,
            idle,
            delivered: start.clone(),
            received: start,
            ready: VecDeque::new(),
            not_before: None,
            failures: 0,
        }
    }

    pub(super) fn step(&mut self, now: Instant) -> Step {
        if let Some(message) = self.ready.pop_front() {
            self.delivered = if self.ready.is_empty() {
                self.received.clone()
            } else {
                Position::after(message.id())
            };
            return Step::Deliver(message);
        }
        match self.not_before {
            Some(at) if now < at => Step::Wait(at),
            _ => Step::Ask(self.received.clone()),
        }
    }

    /// The answer to the last question, which was asked at `asked`.
    pub(super) fn page(&mut self, page: Page, asked: Instant) {
        self.failures = 0;
        let stands_still = !page.more || page.next == self.received;
        // A server that holds polls has taken its time already.
        self.not_before = (page.messages.is_empty() && stands_still).then(|| asked + self.idle);
        self.received = page.next;
        self.ready.extend(page.messages);
        if self.ready.is_empty() {
            self.delivered = self.received.clone();
        }
    }

    /// The last question failed and may be asked again. `false` if that was one failure too many:
    /// it is to be reported, and counting begins anew.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        asked_away: Option<Duration>,
        random: u32,
    ) -> bool {
        self.failures += 1;
        let delay = self.backoff.delay(self.failures, random);
        let wait = delay.unwrap_or(self.backoff.max).max(asked_away.unwrap_or_default());
        self.not_before = Some(now + wait);
        if delay.is_none() {
            self.failures = 0;
        }
        delay.is_some()
    }

    pub(super) const fn position(&self) -> &Position {
        &self.delivered
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::client::answer::json;

    fn message(number: usize) -> Message {
        let text = format!(
            r#"{{"messageURL":"https://a/v2/message/{number:04}","source":"s","type":"t","bus":"b","channel":"c"}}"#
        );
        json(text.as_bytes(), "a message").unwrap()
    }

    /// A server with messages 1 to `last`: the page behind a position.
    fn serve(last: usize, position: &Position, size: usize) -> Page {
        let since = position.since().map_or(0, |id| id.parse().unwrap());
        let messages: Vec<_> = (since + 1..=last).take(size).map(message).collect();
        let next = messages.last().map_or(position.clone(), |last| Position::after(last.id()));
        Page { more: since + messages.len() < last, messages, next }
    }

    #[test]
    fn only_the_position_of_a_next_url_counts() {
        // Rule: backplane §10.3 — a client reads on from the since of nextURL, at its own server
        let position = Position::of_url("https://evil.example/x?a=b&since=2024-03-09T14%3A07-V");
        assert_eq!(position, Some(Position::after("2024-03-09T14:07-V")));
        // Rule: backplane §16 row 36 — a client bears a nextURL without since
        assert_eq!(Position::of_url("https://a/v2/messages"), None);
        assert_eq!(Position::of_url("https://a/v2/messages?since="), None);
    }

    #[test]
    fn empty_pages_at_once_are_not_asked_for_again_at_once() {
        let (start, idle) = (Instant::now(), Duration::from_secs(5));
        let mut poller = Poller::new(Position::start(), idle, Backoff::default());
        poller.page(serve(0, &Position::start(), 25), start);
        assert!(matches!(poller.step(start), Step::Wait(at) if at == start + idle));
        assert!(matches!(poller.step(start + idle), Step::Ask(_)));
        // Not even if the server says that there is more.
        let more = Page { more: true, ..serve(0, &Position::start(), 25) };
        poller.page(more.clone(), start);
        assert!(matches!(poller.step(start), Step::Wait(_)));
        // What was looked through without a match is left behind at once.
        poller.page(Page { next: Position::after("0007"), ..more }, start);
        assert!(matches!(poller.step(start), Step::Ask(from) if from == Position::after("0007")));
    }

    #[test]
    fn more_messages_are_asked_for_at_once() {
        // Rule: backplane §10.3 — a client asks again at once when moreMessages is true
        let now = Instant::now();
        let mut poller = Poller::new(Position::start(), Duration::from_secs(5), Backoff::default());
        poller.page(serve(3, &Position::start(), 2), now);
        assert!(matches!(poller.step(now), Step::Deliver(_)));
        assert!(matches!(poller.step(now), Step::Deliver(_)));
        assert!(matches!(poller.step(now), Step::Ask(from) if from == Position::after("0002")));
    }

    #[test]
    fn failures_are_waited_out_and_then_reported() {
        let (mut now, asked_away) = (Instant::now(), Some(Duration::from_secs(90)));
        let backoff = Backoff { failures_max: 2, ..Backoff::default() };
        let mut poller = Poller::new(Position::start(), Duration::ZERO, backoff);
        assert!(poller.failed(now, None, u32::MAX));
        assert!(matches!(poller.step(now), Step::Wait(at) if at == now + Duration::from_secs(1)));
        assert!(poller.failed(now, asked_away, 0));
        assert!(matches!(poller.step(now), Step::Wait(at) if at == now + Duration::from_secs(90)));
        assert!(!poller.failed(now, None, 0));
        // It does not hammer the server, even if its user goes on at once.
        assert!(matches!(poller.step(now), Step::Wait(at) if at == now + Duration::from_secs(60)));
        now += Duration::from_secs(60);
        assert!(matches!(poller.step(now), Step::Ask(_)));
    }

    #[derive(Debug, Clone)]
    enum Event {
        Post(usize),
        Answer { size: usize },
        Lose,
        Restart,
        Read,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            (1_usize..30).prop_map(Event::Post),
            (1_usize..6).prop_map(|size| Event::Answer { size }),
            Just(Event::Lose),
            Just(Event::Restart),
            Just(Event::Read),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_skipped_and_nothing_comes_twice(
            events in proptest::collection::vec(event(), 0..120)
        ) {
            // Rule: backplane §10.3 — a stream never skips a message and never repeats one
            let mut now = Instant::now();
            let backoff = Backoff::default();
            let fresh = |from| Poller::new(from, Duration::from_secs(5), backoff);
            let (mut poller, mut posted, mut read) = (fresh(Position::start()), 0, 0);
            for event in events {
                now += Duration::from_secs(100);
                match event {
                    Event::Post(count) => posted += count,
                    // A process that ends and begins again with the position that it has kept.
                    Event::Restart => poller = fresh(poller.position().clone()),
                    step => match poller.step(now) {
                        Step::Deliver(message) => {
                            read += 1;
                            prop_assert_eq!(message.id().parse::<usize>().unwrap(), read);
                        }
                        Step::Wait(_) => prop_assert!(false, "it waits longer than it may"),
                        Step::Ask(from) => match step {
                            Event::Answer { size } => poller.page(serve(posted, &from, size), now),
                            Event::Lose => {
                                poller.failed(now, None, 0);
                            }
                            _ => {}
                        },
                    },
                }
            }
            while read < posted {
                now += Duration::from_secs(100);
                match poller.step(now) {
                    Step::Deliver(message) => {
                        read += 1;
                        prop_assert_eq!(message.id().parse::<usize>().unwrap(), read);
                    }
                    Step::Ask(from) => poller.page(serve(posted, &from, 25), now),
                    Step::Wait(_) => prop_assert!(false, "it waits longer than it may"),
                }
            }
        }
    }
}
