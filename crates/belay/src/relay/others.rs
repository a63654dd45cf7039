//! What a gateway does with the others that share its store: calls go to the one that has the window.
//!
//! Never here: how notes are kept (`joint`); what becomes of a call here (`core`).

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use buswire_message::SecretHash;
use buswire_store::{Position, StoreError};
use futures::StreamExt as _;
use tokio::time::{self, Instant};

use super::{
    CHORES_AT_ONCE, Inner, Waiter,
    core::{CallId, Claimed, GatewayId, Input, Reach, Shown},
    joint::{BEAT, Joint, Note, STAY_RENEWED},
    wire::Call,
};
use crate::{Serialisation, relay::RelayError};

/// How late a note of another gateway is found whose hint was lost.
const LOOK: Duration = Duration::from_secs(1);

impl Inner {
    /// Tells the others where an instance is, before its owner is told that it is registered.
    pub(super) async fn arrived(&self, id: &str, token: &SecretHash) {
        if let Some(joint) = &self.joint
            && let Err(error) = joint.arrived(id, token).await
        {
            tracing::warn!(%error, "other gateways do not know of a window");
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

    /// Whether a hashed id may be held here.
    pub(super) async fn admits(&self, id: &str, token: &SecretHash, shown: Shown) -> Claimed {
        let Some(joint) = &self.joint else { return Claimed::Free };
        joint.admits(id, token, shown).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "whether an instance is registered elsewhere can't be read");
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
        let mut renewed = Instant::now();
        let mut position = None;
        loop {
            tokio::select! {
                _ = beat.tick() => {
                    if let Err(error) = self.beat(joint).await {
                        tracing::warn!(%error, "other gateways are not told of this one");
                    }
                    if renewed.elapsed() >= STAY_RENEWED {
                        renewed = Instant::now();
                        self.stay(joint).await;
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

    async fn stay(&self, joint: &Joint) {
        let ids: Vec<String> = self.shared().core.live().map(str::to_owned).collect();
        for ids in ids.chunks(CHORES_AT_ONCE) {
            let said = ids.iter().map(|id| joint.stays(id));
            for error in futures::future::join_all(said).await.into_iter().filter_map(Result::err) {
                tracing::warn!(%error, "other gateways may forget a window");
            }
        }
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
