//! UUIDs, and the secrets that ids of durable instances are hashes of (Belay §2).
//!
//! Never here: a source of randomness.

use std::fmt::{self, Write as _};

use buswire_message::{Entropy, Secret};
use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use uuid::{Builder, Uuid, Variant};

use crate::wire::serialisation::{InstanceId, is_uuid_shaped};

/// A new UUID of version 4 in its text form, 122 random bits (Belay §2.1).
pub fn new_uuid(entropy: &dyn Entropy) -> Secret<String> {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    Secret::new(Builder::from_random_bytes(bytes).into_uuid().to_string())
}

/// The secret UUID of which the id of a durable instance is a hash (Belay §2.2).
///
/// Whoever knows it can claim the instance and receives everything that is sent to it; so it never
/// shows in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PreImage(Secret<String>);

impl PreImage {
    /// A new one.
    pub fn mint(entropy: &dyn Entropy) -> Self {
        Self(new_uuid(entropy))
    }

    /// Takes the text of a UUID of version 4, in lower case; `None` for any other text.
    ///
    /// Upper case is refused rather than folded: a third party that hashes the text would get
    /// another id.
    pub fn parse(text: &str) -> Option<Self> {
        is_uuid_v4(text).then(|| Self(Secret::new(text.to_owned())))
    }

    /// The secret in clear.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// The id to give to new instances: SHA-1 of the text (Belay §2.2).
    ///
    /// Its weakness against collisions does not matter: a stranger would need a pre-image.
    pub fn sha1_instance_id(&self) -> InstanceId {
        InstanceId::Sha1(hex(&Sha1::digest(self.expose())))
    }

    /// The id that the original code gave: the first half of SHA-256 of the sixteen raw bytes.
    pub fn sha256_instance_id(&self) -> InstanceId {
        let bytes = Uuid::parse_str(self.expose()).unwrap_or_default().into_bytes();
        let digest = Sha256::digest(bytes);
        InstanceId::Sha256(hex(digest.iter().take(16)))
    }
}

impl fmt::Debug for PreImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreImage(…)")
    }
}

/// Whether a text is a UUID of version 4 as [`new_uuid`] writes it.
pub(super) fn is_uuid_v4(text: &str) -> bool {
    is_uuid_shaped(text)
        && Uuid::parse_str(text)
            .is_ok_and(|uuid| uuid.get_version_num() == 4 && uuid.get_variant() == Variant::RFC4122)
}

fn hex<'b>(bytes: impl IntoIterator<Item = &'b u8>) -> String {
    bytes.into_iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}
