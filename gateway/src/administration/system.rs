//! The gateway itself.

use std::sync::{Arc, PoisonError, RwLock};

use buswire_belay::Relay;
use buswire_bridge::Routes;
use buswire_bus::Buses;
use buswire_message::Timestamp;
use buswire_simplepush::SimplePush;
use buswire_store::Store;
use bytes::Bytes;
use futures::{future::BoxFuture, stream::BoxStream};

use super::Backups;
use crate::{
    admin::ports::{AdminError, ListenerView, SystemAdmin, SystemView, VersionView},
    app::RELOADED,
    config::ShownSetting,
    ops::{Health, Phase},
};

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
    pub(crate) health: Health,
    pub(crate) shown: InForce,
    pub(crate) backups: Backups,
    pub(crate) protocols: Vec<(&'static str, Vec<&'static str>)>,
}

/// The settings in force. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct InForce(Arc<RwLock<Vec<ShownSetting>>>);

impl InForce {
    pub(crate) fn new(shown: Vec<ShownSetting>) -> Self {
        Self(Arc::new(RwLock::new(shown)))
    }

    /// Takes over those settings of `fresh` that are taken over while the gateway runs.
    pub(crate) fn reload(&self, fresh: Vec<ShownSetting>) {
        let mut shown = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (old, new) in shown.iter_mut().zip(fresh) {
            if RELOADED.contains(&new.key) {
                *old = new;
            }
        }
    }

    fn all(&self) -> Vec<ShownSetting> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the program was built of, if whoever built it said so: the output of `git describe`.
const BUILD: Option<&str> = option_env!("BUSWIRE_BUILD");

/// A phase in which the gateway can be taken out of service and back.
fn in_service(phase: Phase) -> Result<Phase, AdminError> {
    match phase {
        Phase::Starting => Err(AdminError::Refused("the gateway starts".to_owned())),
        Phase::Stopping => Err(AdminError::Refused("the gateway stops".to_owned())),
        Phase::Serving | Phase::Draining | Phase::Drained => Ok(phase),
    }
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
                phase: self.health.phase(),
                ready: self.health.not_ready().is_none(),
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

    fn version(&self) -> VersionView {
        VersionView {
            version: env!("CARGO_PKG_VERSION"),
            build: BUILD,
            features: buswire_mdp::has_curve().then_some("curve").into_iter().collect(),
            protocols: self.protocols.clone(),
        }
    }

    fn configuration(&self) -> Vec<ShownSetting> {
        self.shown.all()
    }

    fn backup(&self) -> BoxStream<'static, Result<Bytes, AdminError>> {
        self.backups.stream()
    }

    fn drain(&self) -> Result<Phase, AdminError> {
        in_service(self.health.drain())
    }

    fn undrain(&self) -> Result<Phase, AdminError> {
        in_service(self.health.undrain())
    }
}
