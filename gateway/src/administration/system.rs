//! The gateway itself.

use std::sync::Arc;

use buswire_belay::Relay;
use buswire_bridge::Routes;
use buswire_bus::Buses;
use buswire_message::Timestamp;
use buswire_simplepush::SimplePush;
use buswire_store::Store;
use futures::future::BoxFuture;

use crate::admin::ports::{AdminError, ListenerView, SystemAdmin, SystemView};

/// Shows how the gateway is.
#[derive(Debug)]
pub(crate) struct SystemPort {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) buses: Buses,
    pub(crate) push: SimplePush,
    pub(crate) relay: Option<Relay>,
    pub(crate) routes: Routes,
    pub(crate) started_at: Timestamp,
    pub(crate) listeners: Vec<ListenerView>,
}

impl SystemAdmin for SystemPort {
    fn status(&self) -> BoxFuture<'_, Result<SystemView, AdminError>> {
        Box::pin(async move {
            let unavailable =
                |error: buswire_bus::BusError| AdminError::Unavailable(crate::cli::chain(&error));
            let buses = self.buses.list(None).await.map_err(unavailable)?.len();
            let status = self.store.status();
            let relay = self.relay.as_ref().map(Relay::status).unwrap_or_default();
            let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
            Ok(SystemView {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: self.started_at,
                store: status.engine.to_owned(),
                ready: status.unavailable.is_none(),
                listeners: self.listeners.clone(),
                counts: vec![
                    ("belay.relay.connections", count(relay.connections)),
                    ("belay.relay.instances", count(relay.instances)),
                    ("belay.relay.pending", count(relay.pending)),
                    ("buses", count(buses)),
                    ("routes", count(self.routes.count())),
                    ("simplepush.connections", count(self.push.status().connections)),
                    ("store.disk_bytes", status.disk_bytes),
                    ("store.waiting", count(status.waiting)),
                ],
            })
        })
    }
}
