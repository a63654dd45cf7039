//! `record`: GET gives several capabilities at once, the facets of something.
//!
//! What it gives are not the capabilities of its target but forwarders to them: they die with the
//! record and stay within its limits, so that a wrap of a record is a wrap of everything in it
//! (Belay §23.5, §23.7). Never here: making a grant.

use futures::future::BoxFuture;

use crate::{
    error::BcapError,
    method::{Method, MethodSet},
    operation::{Invocation, Operation},
    target::{RecordTarget, TargetError},
    wire::{BcapValue, Members},
};

/// The kind `record`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordItem {
    /// Whether ids can be computed again; otherwise every reading gives fresh capabilities.
    pub(crate) has_stable: bool,
}

impl Operation for RecordItem {
    fn check_target(&self, target: &BcapValue) -> Result<(), TargetError> {
        let target = RecordTarget::parse(target)?;
        let possible = target.fresh || self.has_stable;
        if possible { Ok(()) } else { Err(TargetError::BadMember("bcaps")) }
    }

    fn methods(&self, _: &BcapValue) -> MethodSet {
        MethodSet::GET
    }

    fn invoke(
        &self,
        cx: Invocation,
        _: Method,
        _: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        Box::pin(async move {
            let target = RecordTarget::parse(cx.target()).map_err(|_| BcapError::Internal)?;
            let mut facets = Members::new();
            for (name, cap) in &target.facets {
                facets.set(name.as_str(), cx.forward(name, cap, target.fresh).await?);
            }
            Ok(Some(facets.into()))
        })
    }
}
