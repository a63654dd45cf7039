//! Revocations that another gateway made: the store hints, the chains in use are read again.
//!
//! Needed only where several servers share a store; what this server revokes it cuts itself. Never
//! here: being the authority; every new invocation reads its chain anyway.

use buswire_store::{Hint, HintFilter};
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use crate::{
    grants::{TREES, tree_of},
    names::Handle,
    server::{CapServer, Inner},
};

impl CapServer {
    /// Watches the store for revocations and suspensions by other servers and cuts off what they
    /// end, until `shutdown` is cancelled or the store closes.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop: it keeps nothing.
    pub async fn watch(&self, shutdown: CancellationToken) {
        let mut hints = self.0.grants.store().hints(HintFilter::Prefix(TREES.into()));
        loop {
            let hint = tokio::select! {
                () = shutdown.cancelled() => return,
                hint = hints.next() => hint,
            };
            match hint {
                None => return,
                Some(Hint::Changed(partition)) => {
                    if let Some(tree) = tree_of(&partition) {
                        self.0.recheck(Some(&tree)).await;
                    }
                }
                Some(Hint::Missed) => self.0.recheck(None).await,
            }
        }
    }
}

impl Inner {
    async fn recheck(&self, tree: Option<&Handle>) {
        for chain in self.live.chains(tree) {
            let Some(root) = chain.last() else { continue };
            for handle in chain.iter() {
                let loaded = self.grants.load(root, handle, self.now()).await;
                match loaded {
                    Ok(Some(loaded)) if !loaded.grant.suspended => {}
                    Ok(_) => self.live.cut(handle),
                    Err(error) => {
                        tracing::warn!(error = %error, "a chain in use could not be read again");
                    }
                }
            }
        }
    }
}
