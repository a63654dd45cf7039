//! Which calls wait for whom, and how each is answered once (Belay §8, §9).
//!
//! Never here: what a call means; its data passes as it is.

use buswire_message::Timestamp;

use super::{AWAY, CallId, ConnectionId, Core, Output, Reach, Timer};
use crate::{
    instance::Failure,
    relay::{
        RelayError,
        wire::{Call, ToPeer},
    },
    wire::Serialisation,
};

/// Where a call went: the connection, and the `txId` that it has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) connection: ConnectionId,
    pub(super) tx: u64,
}

/// Who waits for the answer of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A frame, which gave it this `txId`.
    Peer(ConnectionId, u64),
    /// The gateway itself.
    Own(CallId),
}

/// A call that waits for its answer.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) caller: Caller,
    instance: String,
    deadline: Timestamp,
}

impl Core {
    pub(super) fn invoke_from(&mut self, now: Timestamp, from: ConnectionId, tx: u64, call: Call) {
        let in_use = self.connections.get(&from).is_some_and(|it| it.outgoing.contains_key(&tx));
        if in_use {
            // It would not be clear which of the two an answer is for.
            let result = Err(Failure::of_status(400));
            self.send(from, ToPeer::Response { tx, result });
        } else {
            self.invoke(now, Caller::Peer(from, tx), call, Reach::Anywhere);
        }
    }

    /// Passes a call on, or answers it at once.
    pub(super) fn invoke(&mut self, now: Timestamp, caller: Caller, call: Call, reach: Reach) {
        if let Err(error) = self.try_invoke(now, caller, call, reach) {
            self.answer(caller, Err(error));
        }
    }

    fn try_invoke(
        &mut self,
        now: Timestamp,
        caller: Caller,
        call: Call,
        reach: Reach,
    ) -> Result<(), RelayError> {
        if self.draining {
            return Err(RelayError::Draining);
        }
        if !call.is_sound() {
            return Err(RelayError::BadMethod);
        }
        let Some(Serialisation::Urn { instance, .. }) = Serialisation::parse(call.ser.expose())
        else {
            return Err(RelayError::Unparsable);
        };
        let elsewhere = (self.is_joined && reach == Reach::Anywhere).then_some(AWAY);
        let connection = self.owner(instance.as_str()).or(elsewhere);
        let connection = connection.ok_or(RelayError::NotRegistered)?;
        self.check_room(caller, connection)?;
        let target = self.target(connection).ok_or(RelayError::NotRegistered)?;
        match caller {
            Caller::Peer(from, tx) => {
                if let Some(from) = self.connections.get_mut(&from) {
                    from.outgoing.insert(tx, target);
                }
            }
            Caller::Own(own) => {
                self.own.insert(own, target);
            }
        }
        let deadline = now.saturating_add(self.config.call_timeout);
        let instance = instance.as_str().to_owned();
        self.calls.insert(target, Pending { caller, instance, deadline });
        self.timers.insert((deadline, Timer::Call(target)));
        if connection == AWAY {
            self.outputs.push_back(Output::Forward { tx: target.tx, call });
        } else {
            self.send(connection, ToPeer::Invoke { tx: target.tx, call });
        }
        Ok(())
    }

    /// The next number of a call to this connection, or to the other gateways.
    fn target(&mut self, connection: ConnectionId) -> Option<Target> {
        let (next, waiting) = if connection == AWAY {
            (&mut self.next_away, &mut self.away)
        } else {
            let to = self.connections.get_mut(&connection)?;
            (&mut to.next_tx, &mut to.incoming)
        };
        let target = Target { connection, tx: *next };
        *next += 1;
        *waiting += 1;
        Some(target)
    }

    /// Another gateway has answered, or nobody can.
    pub(super) fn forwarded(&mut self, tx: u64, answer: Result<Option<String>, RelayError>) {
        if let Some(pending) = self.take_call(Target { connection: AWAY, tx }) {
            self.answer(pending.caller, answer);
        }
    }

    /// Belay §9: so many calls wait in each direction, and no more. Of those for one connection a caller
    /// may have as many as there is room left for others, so that however much one calls, somebody else
    /// finds room.
    fn check_room(&self, caller: Caller, to: ConnectionId) -> Result<(), RelayError> {
        let config = &self.config;
        let connection = |id| self.connections.get(&id);
        let caller_full = match caller {
            Caller::Peer(from, _) => {
                connection(from).is_none_or(|from| from.outgoing.len() >= config.pending_max)
            }
            Caller::Own(_) => self.own.len() >= config.own_pending_max,
        };
        let (waiting, max) = if to == AWAY {
            (self.away, config.own_pending_max)
        } else {
            (connection(to).map_or(usize::MAX, |to| to.incoming), config.pending_max)
        };
        let room = max.saturating_sub(waiting);
        // Counted only where it can matter: a caller has no more calls there than there are.
        let target_full = room == 0 || (waiting >= room && self.waiting(caller, to) >= room);
        if caller_full || target_full || self.queued >= config.queued_bytes_all_max {
            return Err(RelayError::TooMany);
        }
        Ok(())
    }

    /// How many calls of a caller wait for an answer of one connection.
    fn waiting(&self, caller: Caller, to: ConnectionId) -> usize {
        let is_there = |target: &&Target| target.connection == to;
        match caller {
            Caller::Peer(from, _) => self
                .connections
                .get(&from)
                .map_or(0, |from| from.outgoing.values().filter(is_there).count()),
            Caller::Own(_) => self.own.values().filter(is_there).count(),
        }
    }

    /// Takes a call off every list; the caller is still to be answered.
    pub(super) fn take_call(&mut self, target: Target) -> Option<Pending> {
        let pending = self.calls.remove(&target)?;
        self.timers.remove(&(pending.deadline, Timer::Call(target)));
        if target.connection == AWAY {
            self.away = self.away.saturating_sub(1);
        } else if let Some(to) = self.connections.get_mut(&target.connection) {
            to.incoming = to.incoming.saturating_sub(1);
        }
        match pending.caller {
            Caller::Peer(from, tx) => {
                if let Some(from) = self.connections.get_mut(&from) {
                    from.outgoing.remove(&tx);
                }
            }
            Caller::Own(own) => {
                self.own.remove(&own);
            }
        }
        Some(pending)
    }

    pub(super) fn answer(&mut self, caller: Caller, result: Result<Option<String>, RelayError>) {
        match caller {
            Caller::Peer(from, tx) => {
                let result = result.map_err(RelayError::into_failure);
                self.send(from, ToPeer::Response { tx, result });
            }
            Caller::Own(own) => self.outputs.push_back(Output::Answer(own, result)),
        }
    }

    pub(super) fn fail(&mut self, target: Target, error: RelayError) {
        if let Some(pending) = self.take_call(target) {
            self.answer(pending.caller, Err(error));
        }
    }

    /// Fails every call that waits for a connection: all of them, or those for one of its ids.
    pub(super) fn fail_all(&mut self, connection: ConnectionId, instance: Option<&str>) {
        let all = Target { connection, tx: 0 }..=Target { connection, tx: u64::MAX };
        let concerned = self
            .calls
            .range(all)
            .filter(|(_, pending)| instance.is_none_or(|instance| pending.instance == instance));
        for target in concerned.map(|(target, _)| *target).collect::<Vec<_>>() {
            self.fail(target, RelayError::Lost);
        }
    }

    /// Forgets a call of the gateway; the window is not told.
    pub(super) fn cancel(&mut self, own: CallId) {
        if let Some(target) = self.own.get(&own).copied() {
            self.take_call(target);
        }
    }
}
