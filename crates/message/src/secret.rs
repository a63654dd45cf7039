//! Secrets: values that grant something to whoever holds them.
//!
//! Never here: a source of randomness; [`Entropy`] is handed in. Never here either: printing one.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize;

/// Where unpredictable bytes come from.
///
/// Drivers give the operating system's source; tests give a seeded one. Never blocks.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `bytes` with bytes that nobody can predict.
    fn fill(&self, bytes: &mut [u8]);
}

/// A value that never shows in `Debug`, has no `Display`, and is wiped when dropped.
///
/// Reading it takes the word [`expose`](Self::expose), which is easy to look for in a review.
#[derive(Clone, Default)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Wraps `value`.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value in clear.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    /// Compares in a time that does not depend on where the values differ.
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref().ct_eq(other.0.as_ref()).into()
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

/// The SHA-256 of a secret: all that is stored of a credential that Buswire minted.
///
/// Such credentials carry at least 128 random bits, so a plain fast hash is enough (Belay §20.4).
/// For passwords that people choose it is not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Hashes the text of a credential.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Takes 32 bytes that [`as_bytes`](Self::as_bytes) gave.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a store key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether `secret` is the text that was hashed, in constant time.
    pub fn matches(&self, secret: &str) -> bool {
        self.0.ct_eq(&Self::of(secret).0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// Mints `bytes` random bytes as base64url without padding: 32 bytes are 43 characters.
///
/// `bytes` is at least 16 (128 bits) for anything that grants a right.
pub fn mint_base64url(entropy: &dyn Entropy, bytes: usize) -> Secret<String> {
    let mut raw = vec![0; bytes];
    entropy.fill(&mut raw);
    let text = URL_SAFE_NO_PAD.encode(&raw);
    raw.zeroize();
    Secret::new(text)
}

/// Mints `digits` random lower-case hexadecimal digits, four bits each (Backplane §4.2).
pub fn mint_hex(entropy: &dyn Entropy, digits: usize) -> Secret<String> {
    mint_from(entropy, digits, b"0123456789abcdef")
}

/// Mints `length` random characters of `A-Za-z0-9`, about 5.95 bits each, without modulo bias
/// (Backplane §4.2, §9.1).
pub fn mint_alphanumeric(entropy: &dyn Entropy, length: usize) -> Secret<String> {
    mint_from(entropy, length, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
}

fn mint_from(entropy: &dyn Entropy, length: usize, alphabet: &[u8]) -> Secret<String> {
    // Bytes at or above the last multiple of the alphabet's size would make its first characters
    // likelier: they are thrown away.
    let usable = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(length);
    let mut pool = [0; 64];
    while text.len() < length {
        entropy.fill(&mut pool);
        let usable_bytes = pool.iter().map(|&byte| usize::from(byte)).filter(|&byte| byte < usable);
        for byte in usable_bytes.take(length - text.len()) {
            text.extend(alphabet.get(byte % alphabet.len()).copied().map(char::from));
        }
    }
    pool.zeroize();
    Secret::new(text)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    #[derive(Debug)]
    struct Counting(AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte = self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn a_secret_does_not_print() {
        let secret = Secret::new("hunter2".to_owned());
        assert_eq!(
            format!("{secret:?} {:?}", SecretHash::of("hunter2")),
            "Secret(…) SecretHash(…)"
        );
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn minted_texts_have_their_length_and_alphabet() {
        let entropy = Counting(AtomicU8::new(0));
        let text = mint_alphanumeric(&entropy, 1000);
        assert_eq!(text.expose().len(), 1000);
        assert!(text.expose().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let text = mint_hex(&entropy, 32);
        assert!(text.expose().bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()));
        assert_eq!(text.expose().len(), 32);
        assert_eq!(mint_base64url(&entropy, 32).expose().len(), 43);
    }

    #[test]
    fn no_character_is_likelier_than_another() {
        // 248 of the 256 byte values are used, each of 62 characters by exactly four of them.
        let entropy = Counting(AtomicU8::new(0));
        let text = mint_alphanumeric(&entropy, 248);
        for character in text.expose().chars() {
            assert_eq!(text.expose().matches(character).count(), 4, "{character}");
        }
    }

    #[test]
    fn a_hash_recognises_its_secret_alone() {
        let hash = SecretHash::of("a");
        assert!(hash.matches("a") && !hash.matches("b") && !hash.matches(""));
        assert_eq!(SecretHash::from_bytes(*hash.as_bytes()), hash);
    }
}
