//! The one deadline structure, ordered by time.
//!
//! A worker has one timer that rings at least every heartbeat interval while it is registered and
//! then looks what is due, so that a message costs no timer work; so do both ends of a link. A request
//! has a timer only while it waits.

use std::time::Duration;

use super::arena::Key;
use super::counters::Farewell;
use super::tables::{Request, Worker, WorkerParty};
use super::{BrokerCore, Timer};
use crate::wire::{Outgoing, ToPeer};

impl BrokerCore {
    /// Does what is due at `now`: heartbeats, expiries, request deadlines, forgetting services.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.observe(now);
        while let Some((at, timer)) = self.timers.first().copied() {
            if at > self.now {
                break;
            }
            self.timers.remove(&(at, timer));
            match timer {
                Timer::Worker(worker) => self.on_worker_timer(worker),
                Timer::Request(request) => self.on_request_timer(request),
                Timer::Link(link) => self.on_link_timer(link),
                Timer::Asker(asker) => self.on_asker_timer(asker),
            }
        }
        self.forget_unused();
    }

    /// Moves the time on, and gives every worker a new chance after a stall of the broker itself.
    pub(super) fn observe(&mut self, now: Duration) {
        if now > self.now + self.config.worker_expiry {
            self.expiry_from = now + self.config.heartbeat_interval * 2;
        }
        self.now = self.now.max(now);
    }

    pub(super) fn set_request_timer(&mut self, key: Key<Request>, at: Option<Duration>) {
        let Some(request) = self.requests.get_mut(key) else {
            return;
        };
        if let Some(old) = std::mem::replace(&mut request.timer_at, at) {
            self.timers.remove(&(old, Timer::Request(key)));
        }
        if let Some(at) = at {
            self.timers.insert((at, Timer::Request(key)));
        }
    }

    pub(super) fn set_worker_timer(&mut self, key: Key<Worker>, at: Option<Duration>) {
        let Some(worker) = self.workers.get_mut(key) else {
            return;
        };
        if let Some(old) = std::mem::replace(&mut worker.timer_at, at) {
            self.timers.remove(&(old, Timer::Worker(key)));
        }
        if let Some(at) = at {
            self.timers.insert((at, Timer::Worker(key)));
        }
    }

    /// Returns when the worker is gone if nothing is heard of it. Services of this process bound
    /// their calls themselves.
    fn worker_end(&self, worker: &Worker) -> Option<Duration> {
        if matches!(worker.party, WorkerParty::Local) {
            return None;
        }
        let silence = (worker.last_rx + self.config.worker_expiry).max(self.expiry_from);
        let Some(assignment) = &worker.assignment else {
            return Some(silence);
        };
        let policy = self.services.get(worker.service).map(|service| &service.policy);
        let busy = assignment.since + policy.unwrap_or(&self.config.default_policy).busy_timeout;
        // mdp.md §8.6: silence of a busy worker means nothing unless it once spoke while busy.
        Some(if worker.heartbeats_while_busy { busy.min(silence) } else { busy })
    }

    fn on_worker_timer(&mut self, key: Key<Worker>) {
        let Some(worker) = self.workers.get_mut(key) else {
            return;
        };
        worker.timer_at = None;
        let Some(worker) = self.workers.get(key) else {
            return;
        };
        let end = self.worker_end(worker);
        if end.is_some_and(|end| end <= self.now) {
            let timed_out = worker.assignment.is_some() && !worker.heartbeats_while_busy;
            let farewell = if timed_out { Farewell::BusyTimeout } else { Farewell::Expired };
            self.lose_worker(key, Some(farewell));
            return;
        }
        self.heartbeat_if_due(key);
        self.arm_worker(key);
    }

    fn heartbeat_if_due(&mut self, key: Key<Worker>) {
        let Some(worker) = self.workers.get_mut(key) else {
            return;
        };
        let WorkerParty::Remote(envelope) = &worker.party else {
            return;
        };
        if worker.last_tx + self.config.heartbeat_interval > self.now {
            return;
        }
        worker.last_tx = self.now;
        let message = Outgoing { to: envelope.clone(), message: ToPeer::Heartbeat };
        self.send(super::Tag::Worker(key), message);
    }

    /// Sets the worker's timer to the earliest of what may be due.
    pub(super) fn arm_worker(&mut self, key: Key<Worker>) {
        let Some(worker) = self.workers.get(key) else {
            return;
        };
        let end = self.worker_end(worker);
        let heartbeat = match worker.party {
            WorkerParty::Remote(_) => Some(worker.last_tx + self.config.heartbeat_interval),
            WorkerParty::Local => None,
        };
        let due = [end, heartbeat].into_iter().flatten().min();
        // An armed timer that rings earlier looks again by itself.
        let earlier = worker.timer_at.is_some_and(|armed| due.is_some_and(|due| armed <= due));
        if !earlier {
            self.set_worker_timer(key, due);
        }
    }
}
