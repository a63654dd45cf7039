//! The worker's side of MDP as a state machine (mdp.md §8.1, §8.3, §8.5).
//!
//! Never in here: a socket, a clock, a thread.

use std::collections::VecDeque;
use std::time::Duration;

use smallvec::SmallVec;

use super::Outcome;
use crate::back_off::BackOff;
use crate::wire::{FromBroker, Hop, Shape, ToBroker, Version};
use crate::{Frames, ServiceName};

/// Bytes of parts kept for one reply of 0.1, which has no PARTIAL. Beyond it the request is rejected.
const PART_BYTES_MAX: usize = 16 << 20;

/// Times and dialect of a worker.
#[derive(Clone, Debug)]
pub(super) struct Tunables {
    pub(super) version: Version,
    pub(super) shape: Shape,
    pub(super) heartbeat_interval: Duration,
    pub(super) broker_expiry: Duration,
    pub(super) reconnect_first: Duration,
    pub(super) reconnect_longest: Duration,
}

impl Default for Tunables {
    fn default() -> Self {
        Self {
            version: Version::V01,
            shape: Shape::Delimited,
            heartbeat_interval: Duration::from_secs(1),
            broker_expiry: Duration::from_millis(7500),
            reconnect_first: Duration::from_secs(1),
            reconnect_longest: Duration::from_secs(32),
        }
    }
}

/// What the driver has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// Open a new socket.
    Open,
    /// Send on the open socket.
    Send(ToBroker),
    /// Close the socket.
    Close,
    /// Give the handler a request; its outcome comes back with the same number.
    Run(u64, Frames),
    /// The worker is done.
    Finished,
}

#[derive(Debug)]
enum State {
    BackOff { until: Duration },
    Open(Connection),
    Finished,
}

#[derive(Debug)]
struct Connection {
    last_rx: Duration,
    heartbeat_at: Duration,
    job: Option<Job>,
}

#[derive(Debug)]
struct Job {
    number: u64,
    address: SmallVec<[Hop; 1]>,
    /// Of 0.1: what comes in front of the final frames.
    parts: Frames,
    part_bytes: usize,
}

/// One worker's conversation with its broker.
#[derive(Debug)]
pub(super) struct Session {
    service: ServiceName,
    tunables: Tunables,
    state: State,
    jobs: u64,
    /// The job the handler is at, which may be of a connection that is gone.
    running: Option<u64>,
    stopping: bool,
    /// Connections in a row on which the broker said nothing good.
    failures: u32,
    back_off: BackOff,
    outputs: VecDeque<Output>,
}

impl Session {
    pub(super) fn new(service: ServiceName, tunables: Tunables, seed: u64) -> Self {
        let back_off = BackOff::new(tunables.reconnect_first, tunables.reconnect_longest, seed);
        Self {
            service,
            tunables,
            state: State::BackOff { until: Duration::ZERO },
            jobs: 0,
            running: None,
            stopping: false,
            failures: 0,
            back_off,
            outputs: VecDeque::new(),
        }
    }

    pub(super) fn dialect(&self) -> (Version, Shape) {
        (self.tunables.version, self.tunables.shape)
    }

    /// Returns how long a broker may show no life.
    pub(super) fn broker_expiry(&self) -> Duration {
        self.tunables.broker_expiry
    }

    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Self::handle_timeout`] is due; `None` while only the handler can go on.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        match &self.state {
            State::BackOff { until } => self.running.is_none().then_some(*until),
            State::Open(connection) => {
                let silence = self.silence_end(connection);
                Some(silence.map_or(connection.heartbeat_at, |at| at.min(connection.heartbeat_at)))
            }
            State::Finished => None,
        }
    }

    /// While busy, silence proves nothing: some brokers do not heartbeat busy workers (§8.6).
    fn silence_end(&self, connection: &Connection) -> Option<Duration> {
        connection.job.is_none().then_some(connection.last_rx + self.tunables.broker_expiry)
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) {
        match &self.state {
            State::BackOff { until } if self.running.is_none() && *until <= now => {
                self.open(now);
            }
            State::Open(connection) => {
                if self.silence_end(connection).is_some_and(|end| end <= now) {
                    self.start_over(now);
                } else if connection.heartbeat_at <= now {
                    self.heartbeat(now);
                }
            }
            State::BackOff { .. } | State::Finished => {}
        }
    }

    fn open(&mut self, now: Duration) {
        self.outputs.push_back(Output::Open);
        self.outputs.push_back(Output::Send(ToBroker::Ready(self.service.clone())));
        let heartbeat_at = now + self.tunables.heartbeat_interval;
        self.state = State::Open(Connection { last_rx: now, heartbeat_at, job: None });
    }

    /// Sent at fixed intervals whatever else was sent, since a Backbone broker counts nothing else.
    fn heartbeat(&mut self, now: Duration) {
        if let State::Open(connection) = &mut self.state {
            connection.heartbeat_at = now + self.tunables.heartbeat_interval;
            self.outputs.push_back(Output::Send(ToBroker::Heartbeat));
        }
    }

    /// Closes the socket and waits before the next one. A job in hand is forgotten: the broker has
    /// given it to somebody else.
    fn start_over(&mut self, now: Duration) {
        self.outputs.push_back(Output::Close);
        let delay = self.back_off.delay(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.state = State::BackOff { until: now + delay };
        self.finish_if_stopping();
    }

    pub(super) fn on_message(&mut self, now: Duration, message: FromBroker) {
        let State::Open(connection) = &mut self.state else {
            return;
        };
        connection.last_rx = now;
        match message {
            FromBroker::Disconnect => return self.start_over(now),
            FromBroker::Heartbeat => {}
            FromBroker::Request { address, body } => {
                if connection.job.is_some() || self.stopping {
                    // A second request at a time breaks the protocol: start over (§8.3).
                    return self.leave(now);
                }
                self.jobs += 1;
                let (number, parts) = (self.jobs, Frames::new());
                connection.job = Some(Job { number, address, parts, part_bytes: 0 });
                self.running = Some(self.jobs);
                self.outputs.push_back(Output::Run(self.jobs, body));
            }
        }
        self.failures = 0;
    }

    /// Signs off and starts over.
    fn leave(&mut self, now: Duration) {
        self.outputs.push_back(Output::Send(ToBroker::Disconnect));
        self.start_over(now);
    }

    /// Sends a part of an answer on, or keeps it for a reply of 0.1.
    pub(super) fn on_part(&mut self, now: Duration, number: u64, body: Frames) {
        let State::Open(connection) = &mut self.state else {
            return;
        };
        let Some(job) = connection.job.as_mut().filter(|job| job.number == number) else {
            return;
        };
        match self.tunables.version {
            Version::V02 => {
                let part = ToBroker::Partial { address: job.address.clone(), body };
                self.outputs.push_back(Output::Send(part));
            }
            Version::V01 => {
                job.part_bytes = job.part_bytes.saturating_add(body.byte_len());
                job.parts.extend(body);
                if job.part_bytes > PART_BYTES_MAX {
                    self.leave(now);
                }
            }
        }
    }

    pub(super) fn on_outcome(&mut self, now: Duration, number: u64, outcome: Outcome) {
        if self.running == Some(number) {
            self.running = None;
        }
        if let State::Open(connection) = &mut self.state
            && connection.job.as_ref().is_some_and(|job| job.number == number)
            && let Some(Job { address, mut parts, .. }) = connection.job.take()
        {
            connection.last_rx = now;
            match outcome {
                Outcome::Reply(body) => {
                    parts.extend(body);
                    let reply = ToBroker::Reply { address, body: parts };
                    self.outputs.push_back(Output::Send(reply));
                }
                Outcome::Reject => self.leave(now),
            }
        }
        self.finish_if_stopping();
    }

    /// The socket does not take a message: what comes after it would have a hole before it.
    pub(super) fn on_send_failed(&mut self, now: Duration) {
        if matches!(self.state, State::Open(_)) {
            self.start_over(now);
        }
    }

    /// Ends the conversation as soon as no request is in hand.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        self.finish_if_stopping();
    }

    fn finish_if_stopping(&mut self) {
        if !self.stopping || self.running.is_some() {
            return;
        }
        match self.state {
            State::Finished => return,
            State::Open(_) => {
                self.outputs.push_back(Output::Send(ToBroker::Disconnect));
                self.outputs.push_back(Output::Close);
            }
            State::BackOff { .. } => {}
        }
        self.state = State::Finished;
        self.outputs.push_back(Output::Finished);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn session() -> Session {
        Session::new("echo".parse().unwrap(), Tunables::default(), 7)
    }

    fn drain(session: &mut Session) -> Vec<Output> {
        std::iter::from_fn(|| session.poll_output()).collect()
    }

    fn opened() -> Session {
        let mut it = session();
        it.handle_timeout(at(0));
        let ready = Output::Send(ToBroker::Ready("echo".parse().unwrap()));
        assert_eq!(drain(&mut it), [Output::Open, ready]);
        it
    }

    fn request(body: &'static str) -> FromBroker {
        let address = SmallVec::from_iter([Hop::from(b"T".as_slice())]);
        FromBroker::Request { address, body: Frames::from([body]) }
    }

    fn reply(body: &'static str) -> Output {
        let address = SmallVec::from_iter([Hop::from(b"T".as_slice())]);
        Output::Send(ToBroker::Reply { address, body: Frames::from([body]) })
    }

    /// Runs the timers up to `end` and collects what was to be done.
    fn advance(it: &mut Session, end: Duration) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(due) = it.poll_timeout().filter(|due| *due <= end) {
            it.handle_timeout(due);
            outputs.extend(drain(it));
        }
        outputs
    }

    #[test]
    fn heartbeats_go_on_while_the_handler_works() {
        // Rule: mdp §8.6 — a worker heartbeats at fixed intervals, also while busy
        let mut it = opened();
        it.on_message(at(10), request("a"));
        assert_eq!(drain(&mut it), [Output::Run(1, Frames::from(["a"]))]);
        let sent = advance(&mut it, at(20_000));
        assert_eq!(sent.len(), 20);
        assert!(sent.iter().all(|output| *output == Output::Send(ToBroker::Heartbeat)));
        it.on_outcome(at(20_001), 1, Outcome::Reply(Frames::from(["A"])));
        assert_eq!(drain(&mut it), [reply("A")]);
    }

    #[test]
    fn a_silent_broker_is_left_after_the_expiry_and_reconnects_back_off() {
        // Rule: mdp §8.1 — on loss of the broker a worker opens a new socket and sends READY again
        let mut it = opened();
        let outputs = advance(&mut it, at(7_500));
        assert_eq!(outputs.last(), Some(&Output::Close));
        assert_eq!(outputs.len(), 8);
        let Some(first) = it.poll_timeout() else { panic!("no reconnect") };
        assert!((at(8_500)..at(8_750)).contains(&first), "{first:?}");
        assert_eq!(advance(&mut it, first).first(), Some(&Output::Open));
        advance(&mut it, first + at(7_500));
        let Some(second) = it.poll_timeout() else { panic!("no reconnect") };
        let delay = second.saturating_sub(first + at(7_500));
        assert!((at(2_000)..at(2_500)).contains(&delay), "{delay:?}");
    }

    #[test]
    fn the_delay_is_capped_and_reset_by_a_sign_of_life() {
        // Rule: mdp §8.6 — reconnects wait 1 s doubling to 32 s, reset on first traffic
        let mut it = opened();
        let mut last = Duration::ZERO;
        for _ in 0..10 {
            let start = it.poll_timeout().unwrap();
            it.on_message(start, FromBroker::Disconnect);
            last = it.poll_timeout().unwrap().saturating_sub(start);
            it.handle_timeout(start + last);
        }
        assert!((at(32_000)..at(40_000)).contains(&last), "{last:?}");
        it.on_message(at(1), FromBroker::Heartbeat);
        it.on_message(at(1), FromBroker::Disconnect);
        let delay = it.poll_timeout().unwrap().saturating_sub(at(1));
        assert!((at(1_000)..at(1_250)).contains(&delay), "{delay:?}");
    }

    #[test]
    fn a_result_of_an_old_connection_is_discarded() {
        // Rule: mdp §8.5 — a result of a request received on an old socket is never sent on a new one
        let mut it = opened();
        it.on_message(at(1), request("a"));
        it.on_message(at(2), FromBroker::Disconnect);
        drain(&mut it);
        assert_eq!(it.poll_timeout(), None, "waits for the handler before it offers itself again");
        it.on_outcome(at(5_000), 1, Outcome::Reply(Frames::from(["A"])));
        assert_eq!(drain(&mut it), []);
        it.handle_timeout(at(5_000));
        assert_eq!(drain(&mut it).first(), Some(&Output::Open));
    }

    #[test]
    fn stop_finishes_the_request_in_hand_and_signs_off() {
        // Rule: mdp §8.10 — a stopping worker finishes its request, sends DISCONNECT and closes
        let mut it = opened();
        it.on_message(at(1), request("a"));
        drain(&mut it);
        it.stop();
        assert_eq!(drain(&mut it), []);
        it.on_outcome(at(2), 1, Outcome::Reply(Frames::from(["A"])));
        let bye = Output::Send(ToBroker::Disconnect);
        assert_eq!(drain(&mut it), [reply("A"), bye, Output::Close, Output::Finished]);
    }

    #[test]
    fn parts_are_sent_as_they_come_or_before_the_final_frames() {
        // Rule: mdp §5.2 — a worker of 0.2 answers with PARTIALs and one FINAL
        let tunables = Tunables { version: Version::V02, ..Tunables::default() };
        let mut it = Session::new("echo".parse().unwrap(), tunables, 7);
        it.handle_timeout(at(0));
        it.on_message(at(1), request("a"));
        drain(&mut it);
        it.on_part(at(2), 1, Frames::from(["1"]));
        it.on_part(at(2), 9, Frames::from(["of another request"]));
        it.on_outcome(at(3), 1, Outcome::Reply(Frames::from(["2"])));
        it.on_part(at(4), 1, Frames::from(["too late"]));
        let address = SmallVec::from_iter([Hop::from(b"T".as_slice())]);
        let part = Output::Send(ToBroker::Partial { address, body: Frames::from(["1"]) });
        assert_eq!(drain(&mut it), [part, reply("2")]);

        let mut it = opened();
        it.on_message(at(1), request("a"));
        drain(&mut it);
        it.on_part(at(2), 1, Frames::from(["1"]));
        it.on_part(at(2), 1, Frames::from(["2"]));
        it.on_outcome(at(3), 1, Outcome::Reply(Frames::from(["3"])));
        let address = SmallVec::from_iter([Hop::from(b"T".as_slice())]);
        let body = Frames::from(["1", "2", "3"]);
        assert_eq!(drain(&mut it), [Output::Send(ToBroker::Reply { address, body })]);
    }

    #[test]
    fn parts_kept_for_a_reply_of_01_are_bounded() {
        let mut it = opened();
        it.on_message(at(1), request("a"));
        drain(&mut it);
        it.on_part(at(2), 1, Frames::from([vec![0; PART_BYTES_MAX]]));
        assert_eq!(drain(&mut it), []);
        it.on_part(at(2), 1, Frames::from(["1"]));
        assert_eq!(drain(&mut it), [Output::Send(ToBroker::Disconnect), Output::Close]);
    }

    #[test]
    fn a_socket_that_takes_nothing_is_left() {
        let mut it = opened();
        it.on_send_failed(at(1));
        assert_eq!(drain(&mut it), [Output::Close]);
        it.on_send_failed(at(2));
        assert_eq!(drain(&mut it), []);
    }

    #[test]
    fn a_rejected_request_makes_the_worker_leave() {
        // Rule: mdp §10 — a worker hands a request back by DISCONNECT
        let mut it = opened();
        it.on_message(at(1), request("a"));
        drain(&mut it);
        it.on_outcome(at(2), 1, Outcome::Reject);
        assert_eq!(drain(&mut it), [Output::Send(ToBroker::Disconnect), Output::Close]);
    }

    #[test]
    fn a_second_request_at_a_time_makes_the_worker_start_over() {
        // Rule: mdp §8.3 — a REQUEST while busy makes the worker close and register again
        let mut it = opened();
        it.on_message(at(1), request("a"));
        drain(&mut it);
        it.on_message(at(2), request("b"));
        assert_eq!(drain(&mut it), [Output::Send(ToBroker::Disconnect), Output::Close]);
    }
}
