//! Keys that the gateway makes at its first start and keeps in the store, so that gateways that share
//! a store share them; and whether keys that are kept elsewhere are those of the store.
//!
//! Never here: what a key is for.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use buswire_message::{Entropy, Secret, SecretHash, Timestamp};
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
    /// A text is no key.
    #[error("a key is 43 characters of base64url, one a line")]
    NotAKey,
    /// The store was written with other keys.
    #[error("the store was written with other keys")]
    Others,
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

/// Reads keys from a text: 32 bytes in base64url a line, the oldest first.
pub(super) fn parse(text: &Secret<String>) -> Result<Vec<Secret<[u8; 32]>>, KeyError> {
    let parse = |word: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(word).ok()?;
        Some(Secret::new(<[u8; 32]>::try_from(bytes).ok()?))
    };
    let keys: Option<Vec<_>> = text.expose().split_whitespace().map(parse).collect();
    keys.filter(|keys| !keys.is_empty()).ok_or(KeyError::NotAKey)
}

/// Whether keys that are kept outside the store, the oldest first, are those that it was written with.
/// Those that are new are noted there, by their hashes.
///
/// # Cancel safety
///
/// Safe to drop: asking again gives the same answer.
pub(super) async fn check(
    name: &'static str,
    keys: &[Secret<[u8; 32]>],
    store: &dyn Store,
    now: Timestamp,
) -> Result<(), KeyError> {
    let partition = Partition::new("gateway")?;
    // One more than there are: a key that is missing here is noticed too.
    for (version, secret) in (1_u32..).zip(keys.iter().map(Some).chain([None])) {
        let key = Key::new(format!("key-hash/{name}/{version}"))?;
        let hash = secret.map(|secret| SecretHash::of(&URL_SAFE_NO_PAD.encode(secret.expose())));
        if let Some(hash) = hash {
            let value = Bytes::copy_from_slice(hash.as_bytes());
            let batch = Batch::new(partition.clone())
                .expect(Expectation::Absent(key.clone()))
                .then(Operation::Put { key: key.clone(), value, expires: None });
            // A conflict says that it is noted already, as this one or as another.
            store.commit(batch, Ack::Safe, now).await?;
        }
        let noted = store.get(&partition, &key, now).await?;
        let noted = noted.as_ref().and_then(|row| row.value.as_bytes()).map(|bytes| &bytes[..]);
        if noted != hash.as_ref().map(|hash| &hash.as_bytes()[..]) {
            return Err(KeyError::Others);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use buswire_store::{memory::MemoryStore, system::SystemEntropy};

    use super::*;

    #[tokio::test]
    async fn a_store_knows_the_keys_that_it_was_written_with() {
        let store = MemoryStore::new();
        let now = Timestamp::from_secs(1_700_000_000);
        let text = |keys: &[&str]| Secret::new(keys.join("\n"));
        let [one, two] = ["A".repeat(43), format!("B{}", "A".repeat(42))];
        let check = async |keys: &[&str]| {
            check("belay", &parse(&text(keys)).unwrap(), &store, now).await.is_ok()
        };
        assert!(check(&[&one]).await && check(&[&one]).await);
        assert!(!check(&[&two]).await, "another key");
        assert!(check(&[&one, &two]).await && !check(&[&one]).await, "one is missing");
        for bad in ["", "AAAA", "not a key"] {
            assert!(matches!(parse(&text(&[bad])), Err(KeyError::NotAKey)), "{bad}");
        }
    }

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
