//! The CURVE keys of the brokers of one installation: all of them have the same pair, made of the first
//! of `belay.keys`, which all of them have. Keys that come later leave it as it is.
//!
//! Never here: where keys are kept.

use aws_lc_rs::{
    agreement::{PrivateKey, X25519},
    hkdf::{HKDF_SHA256, Salt},
};
use buswire_mdp::CurveSecret;
use buswire_message::Secret;

/// What tells these keys from others that are made of the same one. Part of what gateways of
/// different releases must agree on.
const LABEL: &[u8] = b"buswire mdp peers 1";

/// A pair of keys.
pub(super) struct Pair {
    pub(super) public: [u8; 32],
    pub(super) secret: CurveSecret,
}

/// Makes the pair: HKDF-SHA-256 (RFC 5869) without salt, and the X25519 key of it (RFC 7748).
pub(super) fn derive(key: &Secret<[u8; 32]>) -> Option<Pair> {
    let mut secret = [0; 32];
    let extracted = Salt::new(HKDF_SHA256, &[]).extract(key.expose());
    let expanded = extracted.expand(&[LABEL], HKDF_SHA256).ok()?;
    expanded.fill(&mut secret).ok()?;
    let pair = PrivateKey::from_private_key(&X25519, &secret).ok()?;
    let public = pair.compute_public_key().ok()?;
    let public = <[u8; 32]>::try_from(public.as_ref()).ok()?;
    Some(Pair { public, secret: CurveSecret::from_bytes(secret) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_gateway_makes_the_same_pair_and_another_key_another() {
        let make = |byte| derive(&Secret::new([byte; 32])).unwrap().public;
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
        // Computed with Python's hmac and the X25519 of RFC 7748, §5.
        let expected = "83817797c0519dbc2048335eae5ce0a4f9e70b4b118bba7fc0f370d533c2bb56";
        let hex = make(0).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        assert_eq!(hex, expected);
    }
}
