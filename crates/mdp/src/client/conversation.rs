//! The client's side of MDP as a state machine: which answer belongs to which request, when a
//! request is sent again, when another broker is tried.
//!
//! Never in here: a socket, a clock, a task.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use super::ClientError;
use super::retries::Retries;
use crate::back_off::BackOff;
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

/// What a conversation is told at its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) version: Version,
    pub(super) correlation: Correlation,
    pub(super) in_flight_max: usize,
    pub(super) answer_bytes_max: usize,
    pub(super) retries: Retries,
    /// How many brokers there are to go through, and which is the first.
    pub(super) brokers: usize,
    pub(super) broker: usize,
    /// How long a broker may be silent before the next is tried.
    pub(super) broker_patience: Duration,
}

/// A request of a caller.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) service: ServiceName,
    pub(super) body: Frames,
    pub(super) timeout: Duration,
    /// Whether the caller wants PARTIALs as they come.
    pub(super) streaming: bool,
}

/// What the driver has to do.
#[derive(Debug)]
pub(super) enum Output {
    /// Send a request.
    Send { ticket: u32, id: Option<[u8; 4]>, service: ServiceName, body: Frames },
    /// Give the caller a PARTIAL.
    Part(u32, Frames),
    /// Tell the caller the end.
    Done(u32, Result<Frames, ClientError>),
    /// Go on with a new socket to this broker: a late answer must not be taken for the next one's,
    /// or the broker is silent.
    Reset(usize),
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Plain only: others are served first.
    Queued,
    /// Sent under this id.
    Asked(u32),
    /// A PARTIAL came under this id, so it is not sent again.
    Begun(u32),
    /// It will be sent again.
    Pausing,
}

struct Pending {
    question: Question,
    deadline: Duration,
    /// When something is to be done about it, at most the deadline.
    due: Duration,
    stage: Stage,
    retries_left: u32,
    parts: Frames,
    part_bytes: usize,
}

/// Requests in flight.
pub(super) struct Conversation {
    settings: Settings,
    back_off: BackOff,
    next: u32,
    pending: HashMap<u32, Pending>,
    /// Which request an id on the wire is a try of.
    asked: HashMap<u32, u32>,
    timers: BTreeSet<(Duration, u32)>,
    /// Plain only: who is served next, and who is being served.
    queue: VecDeque<u32>,
    active: Option<u32>,
    /// When the broker was first asked something since it was last heard.
    silent_since: Option<Duration>,
    outputs: VecDeque<Output>,
}

impl Conversation {
    pub(super) fn new(settings: Settings, seed: u64) -> Self {
        let Retries { first_pause, longest_pause, .. } = settings.retries;
        Self {
            settings,
            back_off: BackOff::new(first_pause, longest_pause, seed),
            next: 0,
            pending: HashMap::new(),
            asked: HashMap::new(),
            timers: BTreeSet::new(),
            queue: VecDeque::new(),
            active: None,
            silent_since: None,
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn version(&self) -> Version {
        self.settings.version
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Takes a request in and returns its ticket, under which it is done later.
    pub(super) fn submit(&mut self, now: Duration, question: Question) -> Result<u32, ClientError> {
        if self.pending.len() >= self.settings.in_flight_max {
            return Err(ClientError::QueueFull);
        }
        let ticket = self.free_number();
        let deadline = now + question.timeout.min(PATIENCE_MAX);
        let pending = Pending {
            question,
            deadline,
            due: deadline,
            stage: Stage::Queued,
            retries_left: self.settings.retries.count,
            parts: Frames::new(),
            part_bytes: 0,
        };
        self.pending.insert(ticket, pending);
        self.timers.insert((deadline, ticket));
        self.enqueue(now, ticket);
        Ok(ticket)
    }

    /// Returns a number that is neither a ticket nor the id of a try.
    fn free_number(&mut self) -> u32 {
        loop {
            self.next = self.next.wrapping_add(1);
            if !self.pending.contains_key(&self.next) && !self.asked.contains_key(&self.next) {
                return self.next;
            }
        }
    }

    fn enqueue(&mut self, now: Duration, ticket: u32) {
        match self.settings.correlation {
            Correlation::Correlated => self.ask(now, ticket),
            Correlation::Plain => {
                self.set(ticket, Stage::Queued, PATIENCE_MAX);
                self.queue.push_back(ticket);
                self.ask_next(now);
            }
        }
    }

    fn ask_next(&mut self, now: Duration) {
        if self.active.is_none()
            && let Some(ticket) = self.queue.pop_front()
        {
            self.active = Some(ticket);
            self.ask(now, ticket);
        }
    }

    /// Sends a request under an id of its own.
    fn ask(&mut self, now: Duration, ticket: u32) {
        let id = self.free_number();
        let Some(pending) = self.pending.get_mut(&ticket) else {
            return;
        };
        let Question { service, body, .. } = &mut pending.question;
        let service = service.clone();
        let (body, due) = if pending.retries_left > 0 {
            (body.clone(), now + self.settings.retries.try_timeout.min(PATIENCE_MAX))
        } else {
            (std::mem::take(body), pending.deadline)
        };
        self.set(ticket, Stage::Asked(id), due);
        self.asked.insert(id, ticket);
        self.silent_since.get_or_insert(now);
        let id = match self.settings.correlation {
            Correlation::Correlated => Some(id.to_be_bytes()),
            Correlation::Plain => None,
        };
        self.outputs.push_back(Output::Send { ticket, id, service, body });
    }

    /// Brings a request to a stage that lasts until `due`, or to the deadline.
    fn set(&mut self, ticket: u32, stage: Stage, due: Duration) {
        let Some(pending) = self.pending.get_mut(&ticket) else {
            return;
        };
        if let Stage::Asked(id) | Stage::Begun(id) = pending.stage
            && stage != Stage::Begun(id)
        {
            self.asked.remove(&id);
        }
        pending.stage = stage;
        let due = due.min(pending.deadline);
        if pending.due != due {
            self.timers.remove(&(pending.due, ticket));
            self.timers.insert((due, ticket));
            pending.due = due;
        }
    }

    /// Takes a reply in; one that answers nothing is ignored.
    pub(super) fn on_reply(&mut self, now: Duration, reply: Reply) {
        self.silent_since = None;
        let ticket = match (self.settings.correlation, &reply.id) {
            (Correlation::Correlated, Some(id)) => {
                let id = id.as_slice().try_into().ok().map(u32::from_be_bytes);
                id.and_then(|id| self.asked.get(&id).copied())
            }
            (Correlation::Plain, None) => self.active,
            (Correlation::Correlated, None) | (Correlation::Plain, Some(_)) => None,
        };
        let Some(ticket) = ticket else { return };
        let Some(pending) = self.pending.get_mut(&ticket) else {
            return;
        };
        if pending.question.service.as_bytes() != reply.service.as_slice() {
            return;
        }
        match reply.kind {
            ReplyKind::Partial => self.on_part(now, ticket, reply.body),
            ReplyKind::Final => {
                let mut answer = std::mem::take(&mut pending.parts);
                answer.extend(reply.body);
                self.done(ticket, Ok(answer));
                self.ask_next(now);
            }
        }
    }

    fn on_part(&mut self, now: Duration, ticket: u32, body: Frames) {
        let Some(pending) = self.pending.get_mut(&ticket) else {
            return;
        };
        if let Stage::Asked(id) = pending.stage {
            self.set(ticket, Stage::Begun(id), PATIENCE_MAX);
        }
        let Some(pending) = self.pending.get_mut(&ticket) else {
            return;
        };
        if pending.question.streaming {
            self.outputs.push_back(Output::Part(ticket, body));
            return;
        }
        pending.part_bytes = pending.part_bytes.saturating_add(body.byte_len());
        pending.parts.extend(body);
        if pending.part_bytes > self.settings.answer_bytes_max {
            self.fail(now, ticket, ClientError::AnswerTooLarge);
        }
    }

    /// Ends a request that cannot go on, or that nobody waits for any more.
    pub(super) fn fail(&mut self, now: Duration, ticket: u32, error: ClientError) {
        let in_hand = self.active == Some(ticket);
        self.done(ticket, Err(error));
        if in_hand {
            self.outputs.push_back(Output::Reset(self.settings.broker));
        }
        self.ask_next(now);
    }

    fn done(&mut self, ticket: u32, result: Result<Frames, ClientError>) {
        let Some(pending) = self.pending.remove(&ticket) else {
            return;
        };
        self.timers.remove(&(pending.due, ticket));
        match pending.stage {
            Stage::Asked(id) | Stage::Begun(id) => drop(self.asked.remove(&id)),
            Stage::Queued => self.queue.retain(|other| *other != ticket),
            Stage::Pausing => {}
        }
        self.active = self.active.filter(|active| *active != ticket);
        self.outputs.push_back(Output::Done(ticket, result));
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) {
        while let Some((due, ticket)) = self.timers.first().copied() {
            if due > now {
                return;
            }
            self.on_due(now, ticket);
        }
    }

    fn on_due(&mut self, now: Duration, ticket: u32) {
        let Some(pending) = self.pending.get(&ticket) else {
            return;
        };
        match pending.stage {
            Stage::Pausing if now < pending.deadline => return self.enqueue(now, ticket),
            Stage::Asked(_) if now < pending.deadline => self.pause(now, ticket),
            Stage::Pausing | Stage::Queued => {
                return self.done(ticket, Err(ClientError::Timeout));
            }
            Stage::Asked(_) | Stage::Begun(_) => self.done(ticket, Err(ClientError::Timeout)),
        }
        self.after_silence(now);
        self.ask_next(now);
    }

    /// Gives a try up, to send the request again later.
    fn pause(&mut self, now: Duration, ticket: u32) {
        let Some(pending) = self.pending.get_mut(&ticket) else {
            return;
        };
        let failures = self.settings.retries.count.saturating_sub(pending.retries_left);
        pending.retries_left = pending.retries_left.saturating_sub(1);
        let delay = self.back_off.delay(failures);
        self.active = self.active.filter(|active| *active != ticket);
        self.set(ticket, Stage::Pausing, now + delay.min(PATIENCE_MAX));
    }

    /// Moves to the next broker if this one has been silent for too long (mdp.md §12.7).
    fn after_silence(&mut self, now: Duration) {
        let Settings { brokers, broker_patience, correlation, .. } = self.settings;
        let lost =
            self.silent_since.is_some_and(|since| now.saturating_sub(since) >= broker_patience);
        if brokers > 1 && lost {
            self.settings.broker = (self.settings.broker + 1) % brokers;
            self.silent_since = None;
            self.outputs.push_back(Output::Reset(self.settings.broker));
            self.ask_all_again(now);
        } else if correlation == Correlation::Plain {
            self.outputs.push_back(Output::Reset(self.settings.broker));
        }
    }

    /// Sends at once what was sent to the broker that is left, as far as it may be tried again.
    fn ask_all_again(&mut self, now: Duration) {
        let mut tickets: Vec<u32> = self.asked.values().copied().collect();
        tickets.sort_unstable();
        for ticket in tickets {
            if let Some(pending) = self.pending.get_mut(&ticket)
                && matches!(pending.stage, Stage::Asked(_))
                && pending.retries_left > 0
            {
                pending.retries_left -= 1;
                self.ask(now, ticket);
            }
        }
    }
}

#[cfg(test)]
mod tests;
