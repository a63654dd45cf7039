//! How credentials are stored and checked (Backplane §13.8, §17).
//!
//! Credentials that Buswire minted are stored as SHA-256; passwords that people chose as argon2id,
//! which is computed on the blocking pool, a few at a time, and never twice for the same credential.

use std::{fmt, sync::Arc, time::Duration};

use argon2::{Algorithm, Argon2, Params};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use buswire_message::{Entropy, Secret, SecretHash, Timestamp};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use super::cache::TimedCache;
use crate::config::{Limits, PasswordCost};

/// How long a verified password needs no second look at argon2.
const VERIFIED_FOR: Duration = Duration::from_secs(3600);

/// A password hash of the reference server: `base64(key).base64(HMAC-SHA256(key, password))`
/// (Backplane §13.8).
#[derive(Clone, PartialEq, Eq)]
pub struct ImportedHash {
    key: Vec<u8>,
    mac: Vec<u8>,
}

impl ImportedHash {
    /// Reads one; `None` for another number of dot-separated parts than two, or other characters.
    pub fn parse(text: &str) -> Option<Self> {
        let (key, mac) = text.split_once('.')?;
        Some(Self { key: STANDARD.decode(key).ok()?, mac: STANDARD.decode(mac).ok()? })
    }

    fn matches(&self, password: &str) -> bool {
        Hmac::<Sha256>::new_from_slice(&self.key)
            .is_ok_and(|mac| mac.chain_update(password).verify_slice(&self.mac).is_ok())
    }
}

impl fmt::Debug for ImportedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ImportedHash(…)")
    }
}

/// What is stored of a credential.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credential {
    /// Minted by Buswire: 256 random bits.
    Minted(SecretHash),
    /// Chosen by a person.
    Chosen { cost: PasswordCost, salt: [u8; 16], hash: [u8; 32] },
    /// Taken over from a reference server.
    Imported(ImportedHash),
}

impl Credential {
    /// The stored form, which [`parse`](Self::parse) reads.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Minted(hash) => format!("sha256${}", STANDARD.encode(hash.as_bytes())),
            Self::Chosen { cost, salt, hash } => format!(
                "argon2id${}${}${}${}",
                cost.memory_kib,
                cost.iterations,
                STANDARD.encode(salt),
                STANDARD.encode(hash)
            ),
            Self::Imported(ImportedHash { key, mac }) => {
                format!("hmac${}${}", STANDARD.encode(key), STANDARD.encode(mac))
            }
        }
    }

    /// Reads the stored form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let bytes = |text: &str| STANDARD.decode(text).ok();
        let parts: Vec<&str> = text.split('$').collect();
        match parts.as_slice() {
            ["sha256", hash] => {
                Some(Self::Minted(SecretHash::from_bytes(bytes(hash)?.try_into().ok()?)))
            }
            ["argon2id", memory, iterations, salt, hash] => Some(Self::Chosen {
                cost: PasswordCost {
                    memory_kib: memory.parse().ok()?,
                    iterations: iterations.parse().ok()?,
                },
                salt: bytes(salt)?.try_into().ok()?,
                hash: bytes(hash)?.try_into().ok()?,
            }),
            ["hmac", key, mac] => {
                Some(Self::Imported(ImportedHash { key: bytes(key)?, mac: bytes(mac)? }))
            }
            _ => None,
        }
    }

    /// Whether `password` is it. Slow for chosen ones.
    fn matches(&self, password: &str) -> bool {
        match self {
            Self::Minted(hash) => hash.matches(password),
            Self::Chosen { cost, salt, hash } => {
                argon2id(*cost, salt, password).is_some_and(|found| found.ct_eq(hash).into())
            }
            Self::Imported(imported) => imported.matches(password),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

fn argon2id(cost: PasswordCost, salt: &[u8; 16], password: &str) -> Option<[u8; 32]> {
    let params = Params::new(cost.memory_kib, cost.iterations, 1, Some(32)).ok()?;
    let mut hash = [0; 32];
    Argon2::new(Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut hash)
        .ok()
        .map(|()| hash)
}

/// Too many password checks are waiting already, or the blocking pool is going down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many password checks at once")]
pub(crate) struct Busy;

/// Whose credential is checked; keeps equal names of different kinds apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Account<'a> {
    User(&'a str),
    Client(&'a str),
    Owner(&'a str),
}

impl<'a> Account<'a> {
    const fn parts(self) -> (&'static [u8], &'a str) {
        match self {
            Self::User(name) => (b"u", name),
            Self::Client(name) => (b"c", name),
            Self::Owner(name) => (b"o", name),
        }
    }

    /// A key for maps of accounts at places: equal names of different kinds differ in it.
    pub(crate) fn hash_at(self, place: &str) -> SecretHash {
        let (kind, name) = self.parts();
        let mut hasher = Sha256::new_with_prefix(kind);
        hasher.update(name);
        // Names hold no colon, so it ends them.
        hasher.update(b":");
        hasher.update(place);
        SecretHash::from_bytes(hasher.finalize().into())
    }
}

/// Checks passwords, a few at a time.
pub(crate) struct Passwords {
    cost: PasswordCost,
    /// One permit for each check that runs or waits; none left means refusal.
    places: Arc<Semaphore>,
    /// One permit for each check that runs.
    running: Arc<Semaphore>,
    /// Under a key that is random for each process, so that the memory of this map can't be used to
    /// try passwords outside of it. The value names the stored credential that matched: when that
    /// changes, the entry is void by itself.
    verified: TimedCache<[u8; 32], [u8; 32]>,
    process_key: [u8; 32],
    /// Never matches; checked in place of what does not exist, so that both take the same time.
    decoy: Credential,
}

impl Passwords {
    pub(crate) fn new(cost: PasswordCost, limits: &Limits, entropy: &dyn Entropy) -> Self {
        let mut process_key = [0; 32];
        entropy.fill(&mut process_key);
        let running = limits.password_checks_max.max(1);
        Self {
            cost,
            places: Arc::new(Semaphore::new(running + limits.password_checks_waiting_max)),
            running: Arc::new(Semaphore::new(running)),
            verified: TimedCache::new(limits.cached_max, VERIFIED_FOR),
            process_key,
            decoy: Credential::Chosen { cost, salt: [0; 16], hash: [0; 32] },
        }
    }

    /// Whether `password` is what `stored` is of; never, if there is nothing stored.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; a check that runs ends by itself and keeps its place until then.
    pub(crate) async fn verify(
        &self,
        account: Account<'_>,
        stored: Option<&Credential>,
        password: &Secret<String>,
        now: Timestamp,
    ) -> Result<bool, Busy> {
        if let Some(minted @ Credential::Minted(_)) = stored
            && minted.matches(password.expose())
        {
            return Ok(true);
        }
        // A wrong secret of a minted credential costs the same as one of a chosen one.
        let slow = match stored {
            Some(stored @ (Credential::Chosen { .. } | Credential::Imported(_))) => stored,
            Some(Credential::Minted(_)) | None => &self.decoy,
        };
        let key = self.key(account, password);
        let identity: [u8; 32] = Sha256::digest(slow.to_text()).into();
        if self.verified.get(&key, now) == Some(identity) {
            return Ok(true);
        }
        let (slow, password) = (slow.clone(), password.clone());
        let matched = self.run(move || slow.matches(password.expose())).await?;
        if matched {
            self.verified.insert(self.verified.version(), key, identity, now);
        }
        Ok(matched)
    }

    /// What is to be stored of a password that somebody chose.
    ///
    /// # Cancel safety
    ///
    /// As [`verify`](Self::verify).
    pub(crate) async fn hash(
        &self,
        password: &Secret<String>,
        entropy: &dyn Entropy,
    ) -> Result<Credential, Busy> {
        let mut salt = [0; 16];
        entropy.fill(&mut salt);
        let (cost, password) = (self.cost, password.clone());
        let hash = self.run(move || argon2id(cost, &salt, password.expose())).await?;
        hash.map(|hash| Credential::Chosen { cost, salt, hash }).ok_or(Busy)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Busy)?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Busy)?;
        // The permits go with the work, not with the caller, who may be dropped.
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            drop((turn, place));
            result
        });
        done.await.map_err(|_| Busy)
    }

    fn key(&self, account: Account<'_>, password: &Secret<String>) -> [u8; 32] {
        let (kind, name) = account.parts();
        let mut hasher = Sha256::new_with_prefix(self.process_key);
        hasher.update(kind);
        // Names hold no colon, so it ends them.
        hasher.update(name);
        hasher.update(b":");
        hasher.update(password.expose());
        hasher.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use buswire_testkit::SeededEntropy;

    use super::*;

    const CHEAP: PasswordCost = PasswordCost { memory_kib: 8, iterations: 1 };

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn imported_hashes_of_section_19_6() {
        // Rule: backplane §19.6 — hashes of the reference server are accepted on import
        let key = "ABEiM0RVZneImaq7zN3u/w8eLTxLWml4h5altMPS4fA=";
        let cases = [
            ("tangled-kelp-4", "CwOqkkuuHeP+kkrxqQsSPb5ebSW0x8czoJbBrQKfJj4="),
            ("café", "L4Qzw00sw+VFG/3QdH5a3W89I4S//6d7FXz+ZewsR50="),
        ];
        for (password, mac) in cases {
            let hash = ImportedHash::parse(&format!("{key}.{mac}")).unwrap();
            assert!(hash.matches(password));
            assert!(!hash.matches("other"));
        }
        for text in ["", "abc", "a.b.c", &format!("{key}.{key}.{key}"), "!.!"] {
            assert!(ImportedHash::parse(text).is_none(), "{text}");
        }
    }

    #[tokio::test]
    async fn stored_forms_match_what_they_were_made_of() {
        let entropy = SeededEntropy::new(1);
        let passwords = Passwords::new(CHEAP, &Limits::default(), &entropy);
        let chosen = passwords.hash(&secret("quiet-harbor-7"), &entropy).await.unwrap();
        let minted = Credential::Minted(SecretHash::of("quiet-harbor-7"));
        for credential in [chosen, minted] {
            let text = credential.to_text();
            assert!(!text.contains("quiet"));
            assert_eq!(Credential::parse(&text), Some(credential.clone()));
            let account = Account::User("commentsco");
            // The second time is answered from memory.
            for _ in 0..2 {
                let right = secret("quiet-harbor-7");
                let verdict =
                    passwords.verify(account, Some(&credential), &right, Timestamp::EPOCH);
                assert_eq!(verdict.await, Ok(true));
                let wrong = secret("quiet-harbor-8");
                let verdict =
                    passwords.verify(account, Some(&credential), &wrong, Timestamp::EPOCH);
                assert_eq!(verdict.await, Ok(false));
            }
        }
        assert_eq!(Credential::parse("plain$x"), None);
    }

    #[tokio::test]
    async fn a_changed_credential_voids_what_was_verified() {
        let entropy = SeededEntropy::new(1);
        let passwords = Passwords::new(CHEAP, &Limits::default(), &entropy);
        let (old, new) = (secret("old"), secret("new"));
        let before = passwords.hash(&old, &entropy).await.unwrap();
        let after = passwords.hash(&new, &entropy).await.unwrap();
        let check = |credential: Option<Credential>, password: Secret<String>| {
            let passwords = &passwords;
            async move {
                let account = Account::Client("c");
                passwords.verify(account, credential.as_ref(), &password, Timestamp::EPOCH).await
            }
        };
        assert_eq!(check(Some(before), old.clone()).await, Ok(true));
        assert_eq!(check(Some(after), old.clone()).await, Ok(false));
        assert_eq!(check(None, old).await, Ok(false));
    }

    #[tokio::test]
    async fn more_checks_than_places_are_refused() {
        // Rule: backplane §17 row 19 — a hash is computed for unknown users too
        // Rule: backplane §17 row 22 — slow hashes make login a CPU target, so their concurrency is bounded
        let entropy = SeededEntropy::new(1);
        let limits =
            Limits { password_checks_max: 1, password_checks_waiting_max: 0, ..Limits::default() };
        let passwords = Passwords::new(CHEAP, &limits, &entropy);
        let place = Arc::clone(&passwords.places).try_acquire_owned().unwrap();
        let refused =
            passwords.verify(Account::User("u"), None, &secret("x"), Timestamp::EPOCH).await;
        assert_eq!(refused, Err(Busy));
        drop(place);
        let answered =
            passwords.verify(Account::User("u"), None, &secret("x"), Timestamp::EPOCH).await;
        assert_eq!(answered, Ok(false));
    }
}
