//! Endpoint tokens: authenticated encryption of the names of a channel (SimplePush §4).
//!
//! ```text
//! token = base64url( key id (1) | nonce (12) | AES-256-GCM-SIV( format (1) | UAID (16) | channelID (21) ) | tag (16) )
//! ```
//!
//! The nonce is a keyed hash of what is encrypted, so the token of a channel is always the same
//! (R-EP-3) and no nonce serves two plaintexts. The key id in clear says which key made it, so keys
//! can be rotated.
//!
//! Never here: whether the channel still exists.

use std::fmt;

use aes_gcm_siv::{
    Aes256GcmSiv, KeyInit as _, Nonce,
    aead::{Aead as _, Payload},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use buswire_message::Secret;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::id::{ChannelId, Uaid};

const FORMAT: u8 = 1;
const NONCE_LEN: usize = 12;
const TAG_LEN: usize = 16;
const PLAIN_LEN: usize = 1 + 16 + ChannelId::ENCODED_LEN;
const TOKEN_LEN: usize = 1 + NONCE_LEN + PLAIN_LEN + TAG_LEN;
/// Separates the key of the nonces from the key of the encryption.
const NONCE_CONTEXT: &[u8] = b"buswire simplepush endpoint nonce";
const TOKEN_CONTEXT: &[u8] = b"buswire simplepush endpoint";

/// A key that endpoint tokens are made with: an id that travels in clear, and 32 secret bytes.
pub struct TokenKey {
    id: u8,
    bytes: Secret<[u8; 32]>,
}

impl TokenKey {
    /// Takes 32 unpredictable bytes as the key `id`. The id must never be reused for other bytes
    /// while endpoints made with the old ones are in use.
    pub const fn new(id: u8, bytes: [u8; 32]) -> Self {
        Self { id, bytes: Secret::new(bytes) }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.id)
    }
}

/// Two keys have the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("two token keys have the id {0}")]
pub struct DuplicateKeyId(u8);

struct Cipher {
    id: u8,
    aead: Aes256GcmSiv,
    nonces: Hmac<Sha256>,
}

/// The keys of endpoint tokens: the newest encrypts, all decrypt (SimplePush R-EP-2).
pub struct TokenKeys {
    newest: Cipher,
    older: Vec<Cipher>,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKeys(newest {}, {} older)", self.newest.id, self.older.len())
    }
}

impl TokenKeys {
    /// Makes endpoints with `newest` and honours those made with `older` too.
    ///
    /// # Errors
    ///
    /// [`DuplicateKeyId`] if two keys have the same id.
    pub fn new(newest: &TokenKey, older: &[TokenKey]) -> Result<Self, DuplicateKeyId> {
        let mut seen = vec![newest.id];
        for key in older {
            if seen.contains(&key.id) {
                return Err(DuplicateKeyId(key.id));
            }
            seen.push(key.id);
        }
        Ok(Self { newest: Cipher::new(newest), older: older.iter().map(Cipher::new).collect() })
    }

    /// The token of a channel; the same every time while the newest key stays (R-EP-3).
    pub(crate) fn seal(&self, uaid: Uaid, channel: ChannelId) -> String {
        let mut plain = Vec::with_capacity(PLAIN_LEN);
        plain.push(FORMAT);
        plain.extend_from_slice(uaid.as_bytes());
        plain.extend_from_slice(&channel.to_bytes());
        URL_SAFE_NO_PAD.encode(self.newest.seal(&plain))
    }

    /// The channel that a token names; `None` for anything that none of the keys made (R-EP-4).
    pub(crate) fn open(&self, token: &str) -> Option<(Uaid, ChannelId)> {
        // Longer texts are refused before any work is done (R-EP-6); other lengths can't be tokens.
        if token.len() != TOKEN_LEN.div_ceil(3) * 4 - (3 - TOKEN_LEN % 3) % 3 {
            return None;
        }
        let mut token_bytes = [0; TOKEN_LEN];
        let decoded = URL_SAFE_NO_PAD.decode_slice(token, &mut token_bytes).ok()?;
        if decoded != TOKEN_LEN {
            return None;
        }
        let (&id, sealed) = token_bytes.split_first()?;
        let cipher =
            std::iter::once(&self.newest).chain(&self.older).find(|cipher| cipher.id == id)?;
        let plain = cipher.open(sealed)?;
        let (&[FORMAT], rest) = plain.split_first_chunk::<1>()? else {
            return None;
        };
        let (uaid, channel) = rest.split_first_chunk::<16>()?;
        Some((Uaid::from_bytes(*uaid), ChannelId::from_bytes(channel)?))
    }
}

impl Cipher {
    fn new(key: &TokenKey) -> Self {
        let bytes = key.bytes.expose();
        let mut derive = hmac(bytes);
        derive.update(NONCE_CONTEXT);
        let nonce_key: [u8; 32] = derive.finalize().into_bytes().into();
        Self { id: key.id, aead: Aes256GcmSiv::new(&(*bytes).into()), nonces: hmac(&nonce_key) }
    }

    fn associated(&self) -> Vec<u8> {
        let mut associated = TOKEN_CONTEXT.to_vec();
        associated.push(self.id);
        associated
    }

    fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let mut mac = self.nonces.clone();
        mac.update(plain);
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        let nonce_bytes = tag.first_chunk::<NONCE_LEN>().copied().unwrap_or_default();
        let payload = Payload { msg: plain, aad: &self.associated() };
        // Encryption fails for plaintexts of more than 64 GiB only; an empty text is then no token.
        let Ok(sealed) = self.aead.encrypt(&Nonce::from(nonce_bytes), payload) else {
            return Vec::new();
        };
        let mut token = Vec::with_capacity(TOKEN_LEN);
        token.push(self.id);
        token.extend_from_slice(&nonce_bytes);
        token.extend_from_slice(&sealed);
        token
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let payload = Payload { msg: sealed, aad: &self.associated() };
        self.aead.decrypt(&Nonce::from(*nonce), payload).ok()
    }
}

fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    // A key of the length of a block or less is padded with zeros by HMAC itself.
    let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    Hmac::<Sha256>::new(&block)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(newest: u8, older: &[u8]) -> TokenKeys {
        let key = |id: u8| TokenKey::new(id, [id; 32]);
        TokenKeys::new(&key(newest), &older.iter().copied().map(key).collect::<Vec<_>>()).unwrap()
    }

    fn names() -> (Uaid, ChannelId) {
        let channel = ChannelId::parse("0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90").unwrap();
        (Uaid::from_bytes([7; 16]), channel)
    }

    #[test]
    fn a_token_is_opened_by_the_key_that_made_it() {
        let (uaid, channel) = names();
        let token = keys(1, &[]).seal(uaid, channel);
        // Rule: simplepush R-EP-2 — authenticated encryption in URL-safe Base64 without padding
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        assert_eq!(keys(1, &[]).open(&token), Some((uaid, channel)));
        // Rule: simplepush R-EP-3 — the endpoint of a channel is always the same
        assert_eq!(keys(1, &[]).seal(uaid, channel), token);
        // Rule: simplepush R-EP-2 — the newest key encrypts, all listed keys decrypt
        assert_eq!(keys(2, &[1]).open(&token), Some((uaid, channel)));
        assert_ne!(keys(2, &[1]).seal(uaid, channel), token);
        assert_eq!(keys(2, &[]).open(&token), None);
    }

    #[test]
    fn a_token_that_was_tampered_with_is_none() {
        let (uaid, channel) = names();
        let keys = keys(1, &[]);
        let token = keys.seal(uaid, channel);
        // Rule: simplepush R-EP-4 — a token that does not decode and authenticate names nothing
        for at in 0..token.len() {
            for replacement in ["A", "_", "=", " ", "%"] {
                let mut other = token.clone();
                other.replace_range(at..=at, replacement);
                assert!(other == token || keys.open(&other).is_none(), "{other}");
            }
        }
        for other in ["", "garbage", &format!("{token}="), &format!("{token}A"), &"A".repeat(5000)]
        {
            assert_eq!(keys.open(other), None);
        }
        // Rule: simplepush R-EP-5 — the plain form is refused
        let plain = "6f1c0b7a52d94e0c9b3ad41e8f27c650.0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";
        assert_eq!(keys.open(plain), None);
    }

    #[test]
    fn a_token_does_not_show_the_names() {
        // Rule: simplepush R-ID-6 — the UAID is not recoverable from an endpoint
        let (uaid, channel) = names();
        let token = URL_SAFE_NO_PAD.decode(keys(1, &[]).seal(uaid, channel)).unwrap();
        assert!(!token.windows(4).any(|window| window == [7; 4]));
        assert_eq!(format!("{:?}", keys(1, &[3])), "TokenKeys(newest 1, 1 older)");
    }

    #[test]
    fn ids_are_unique() {
        let key = |id| TokenKey::new(id, [0; 32]);
        assert_eq!(TokenKeys::new(&key(1), &[key(1)]).unwrap_err(), DuplicateKeyId(1));
        assert_eq!(format!("{:?}", key(1)), "TokenKey(1)");
    }

    proptest! {
        #[test]
        fn every_channel_has_its_own_token(
            uaid in any::<[u8; 16]>(),
            one in "[0-9a-fA-F]{32}",
            two in "[0-9a-fA-F]{32}",
        ) {
            let keys = keys(9, &[]);
            let uaid = Uaid::from_bytes(uaid);
            let (one, two) = (ChannelId::parse(&one).unwrap(), ChannelId::parse(&two).unwrap());
            let token = keys.seal(uaid, one);
            prop_assert_eq!(keys.open(&token), Some((uaid, one)));
            prop_assert_eq!(keys.seal(uaid, two) == token, one == two);
        }

        #[test]
        fn arbitrary_text_opens_nothing(text in "\\PC{0,120}") {
            prop_assert_eq!(keys(1, &[]).open(&text), None);
        }
    }
}
