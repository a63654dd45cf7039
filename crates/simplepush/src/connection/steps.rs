//! `register`, `unregister` and `ack` of an identified connection (SimplePush §7.2, §7.3, §7.5).
//!
//! Requests that wait while the store works are handed to it together, in order: hundreds of
//! pipelined registrations cost a few commits (R-REG-3).

use super::{Change, Connection, Done, GONE_MAX, Reply, Transmit};
use crate::{
    error::ClientFault,
    id::ChannelId,
    wire::{Ack, Envelope, Register, Unregister},
};

/// A request that waits for the store.
#[derive(Debug)]
pub(super) enum Step {
    Register(Register),
    Unregister(ChannelId, Unregister),
    Clear(Change),
}

impl Step {
    pub(super) fn change(&self) -> Change {
        match self {
            Self::Register(register) => Change::Register(register.channel),
            Self::Unregister(channel, _) => Change::Unregister(*channel),
            Self::Clear(change) => change.clone(),
        }
    }

    pub(super) const fn is_ack(&self) -> bool {
        matches!(self, Self::Clear(_))
    }
}

impl Connection {
    pub(super) fn on_register(&mut self, message: &Envelope<'_>) -> Result<(), ClientFault> {
        self.steps.push_back(Step::Register(Register::read(message)?));
        Ok(())
    }

    pub(super) fn on_unregister(&mut self, message: &Envelope<'_>) -> Result<(), ClientFault> {
        let unregister = Unregister::read(message)?;
        match unregister.channel {
            Some(channel) => self.steps.push_back(Step::Unregister(channel, unregister)),
            // No channel has such a name: there is nothing to delete.
            None => self.transmits.push_back(Transmit::Text(unregister.reply())),
        }
        Ok(())
    }

    pub(super) fn on_ack(&mut self, message: &Envelope<'_>) -> Result<(), ClientFault> {
        let ack = Ack::read(message)?;
        self.resend_rounds = 0;
        for (channel, acked) in ack.updates {
            self.steps.extend(self.delivery.ack(channel, acked).map(Step::Clear));
        }
        Ok(())
    }

    pub(super) fn on_steps_reply(&mut self, steps: Vec<Step>, reply: Reply) {
        let mut answers = match reply {
            Reply::Applied(answers) => answers,
            _ => Vec::new(),
        }
        .into_iter();
        for step in steps {
            let text = match (step, answers.next()) {
                (Step::Register(register), Some(Done::Registered(endpoint))) => {
                    self.has_record = true;
                    self.gone.retain(|gone| *gone != register.channel);
                    register.reply(&endpoint.0)
                }
                (Step::Register(register), Some(Done::TooMany)) => {
                    register.refusal("Too many channels")
                }
                (Step::Register(register), _) => register.refusal("Could not store the channel"),
                (Step::Unregister(channel, unregister), Some(_)) => {
                    self.forget(channel);
                    unregister.reply()
                }
                (Step::Unregister(_, unregister), None) => unregister.refusal(),
                (Step::Clear(_), _) => continue,
            };
            if self.is_open() {
                self.transmits.push_back(Transmit::Text(text));
            }
        }
    }

    /// Sees to it that nothing more is said of a channel (R-UNREG-4).
    pub(super) fn forget(&mut self, channel: ChannelId) {
        // It may have been the last.
        self.has_record = false;
        self.delivery.forget(channel);
        if self.gone.len() == GONE_MAX {
            self.gone.pop_front();
        }
        self.gone.push_back(channel);
    }
}
