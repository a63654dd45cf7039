//! Control capabilities: status, label, suspension and revocation of one grant (Belay §20.2, §20.6).
//!
//! Never here: controlling by handle; see `admin`.

use std::sync::Arc;

use crate::{
    error::{BcapError, of_store},
    grants::{Chain, Change},
    method::Method,
    names::Handle,
    request::ControlRequest,
    server::{Inner, admin::Revoked},
    wire::{BcapValue, Members},
};

impl Inner {
    pub(super) async fn invoke_control(
        self: &Arc<Self>,
        chain: &Chain,
        method: Method,
        data: Option<BcapValue>,
    ) -> Result<Option<BcapValue>, BcapError> {
        match method {
            Method::Get => self.control_status(chain).await.map(Some),
            Method::Put => self.control_change(chain, data).await.map(|()| None),
            Method::Delete => self.control_revoke(chain).await.map(|()| None),
            Method::Post => Err(BcapError::Internal),
        }
    }

    // The members of Belay §20.9, no more.
    async fn control_status(&self, chain: &Chain) -> Result<BcapValue, BcapError> {
        let info = self.info(chain.grant(), false).await.map_err(|error| of_store(&error))?;
        let time = |at: Option<buswire_message::Timestamp>| at.map(|at| at.to_string());
        Ok(Members::new()
            .with("handle", info.handle.as_str())
            .with("kind", info.kind.as_str())
            .with("label", info.label.as_str())
            .with("state", info.state.as_str())
            .with("created", info.created.to_string())
            .with("expires", time(info.expires))
            .with("usesLeft", info.uses_left)
            .with("parent", info.parent.as_ref().map(Handle::as_str))
            .with("children", u64::from(info.children))
            .with("invocations", info.invocations)
            .with("lastUsed", time(info.last_used))
            .into())
    }

    async fn control_change(
        self: &Arc<Self>,
        chain: &Chain,
        data: Option<BcapValue>,
    ) -> Result<(), BcapError> {
        let data = data.ok_or(BcapError::BadRequest)?;
        let ControlRequest { label, suspended } =
            ControlRequest::parse(&data).map_err(|_| BcapError::BadRequest)?;
        let change = Change { label, suspended };
        let handle = &chain.grant().handle;
        let changed =
            self.change(chain.grant().root(), handle, &change, Some(handle.clone())).await;
        match changed {
            Ok(true) => Ok(()),
            Ok(false) => Err(BcapError::NotFound),
            Err(error) => Err(of_store(&error)),
        }
    }

    async fn control_revoke(self: &Arc<Self>, chain: &Chain) -> Result<(), BcapError> {
        let handle = &chain.grant().handle;
        match self.revoke(chain.grant().root(), handle, Some(handle.clone())).await {
            Ok(Some(Revoked::Now)) => Ok(()),
            // The capability died with the grant, so whoever comes second finds it dead.
            Ok(Some(Revoked::Already) | None) => Err(BcapError::NotFound),
            Err(error) => Err(of_store(&error)),
        }
    }
}
