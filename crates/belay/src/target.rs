//! The targets of the gateway's own kinds: what a grant fixes, so that no request can name it
//! (Belay §20.1, §20.2).
//!
//! Never here: the operations themselves; they live where the transports are.

use std::{collections::BTreeSet, fmt, time::Duration};

use buswire_message::{BusName, ChannelName, MessageType, Secret, SourceUrl};

use crate::{
    limits::{NameSet, texts},
    method::{Method, MethodSet},
    wire::{Bcap, BcapValue, Members, Serialisation},
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
    /// A member names what does not exist.
    #[error("what the target member \"{0}\" names does not exist")]
    Absent(&'static str),
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

/// `bus.publish`: `{"bus", "channel" or "channels"?, "source"?, "types"?, "generation"?}`.
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
    /// Which bus of that name; `None` in grants of releases that did not bind it.
    pub generation: Option<u64>,
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
        let members =
            closed(target, &["bus", "channel", "channels", "source", "types", GENERATION])?;
        Ok(Self {
            bus: required(members, "bus")?,
            channels: TargetChannels::read(members)?,
            source: optional(members, "source")?,
            types: types(members)?,
            generation: generation(members)?,
        })
    }
}

/// `bus.read`: `{"bus", "channel" or "channels"?, "types"?, "generation"?}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusReadTarget {
    /// The bus.
    pub bus: BusName,
    /// Where from.
    pub channels: TargetChannels,
    /// The message types that are shown; `None` for all.
    pub types: Option<BTreeSet<MessageType>>,
    /// Which bus of that name; `None` in grants of releases that did not bind it.
    pub generation: Option<u64>,
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
        let members = closed(target, &["bus", "channel", "channels", "types", GENERATION])?;
        Ok(Self {
            bus: required(members, "bus")?,
            channels: TargetChannels::read(members)?,
            types: types(members)?,
            generation: generation(members)?,
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

/// `url`: `{"url", "methods"?}`, a capability as `{"@": …}` or as the text of its URL, which is a
/// secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlTarget {
    /// What is asked.
    pub cap: Bcap,
    /// The methods that are passed on; all by default.
    pub methods: MethodSet,
}

impl UrlTarget {
    /// Reads a target.
    ///
    /// # Errors
    ///
    /// [`TargetError`].
    pub fn parse(target: &BcapValue) -> Result<Self, TargetError> {
        let members = closed(target, &["url", "methods"])?;
        let cap = match members.get("url").ok_or(TargetError::Missing("url"))? {
            BcapValue::Cap(cap) => Some(cap.clone()),
            other => other.as_str().map(Bcap::restore),
        };
        let cap = cap.filter(|cap| matches!(cap.serialisation(), Some(Serialisation::Url(_))));
        let methods = members.get("methods").map_or(Some(MethodSet::ALL), |value| {
            texts(value)?.into_iter().map(Method::parse).collect()
        });
        Ok(Self {
            cap: cap.ok_or(TargetError::BadMember("url"))?,
            methods: methods.ok_or(TargetError::BadMember("methods"))?,
        })
    }
}

/// `record`: `{"facets": {name: capability}, "bcaps"?: "stable" or "fresh"}`.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordTarget {
    /// The facets, at most [`FACETS_MAX`](Self::FACETS_MAX).
    pub facets: Vec<(String, Bcap)>,
    /// Whether every reading gives new capabilities; they are the same ones by default.
    pub fresh: bool,
}

impl RecordTarget {
    /// The most facets: each is a grant, made when the record is read for the first time.
    pub const FACETS_MAX: usize = 64;

    /// Reads a target.
    ///
    /// # Errors
    ///
    /// [`TargetError`].
    pub fn parse(target: &BcapValue) -> Result<Self, TargetError> {
        let members = closed(target, &["facets", "bcaps"])?;
        let facets = members.get("facets").ok_or(TargetError::Missing("facets"))?.as_object();
        let facets = facets.filter(|facets| facets.len() <= Self::FACETS_MAX).and_then(|facets| {
            let facets = facets.iter();
            facets.map(|(name, value)| Some((name.to_owned(), value.as_cap()?.clone()))).collect()
        });
        let fresh = match members.get("bcaps").map(BcapValue::as_str) {
            None | Some(Some("stable")) => false,
            Some(Some("fresh")) => true,
            Some(_) => return Err(TargetError::BadMember("bcaps")),
        };
        Ok(Self { facets: facets.ok_or(TargetError::BadMember("facets"))?, fresh })
    }
}

/// `named`: `{"name", "args"?}`.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTarget {
    /// The name of a handler: 1 to 256 bytes without control characters.
    pub name: String,
    /// What the handler gets as its target, an array.
    pub args: BcapValue,
}

impl NamedTarget {
    /// Reads a target.
    ///
    /// # Errors
    ///
    /// [`TargetError`].
    pub fn parse(target: &BcapValue) -> Result<Self, TargetError> {
        let members = closed(target, &["name", "args"])?;
        let name = members.get("name").ok_or(TargetError::Missing("name"))?;
        let name = name.as_str().filter(|name| Self::is_name(name));
        let args = members.get("args").cloned().unwrap_or_else(|| Vec::new().into());
        if args.as_array().is_none() {
            return Err(TargetError::BadMember("args"));
        }
        Ok(Self { name: name.ok_or(TargetError::BadMember("name"))?.to_owned(), args })
    }

    /// Whether a text may name a handler.
    pub(crate) fn is_name(text: &str) -> bool {
        (1..=256).contains(&text.len()) && !text.chars().any(char::is_control)
    }

    /// The target of a grant.
    pub(crate) fn to_value(&self) -> BcapValue {
        Members::new().with("name", self.name.as_str()).with("args", self.args.clone()).into()
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

/// The member of a target that says which bus of its name is meant (Belay §23.4). A grant binds it.
pub const GENERATION: &str = "generation";

fn generation(members: &Members) -> Result<Option<u64>, TargetError> {
    let Some(value) = members.get(GENERATION) else { return Ok(None) };
    value.as_u64().map(Some).ok_or(TargetError::BadMember(GENERATION))
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
    fn a_record_holds_capabilities_and_a_url_is_one() {
        // Rule: belay 4.4 — a reference is a capability only where the kind expects one
        let cap = || BcapValue::from(Bcap::restore("https://x.example/cap/1"));
        let facets = Members::new().with("read", cap());
        let record =
            |facets: Members| RecordTarget::parse(&Members::new().with("facets", facets).into());
        assert!(!record(facets).unwrap().fresh);
        for bad in [Members::new().with("read", "https://x.example/cap/1"), {
            (0..65).fold(Members::new(), |all, n| all.with(n.to_string(), cap()))
        }] {
            assert_eq!(record(bad), Err(TargetError::BadMember("facets")));
        }
        let url = |url: BcapValue| UrlTarget::parse(&Members::new().with("url", url).into());
        assert_eq!(url(cap()), url("https://x.example/cap/1".into()));
        for bad in ["", "x", "urn:x-cap:a:b", "ftp://x.example/"] {
            assert_eq!(url(bad.into()), Err(TargetError::BadMember("url")), "{bad}");
        }
        for bad in [json!({"name": ""}), json!({"name": "n", "args": {}}), json!({"args": []})] {
            assert!(NamedTarget::parse(&value(bad.clone())).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_shown_target_has_no_capabilities() {
        let inner = Members::new().with("c", vec![BcapValue::from(Bcap::restore("https://x/1"))]);
        assert_eq!(without_caps(&inner.into()).to_json(), Ok(json!({"c": ["…"]})));
    }
}
