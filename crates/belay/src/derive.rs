//! Ids that can be computed again: for grantors whose regrants give the same URL (Belay §20.7).
//!
//! Such an id is an HMAC over a random seed that is stored with the grant, under a key that is not in
//! the store. Never here: where the seed is.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use buswire_message::{Entropy, Secret};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The key of derivable ids. It is kept outside the store: who has both can compute every id that was
/// derived.
#[derive(Clone)]
pub struct RegrantKey {
    version: u32,
    key: Secret<[u8; 32]>,
}

/// A random number that one id is derived from.
pub(crate) type Seed = [u8; 16];

/// The seeds of a grant's two ids, and the key that they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seeds {
    pub(crate) version: u32,
    pub(crate) cap: Seed,
    pub(crate) control: Seed,
}

/// A key for one purpose, of a key for several.
#[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
pub(crate) fn derive(key: &Secret<[u8; 32]>, purpose: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("a key of 32 bytes");
    mac.update(purpose.as_bytes());
    mac.finalize().into_bytes().into()
}

impl RegrantKey {
    /// Takes 32 unpredictable bytes. `version` tells keys apart (Belay §23.12): a grant of another
    /// version is not computed again but replaced.
    pub const fn new(version: u32, key: [u8; 32]) -> Self {
        Self { version, key: Secret::new(key) }
    }

    pub(crate) fn mint(&self, entropy: &dyn Entropy) -> Seeds {
        let seed = || {
            let mut seed = Seed::default();
            entropy.fill(&mut seed);
            seed
        };
        Seeds { version: self.version, cap: seed(), control: seed() }
    }

    /// Tells keys apart.
    pub(crate) const fn version(&self) -> u32 {
        self.version
    }

    /// The id of a seed.
    pub(crate) fn id(&self, seed: &Seed) -> Secret<String> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose()).expect("a key of 32 bytes");
        mac.update(b"belay-cap-v1\0");
        mac.update(seed);
        Secret::new(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for RegrantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegrantKey(version {})", self.version)
    }
}

#[cfg(test)]
mod tests {
    use buswire_message::SecretHash;

    use super::*;

    #[test]
    fn the_worked_derivation() {
        // Rule: belay 20.7 — a derivable id is HMAC-SHA-256(K, "belay-cap-v1" 0x00 seed) in base64url
        let key = RegrantKey::new(1, std::array::from_fn(|n| u8::try_from(n).unwrap()));
        let seed = std::array::from_fn(|n| 0xa0 + u8::try_from(n).unwrap());
        let id = key.id(&seed);
        assert_eq!(id.expose(), "5J07HVT75wBEiVgO_mt0xRQBKyY7zSZ0aeC_SNgyAOo");
        let hash = SecretHash::of(id.expose());
        assert_eq!(hash.as_bytes()[..4], [0x70, 0x9b, 0x1d, 0xdc]);
        assert_eq!(format!("{key:?}"), "RegrantKey(version 1)");
    }
}
