//! Who may claim an instance id (Belay §2.2, §22.4).
//!
//! Never here: who has claimed it.

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::wire::InstanceId;

/// The length of a resume token: 32 bytes in base64url.
const TOKEN_LEN: usize = 43;

/// Whether `proof` is the secret UUID whose hash is `id`. A UUID in capitals is none: two texts would
/// name one instance (Belay §2.2).
pub(super) fn is_preimage(proof: &str, id: &InstanceId) -> bool {
    let Some(bytes) = uuid_v4(proof) else { return false };
    match id {
        InstanceId::Sha1(hash) => hex(&Sha1::digest(proof.as_bytes())) == *hash,
        InstanceId::Sha256(hash) => {
            hex(&Sha256::digest(bytes)).get(..32).is_some_and(|half| half == hash)
        }
        InstanceId::Temporary(_) | InstanceId::Origin(_) => false,
    }
}

/// Whether `proof` may be a resume token.
pub(super) fn is_token(proof: &str) -> bool {
    proof.len() == TOKEN_LEN
        && proof.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The bytes of a UUID of version 4 in canonical text (Belay §2.1).
fn uuid_v4(text: &str) -> Option<[u8; 16]> {
    let Some(InstanceId::Temporary(_)) = InstanceId::parse(text) else { return None };
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    let number = u128::from_str_radix(&digits, 16).ok()?;
    let (version, variant) = (number >> 76 & 0xf, number >> 62 & 0b11);
    (version == 4 && variant == 0b10).then(|| number.to_be_bytes())
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
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
    fn only_a_uuid_of_version_4_is_a_preimage() {
        // Rule: belay 2.2 — a pre-image is a UUID of version 4 in canonical text
        let hash_of = |text: &str| InstanceId::parse(&hex(&Sha1::digest(text.as_bytes()))).unwrap();
        for (text, valid) in [
            ("c0ffee00-1234-4abc-8def-0123456789ab", true),
            ("c0ffee00-1234-4abc-bdef-0123456789ab", true),
            ("c0ffee00-1234-1abc-8def-0123456789ab", false),
            ("c0ffee00-1234-4abc-cdef-0123456789ab", false),
            ("c0ffee00-1234-4abc-7def-0123456789ab", false),
        ] {
            assert_eq!(is_preimage(text, &hash_of(text)), valid, "{text}");
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
