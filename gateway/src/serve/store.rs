//! Opening the engine that the configuration names.
//!
//! Never here: using it.

use std::sync::Arc;

use buswire_store::{
    Store,
    copy::Portable,
    embedded::{EmbeddedConfig, EmbeddedStore},
    memory::MemoryStore,
    redis::RedisStore,
};
use tokio::task;

use super::ServeError;
use crate::config::{Config, StoreConfig};

/// Opens the engine.
pub(super) async fn open(config: &Config) -> Result<Arc<dyn Store>, ServeError> {
    match open_kept(config).await? {
        Some(store) => Ok(store),
        None => Ok(Arc::new(MemoryStore::new())),
    }
}

/// Opens the engine, if it is one that keeps something. The embedded one reads its files first, so it
/// has a thread of its own for that.
///
/// # Errors
///
/// [`ServeError::Store`], [`ServeError::Redis`], [`ServeError::StoreThread`].
pub async fn open_kept(config: &Config) -> Result<Option<Arc<dyn Portable>>, ServeError> {
    let directory = match &config.store {
        StoreConfig::Memory => return Ok(None),
        StoreConfig::Redis(redis) => {
            let store = RedisStore::open((**redis).clone()).await?;
            return Ok(Some(Arc::new(store)));
        }
        StoreConfig::Embedded(elsewhere) => {
            elsewhere.clone().unwrap_or_else(|| config.data_dir.clone())
        }
    };
    let open = move || EmbeddedStore::open(directory, EmbeddedConfig::default());
    match task::spawn_blocking(open).await {
        Ok(opened) => Ok(Some(Arc::new(opened?))),
        Err(_) => Err(ServeError::StoreThread),
    }
}
