//! `hello`: what it does to the state of the server (SimplePush §7.1, §9).

use buswire_message::Timestamp;
use buswire_store::Revision;

use super::{
    Command, Connection, Crowding, Effect, Loaded, PendingVersion, Reply, Transmit, Unnoted,
    UserAgent, timer::Timer,
};
use crate::{
    config::{ExtraChannels, MissingChannels},
    error::{ClientFault, CloseReason},
    id::{ChannelId, SpelledUaid},
    metrics::Event,
    wire::{Claim, Envelope, Hello},
};

/// How often a record may change under the hands of one `hello` before it is given up.
const ATTEMPTS_MAX: u8 = 8;

/// A `hello` that is being answered.
#[derive(Debug)]
pub(super) struct Greeting {
    hello: Hello,
    /// The UAID that the client presents.
    uaid: SpelledUaid,
    stage: Stage,
    attempts: u8,
}

#[derive(Debug)]
enum Stage {
    /// The record is being read, by a connection that becomes the one of its UserAgent.
    Enter,
    /// The record is being read.
    Load,
    /// The record is being deleted; the client then gets this UAID.
    Drop { then: SpelledUaid },
    /// Extra channels are being deleted.
    Prune { revision: Revision, channels: Vec<ChannelId>, user_agent: UserAgent },
}

impl Greeting {
    pub(super) const fn uaid(&self) -> SpelledUaid {
        self.uaid
    }

    pub(super) fn command(&self) -> Command {
        let uaid = self.uaid.uaid();
        match &self.stage {
            Stage::Enter => Command::Enter(uaid),
            Stage::Load => Command::Load(uaid),
            Stage::Drop { .. } => Command::Drop(uaid),
            Stage::Prune { revision, channels, .. } => {
                Command::Prune { uaid, revision: *revision, channels: channels.clone() }
            }
        }
    }
}

impl Connection {
    pub(super) fn on_hello(
        &mut self,
        now: Timestamp,
        message: &Envelope<'_>,
    ) -> Result<(), ClientFault> {
        let channels_max = self.config.limits.channels_max;
        let hello = Hello::read(message, channels_max)?;
        if self.uaid.is_none() && self.crowding == Crowding::Crowded {
            self.redirect(now, &hello);
            return Ok(());
        }
        let (uaid, stage) = match (self.uaid, hello.claim) {
            // H3: the same UserAgent again.
            (Some(own), Claim::None) => (own, Stage::Load),
            (Some(own), Claim::Uaid(uaid)) if uaid.uaid() == own.uaid() => (uaid, Stage::Load),
            (Some(_), _) => return Err(ClientFault::OtherUaid),
            // H5, H6: the UserAgent needs a UAID, so there is nothing to look up.
            (None, Claim::None | Claim::Malformed) => {
                if hello.claim == Claim::Malformed {
                    self.effects.push_back(Effect::Count(Event::ResetMalformed));
                }
                self.claim(self.fresh);
                self.welcome(now, &hello, self.fresh, &[]);
                return Ok(());
            }
            // H7: more channels than a UserAgent can have.
            (None, Claim::Uaid(uaid)) if hello.listed > channels_max => {
                (uaid, Stage::Drop { then: self.fresh })
            }
            (None, Claim::Uaid(uaid)) => (uaid, Stage::Enter),
        };
        if self.uaid.is_none() {
            // The connection is in the table before the pending versions are read, so that a PUT
            // finds it or is found (R-DEL-2); and the older connection ends whatever the outcome
            // (R-HELLO-1).
            self.claim(uaid);
        }
        self.greeting = Some(Box::new(Greeting { hello, uaid, stage, attempts: 0 }));
        Ok(())
    }

    /// §15.4: the reply carries the UAID that the UserAgent has, since some clients look at nothing
    /// else.
    fn redirect(&mut self, now: Timestamp, hello: &Hello) {
        let uaid = match hello.claim {
            Claim::Uaid(uaid) => uaid,
            Claim::None | Claim::Malformed => self.fresh,
        };
        if let Some(redirect) = &self.config.redirect {
            let reply = Hello::redirect(&hello.message_type, uaid, redirect.url.as_str());
            self.transmits.push_back(Transmit::Text(reply));
        }
        self.close(now, CloseReason::Redirected);
    }

    fn claim(&mut self, uaid: SpelledUaid) {
        self.effects.push_back(Effect::Claim(uaid.uaid()));
    }

    pub(super) fn on_greeting_reply(&mut self, now: Timestamp, reply: Reply) {
        // The connection may have been closed meanwhile.
        let Some(mut greeting) = self.greeting.take() else { return };
        let stage = std::mem::replace(&mut greeting.stage, Stage::Load);
        match (stage, reply) {
            (Stage::Enter | Stage::Load, Reply::Loaded(loaded)) => {
                self.on_loaded(now, greeting, loaded);
            }
            (Stage::Drop { then }, Reply::Done) => {
                if then.uaid() == greeting.uaid.uaid() {
                    self.delivery.clear();
                    self.welcome(now, &greeting.hello, then, &[]);
                } else {
                    let over_limit = greeting.hello.listed > self.config.limits.channels_max;
                    let event =
                        if over_limit { Event::ResetOverLimit } else { Event::ResetMissing };
                    self.start_again(now, &greeting, event);
                }
            }
            (Stage::Prune { channels, user_agent, .. }, Reply::Done) => {
                for channel in channels {
                    self.forget(channel);
                }
                self.recognise(now, &greeting, &user_agent);
            }
            (Stage::Prune { .. }, Reply::Conflict) if greeting.attempts < ATTEMPTS_MAX => {
                greeting.attempts += 1;
                self.greeting = Some(greeting);
            }
            _ => self.on_unavailable(now, &greeting),
        }
    }

    fn on_loaded(&mut self, now: Timestamp, mut greeting: Box<Greeting>, loaded: Loaded) {
        let first = self.uaid.is_none();
        let lists = greeting.hello.listed > 0;
        let own = greeting.uaid;
        match loaded {
            Loaded::Superseded => self.on_end(now, CloseReason::Superseded),
            // H3: no state changes, whatever the list says.
            Loaded::Known(user_agent) if !first => self.recognise(now, &greeting, &user_agent),
            Loaded::Unknown if !first => self.welcome(now, &greeting.hello, own, &[]),
            Loaded::Stale if !first => self.close(now, CloseReason::StateDropped),
            // H8: the server has lost this UserAgent; it must start again.
            Loaded::Unknown if lists => {
                self.start_again(now, &greeting, Event::ResetUnknown);
            }
            // H9: a UserAgent may bring its own UAID.
            Loaded::Unknown => self.welcome(now, &greeting.hello, own, &[]),
            Loaded::Stale => {
                greeting.stage = Stage::Drop { then: if lists { self.fresh } else { own } };
                self.greeting = Some(greeting);
            }
            Loaded::Known(user_agent) => self.synchronise(now, greeting, user_agent),
        }
    }

    /// H10 and H11: compares what the UserAgent lists with what is registered (§9.2, §9.3).
    fn synchronise(&mut self, now: Timestamp, mut greeting: Box<Greeting>, user_agent: UserAgent) {
        let hello = &greeting.hello;
        let registered = |channel: &ChannelId| user_agent.channels.binary_search(channel).is_ok();
        let missing = hello.strangers || !hello.channels.iter().all(registered);
        if missing && self.config.missing_channels == MissingChannels::Reset {
            greeting.stage = Stage::Drop { then: self.fresh };
            self.greeting = Some(greeting);
            return;
        }
        let prunes = match self.config.extra_channels {
            ExtraChannels::Keep => false,
            ExtraChannels::Prune => true,
            ExtraChannels::PruneIfListed => hello.listed > 0,
        };
        let listed = |channel: &&ChannelId| hello.channels.binary_search(channel).is_ok();
        let extra: Vec<ChannelId> =
            user_agent.channels.iter().filter(|channel| !listed(channel)).copied().collect();
        if prunes && !extra.is_empty() {
            let revision = user_agent.revision;
            greeting.stage = Stage::Prune { revision, channels: extra, user_agent };
            self.greeting = Some(greeting);
        } else {
            self.recognise(now, &greeting, &user_agent);
        }
    }

    /// Answers a UserAgent that is known, and shows it what is pending (R-DEL-9).
    fn recognise(&mut self, now: Timestamp, greeting: &Greeting, user_agent: &UserAgent) {
        self.has_record = true;
        let touch_due = user_agent.touched.saturating_add(self.config.timing.touch_interval);
        self.welcome(now, &greeting.hello, greeting.uaid, &user_agent.pending);
        self.timers.set(Timer::Touch, touch_due);
    }

    /// Gives a UserAgent another UAID than the one it presented.
    fn start_again(&mut self, now: Timestamp, greeting: &Greeting, event: Event) {
        self.delivery.clear();
        self.effects.push_back(Effect::Count(event));
        self.leave_name(greeting.uaid);
        self.claim(self.fresh);
        self.welcome(now, &greeting.hello, self.fresh, &[]);
    }

    fn welcome(
        &mut self,
        now: Timestamp,
        hello: &Hello,
        uaid: SpelledUaid,
        pending: &[PendingVersion],
    ) {
        let reply = Hello::reply(&hello.message_type, uaid);
        self.transmits.push_back(Transmit::Text(reply));
        self.timers.clear(Timer::Hello);
        if let Some(wakeup) = &self.config.wakeup {
            let place = hello.wake_place.clone();
            self.unnoted = Some(Unnoted(place.filter(|place| wakeup.relay(place).is_some())));
        }
        self.timers.arm(Timer::Touch, now.saturating_add(self.config.timing.touch_interval));
        if self.uaid.is_none() {
            self.uaid = Some(uaid);
        }
        let gone = &self.gone;
        for pending in pending.iter().filter(|pending| !gone.contains(&pending.channel)) {
            self.delivery.load(pending);
        }
    }

    /// R-HELLO-5: never a new UAID because the store can't be read.
    fn on_unavailable(&mut self, now: Timestamp, greeting: &Greeting) {
        let reply = Hello::unavailable(&greeting.hello.message_type, greeting.uaid);
        self.transmits.push_back(Transmit::Text(reply));
        self.leave_name(greeting.uaid);
        self.close(now, CloseReason::Unavailable);
    }
}
