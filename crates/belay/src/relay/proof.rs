//! Who may claim an instance id (Belay §2.2, §22.4).
//!
//! Never here: who has claimed it.

use crate::wire::{InstanceId, PreImage};

/// The length of a resume token: 32 bytes in base64url.
const TOKEN_LEN: usize = 43;

/// Whether `proof` is the secret UUID whose hash is `id`. A UUID in capitals is none: two texts would
/// name one instance (Belay §2.2).
pub(super) fn is_preimage(proof: &str, id: &InstanceId) -> bool {
    let Some(proof) = PreImage::parse(proof) else { return false };
    match id {
        InstanceId::Sha1(_) => proof.sha1_instance_id() == *id,
        InstanceId::Sha256(_) => proof.sha256_instance_id() == *id,
        InstanceId::Temporary(_) | InstanceId::Origin(_) => false,
    }
}

/// Whether `proof` may be a resume token.
pub(super) fn is_token(proof: &str) -> bool {
    proof.len() == TOKEN_LEN
        && proof.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preimage_is_told_by_its_hash() {
        // Rule: belay 22.4 — a hashed id is claimed with the pre-image, which the relay hashes
        let (preimage, other) =
            ("eba68eea-75f2-4b05-b87a-08365cc58043", "5f0c9b7e-4a1d-4c52-9e36-71b2d8a0c4f3");
        for id in ["66c6bd1f4cda24069debe0efa2193f64baeae867", "f3522d294a20493303bd4c2ceb28d6aa"] {
            let id = InstanceId::parse(id).unwrap();
            assert!(is_preimage(preimage, &id));
            assert!(!is_preimage(other, &id));
            assert!(!is_preimage(&preimage.to_uppercase(), &id));
            assert!(!is_preimage(id.as_str(), &id));
            assert!(!is_preimage("", &id));
        }
    }

    #[test]
    fn a_token_has_43_characters() {
        assert!(is_token("Qm2vR8xK1tZ4yLw0nS7dJc9fHb3aUe6gPiToXkVh5Yk"));
        assert!(!is_token("Qm2vR8xK1tZ4yLw0nS7dJc9fHb3aUe6gPiToXkVh5Y"));
        assert!(!is_token("Qm2vR8xK1tZ4yLw0nS7dJc9fHb3aUe6gPiToXkVh5Y="));
        assert!(!is_token(""));
    }
}
