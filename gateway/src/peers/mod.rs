//! Other gateways on the same store, as far as Majordomo is concerned: their brokers ask each other.
//!
//! | module | does |
//! |---|---|
//! | `keys` | what lets the brokers in and nobody else, made of `belay.keys` |
//! | `place` | where this gateway's broker is asked, if it is |
//! | `directory` | the rows by which gateways find each other |
//!
//! Never here: what brokers say to each other, which services there are.

mod directory;
mod keys;
mod place;

use std::sync::Arc;

use buswire_mdp::{
    BrokerConfig, BrokerHandle, LinkSettings, core::LinkConfig, has_curve, wire::BrokerId,
};
use buswire_message::{Clock, Entropy, Secret};
use buswire_store::Store;
use tokio_util::sync::CancellationToken;

pub(crate) use directory::DirectoryError;

use crate::config::Config;
use directory::Directory;
use place::Place;

/// Why the broker can't be asked by others.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeersError {
    /// No key can be made of `belay.keys`.
    #[error("no key can be made of belay.keys")]
    Key,
    /// This libzmq has no CURVE.
    #[error("this libzmq was built without CURVE, which mdp.peers.listen needs")]
    NoCurve,
}

/// How this gateway's broker and others ask each other.
#[derive(Debug)]
pub(crate) struct Peers {
    id: BrokerId,
    name: Arc<str>,
    place: Place,
}

impl Peers {
    /// Prepares `broker` for being asked by others; `None` if it is not to be.
    ///
    /// # Errors
    ///
    /// [`PeersError`].
    ///
    /// # Cancel safety
    ///
    /// Safe to drop.
    pub(crate) async fn prepare(
        config: &Config,
        name: String,
        key: Option<&Secret<[u8; 32]>>,
        entropy: &dyn Entropy,
        broker: &mut BrokerConfig,
    ) -> Result<Option<Self>, PeersError> {
        let Some(place) = Place::find(config).await else { return Ok(None) };
        if !has_curve() {
            if place.is_asked_for() {
                return Err(PeersError::NoCurve);
            }
            tracing::warn!("services of other gateways can't be reached: libzmq has no CURVE");
            return Ok(None);
        }
        let pair = key.and_then(keys::derive).ok_or(PeersError::Key)?;
        let mut id = [0; 8];
        entropy.fill(&mut id);
        let id = BrokerId(id);
        let listen = place.listen().to_owned();
        broker.links = Some(LinkSettings { listen, public: pair.public, secret: pair.secret });
        broker.core.links = Some(LinkConfig::new(id));
        Ok(Some(Self { id, name: name.into(), place }))
    }

    /// Tells the other gateways where this one is, and `broker` where they are, until `stop` is ready.
    ///
    /// # Errors
    ///
    /// [`DirectoryError`] if the rows can't be named.
    pub(crate) fn follow(
        self,
        broker: BrokerHandle,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Result<impl Future<Output = ()> + Send + use<>, DirectoryError> {
        let bound = broker.link_endpoint().unwrap_or_default();
        let endpoint = self.place.advertised(&bound);
        tracing::info!(gateway = %self.name, %endpoint, "other gateways can ask for services");
        let directory = Directory::new(store, clock, self.id, self.name, endpoint.into())?;
        Ok(directory.follow(broker, stop))
    }
}
