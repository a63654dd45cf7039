//! The client's side of MDP as a state machine: which answer belongs to which request.
//!
//! Never in here: a socket, a clock, a task.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::ClientError;
use crate::wire::{Reply, ReplyKind, Version};
use crate::{Frames, ServiceName};

/// The longest a caller may wait: keeps sums of durations in range.
const PATIENCE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// How answers find their requests (mdp.md §11.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Correlation {
    /// A frame in front of the delimiter, which the broker returns: many requests in flight.
    #[default]
    Correlated,
    /// Nothing: one request in flight, and a new socket after one without answer. For brokers
    /// that do not return address stacks.
    Plain,
}

/// What the driver has to do.
#[derive(Debug)]
pub(super) enum Output {
    /// Send a request.
    Send { ticket: u32, id: Option<[u8; 4]>, service: ServiceName, body: Frames },
    /// Tell the caller.
    Done(u32, Result<Frames, ClientError>),
    /// Go on with a new socket: a late answer must not be taken for the next one's.
    Reset,
}

struct Pending {
    service: ServiceName,
    /// Until it is sent.
    body: Option<Frames>,
    deadline: Duration,
    parts: Frames,
}

/// Requests in flight.
pub(super) struct Conversation {
    version: Version,
    correlation: Correlation,
    in_flight_max: usize,
    answer_bytes_max: usize,
    next: u32,
    pending: HashMap<u32, Pending>,
    deadlines: BTreeSet<(Duration, u32)>,
    /// Plain only: who is served next, and who is being served.
    queue: VecDeque<u32>,
    active: Option<u32>,
    outputs: VecDeque<Output>,
}

impl Conversation {
    pub(super) fn new(
        version: Version,
        correlation: Correlation,
        in_flight_max: usize,
        answer_bytes_max: usize,
    ) -> Self {
        Self {
            version,
            correlation,
            in_flight_max,
            answer_bytes_max,
            next: 0,
            pending: HashMap::new(),
            deadlines: BTreeSet::new(),
            queue: VecDeque::new(),
            active: None,
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Takes a request in and returns its ticket, under which it is done later.
    pub(super) fn submit(
        &mut self,
        now: Duration,
        service: ServiceName,
        body: Frames,
        timeout: Duration,
    ) -> Result<u32, ClientError> {
        if self.pending.len() >= self.in_flight_max {
            return Err(ClientError::QueueFull);
        }
        let ticket = self.free_ticket();
        let deadline = now + timeout.min(PATIENCE_MAX);
        let pending = Pending { service, body: Some(body), deadline, parts: Frames::new() };
        self.pending.insert(ticket, pending);
        self.deadlines.insert((deadline, ticket));
        match self.correlation {
            Correlation::Correlated => self.send(ticket),
            Correlation::Plain => {
                self.queue.push_back(ticket);
                self.send_next();
            }
        }
        Ok(ticket)
    }

    fn free_ticket(&mut self) -> u32 {
        loop {
            self.next = self.next.wrapping_add(1);
            if !self.pending.contains_key(&self.next) {
                return self.next;
            }
        }
    }

    fn send(&mut self, ticket: u32) {
        let Some(pending) = self.pending.get_mut(&ticket) else {
            return;
        };
        let Some(body) = pending.body.take() else {
            return;
        };
        let id = match self.correlation {
            Correlation::Correlated => Some(ticket.to_be_bytes()),
            Correlation::Plain => None,
        };
        let service = pending.service.clone();
        self.outputs.push_back(Output::Send { ticket, id, service, body });
    }

    fn send_next(&mut self) {
        if self.active.is_none()
            && let Some(ticket) = self.queue.pop_front()
        {
            self.active = Some(ticket);
            self.send(ticket);
        }
    }

    /// Takes a reply in; one that answers nothing is ignored.
    pub(super) fn on_reply(&mut self, reply: Reply) {
        let ticket = match (self.correlation, &reply.id) {
            (Correlation::Correlated, Some(id)) => {
                id.as_slice().try_into().ok().map(u32::from_be_bytes)
            }
            (Correlation::Plain, None) => self.active,
            (Correlation::Correlated, None) | (Correlation::Plain, Some(_)) => None,
        };
        let Some(ticket) = ticket else { return };
        let Some(pending) = self.pending.get_mut(&ticket) else {
            return;
        };
        if pending.service.as_bytes() != reply.service.as_slice() {
            return;
        }
        pending.parts.extend(reply.body);
        if reply.kind == ReplyKind::Final {
            let answer = std::mem::take(&mut pending.parts);
            self.done(ticket, Ok(answer));
        } else if pending.parts.byte_len() > self.answer_bytes_max {
            self.done(ticket, Err(ClientError::AnswerTooLarge));
            self.reset_if_plain();
        }
        self.send_next();
    }

    /// The socket did not take a request.
    pub(super) fn on_send_failed(&mut self, ticket: u32) {
        self.done(ticket, Err(ClientError::QueueFull));
        self.send_next();
    }

    fn done(&mut self, ticket: u32, result: Result<Frames, ClientError>) {
        let Some(pending) = self.pending.remove(&ticket) else {
            return;
        };
        self.deadlines.remove(&(pending.deadline, ticket));
        if self.active == Some(ticket) {
            self.active = None;
        } else {
            self.queue.retain(|other| *other != ticket);
        }
        self.outputs.push_back(Output::Done(ticket, result));
    }

    fn reset_if_plain(&mut self) {
        if self.correlation == Correlation::Plain {
            self.outputs.push_back(Output::Reset);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) {
        while let Some((deadline, ticket)) = self.deadlines.first().copied() {
            if deadline > now {
                return;
            }
            let was_active = self.active == Some(ticket);
            self.done(ticket, Err(ClientError::Timeout));
            if was_active {
                self.reset_if_plain();
            }
            self.send_next();
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Hop;

    fn reply(id: Option<u32>, service: &[u8], body: &'static str) -> Reply {
        let id = id.map(|id| Hop::from(id.to_be_bytes().as_slice()));
        Reply { id, kind: ReplyKind::Final, service: service.into(), body: Frames::from([body]) }
    }

    fn echo() -> ServiceName {
        "echo".parse().unwrap()
    }

    fn conversation(correlation: Correlation) -> Conversation {
        Conversation::new(Version::V01, correlation, 3, 100)
    }

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn answers_are_matched_by_their_frame_and_not_by_order() {
        // Rule: mdp §11.1 — a late answer never reaches another request
        let mut it = conversation(Correlation::Correlated);
        let a = it.submit(second(0), echo(), Frames::new(), second(1)).unwrap();
        let b = it.submit(second(0), echo(), Frames::new(), second(9)).unwrap();
        while it.poll_output().is_some() {}
        it.handle_timeout(second(1));
        assert!(
            matches!(it.poll_output(), Some(Output::Done(t, Err(ClientError::Timeout))) if t == a)
        );
        it.on_reply(reply(Some(a), b"echo", "late"));
        it.on_reply(reply(None, b"echo", "stray"));
        it.on_reply(reply(Some(b), b"other", "wrong service"));
        assert!(it.poll_output().is_none());
        it.on_reply(reply(Some(b), b"echo", "B"));
        let Some(Output::Done(t, Ok(body))) = it.poll_output() else { panic!("no answer") };
        assert_eq!((t, body), (b, Frames::from(["B"])));
    }

    #[test]
    fn a_plain_client_has_one_request_in_flight_and_drops_the_socket_after_silence() {
        // Rule: mdp §11.1 — plain mode keeps one request in flight and discards the socket on timeout
        let mut it = conversation(Correlation::Plain);
        let a = it.submit(second(0), echo(), Frames::new(), second(1)).unwrap();
        let b = it.submit(second(0), echo(), Frames::new(), second(9)).unwrap();
        assert!(
            matches!(it.poll_output(), Some(Output::Send { ticket, id: None, .. }) if ticket == a)
        );
        assert!(it.poll_output().is_none());
        it.handle_timeout(second(1));
        assert!(matches!(it.poll_output(), Some(Output::Done(t, Err(_))) if t == a));
        assert!(matches!(it.poll_output(), Some(Output::Reset)));
        assert!(matches!(it.poll_output(), Some(Output::Send { ticket, .. }) if ticket == b));
        it.on_reply(reply(None, b"echo", "B"));
        assert!(matches!(it.poll_output(), Some(Output::Done(t, Ok(_))) if t == b));
    }

    #[test]
    fn requests_in_flight_are_bounded() {
        let mut it = conversation(Correlation::Correlated);
        for _ in 0..3 {
            it.submit(second(0), echo(), Frames::new(), second(1)).unwrap();
        }
        let refused = it.submit(second(0), echo(), Frames::new(), second(1));
        assert!(matches!(refused, Err(ClientError::QueueFull)));
    }

    #[test]
    fn parts_come_before_the_final_frames_within_a_bound() {
        let mut it = conversation(Correlation::Correlated);
        let ticket = it.submit(second(0), echo(), Frames::new(), second(1)).unwrap();
        let large = it.submit(second(0), echo(), Frames::new(), second(1)).unwrap();
        while it.poll_output().is_some() {}
        it.on_reply(Reply { kind: ReplyKind::Partial, ..reply(Some(ticket), b"echo", "1") });
        it.on_reply(reply(Some(ticket), b"echo", "2"));
        let Some(Output::Done(_, Ok(body))) = it.poll_output() else { panic!("no answer") };
        assert_eq!(body, Frames::from(["1", "2"]));
        let mut part = Reply { kind: ReplyKind::Partial, ..reply(Some(large), b"echo", "") };
        part.body = Frames::from([vec![0; 101]]);
        it.on_reply(part);
        assert!(matches!(
            it.poll_output(),
            Some(Output::Done(_, Err(ClientError::AnswerTooLarge)))
        ));
    }
}
