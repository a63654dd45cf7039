//! Names: UAIDs and channelIDs (SimplePush §2).
//!
//! Never here: whether a name is registered. A UAID is a bearer secret (R-ID-6): its types never
//! print it, and what administrators see or what reaches the store is [`UserAgentId`], a hash.

use std::{fmt, str::FromStr};

use buswire_store::{Partition, StoreNameError};
use sha2::{Digest as _, Sha256};

/// 16 bytes written as hexadecimal digits, and exactly how they were written.
///
/// Two forms exist (R-ID-2): 32 digits, or 36 characters with dashes at offsets 8, 13, 18 and 23;
/// digits of either case. Keeping the spelling beside the value makes the text reproducible byte for
/// byte (R-ID-8) in 24 bytes without an allocation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct HexId {
    value: [u8; 16],
    dashed: bool,
    /// Bit `n` is set if digit `n` is an upper-case letter.
    upper: u32,
}

/// The bytes that [`HexId::to_bytes`] gives.
const ENCODED_LEN: usize = 21;

const fn dash_at(offset: usize) -> bool {
    matches!(offset, 8 | 13 | 18 | 23)
}

impl HexId {
    fn parse(text: &str) -> Option<Self> {
        let dashed = match text.len() {
            32 => false,
            36 => true,
            _ => return None,
        };
        let mut id = Self { value: [0; 16], dashed, upper: 0 };
        let mut digit = 0;
        for (offset, byte) in text.bytes().enumerate() {
            if dashed && dash_at(offset) {
                if byte != b'-' {
                    return None;
                }
                continue;
            }
            let nibble = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                b'A'..=b'F' => {
                    id.upper |= 1 << digit;
                    byte - b'A' + 10
                }
                _ => return None,
            };
            let slot = id.value.get_mut(digit / 2)?;
            *slot = (*slot << 4) | nibble;
            digit += 1;
        }
        Some(id)
    }

    fn push_to(&self, out: &mut String) {
        let nibbles = self.value.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        for (digit, nibble) in nibbles.enumerate() {
            if self.dashed && matches!(digit, 8 | 12 | 16 | 20) {
                out.push('-');
            }
            let letter = if self.upper >> digit & 1 == 1 { b'A' } else { b'a' };
            out.push(char::from(if nibble < 10 { b'0' + nibble } else { letter + nibble - 10 }));
        }
    }

    fn to_bytes(self) -> [u8; ENCODED_LEN] {
        let mut bytes = [0; ENCODED_LEN];
        let parts =
            self.value.into_iter().chain([u8::from(self.dashed)]).chain(self.upper.to_be_bytes());
        for (to, from) in bytes.iter_mut().zip(parts) {
            *to = from;
        }
        bytes
    }

    /// Refuses what [`to_bytes`](Self::to_bytes) never gives, so that every name has one encoding.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (value, rest) = bytes.split_first_chunk::<16>()?;
        let (&[dashed], rest) = rest.split_first_chunk::<1>()?;
        let upper = u32::from_be_bytes(rest.try_into().ok()?);
        let id = Self { value: *value, dashed: dashed == 1, upper };
        let mut text = String::with_capacity(36);
        id.push_to(&mut text);
        (dashed <= 1 && Self::parse(&text) == Some(id)).then_some(id)
    }
}

/// The name of a channel as its UserAgent wrote it (§2.2).
///
/// Opaque and compared byte for byte (R-ID-8); its scope is one UAID (R-ID-9). `Display` shows it
/// whole, for administrators; logs get `Debug`, which does not (R-OPS-3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(HexId);

/// The text is not the name of a channel or of a UserAgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 32 hexadecimal digits, or 36 characters with dashes as a UUID has")]
pub struct NameError;

impl FromStr for ChannelId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text).ok_or(NameError)
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(36);
        self.push_to(&mut text);
        f.write_str(&text)
    }
}

impl ChannelId {
    /// The bytes that [`to_bytes`](Self::to_bytes) gives.
    pub(crate) const ENCODED_LEN: usize = ENCODED_LEN;

    /// Parses one of the two accepted forms (R-ID-7); `None` for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        HexId::parse(text).map(Self)
    }

    /// A new name from 16 random bytes: a version 4 UUID with dashes, as most UserAgents write it.
    pub const fn from_random(random: [u8; 16]) -> Self {
        Self(HexId { dashed: true, ..SpelledUaid::mint(random).0 })
    }

    /// Appends the text exactly as the client wrote it.
    pub(crate) fn push_to(&self, out: &mut String) {
        self.0.push_to(out);
    }

    /// An encoding of fixed length.
    pub(crate) fn to_bytes(self) -> [u8; ENCODED_LEN] {
        self.0.to_bytes()
    }

    /// Undoes [`to_bytes`](Self::to_bytes); `None` for anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        HexId::from_bytes(bytes).map(Self)
    }
}

impl fmt::Debug for ChannelId {
    /// Shows the first two digits only (R-OPS-3).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId({:02x}…)", self.0.value.first().copied().unwrap_or_default())
    }
}

/// The name of a UserAgent: 16 bytes, however they are written (R-ID-3). A bearer secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Uaid([u8; 16]);

impl Uaid {
    /// Takes the 16 bytes of a UAID.
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The 16 bytes, for the endpoint token.
    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// What stands for this UAID outside the conversation with its UserAgent.
    pub(crate) fn key(&self) -> UserAgentId {
        let digest: [u8; 32] = Sha256::digest(self.0).into();
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(digest) {
            *to = from;
        }
        UserAgentId(key)
    }
}

impl fmt::Debug for Uaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Uaid(…)")
    }
}

/// A UAID in the spelling in which its UserAgent writes it, which every reply repeats (R-ID-3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SpelledUaid(HexId);

impl SpelledUaid {
    /// Parses one of the two accepted forms (R-ID-2); `None` for any other text.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        HexId::parse(text).map(Self)
    }

    /// Makes a new UAID from 16 unpredictable bytes: a version 4 UUID of 32 lower-case digits
    /// (R-ID-1).
    pub(crate) const fn mint(mut random: [u8; 16]) -> Self {
        let [.., version, _, variant, _, _, _, _, _, _, _] = &mut random;
        *version = (*version & 0x0f) | 0x40;
        *variant = (*variant & 0x3f) | 0x80;
        Self(HexId { value: random, dashed: false, upper: 0 })
    }

    /// The UAID that is spelled.
    pub(crate) const fn uaid(&self) -> Uaid {
        Uaid(self.0.value)
    }

    /// Appends the text in its spelling.
    pub(crate) fn push_to(&self, out: &mut String) {
        self.0.push_to(out);
    }
}

impl fmt::Debug for SpelledUaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpelledUaid(…)")
    }
}

/// Stands for a UAID in tables, in the store and before administrators: the first half of its
/// SHA-256. It is no credential: nobody becomes the UserAgent with it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserAgentId([u8; 16]);

impl UserAgentId {
    /// What the partition names of all UserAgents begin with.
    pub(crate) const PARTITIONS: &str = "uaid/";

    /// The name of the UserAgent that has this UAID, in any accepted spelling (R-ID-2).
    ///
    /// # Errors
    ///
    /// [`NameError`] if the text is no UAID.
    pub fn of_uaid(uaid: &str) -> Result<Self, NameError> {
        SpelledUaid::parse(uaid).map(|uaid| uaid.uaid().key()).ok_or(NameError)
    }

    /// The bytes of the name.
    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Undoes [`as_bytes`](Self::as_bytes); `None` for any other number of bytes.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The first hexadecimal digit, 0 to 15.
    pub(crate) const fn first_digit(&self) -> u8 {
        let [first, ..] = self.0;
        first >> 4
    }

    /// The partition that holds everything about this UserAgent.
    ///
    /// # Errors
    ///
    /// None that can happen: the name is always well formed.
    pub(crate) fn partition(&self) -> Result<Partition, StoreNameError> {
        Partition::new(&format!("{}{self}", Self::PARTITIONS))
    }

    /// Undoes [`partition`](Self::partition); `None` for the partition of something else.
    pub(crate) fn of_partition(partition: &Partition) -> Option<Self> {
        partition.as_str().strip_prefix(Self::PARTITIONS)?.parse().ok()
    }

    /// A number to spread UserAgents by.
    pub(crate) const fn spread(&self) -> usize {
        let [low, high, ..] = self.0;
        u16::from_le_bytes([low, high]) as usize
    }
}

impl FromStr for UserAgentId {
    type Err = NameError;

    /// Reads the 32 digits that `Display` writes.
    fn from_str(text: &str) -> Result<Self, NameError> {
        HexId::parse(text).map(|id| Self(id.value)).ok_or(NameError)
    }
}

impl fmt::Display for UserAgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for UserAgentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserAgentId({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(id: ChannelId) -> String {
        let mut out = String::new();
        id.push_to(&mut out);
        out
    }

    #[test]
    fn both_forms_are_accepted_in_either_case() {
        // Rule: simplepush R-ID-2 — 32 hex digits or the dashed form, either case, any version bits
        for good in [
            "6f1c0b7a52d94e0c9b3ad41e8f27c650",
            "6F1C0B7A52D94E0C9B3AD41E8F27C650",
            "3e9b7c54-18aa-4d2f-a6b1-5c0d9e8f7a62",
            "3E9b7C54-18aa-1d2f-06B1-5c0d9e8f7a62",
            "00000000000000000000000000000000",
        ] {
            assert!(SpelledUaid::parse(good).is_some(), "{good}");
        }
        // Rule: simplepush R-ID-7 — any other channelID is malformed
        for bad in [
            "",
            "0",
            "null",
            " fooey barrey ",
            "6f1c0b7a52d94e0c9b3ad41e8f27c65",
            "6f1c0b7a52d94e0c9b3ad41e8f27c65g",
            "6f1c0b7a-52d94-e0c-9b3a-d41e8f27c650",
            "3e9b7c54-18aa-4d2f-a6b1-5c0d9e8f7a6 ",
            "6f1c0b7a52d94e0c9b3ad41e8f27c6506f1c0b7a52d94e0c9b3ad41e8f27c650",
            "３e9b7c54-18aa-4d2f-a6b1-5c0d9e8f7",
        ] {
            assert!(ChannelId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn two_spellings_name_one_user_agent() {
        // Rule: simplepush R-ID-3 — the identity of a UAID is its 16-byte value
        let dashed = SpelledUaid::parse("3E9B7C54-18aa-4d2f-a6b1-5c0d9e8f7a62").unwrap();
        let plain = SpelledUaid::parse("3e9b7c5418aa4d2fa6b15c0d9e8f7a62").unwrap();
        assert_eq!(dashed.uaid(), plain.uaid());
        assert_ne!(dashed, plain);
    }

    #[test]
    fn a_new_uaid_is_a_version_4_uuid_in_plain_hex() {
        // Rule: simplepush R-ID-1 — 16 random bytes, UUIDv4 bits set, 32 lower-case hex digits
        let mut out = String::new();
        SpelledUaid::mint([0xff; 16]).push_to(&mut out);
        assert_eq!(out, "ffffffffffff4fffbfffffffffffffff");
        let mut out = String::new();
        SpelledUaid::mint([0; 16]).push_to(&mut out);
        assert_eq!(out, "00000000000040008000000000000000");
    }

    #[test]
    fn names_do_not_print() {
        // Rule: simplepush R-ID-6 — the UAID is never logged
        let spelled = SpelledUaid::parse("6f1c0b7a52d94e0c9b3ad41e8f27c650").unwrap();
        assert_eq!(format!("{spelled:?} {:?}", spelled.uaid()), "SpelledUaid(…) Uaid(…)");
        let channel = ChannelId::parse("6f1c0b7a52d94e0c9b3ad41e8f27c650").unwrap();
        assert_eq!(format!("{channel:?}"), "ChannelId(6f…)");
        let partition = spelled.uaid().key().partition().unwrap();
        assert!(!partition.as_str().contains("6f1c0b7a52d94e0c"));
        let user_agent = spelled.uaid().key();
        assert_eq!(UserAgentId::of_partition(&partition), Some(user_agent));
        assert_eq!(user_agent.to_string().parse(), Ok(user_agent));
        assert_eq!(UserAgentId::of_uaid("6F1C0B7A-52d9-4e0c-9b3a-d41e8f27c650"), Ok(user_agent));
        assert_eq!(UserAgentId::of_uaid("nonsense"), Err(NameError));
    }

    proptest! {
        #[test]
        fn spelling_survives(text_in in "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}") {
            // Rule: simplepush R-ID-8 — a channelID is sent back exactly as the client wrote it
            let id = ChannelId::parse(&text_in).unwrap();
            prop_assert_eq!(text(id), text_in);
            prop_assert_eq!(ChannelId::from_bytes(&id.to_bytes()), Some(id));
        }

        #[test]
        fn other_bytes_are_no_name(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            if let Some(id) = ChannelId::from_bytes(&bytes) {
                prop_assert_eq!(id.to_bytes().to_vec(), bytes);
            }
        }
    }
}
