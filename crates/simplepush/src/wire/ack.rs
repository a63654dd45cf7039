//! `ack`: versions that the UserAgent has (SimplePush §7.5).

use std::fmt;

use buswire_message::Version;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::envelope::{Envelope, text_of};
use crate::{error::ClientFault, id::ChannelId};

/// The greatest integer below which every integer is a double, 2^53.
const EXACT_MAX: u64 = 1 << 53;

/// A version as a client sent it back: JavaScript rounds it to a double (R-ACK-4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct AckedVersion {
    /// The number, if it was written as an integer of 64 bits.
    exact: Option<u64>,
    /// The double that is nearest to it.
    nearest: f64,
}

impl AckedVersion {
    /// Reads a number or a string that holds one; `None` for what can't be a version.
    fn read(raw: &RawValue) -> Option<Self> {
        let text = text_of(raw);
        let text = text.as_deref().unwrap_or(raw.get()).trim_ascii();
        if !text.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        let nearest: f64 = text.parse().ok()?;
        let integral = nearest.is_finite() && nearest.fract() == 0.0;
        let exact = text.parse().ok();
        (integral && nearest > 0.0).then_some(Self { exact, nearest })
    }

    /// Whether acknowledging this version acknowledges `pending` (R-ACK-1, R-ACK-4).
    pub(crate) fn covers(self, pending: Version) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "the client rounded in the same way")]
        let pending_nearest = pending.get() as f64;
        #[expect(clippy::float_cmp, reason = "equal doubles are what the rule asks for")]
        let rounded = pending.get() > EXACT_MAX && self.nearest == pending_nearest;
        let reaches = match self.exact {
            Some(exact) => exact >= pending.get(),
            None => self.nearest >= pending_nearest,
        };
        reaches || rounded
    }
}

/// An `ack` that can be taken.
#[derive(Debug, PartialEq)]
pub(crate) struct Ack {
    /// What it acknowledges; entries that can't be understood are left out.
    pub(crate) updates: Vec<(ChannelId, AckedVersion)>,
}

impl Ack {
    /// Takes what an `ack` needs.
    ///
    /// # Errors
    ///
    /// [`ClientFault::MissingFields`] if neither `updates` nor `expired` is there, or the only one is
    /// an empty array; [`ClientFault::InvalidFields`] if one is no array.
    pub(crate) fn read(message: &Envelope<'_>) -> Result<Self, ClientFault> {
        let present = |raw: &&RawValue| raw.get() != "null";
        let (updates, expired) =
            (message.updates().filter(present), message.expired().filter(present));
        let expired = expired.map(entries::<IgnoredAny>).transpose()?;
        let updates = updates.map(entries::<Entry>).transpose()?;
        let count = updates.as_ref().map_or(0, Vec::len) + expired.as_ref().map_or(0, Vec::len);
        if count == 0 {
            return Err(ClientFault::MissingFields);
        }
        let usable = |entry: Entry| entry.0;
        Ok(Self { updates: updates.unwrap_or_default().into_iter().filter_map(usable).collect() })
    }
}

fn entries<'a, T: Deserialize<'a>>(raw: &'a RawValue) -> Result<Vec<T>, ClientFault> {
    serde_json::from_str(raw.get()).map_err(|_| ClientFault::InvalidFields)
}

/// One entry of `updates`; nothing if it has no usable channelID or version.
struct Entry(Option<(ChannelId, AckedVersion)>);

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        let fields: Option<Fields<'_>> = serde_json::from_str(raw.get()).ok();
        let entry = fields.and_then(|fields| {
            let channel = ChannelId::parse(&text_of(fields.channel?)?)?;
            Some((channel, AckedVersion::read(fields.version?)?))
        });
        Ok(Self(entry))
    }
}

#[derive(Default)]
struct Fields<'a> {
    channel: Option<&'a RawValue>,
    version: Option<&'a RawValue>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some(name) = map.next_key::<std::borrow::Cow<'_, str>>()? {
                    match &*name {
                        "channelID" => fields.channel = Some(map.next_value()?),
                        "version" => fields.version = Some(map.next_value()?),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";

    fn read(text: &str) -> Result<Ack, ClientFault> {
        Ack::read(&Envelope::read(text, 32).unwrap())
    }

    fn acked(version: &str) -> Option<AckedVersion> {
        let text = format!(
            "{{\"messageType\":\"ack\",\"updates\":[{{\"channelID\":\"{A}\",\"version\":{version}}}]}}"
        );
        read(&text).unwrap().updates.first().map(|&(_, version)| version)
    }

    fn covers(acknowledged: &str, pending: u64) -> bool {
        acked(acknowledged).unwrap().covers(Version::new(pending).unwrap())
    }

    #[test]
    fn a_version_covers_itself_and_all_before() {
        // Rule: simplepush R-ACK-1 — an ack of V covers pending P if and only if V ≥ P
        assert!(covers("7", 7) && covers("8", 7) && !covers("6", 7));
        assert!(covers("9007199254740992", 9_007_199_254_740_992));
        assert!(!covers("9007199254740991", 9_007_199_254_740_992));
    }

    #[test]
    fn a_rounded_version_covers_what_it_was_rounded_from() {
        // Rule: simplepush R-ACK-4 — above 2^53 equal doubles cover
        assert!(covers("9223372036854776000", 9_223_372_036_854_775_807));
        assert!(covers("9007199254740992", 9_007_199_254_740_993));
        assert!(!covers("9007199254740990", 9_007_199_254_740_993));
        // Rule: simplepush R-ACK-4 — fractions and exponents of integral value, and decimal strings, count
        assert!(covers("7.0", 7) && covers("7e0", 7) && covers("1e+21", 7) && covers("\"7\"", 7));
        for unusable in
            ["7.5", "-7", "0", "true", "null", "\"\"", "\"x\"", "[]", "1e999", "\"NaN\"", "\"inf\""]
        {
            assert_eq!(acked(unusable), None, "{unusable}");
        }
        // Rule: simplepush R-ACK-4 — a number out of range is no parse error
        assert!(covers("123456789012345678901234567890", u64::MAX >> 1));
    }

    #[test]
    fn unusable_entries_are_skipped() {
        // Rule: simplepush §7.5 — an entry without usable channelID or version is skipped
        let ack = read(&format!(
            "{{\"messageType\":\"ack\",\"updates\":[7,{{}},{{\"channelID\":\"{A}\"}},{{\"channelID\":\"x\",\"version\":1}},{{\"pushEndpoint\":\"u\",\"data\":[1],\"channelID\":\"{A}\",\"version\":2}}]}}"
        ));
        assert_eq!(ack.unwrap().updates.len(), 1);
        // Rule: simplepush §7.5 — `expired` is accepted and ignored
        assert_eq!(
            read("{\"messageType\":\"ack\",\"expired\":[\"x\"]}"),
            Ok(Ack { updates: vec![] })
        );
    }

    #[test]
    fn an_ack_of_nothing_is_a_fault() {
        // Rule: simplepush §7.5 — `updates` missing, empty or no array is status 401
        for (members, fault) in [
            ("", ClientFault::MissingFields),
            (",\"updates\":[]", ClientFault::MissingFields),
            (",\"updates\":null", ClientFault::MissingFields),
            (",\"updates\":{}", ClientFault::InvalidFields),
            (",\"updates\":\"x\"", ClientFault::InvalidFields),
        ] {
            assert_eq!(
                read(&format!("{{\"messageType\":\"ack\"{members}}}")),
                Err(fault),
                "{members}"
            );
        }
    }
}
