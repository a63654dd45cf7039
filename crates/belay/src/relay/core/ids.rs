//! Who an instance id belongs to (Belay §22.4).
//!
//! A hashed id is whose connection gave its pre-image. A temporary one is whose connection claimed it
//! first, in the store too; afterwards it takes the resume token. Never here: calls.

use buswire_message::{Secret, SecretHash, Timestamp, mint_base64url};
use buswire_store::Revision;

use super::{Claimed, ConnectionId, Core, Output, Shown, Timer};
use crate::{
    relay::{
        claims::RENEW_INTERVAL,
        error::Refusal,
        proof::{is_preimage, is_token},
        wire::ToPeer,
    },
    wire::InstanceId,
};

/// The id that unparsable capabilities have (Belay §2.2): it is never routed.
const NULL: &str = "00000000-0000-0000-0000-000000000000";

/// An id that is known here.
#[derive(Debug)]
pub(super) enum Instance {
    /// The store is being asked.
    Claiming { by: ConnectionId, token: Secret<String> },
    /// It is somebody's.
    Held(Held),
}

/// An id that is somebody's.
#[derive(Debug)]
pub(super) struct Held {
    owner: Owner,
    token: SecretHash,
    claim: Claim,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Live(ConnectionId),
    /// Disconnected; it may come back until then.
    Lost(Timestamp),
}

/// What the store knows of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    /// Nothing: its pre-image proves enough; or the id is another gateway's by now.
    None,
    /// A claim of this gateway, to be renewed then.
    Stored { revision: Revision, renew_at: Timestamp },
}

impl Core {
    pub(super) fn register(&mut self, by: ConnectionId, id: String, proof: Option<Secret<String>>) {
        match self.try_register(by, &id, proof) {
            Ok(Some(resume)) => self.send(by, ToPeer::Registered { id, resume }),
            // The store is being asked.
            Ok(None) => {}
            Err(refusal) => self.refuse(by, id, refusal),
        }
    }

    pub(super) fn refuse(&mut self, by: ConnectionId, id: String, refusal: Refusal) {
        let (status, message) = (refusal.status(), refusal.as_str());
        self.send(by, ToPeer::Refused { id, status, message });
    }

    /// Gives the resume token of an id that is now `by`'s, or nothing if the store is being asked.
    fn try_register(
        &mut self,
        by: ConnectionId,
        id: &str,
        proof: Option<Secret<String>>,
    ) -> Result<Option<Secret<String>>, Refusal> {
        let instance = InstanceId::parse(id).filter(|_| id != NULL).ok_or(Refusal::BadId)?;
        self.check_room_for(by, id)?;
        match (self.ids.get(id), &proof) {
            (Some(Instance::Held(held)), Some(token)) if held.token.matches(token.expose()) => {
                self.take_over(by, id);
                return Ok(proof);
            }
            _ => {}
        }
        match instance {
            // Anybody can claim any origin; a page that signs a challenge is not provided for.
            InstanceId::Origin(_) => Err(Refusal::NoProof),
            InstanceId::Sha1(_) | InstanceId::Sha256(_) => {
                let proof = proof.ok_or(Refusal::NoProof)?;
                let is_proven = is_preimage(proof.expose(), &instance);
                let is_of_another = self.is_joined && is_token(proof.expose());
                if !is_proven && !is_of_another {
                    return Err(Refusal::NoProof);
                }
                if self.ids.contains_key(id) && (self.owner(id).is_some() || !is_proven) {
                    return Err(if is_proven { Refusal::Taken } else { Refusal::NoProof });
                }
                if matches!(self.ids.get(id), Some(Instance::Claiming { .. })) {
                    return Err(Refusal::Taken);
                }
                self.remove(id);
                if self.is_joined {
                    let shown = if is_proven { Shown::Preimage } else { Shown::Token };
                    let token = if is_proven { self.mint_token() } else { proof };
                    self.ask_store(by, id, token, shown);
                    return Ok(None);
                }
                let token = self.mint_token();
                self.hold(by, id, &token, Claim::None);
                Ok(Some(token))
            }
            InstanceId::Temporary(_) => {
                if self.ids.contains_key(id) {
                    return Err(Refusal::Taken);
                }
                if proof.as_ref().is_some_and(|proof| !is_token(proof.expose())) {
                    return Err(Refusal::NoProof);
                }
                let token = proof.unwrap_or_else(|| self.mint_token());
                self.ask_store(by, id, token, Shown::Temporary);
                Ok(None)
            }
        }
    }

    fn check_room_for(&self, by: ConnectionId, id: &str) -> Result<(), Refusal> {
        let is_new = !self.ids.contains_key(id);
        let connection = self.connections.get(&by).ok_or(Refusal::Unavailable)?;
        if !connection.ids.contains(id) && connection.ids.len() >= self.config.ids_max {
            return Err(Refusal::TooMany);
        }
        if is_new && self.ids.len() >= self.config.instances_max {
            return Err(Refusal::Unavailable);
        }
        Ok(())
    }

    fn mint_token(&self) -> Secret<String> {
        mint_base64url(&*self.entropy, 32)
    }

    /// The connection that has an id, if one has it at present.
    pub(in crate::relay) fn owner(&self, id: &str) -> Option<ConnectionId> {
        match self.ids.get(id)? {
            Instance::Held(Held { owner: Owner::Live(connection), .. }) => Some(*connection),
            Instance::Held(_) | Instance::Claiming { .. } => None,
        }
    }

    fn hold(&mut self, by: ConnectionId, id: &str, token: &Secret<String>, claim: Claim) {
        let token = SecretHash::of(token.expose());
        let held = Held { owner: Owner::Live(by), token, claim };
        self.ids.insert(id.to_owned(), Instance::Held(held));
        if let Claim::Stored { renew_at, .. } = claim {
            self.timers.insert((renew_at, Timer::Renew(id.to_owned())));
        }
        self.note(by, id);
    }

    fn note(&mut self, by: ConnectionId, id: &str) {
        if let Some(connection) = self.connections.get_mut(&by) {
            connection.ids.insert(id.to_owned());
        }
    }

    /// Moves an id to the connection that showed its token.
    fn take_over(&mut self, by: ConnectionId, id: &str) {
        let Some(Instance::Held(held)) = self.ids.get_mut(id) else { return };
        match std::mem::replace(&mut held.owner, Owner::Live(by)) {
            Owner::Live(old) if old == by => {}
            Owner::Live(old) => {
                self.fail_all(old, Some(id));
                if let Some(old) = self.connections.get_mut(&old) {
                    old.ids.remove(id);
                }
                self.send(old, ToPeer::Unregistered { id: id.to_owned() });
            }
            Owner::Lost(until) => {
                self.timers.remove(&(until, Timer::Grace(id.to_owned())));
            }
        }
        self.note(by, id);
    }

    fn ask_store(&mut self, by: ConnectionId, id: &str, token: Secret<String>, shown: Shown) {
        let hash = SecretHash::of(token.expose());
        self.ids.insert(id.to_owned(), Instance::Claiming { by, token });
        self.note(by, id);
        self.outputs.push_back(Output::Claim { by, id: id.to_owned(), token: hash, shown });
    }

    pub(super) fn claimed(
        &mut self,
        now: Timestamp,
        by: ConnectionId,
        id: String,
        outcome: Claimed,
    ) {
        // Whoever went away meanwhile has taken the entry along.
        match self.ids.get(&id) {
            Some(Instance::Claiming { by: asked, .. }) if *asked == by => {}
            _ => {
                if outcome == Claimed::Free {
                    self.left(&id);
                }
                return;
            }
        }
        let Some(Instance::Claiming { token, .. }) = self.ids.remove(&id) else { return };
        if let Some(connection) = self.connections.get_mut(&by) {
            connection.ids.remove(&id);
        }
        let refusal = match outcome {
            Claimed::Yes(revision) => {
                let renew_at = now.saturating_add(RENEW_INTERVAL);
                self.hold(by, &id, &token, Claim::Stored { revision, renew_at });
                return self.send(by, ToPeer::Registered { id, resume: token });
            }
            Claimed::Free => {
                self.hold(by, &id, &token, Claim::None);
                return self.send(by, ToPeer::Registered { id, resume: token });
            }
            Claimed::Unproven => Refusal::NoProof,
            Claimed::Taken => Refusal::Taken,
            Claimed::Retired => Refusal::Retired,
            Claimed::TooMany => Refusal::TooMany,
            Claimed::Failed => {
                // It may be that the store has it and only the answer was lost.
                self.left(&id);
                Refusal::Unavailable
            }
        };
        self.refuse(by, id, refusal);
    }

    pub(super) fn unregister(&mut self, by: ConnectionId, id: String) {
        if self.owner(&id) != Some(by) {
            return;
        }
        self.fail_all(by, Some(&id));
        if let Some(connection) = self.connections.get_mut(&by) {
            connection.ids.remove(&id);
        }
        self.remove(&id);
        self.left(&id);
        self.send(by, ToPeer::Unregistered { id });
    }

    /// The owner's connection is gone.
    pub(super) fn lose(&mut self, now: Timestamp, id: &str) {
        match self.ids.get_mut(id) {
            Some(Instance::Held(held)) => {
                let until = now.saturating_add(self.config.grace);
                held.owner = Owner::Lost(until);
                self.timers.insert((until, Timer::Grace(id.to_owned())));
                self.left(id);
            }
            // Nobody learned the token. The claim stays in the store, so nobody else gets the id.
            Some(Instance::Claiming { .. }) => {
                self.ids.remove(id);
            }
            None => {}
        }
    }

    fn left(&mut self, id: &str) {
        if self.is_joined {
            self.outputs.push_back(Output::Left(id.to_owned()));
        }
    }

    /// Lets go of an id that has registered at another gateway: it is not retired.
    pub(super) fn moved(&mut self, id: &str) {
        let owner = self.owner(id);
        let Some(Instance::Held(held)) = self.ids.get_mut(id) else { return };
        if let Claim::Stored { renew_at, .. } = held.claim {
            self.timers.remove(&(renew_at, Timer::Renew(id.to_owned())));
            held.claim = Claim::None;
        }
        self.remove(id);
        if let Some(owner) = owner {
            self.fail_all(owner, Some(id));
            if let Some(connection) = self.connections.get_mut(&owner) {
                connection.ids.remove(id);
            }
            self.send(owner, ToPeer::Unregistered { id: id.to_owned() });
        }
    }

    /// The ids whose owners are connected, with the hashes of their resume tokens.
    pub(in crate::relay) fn live(&self) -> impl Iterator<Item = (&str, SecretHash)> {
        self.ids.iter().filter_map(|(id, instance)| match instance {
            Instance::Held(Held { owner: Owner::Live(_), token, .. }) => Some((&**id, *token)),
            Instance::Held(_) | Instance::Claiming { .. } => None,
        })
    }

    /// The hash of the resume token of an id whose owner is connected.
    pub(in crate::relay) fn token_of_live(&self, id: &str) -> Option<SecretHash> {
        match self.ids.get(id)? {
            Instance::Held(Held { owner: Owner::Live(_), token, .. }) => Some(*token),
            Instance::Held(_) | Instance::Claiming { .. } => None,
        }
    }

    /// Lets go of an id for good; a temporary one is retired.
    pub(super) fn remove(&mut self, id: &str) {
        let Some(Instance::Held(held)) = self.ids.remove(id) else { return };
        if let Owner::Lost(until) = held.owner {
            self.timers.remove(&(until, Timer::Grace(id.to_owned())));
        }
        if let Claim::Stored { revision, renew_at } = held.claim {
            self.timers.remove(&(renew_at, Timer::Renew(id.to_owned())));
            self.outputs.push_back(Output::Retire { id: id.to_owned(), revision });
        }
    }

    pub(super) fn renew(&mut self, id: String) {
        if let Some(Instance::Held(Held { claim: Claim::Stored { revision, .. }, .. })) =
            self.ids.get(&id)
        {
            let revision = *revision;
            self.outputs.push_back(Output::Renew { id, revision });
        }
    }

    pub(super) fn renewed(&mut self, now: Timestamp, id: String, renewed: Option<Revision>) {
        let Some(Instance::Held(held)) = self.ids.get_mut(&id) else { return };
        held.claim = match renewed {
            Some(revision) => {
                let renew_at = now.saturating_add(RENEW_INTERVAL);
                self.timers.insert((renew_at, Timer::Renew(id)));
                Claim::Stored { revision, renew_at }
            }
            None => Claim::None,
        };
    }
}
