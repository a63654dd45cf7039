//! What a holder may know of a capability before invoking it, for the page that opens links
//! (Belay §21.7).
//!
//! Never here: invoking; a description takes no use.

use buswire_message::Door;

use crate::{
    error::{BcapError, of_store},
    names::Kind,
    origin::Origin,
    server::CapServer,
    wire::{BcapValue, Members},
};

impl CapServer {
    /// Describes a live capability: kind, label, methods, end, uses left. Its target stays hidden.
    ///
    /// # Errors
    ///
    /// [`BcapError::NotFound`] for all that an invocation would answer so.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it only reads.
    pub(crate) async fn describe(&self, id: &str) -> Result<BcapValue, BcapError> {
        let opened = self.open(id, Origin::new(Door::Belay)).await?;
        let (chain, methods) = (opened.chain(), opened.methods());
        let grant = chain.grant();
        let methods: Vec<_> = methods.iter().map(|method| method.as_str().into()).collect();
        if opened.is_control() {
            let kind = Members::new().with("kind", Kind::CONTROL);
            return Ok(kind.with("label", grant.label.as_str()).with("methods", methods).into());
        }
        let uses_left = self.0.grants.uses_left(chain, self.0.now()).await;
        Ok(Members::new()
            .with("kind", grant.kind.as_str())
            .with("label", grant.label.as_str())
            .with("methods", methods)
            .with("expires", grant.bounds.expires().map(|at| at.to_string()))
            .with("usesLeft", uses_left.map_err(|error| of_store(&error))?)
            .into())
    }
}
