//! Keys that the gateway makes at its first start and keeps in the store, so that gateways that share
//! a store share them.
//!
//! Never here: what a key is for.

use buswire_message::{Entropy, Secret, Timestamp};
use buswire_store::{
    Ack, Batch, Expectation, Key, Operation, Outcome, Partition, Store, StoreError, StoreNameError,
};
use bytes::Bytes;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    /// The store failed.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// A name within the store is not one.
    #[error("a name in the store")]
    Name(#[from] StoreNameError),
    /// What is stored is not a key.
    #[error("the stored key {0} is damaged")]
    Damaged(&'static str),
}

/// The 32 bytes of the key `name`, made the first time anybody asks.
///
/// # Cancel safety
///
/// Safe to drop: making it is one commit, and asking again gives the same key.
pub(super) async fn load_or_make(
    name: &'static str,
    store: &dyn Store,
    entropy: &dyn Entropy,
    now: Timestamp,
) -> Result<Secret<[u8; 32]>, KeyError> {
    let partition = Partition::new("gateway")?;
    let key = Key::new(format!("key/{name}"))?;
    // If another gateway is first, its key is read in the second round.
    for _ in 0..2 {
        if let Some(row) = store.get(&partition, &key, now).await? {
            let bytes =
                row.value.as_bytes().and_then(|bytes| <[u8; 32]>::try_from(&bytes[..]).ok());
            return bytes.map(Secret::new).ok_or(KeyError::Damaged(name));
        }
        let mut made = [0; 32];
        entropy.fill(&mut made);
        let value = Bytes::copy_from_slice(&made);
        let batch = Batch::new(partition.clone())
            .expect(Expectation::Absent(key.clone()))
            .then(Operation::Put { key: key.clone(), value, expires: None });
        if let Outcome::Committed(_) = store.commit(batch, Ack::Safe, now).await? {
            return Ok(Secret::new(made));
        }
    }
    Err(KeyError::Damaged(name))
}

#[cfg(test)]
mod tests {
    use buswire_store::{memory::MemoryStore, system::SystemEntropy};

    use super::*;

    #[tokio::test]
    async fn a_key_is_made_once() {
        let store = MemoryStore::new();
        let now = Timestamp::from_secs(1_700_000_000);
        let first = load_or_make("a", &store, &SystemEntropy, now).await.unwrap();
        let again = load_or_make("a", &store, &SystemEntropy, now).await.unwrap();
        let other = load_or_make("b", &store, &SystemEntropy, now).await.unwrap();
        assert_eq!(first.expose(), again.expose());
        assert_ne!(first.expose(), other.expose());
    }
}
