//! Granting and wrapping.
//!
//! Never here: what a grantor may grant; see `grantor`.

use std::sync::Arc;

use buswire_message::{Entropy, Secret, SecretHash, mint_base64url};
use buswire_store::StoreError;

use crate::{
    audit::AuditAction,
    config::is_id,
    error::{BcapError, of_store},
    grants::{Ancestor, Chain, Derivation, Grant, InsertError, Inserted, Link, Regrant, Role},
    limits::{Bounds, Limits},
    names::{Handle, Kind, Label},
    operation::BindError,
    request::{GrantRequest, IdForm, RequestError},
    server::{CapServer, Designated, Inner, grantor::GrantorTarget},
    target::TargetError,
    wire::{Bcap, BcapValue, Members, encode_bare},
};

/// Random bytes in an id (Belay §21.2).
const ID_BYTES: usize = 32;

/// A new capability. The ids in it are shown this once and kept nowhere (Belay §20.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The capability.
    pub cap: Bcap,
    /// Controls it: status, label, suspension, revocation (Belay §20.2).
    pub control: Bcap,
    /// Names it in logs and listings.
    pub handle: Handle,
}

impl Granted {
    /// The reply of Belay §20.5.
    pub(crate) fn into_value(self) -> BcapValue {
        Members::new()
            .with("cap", self.cap)
            .with("control", self.control)
            .with("handle", self.handle.as_str())
            .into()
    }
}

fn mint_uuid(entropy: &dyn Entropy) -> Secret<String> {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    Secret::new(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

/// Why nothing was granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// No operation of that kind is registered.
    #[error("there is no such kind of capability")]
    UnknownKind,
    /// The request is not one.
    #[error("the request is refused")]
    Request(#[from] RequestError),
    /// The capability to derive from is not alive, or not of this server.
    #[error("the capability is not alive")]
    NotFound,
    /// Beyond what the grantor may grant, or a capability that can't be derived from.
    #[error("beyond what may be granted")]
    Forbidden,
    /// The chain would be too deep, or the parent or the tree has too many children.
    #[error("no more grants fit there")]
    Full,
    /// More than one live grant fits a regrant (Belay §20.7).
    #[error("more than one grant fits")]
    Ambiguous,
    /// Children are made too fast.
    #[error("children are made too fast")]
    TooFast {
        /// Seconds after which there will be room.
        retry_after_secs: u32,
    },
    /// The store did not do it.
    #[error("the store failed")]
    Store(#[from] StoreError),
}

impl GrantError {
    /// What the holder of a capability is told.
    pub fn to_bcap_error(&self) -> BcapError {
        match self {
            Self::UnknownKind | Self::Request(_) => BcapError::BadRequest,
            Self::NotFound => BcapError::NotFound,
            Self::Forbidden | Self::Full => BcapError::Forbidden,
            Self::Ambiguous => BcapError::AmbiguousRegrant,
            Self::TooFast { retry_after_secs } => {
                BcapError::TooManyRequests { retry_after_secs: *retry_after_secs }
            }
            Self::Store(error) => of_store(error),
        }
    }
}

impl From<BindError> for GrantError {
    fn from(error: BindError) -> Self {
        match error {
            BindError::Target(error) => Self::Request(error.into()),
            BindError::Store(error) => Self::Store(error),
        }
    }
}

impl From<InsertError> for GrantError {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::Gone => Self::NotFound,
            InsertError::Full => Self::Full,
            InsertError::Ambiguous => Self::Ambiguous,
            InsertError::TooFast { retry_after_secs } => Self::TooFast { retry_after_secs },
            InsertError::Store(error) => Self::Store(error),
        }
    }
}

impl CapServer {
    /// Grants a capability that hangs on no other one: only its control capability and
    /// [`revoke`](Self::revoke) take it back.
    ///
    /// Returns when the grant is on stable storage.
    ///
    /// # Errors
    ///
    /// [`GrantError`].
    ///
    /// # Cancel safety
    ///
    /// A dropped call may leave a grant behind whose id nobody knows; it is listed.
    pub async fn grant(&self, mut request: GrantRequest) -> Result<Granted, GrantError> {
        self.0.check_request(&mut request).await?;
        self.0.grant_root(request).await
    }

    /// Makes an attenuated child of a capability, separately revocable; it needs no other authority
    /// than the capability (Belay §20.8).
    ///
    /// # Errors
    ///
    /// [`GrantError::NotFound`] if `id` is not alive, [`GrantError::Forbidden`] if it is a control
    /// capability, and the bounds on depth, number and rate of children.
    ///
    /// # Cancel safety
    ///
    /// As [`grant`](Self::grant).
    pub async fn wrap(
        &self,
        id: &str,
        limits: Limits,
        label: Label,
    ) -> Result<Granted, GrantError> {
        let now = self.0.now();
        if !is_id(id) {
            return Err(GrantError::NotFound);
        }
        let designated = self.0.grants.designated(&SecretHash::of(id), now).await?;
        let designated = designated.ok_or(GrantError::NotFound)?;
        if designated.role == Role::Control {
            return Err(GrantError::Forbidden);
        }
        self.0.wrap(&designated.tree, &designated.handle, limits, label).await
    }

    /// The same for whoever administers the server, by handle.
    ///
    /// # Errors
    ///
    /// As [`wrap`](Self::wrap).
    ///
    /// # Cancel safety
    ///
    /// As [`grant`](Self::grant).
    pub async fn wrap_handle(
        &self,
        handle: &Handle,
        limits: Limits,
        label: Label,
    ) -> Result<Granted, GrantError> {
        let tree = self.0.grants.tree_of(handle, self.0.now()).await?;
        self.0.wrap(&tree.ok_or(GrantError::NotFound)?, handle, limits, label).await
    }
}

/// A grant with its ids in clear.
pub(super) struct New {
    pub(super) grant: Grant,
    pub(super) granted: Granted,
}

impl Inner {
    async fn wrap(
        self: &Arc<Self>,
        tree: &Handle,
        handle: &Handle,
        limits: Limits,
        label: Label,
    ) -> Result<Granted, GrantError> {
        let now = self.now();
        let chain = self.grants.chain(tree, handle, now).await?;
        let chain = chain.filter(|chain| chain.is_live(now)).ok_or(GrantError::NotFound)?;
        let parent = chain.grant();
        let mut ancestors = vec![Ancestor { handle: parent.handle.clone(), counts: true }];
        ancestors.extend(parent.ancestors.iter().cloned());
        let bounds = parent.bounds.intersection(limits.bounds());
        let request = GrantRequest {
            kind: parent.kind.clone(),
            target: (*parent.target).clone(),
            limits,
            label,
            form: IdForm::default(),
        };
        let new = self.mint(request, Link::Wrap, ancestors, bounds);
        self.insert_child(new, Regrant::No, &parent.handle).await
    }

    /// Grants what was checked.
    pub(super) async fn grant_root(&self, request: GrantRequest) -> Result<Granted, GrantError> {
        let bounds = request.limits.bounds().clone();
        let new = self.mint(request, Link::Root, Vec::new(), bounds);
        self.grants.insert_root(&new.grant, new.grant.created).await?;
        self.audit.record(self.now(), &new.grant, AuditAction::Granted { by: None });
        Ok(new.granted)
    }

    /// Whether a kind has a target like that; binds the target to what it names now.
    pub(super) async fn check_request(&self, request: &mut GrantRequest) -> Result<(), GrantError> {
        let text = encode_bare(&request.target, self.config.wire);
        if text.map_or(true, |text| text.len() > self.config.target_bytes_max) {
            return Err(RequestError::BadMember("target").into());
        }
        if request.kind.as_str() == Kind::GRANTOR {
            let target = GrantorTarget::parse(&request.target).map_err(RequestError::Target)?;
            if target.is_stable() && self.config.regrant_key.is_none() {
                return Err(RequestError::Target(TargetError::BadMember("regrant")).into());
            }
            return Ok(());
        }

        let designated = self.designated(&request.kind, &Arc::new(request.target.clone()));
        let Designated { operation, target } = designated.ok_or(GrantError::UnknownKind)?;
        operation.check_target(&target).map_err(RequestError::Target)?;
        if request.kind.as_str() != Kind::NAMED {
            request.target = operation.bind(request.target.clone()).await?;
        }
        Ok(())
    }

    pub(super) fn mint(
        &self,
        request: GrantRequest,
        link: Link,
        ancestors: Vec<Ancestor>,
        bounds: Bounds,
    ) -> New {
        let mint = || match request.form {
            IdForm::Token => mint_base64url(&*self.entropy, ID_BYTES),
            IdForm::Uuid => mint_uuid(&*self.entropy),
        };
        let ids = (mint(), mint());
        self.new_grant(request, link, ancestors, bounds, ids)
    }

    pub(super) fn new_grant(
        &self,
        request: GrantRequest,
        link: Link,
        ancestors: Vec<Ancestor>,
        bounds: Bounds,
        (id, control): (Secret<String>, Secret<String>),
    ) -> New {
        let GrantRequest { kind, target, limits, label, form: _ } = request;
        let grant = Grant {
            handle: Handle::mint(&*self.entropy),
            kind,
            link,
            ancestors,
            target: Arc::new(target),
            limits,
            bounds: Arc::new(bounds),
            label,
            created: self.now(),
            suspended: false,
            id_hash: SecretHash::of(id.expose()),
            control_hash: SecretHash::of(control.expose()),
            seeds: None,
            fingerprint: None,
        };
        let granted = self.granted(&grant.handle, &id, &control);
        New { grant, granted }
    }

    pub(super) fn granted(
        &self,
        handle: &Handle,
        id: &Secret<String>,
        control: &Secret<String>,
    ) -> Granted {
        Granted {
            cap: Bcap::restore(self.config.cap_url(id.expose())),
            control: Bcap::restore(self.config.cap_url(control.expose())),
            handle: handle.clone(),
        }
    }

    pub(super) async fn insert_child(
        self: &Arc<Self>,
        new: New,
        regrant: Regrant,
        by: &Handle,
    ) -> Result<Granted, GrantError> {
        let derivation = Derivation { grant: new.grant, regrant };
        match self.grants.insert_child(&derivation, derivation.grant.created).await? {
            Inserted::New { replaced } => {
                for old in replaced {
                    self.bury(old, Some(by.clone()));
                }
                let action = match derivation.grant.link {
                    Link::Wrap => AuditAction::Wrapped { by: by.clone() },
                    Link::Root | Link::Granted => AuditAction::Granted { by: Some(by.clone()) },
                };
                self.audit.record(self.now(), &derivation.grant, action);
                Ok(new.granted)
            }
            Inserted::Existing(grant) => self.granted_again(&grant),
        }
    }

    // The ids of a grant whose seeds are of the present key.
    fn granted_again(&self, grant: &Grant) -> Result<Granted, GrantError> {
        let key = self.config.regrant_key.as_ref().zip(grant.seeds);
        let (key, seeds) = key.ok_or(GrantError::NotFound)?;
        Ok(self.granted(&grant.handle, &key.id(&seeds.cap), &key.id(&seeds.control)))
    }

    /// The levels above a grant that a grantor makes: it dies with them, but counts for none.
    pub(super) fn below_grantor(chain: &Chain) -> Vec<Ancestor> {
        let grantor = chain.grant();
        let above = grantor.ancestors.iter().map(|ancestor| &ancestor.handle);
        std::iter::once(&grantor.handle)
            .chain(above)
            .map(|handle| Ancestor { handle: handle.clone(), counts: false })
            .collect()
    }
}
