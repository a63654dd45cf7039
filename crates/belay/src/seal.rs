//! Targets of grants and memberships of stations as they are stored: sealed, since they may hold
//! capabilities and push endpoints (Belay §20.4, §23.10).
//!
//! `VERSION.BASE64URL`, the second being AES-256-GCM-SIV of the text. The name of what it belongs to, such
//! as the handle of a grant, is authenticated with it, so that a text can't be moved to another; the nonce
//! is made of the name, so of two texts that one name had it shows whether they are equal, and no more. The
//! version says which key it was (Belay §23.12). Never here: the store.

use std::{collections::BTreeMap, fmt};

use aes_gcm_siv::{
    Aes256GcmSiv, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use buswire_message::{Secret, SecretHash};

use crate::derive::derive;

const NONCE_BYTES: usize = 12;

/// The keys that targets are sealed with: the greatest version seals, all open.
///
/// They are kept outside the store: who has the store alone learns nothing of a target.
#[derive(Clone)]
pub struct SealKeys(BTreeMap<u32, Secret<[u8; 32]>>);

impl SealKeys {
    /// Takes 32 unpredictable bytes as the key of a version.
    pub fn new(version: u32, key: [u8; 32]) -> Self {
        Self(BTreeMap::from([(version, Secret::new(key))]))
    }

    /// Keys for one purpose, derived from keys of 32 unpredictable bytes, the oldest first; `None` if there
    /// are none. What is sealed for one purpose can't be opened for another.
    pub fn derived(keys: &[Secret<[u8; 32]>], purpose: &str) -> Option<Self> {
        let derived = (1..).zip(keys).map(|(version, key)| (version, derive(key, purpose).into()));
        Some(Self(derived.collect())).filter(|keys| !keys.0.is_empty())
    }

    /// Adds the key of another version.
    #[must_use]
    pub fn with(mut self, version: u32, key: [u8; 32]) -> Self {
        self.0.insert(version, Secret::new(key));
        self
    }

    /// Seals a text of what has this name with the newest key. `None` only if there is no key, or the
    /// text is longer than the cipher takes (64 GiB).
    pub fn seal(&self, name: &str, text: &str) -> Option<String> {
        let (version, key) = self.0.last_key_value()?;
        let payload = Payload { msg: text.as_bytes(), aad: name.as_bytes() };
        let sealed = cipher(key).encrypt(&nonce(name), payload).ok()?;
        Some(format!("{version}.{}", URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Opens what a key sealed for what has this name; `None` if it was sealed with another key, for
    /// another name, or was changed.
    pub fn open(&self, name: &str, sealed: &str) -> Option<String> {
        let (version, sealed) = sealed.split_once('.')?;
        let key = self.0.get(&version.parse().ok()?)?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let payload = Payload { msg: &sealed, aad: name.as_bytes() };
        let text = cipher(key).decrypt(&nonce(name), payload).ok()?;
        String::from_utf8(text).ok()
    }

    /// Whether it is the newest key that sealed something.
    pub(crate) fn is_newest(&self, sealed: &str) -> bool {
        let version = sealed.split_once('.').and_then(|(version, _)| version.parse().ok());
        version.as_ref() == self.0.last_key_value().map(|(version, _)| version)
    }
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealKeys").field(&self.0.keys().collect::<Vec<_>>()).finish()
    }
}

fn cipher(key: &Secret<[u8; 32]>) -> Aes256GcmSiv {
    Aes256GcmSiv::new(&(*key.expose()).into())
}

fn nonce(name: &str) -> Nonce {
    let hash = SecretHash::of(name);
    let mut nonce = [0; NONCE_BYTES];
    for (byte, of_hash) in nonce.iter_mut().zip(hash.as_bytes()) {
        *byte = *of_hash;
    }
    nonce.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_grant_and_key_open_a_target() {
        // Rule: belay 20.4 — the column of targets is encrypted, bound to its grant
        // Rule: belay 23.12 — the version of the key is stored per row; older keys still open
        let (own, other) = ("g_aaaaaaaaaaaaaaaa", "g_bbbbbbbbbbbbbbbb");
        let first = SealKeys::new(1, [1; 32]);
        let sealed = first.seal(own, "secret").unwrap();
        assert!(sealed.starts_with("1.") && !sealed.contains("secret"));
        assert_eq!(first.open(own, &sealed).as_deref(), Some("secret"));
        assert_eq!(first.open(other, &sealed), None);
        assert_eq!(SealKeys::new(1, [2; 32]).open(own, &sealed), None);
        let both = first.clone().with(2, [2; 32]);
        assert_eq!(both.open(own, &sealed).as_deref(), Some("secret"));
        assert!(first.is_newest(&sealed) && !both.is_newest(&sealed));
        assert!(both.seal(own, "secret").unwrap().starts_with("2."));
        for broken in ["", "1", "1.", "x.y", sealed.trim_end_matches(char::is_alphanumeric)] {
            assert_eq!(first.open(own, broken), None, "{broken}");
        }
        assert_eq!(format!("{both:?}"), "SealKeys([1, 2])");
        let [one, two] = [1, 2].map(|byte| Secret::new([byte; 32]));
        let derived =
            |keys: &[Secret<[u8; 32]>], purpose| SealKeys::derived(keys, purpose).unwrap();
        let keys = [one, two];
        let sealed = derived(&keys[..1], "a").seal(own, "secret").unwrap();
        assert_eq!(derived(&keys, "a").open(own, &sealed).as_deref(), Some("secret"));
        assert_eq!(derived(&keys, "b").open(own, &sealed), None, "another purpose");
        assert!(SealKeys::derived(&[], "a").is_none());
    }
}
