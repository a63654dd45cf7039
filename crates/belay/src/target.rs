//! The targets of the gateway's own kinds: what a grant fixes, so that no request can name it
//! (Belay §20.1, §20.2).
//!
//! Never here: the operations themselves; they live where the transports are.

use std::{collections::BTreeSet, fmt, time::Duration};

use buswire_message::{BusName, ChannelName, MessageType, Secret, SourceUrl};

use crate::{
    limits::{NameSet, texts},
    wire::{BcapValue, Members},
};

/// A target that its operation can't be granted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Not an object.
    #[error("a target is an object")]
    NotAnObject,
    /// A member that the kind does not have.
    #[error("the kind has no target member of that name")]
    UnknownMember,
    /// A member that must be there is not.
    #[error("the target member \"{0}\" is missing")]
    Missing(&'static str),
    /// A member has a value that it can't have.
    #[error("the target member \"{0}\" has no such value")]
    BadMember(&'static str),
    /// Two members that exclude each other.
    #[error("a target has \"channel\" or \"channels\", not both")]
    ChannelTwice,
}

/// Which channels of a bus a target reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetChannels {
    /// Every channel.
    All,
    /// One.
    One(ChannelName),
    /// Those of a set.
    Some(NameSet),
}

impl TargetChannels {
    /// Whether a channel is among them.
    pub fn admits(&self, channel: &str) -> bool {
        match self {
            Self::All => true,
            Self::One(own) => own.as_str() == channel,
            Self::Some(names) => names.admits(channel),
        }
    }

    /// The channel that a request means: the one it names, or the only one there is. `None` if it
    /// names none that could be one, or has to.
    pub fn named(&self, name: Option<&str>) -> Option<ChannelName> {
        match (name, self) {
            (Some(name), _) => name.parse().ok(),
            (None, Self::One(channel)) => Some(channel.clone()),
            (None, Self::All | Self::Some(_)) => None,
        }
    }

    /// The channels as a set; `None` for all.
    pub fn to_names(&self) -> Option<NameSet> {
        match self {
            Self::All => None,
            Self::One(channel) => NameSet::parse([channel.as_str()]),
            Self::Some(names) => Some(names.clone()),
        }
    }

    fn read(members: &Members) -> Result<Self, TargetError> {
        match (members.get("channel"), members.get("channels")) {
            (Some(_), Some(_)) => Err(TargetError::ChannelTwice),
            (Some(channel), None) => {
                let channel = channel.as_str().and_then(|text| text.parse().ok());
                channel.map(Self::One).ok_or(TargetError::BadMember("channel"))
            }
            (None, Some(channels)) => {
                let names = texts(channels).and_then(NameSet::parse);
                names.map(Self::Some).ok_or(TargetError::BadMember("channels"))
            }
            (None, None) => Ok(Self::All),
        }
    }
}

/// `bus.publish`: `{"bus", "channel" or "channels"?, "source"?, "types"?}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusPublishTarget {
    /// The bus.
    pub bus: BusName,
    /// Where to; with one channel a message need not name it.
    pub channels: TargetChannels,
    /// The source that every message gets.
    pub source: Option<SourceUrl>,
    /// The message types that are let through; `None` for all.
    pub types: Option<BTreeSet<MessageType>>,
}

impl BusPublishTarget {
    /// Whether a message of this channel and type is within the target.
    pub fn admits(&self, channel: &ChannelName, kind: &MessageType) -> bool {
        self.channels.admits(channel.as_str())
            && self.types.as_ref().is_none_or(|types| types.contains(kind))
    }

    /// Reads a target.
    ///
    /// # Errors
    ///
    /// [`TargetError`].
    pub fn parse(target: &BcapValue) -> Result<Self, TargetError> {
        let members = closed(target, &["bus", "channel", "channels", "source", "types"])?;
        Ok(Self {
            bus: required(members, "bus")?,
            channels: TargetChannels::read(members)?,
            source: optional(members, "source")?,
            types: types(members)?,
        })
    }
}

/// `bus.read`: `{"bus", "channel" or "channels"?, "types"?}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusReadTarget {
    /// The bus.
    pub bus: BusName,
    /// Where from.
    pub channels: TargetChannels,
    /// The message types that are shown; `None` for all.
    pub types: Option<BTreeSet<MessageType>>,
}

impl BusReadTarget {
    /// Whether a message of this channel and type is within the target.
    pub fn admits(&self, channel: &ChannelName, kind: &MessageType) -> bool {
        self.channels.admits(channel.as_str())
            && self.types.as_ref().is_none_or(|types| types.contains(kind))
    }

    /// Reads a target.
    ///
    /// # Errors
    ///
    /// [`TargetError`].
    pub fn parse(target: &BcapValue) -> Result<Self, TargetError> {
        let members = closed(target, &["bus", "channel", "channels", "types"])?;
        Ok(Self {
            bus: required(members, "bus")?,
            channels: TargetChannels::read(members)?,
            types: types(members)?,
        })
    }
}

/// `push.notify`: `{"endpoint"}`, a push endpoint, which is itself a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushNotifyTarget {
    /// The URL of the endpoint.
    pub endpoint: Secret<String>,
}

impl PushNotifyTarget {
    /// Reads a target.
    ///
    /// # Errors
    ///
    /// [`TargetError`].
    pub fn parse(target: &BcapValue) -> Result<Self, TargetError> {
        let members = closed(target, &["endpoint"])?;
        let value = members.get("endpoint").ok_or(TargetError::Missing("endpoint"))?;
        let text = value.as_str().filter(|text| (1..=2048).contains(&text.len()));
        let endpoint = text.ok_or(TargetError::BadMember("endpoint"))?;
        Ok(Self { endpoint: Secret::new(endpoint.to_owned()) })
    }
}

/// `rpc.call`: `{"service", "method"?, "timeout"?}`, the timeout in whole seconds, 1 to 3600.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcCallTarget {
    /// The service: 1 to 255 bytes without control characters.
    pub service: String,
    /// The method, if the grant fixes one.
    pub method: Option<String>,
    /// How long to wait for the answer; the operation has a default.
    pub timeout: Option<Duration>,
}

impl RpcCallTarget {
    /// Reads a target.
    ///
    /// # Errors
    ///
    /// [`TargetError`].
    pub fn parse(target: &BcapValue) -> Result<Self, TargetError> {
        let members = closed(target, &["service", "method", "timeout"])?;
        let name = |member: &'static str| match members.get(member) {
            None => Ok(None),
            Some(value) => {
                let text = value.as_str().filter(|text| {
                    (1..=255).contains(&text.len()) && !text.chars().any(char::is_control)
                });
                text.map(|text| Some(text.to_owned())).ok_or(TargetError::BadMember(member))
            }
        };
        let timeout = match members.get("timeout") {
            None => None,
            Some(value) => {
                let secs = value.as_u64().filter(|secs| (1..=3600).contains(secs));
                Some(Duration::from_secs(secs.ok_or(TargetError::BadMember("timeout"))?))
            }
        };
        let service = name("service")?.ok_or(TargetError::Missing("service"))?;
        Ok(Self { service, method: name("method")?, timeout })
    }
}

/// Gives the members of an object that may have no others than these.
pub(crate) fn closed<'v>(
    target: &'v BcapValue,
    allowed: &[&str],
) -> Result<&'v Members, TargetError> {
    let members = target.as_object().ok_or(TargetError::NotAnObject)?;
    if members.iter().all(|(name, _)| allowed.contains(&name)) {
        Ok(members)
    } else {
        Err(TargetError::UnknownMember)
    }
}

fn optional<T: std::str::FromStr>(
    members: &Members,
    name: &'static str,
) -> Result<Option<T>, TargetError> {
    let Some(value) = members.get(name) else { return Ok(None) };
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or(TargetError::BadMember(name))
}

fn required<T: std::str::FromStr>(members: &Members, name: &'static str) -> Result<T, TargetError> {
    optional(members, name)?.ok_or(TargetError::Missing(name))
}

fn types(members: &Members) -> Result<Option<BTreeSet<MessageType>>, TargetError> {
    let Some(value) = members.get("types") else { return Ok(None) };
    let parsed =
        texts(value).and_then(|texts| texts.into_iter().map(|text| text.parse().ok()).collect());
    parsed.map(Some).ok_or(TargetError::BadMember("types"))
}

/// Shows a target without the capabilities in it.
pub(crate) fn without_caps(value: &BcapValue) -> BcapValue {
    match value {
        BcapValue::Cap(_) => BcapValue::from("…"),
        BcapValue::Array(items) => items.iter().map(without_caps).collect::<Vec<_>>().into(),
        BcapValue::Object(members) => {
            let members = members.iter();
            members.fold(Members::new(), |all, (name, v)| all.with(name, without_caps(v))).into()
        }
        other => other.clone(),
    }
}

impl fmt::Display for TargetChannels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::One(channel) => channel.fmt(f),
            Self::Some(names) => f.write_str(&names.to_texts().join(",")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::Bcap;

    fn value(json: Value) -> BcapValue {
        BcapValue::from_json(json).unwrap()
    }

    #[test]
    fn targets_are_closed_records() {
        // Rule: belay 20.2 — a target is fixed at grant; members that a kind does not have are refused
        let target = value(json!({"bus": "b1", "channel": "orders", "types": ["order/new"]}));
        let publish = BusPublishTarget::parse(&target).unwrap();
        assert!(publish.channels.admits("orders") && !publish.channels.admits("other"));
        assert_eq!(publish.types.unwrap().len(), 1);
        let read = BusReadTarget::parse(&value(json!({"bus": "v1/b1"}))).unwrap();
        assert_eq!(read.channels, TargetChannels::All);
        for (bad, error) in [
            (json!([]), TargetError::NotAnObject),
            (json!({}), TargetError::Missing("bus")),
            (json!({"bus": "b 1"}), TargetError::BadMember("bus")),
            (json!({"bus": "b1", "chanel": "x"}), TargetError::UnknownMember),
            (json!({"bus": "b1", "channel": "x", "channels": []}), TargetError::ChannelTwice),
            (json!({"bus": "b1", "source": "nowhere"}), TargetError::BadMember("source")),
        ] {
            assert_eq!(BusPublishTarget::parse(&value(bad.clone())), Err(error), "{bad}");
        }
    }

    #[test]
    fn the_other_targets_parse() {
        let push = value(json!({"endpoint": "https://push.example/update/s3cret"}));
        let push = PushNotifyTarget::parse(&push).unwrap();
        assert!(!format!("{push:?}").contains("s3cret"));
        let call = value(json!({"service": "echo", "method": "m", "timeout": 5}));
        assert_eq!(RpcCallTarget::parse(&call).unwrap().timeout, Some(Duration::from_secs(5)));
        for bad in [json!({}), json!({"service": ""}), json!({"service": "e", "timeout": 0})] {
            assert!(RpcCallTarget::parse(&value(bad.clone())).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_shown_target_has_no_capabilities() {
        let inner = Members::new().with("c", vec![BcapValue::from(Bcap::restore("https://x/1"))]);
        assert_eq!(without_caps(&inner.into()).to_json(), Ok(json!({"c": ["…"]})));
    }
}
