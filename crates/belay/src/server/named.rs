//! Grants of registered names, and what revokes many grants at once (Belay §6.9, §6.10, §20.3).
//!
//! A named grant is a name and arguments; what they mean is what the program registers under the
//! name, whenever it does. Never here: invoking them.

use std::sync::{Arc, PoisonError};

use crate::{
    grants::{Cursor, Grant, Link},
    limits::Limits,
    names::{Kind, Label},
    operation::Operation,
    request::{GrantRequest, IdForm, RequestError},
    server::{AdminError, CapServer, GrantError, Granted, RegisterError},
    target::{NamedTarget, TargetError},
    wire::BcapValue,
};

/// Grants that are read at once.
const PAGE: usize = 256;

impl CapServer {
    /// Registers what grants of a name designate, in place of what was registered before. Its target
    /// is the array of their arguments. Until a name is registered, its grants answer 404.
    ///
    /// # Errors
    ///
    /// [`RegisterError::Name`] unless the name has 1 to 256 bytes and no control characters.
    pub fn set_named_handler(
        &self,
        name: &str,
        handler: Arc<dyn Operation>,
    ) -> Result<(), RegisterError> {
        if !NamedTarget::is_name(name) {
            return Err(RegisterError::Name);
        }
        let mut named = self.0.named.write().unwrap_or_else(PoisonError::into_inner);
        named.insert(name.to_owned(), handler);
        Ok(())
    }

    /// Grants what a name means for these arguments. The name need not be registered yet; if it is,
    /// its handler checks the arguments.
    ///
    /// # Errors
    ///
    /// As [`grant`](Self::grant), [`RegisterError::Name`] as a refused target.
    ///
    /// # Cancel safety
    ///
    /// As [`grant`](Self::grant).
    pub async fn grant_named(
        &self,
        name: &str,
        args: Vec<BcapValue>,
        limits: Limits,
        label: Label,
    ) -> Result<Granted, GrantError> {
        if !NamedTarget::is_name(name) {
            return Err(RequestError::Target(TargetError::BadMember("name")).into());
        }
        let target = NamedTarget { name: name.to_owned(), args: args.into() }.to_value();
        let mut request =
            GrantRequest { kind: Kind::named(), target, limits, label, form: IdForm::default() };
        match self.0.check_request(&mut request).await {
            // Nobody can check the arguments yet.
            Ok(()) | Err(GrantError::UnknownKind) => self.0.grant_root(request).await,
            Err(error) => Err(error),
        }
    }

    /// Revokes every grant of a name whose arguments `matches` accepts; says how many. It reads all
    /// grants.
    ///
    /// # Errors
    ///
    /// [`AdminError::Store`]; some are revoked then.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: some are revoked then.
    pub async fn revoke_named(
        &self,
        name: &str,
        matches: impl Fn(&[BcapValue]) -> bool + Send + Sync,
    ) -> Result<usize, AdminError> {
        let is_meant = |grant: &Grant| {
            let target = (grant.kind.as_str() == Kind::NAMED).then_some(&grant.target);
            target.and_then(|target| NamedTarget::parse(target).ok()).is_some_and(|target| {
                target.name == name && target.args.as_array().is_some_and(&matches)
            })
        };
        self.revoke_where(|grant| grant.link != Link::Wrap && is_meant(grant)).await
    }

    /// Revokes everything that was ever granted; says how many trees it were.
    ///
    /// # Errors
    ///
    /// As [`revoke_named`](Self::revoke_named).
    ///
    /// # Cancel safety
    ///
    /// As [`revoke_named`](Self::revoke_named).
    pub async fn revoke_all(&self) -> Result<usize, AdminError> {
        self.revoke_where(|grant| grant.link == Link::Root).await
    }

    async fn revoke_where(
        &self,
        is_meant: impl Fn(&Grant) -> bool + Send,
    ) -> Result<usize, AdminError> {
        let mut revoked = 0;
        let mut cursor: Option<Cursor> = None;
        loop {
            let (listed, next) = self.0.grants.list(cursor, PAGE, self.0.now()).await?;
            for one in listed.iter().filter(|one| !one.retired && is_meant(&one.grant)) {
                self.0.revoke(one.grant.root(), &one.grant.handle, None).await?;
                revoked += 1;
            }
            match next {
                Some(next) => cursor = Some(next),
                None => return Ok(revoked),
            }
        }
    }
}
