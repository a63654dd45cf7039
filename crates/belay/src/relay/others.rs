//! What a gateway does with the others that share its store: calls go to the one that has the window.
//!
//! Never here: how notes are kept (`joint`); what becomes of a call here (`core`).

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use buswire_message::SecretHash;
use buswire_store::{Position, StoreError};
use futures::{StreamExt as _, future::join_all};
use tokio::time::{self, Instant, MissedTickBehavior};

use super::{
    CHORES_AT_ONCE, Inner, Waiter,
    core::{CallId, Claimed, ConnectionId, GatewayId, Input, Reach, Shown},
    joint::{BEAT, Found, Joint, Note, STAY_RENEWED, Saying},
    wire::Call,
};
use crate::{Serialisation, relay::RelayError};

/// How late a note of another gateway is found whose hint was lost.
const LOOK: Duration = Duration::from_secs(1);

impl Inner {
    /// Tells the others where an instance is, before its owner is told that it is registered. Returns
    /// whether it is: not if somebody else has it at another gateway by now.
    pub(super) async fn arrived(&self, by: ConnectionId, id: &str, token: &SecretHash) -> bool {
        let Some(joint) = &self.joint else { return true };
        // It may have gone on to another gateway before this one has told that it came.
        if self.shared().core.owner(id) != Some(by) {
            return true;
        }
        match joint.say(id, token, Saying::Arrived).await {
            Ok(Found::Here) => {
                self.left_meanwhile(id).await;
                true
            }
            Ok(Found::Elsewhere) => {
                self.apply(Input::Moved(id.to_owned()));
                false
            }
            Err(error) => {
                tracing::warn!(%error, "other gateways do not know of a window");
                self.unsaid.store(true, Ordering::Relaxed);
                true
            }
        }
    }

    /// What was said of an instance whose owner went away meanwhile is not true.
    async fn left_meanwhile(&self, id: &str) {
        let is_gone = self.shared().core.owner(id).is_none();
        if is_gone {
            self.left(id).await;
        }
    }

    /// Tells the others that an instance is gone, unless it is back.
    pub(super) async fn left(&self, id: &str) {
        let is_back = || self.shared().core.owner(id).is_some();
        if let Some(joint) = &self.joint
            && let Err(error) = joint.left(id, is_back).await
        {
            tracing::warn!(%error, "other gateways still know of a window that is gone");
        }
    }

    /// Claims a hashed id among the gateways.
    pub(super) async fn admits(&self, id: &str, token: &SecretHash, shown: Shown) -> Claimed {
        let Some(joint) = &self.joint else { return Claimed::Free };
        joint.claim(id, token, shown).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a hashed instance id can't be claimed among the gateways");
            Claimed::Failed
        })
    }

    /// Passes a call on to the gateway that has the window.
    pub(super) async fn forward(&self, tx: u64, call: Call) {
        let answer = match self.send_away(tx, call).await {
            Ok(true) => return,
            Ok(false) => Err(RelayError::NotRegistered),
            Err(error) => {
                tracing::warn!(%error, "a call could not be passed on to another gateway");
                Err(RelayError::Draining)
            }
        };
        self.forwarded(tx, answer);
    }

    async fn send_away(&self, tx: u64, call: Call) -> Result<bool, StoreError> {
        let Some(joint) = &self.joint else { return Ok(false) };
        let Some(Serialisation::Urn { instance, .. }) = Serialisation::parse(call.ser.expose())
        else {
            return Ok(false);
        };
        let Some(stay) = joint.whereabouts(instance.as_str()).await? else { return Ok(false) };
        let to = stay.at;
        if to == joint.own || !joint.lives(to).await? {
            return Ok(false);
        }
        // Before the answer can come.
        self.shared().away.insert(tx, to);
        joint.tell(to, &Note::Call { from: joint.own, tx, call }).await?;
        Ok(true)
    }

    fn forwarded(&self, tx: u64, answer: super::Answer) {
        self.shared().away.remove(&tx);
        self.apply(Input::Forwarded { tx, answer });
    }

    /// Lives among the other gateways: says so, reads what they tell, ends calls to those that are gone.
    pub(super) async fn mind_others(&self) {
        let Some(joint) = &self.joint else { return std::future::pending().await };
        let mut hints = joint.hints();
        let (mut beat, mut look) = (time::interval(BEAT), time::interval(LOOK));
        let mut position = None;
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    if let Err(error) = self.beat(joint).await {
                        tracing::warn!(%error, "other gateways are not told of this one");
                        self.unsaid.store(true, Ordering::Relaxed);
                    }
                    continue;
                }
                _ = look.tick() => {}
                Some(_) = hints.next() => {}
            }
            if let Err(error) = self.read_notes(joint, &mut position).await {
                tracing::warn!(%error, "what other gateways tell can't be read");
            }
        }
    }

    async fn beat(&self, joint: &Joint) -> Result<(), StoreError> {
        joint.beat().await?;
        // Calls that have ended otherwise are no longer waited for.
        let asked: BTreeSet<GatewayId> = self.shared().away.values().copied().collect();
        for gateway in asked {
            if !joint.lives(gateway).await? {
                let lost: Vec<u64> = {
                    let shared = self.shared();
                    let of = shared.away.iter().filter(|(_, it)| **it == gateway);
                    of.map(|(tx, _)| *tx).collect()
                };
                for tx in lost {
                    self.forwarded(tx, Err(RelayError::Lost));
                }
            }
        }
        let mut shared = self.shared();
        let shared = &mut *shared;
        shared.away.retain(|tx, _| shared.core.is_away(*tx));
        Ok(())
    }

    /// Says again which windows are here: now and then, and when the store may have lost it.
    pub(super) async fn mind_stays(&self) {
        let Some(joint) = &self.joint else { return std::future::pending().await };
        let mut beat = time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut renewed, mut epoch) = (Instant::now(), joint.epoch());
        loop {
            beat.tick().await;
            let is_due = renewed.elapsed() >= STAY_RENEWED;
            if is_due {
                renewed = Instant::now();
            }
            let before = std::mem::replace(&mut epoch, joint.epoch());
            let is_doubted = self.unsaid.swap(false, Ordering::Relaxed) || epoch != before;
            if is_due || is_doubted {
                self.stay(joint, if is_due { Saying::Stays } else { Saying::Doubted }).await;
            }
        }
    }

    async fn stay(&self, joint: &Joint, saying: Saying) {
        let ids: Vec<(String, SecretHash)> = {
            let shared = self.shared();
            shared.core.live().map(|(id, token)| (id.to_owned(), token)).collect()
        };
        let mut failure = None;
        for ids in ids.chunks(CHORES_AT_ONCE) {
            let said = ids.iter().map(|(id, token)| self.stays(joint, id, token, saying));
            let failed = join_all(said).await.into_iter().find_map(Result::err);
            failure = failed.or(failure);
        }
        // Once, however many windows there are: the store is down, and all is tried again at the next beat.
        if let Some(error) = failure {
            tracing::warn!(%error, "other gateways may forget windows");
            self.unsaid.store(true, Ordering::Relaxed);
        }
    }

    async fn stays(
        &self,
        joint: &Joint,
        id: &str,
        token: &SecretHash,
        saying: Saying,
    ) -> Result<(), StoreError> {
        let is_still = |shared: &super::Shared| shared.core.token_of_live(id) == Some(*token);
        if !is_still(&self.shared()) {
            return Ok(());
        }
        let found = joint.say(id, token, saying).await?;
        match found {
            Found::Here => self.left_meanwhile(id).await,
            // The note that said so is lost, or still to be read.
            Found::Elsewhere if is_still(&self.shared()) => self.apply(Input::Moved(id.to_owned())),
            Found::Elsewhere => {}
        }
        Ok(())
    }

    async fn read_notes(
        &self,
        joint: &Joint,
        position: &mut Option<Position>,
    ) -> Result<(), StoreError> {
        loop {
            let (notes, next, more) = joint.read(*position).await?;
            *position = Some(next);
            for note in notes {
                self.hear(joint, note).await;
            }
            if !more {
                return Ok(());
            }
        }
    }

    async fn hear(&self, joint: &Joint, note: Note) {
        match note {
            Note::Call { from, tx, call } => {
                let id = CallId(self.next_id.fetch_add(1, Ordering::Relaxed));
                self.shared().waiting.insert(id, Waiter::Gateway(from, tx));
                self.apply(Input::Call(id, call, Reach::Here));
            }
            Note::Answer { tx, answer } => self.forwarded(tx, answer),
            Note::Moved(id) => match joint.whereabouts(&id).await {
                // It has come back meanwhile.
                Ok(Some(stay)) if stay.at == joint.own => {}
                Ok(_) => self.apply(Input::Moved(id)),
                Err(error) => tracing::warn!(%error, "where a window went can't be read"),
            },
        }
    }
}

#[cfg(test)]
mod tests;
