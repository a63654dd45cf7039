//! The station: a person's directory of web memberships, behind one capability (Belay §13).
//!
//! | module | does |
//! |---|---|
//! | `membership` | one membership: what it may contain, how it is written |
//! | `request` | what a holder asks for |
//! | `directory` | the memberships in the store, with their bounds |
//! | `pages` | `/belay/station` and `/belay/open` as browsers get them |
//!
//! What only the browser can do, opening windows and asking whether an instance runs, is in
//! `browser/station`. Never here: invoking a launch capability; that is the page's.

mod directory;
mod membership;
mod pages;
mod request;

use std::{fmt, sync::Arc};

use buswire_message::{Clock, Entropy};
use buswire_store::{Store, StoreError};
use futures::future::BoxFuture;

pub(crate) use self::pages::router;
use self::{
    directory::{ChangeError, Directory, DirectoryName, Edit},
    membership::Membership,
    request::StationRequest,
};
use crate::{
    error::{BcapError, of_store},
    limits::NameSet,
    method::{Method, MethodSet},
    operation::{Invocation, Operation},
    seal::SealKeys,
    server::{CapServer, Inner},
    target::{TargetError, closed},
    wire::{BcapValue, Members},
};

/// The operation of the kind `station`: a directory of memberships.
///
/// The target is `{"directory": NAME}`, 1 to 64 characters of `a-z 0-9 . _ -`. GET lists, POST changes:
///
/// | data of POST | does | result |
/// |---|---|---|
/// | `{"add": {"launch", "name", "icon"?, "section"?, "control"?}}` | keeps a membership | the membership, with its `id` |
/// | `{"change": {"id", "name"?, "icon"?, "section"?}}` | relabels it | none |
/// | `{"opened": {"id", "instance"}}` | notes that it was opened as an instance | none |
/// | `{"remove": {"id"}}` | forgets it; so it is already is fine | none |
///
/// A directory has at most 120 memberships of at most 16 KiB each; one more is refused 403. Each time
/// that a membership is opened it runs as an instance of another id, since the relay retires those
/// whose window is gone (Belay §22.4). Two grants of one directory show the same memberships: whoever
/// lost a link is granted a new one, and the old one is revoked.
pub struct Station {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    keys: Option<SealKeys>,
}

impl Station {
    /// What the kind is called.
    pub const KIND: &'static str = "station";

    /// Directories in the store of a server, sealed with its keys.
    pub fn new(server: &CapServer) -> Arc<Self> {
        let Inner { grants, clock, entropy, config, .. } = &*server.0;
        Arc::new(Self {
            store: Arc::clone(grants.store()),
            clock: Arc::clone(clock),
            entropy: Arc::clone(entropy),
            keys: config.seal_keys.clone(),
        })
    }

    async fn answer(
        &self,
        cx: &Invocation,
        data: Option<&BcapValue>,
    ) -> Result<Option<BcapValue>, BcapError> {
        let name = DirectoryName::of(cx.target()).map_err(|_| BcapError::Internal)?;
        let directory = Directory::new(&*self.store, &name, self.keys.as_ref());
        let now = self.clock.now();
        let Some(data) = data else {
            let memberships = directory.list(now).await.map_err(|e| store_failed(&e))?;
            let memberships: Vec<_> = memberships.iter().map(Membership::to_value).collect();
            return Ok(Some(Members::new().with("memberships", memberships).into()));
        };
        let edit = async |edit| directory.edit(&edit, now).await.map_err(|e| refusal(&e));
        match StationRequest::parse(data).map_err(|_| BcapError::BadRequest)? {
            StationRequest::Add(new) => {
                let membership = new.admit(&*self.entropy, now);
                edit(Edit::Add(&membership)).await?;
                Ok(Some(membership.to_value()))
            }
            StationRequest::Change(id, change) => {
                edit(Edit::Change(&id, &change)).await.map(|()| None)
            }
            StationRequest::Remove(id) => edit(Edit::Remove(&id)).await.map(|()| None),
        }
    }
}

impl Operation for Station {
    fn check_target(&self, target: &BcapValue) -> Result<(), TargetError> {
        DirectoryName::of(target).map(drop)
    }

    fn methods(&self, _: &BcapValue) -> MethodSet {
        MethodSet::of(&[Method::Get, Method::Post])
    }

    /// A directory counts as a channel: a grantor that is limited to some grants those alone.
    fn reach(&self, target: &BcapValue) -> Option<NameSet> {
        NameSet::parse([DirectoryName::of(target).ok()?.as_str()])
    }

    fn invoke(
        &self,
        cx: Invocation,
        method: Method,
        data: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        Box::pin(async move {
            match (method, &data) {
                (Method::Post, None) => Err(BcapError::BadRequest),
                _ => self.answer(&cx, data.as_ref()).await,
            }
        })
    }
}

impl fmt::Debug for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Station")
    }
}

impl DirectoryName {
    fn of(target: &BcapValue) -> Result<Self, TargetError> {
        let value = closed(target, &["directory"])?.get("directory");
        let text = value.ok_or(TargetError::Missing("directory"))?.as_str();
        text.and_then(Self::parse).ok_or(TargetError::BadMember("directory"))
    }
}

fn refusal(error: &ChangeError) -> BcapError {
    match error {
        ChangeError::Unknown => BcapError::BadRequest,
        ChangeError::Full => BcapError::Forbidden,
        ChangeError::Contention => BcapError::unavailable(),
        ChangeError::Store(error) => store_failed(error),
    }
}

fn store_failed(error: &StoreError) -> BcapError {
    tracing::warn!(%error, "a directory of memberships could not be used");
    of_store(error)
}
