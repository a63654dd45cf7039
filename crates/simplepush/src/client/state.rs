//! What a UserAgent remembers from one connection to the next (SimplePush §17.7).
//!
//! Never here: where it is kept.

use std::{collections::BTreeMap, fmt};

use buswire_message::{Secret, Version};
use serde::{Deserialize, Serialize};

use super::name::Endpoint;
use crate::id::ChannelId;

/// The UAID and the channels of a UserAgent. Serialisable; secret as a whole: the UAID is the only
/// credential of the protocol, and endpoints are rights to notify.
#[derive(Clone, Default)]
pub struct ClientState {
    /// The name that the server knows this UserAgent by, if it has met it.
    pub(super) uaid: Option<Secret<String>>,
    /// The channels that the program wants.
    pub(super) channels: BTreeMap<ChannelId, ChannelState>,
}

/// One channel.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct ChannelState {
    /// Its endpoint; none until the server has registered it under the present UAID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<Endpoint>,
    /// The greatest version that the program acknowledged; 0 if none.
    #[serde(default)]
    pub(super) version: u64,
}

impl ClientState {
    /// The channels that the program wants.
    pub fn channels(&self) -> impl Iterator<Item = ChannelId> {
        self.channels.keys().copied()
    }

    /// The channels that have an endpoint, with the greatest version acknowledged on each.
    pub fn registered(&self) -> impl Iterator<Item = (ChannelId, &Endpoint, Option<Version>)> {
        self.channels.iter().filter_map(|(channel, state)| {
            Some((*channel, state.endpoint.as_ref()?, Version::new(state.version)))
        })
    }
}

impl fmt::Debug for ClientState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientState({} channels)", self.channels.len())
    }
}

/// How a state is written.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(default)]
    uaid: Option<String>,
    #[serde(default)]
    channels: BTreeMap<ChannelId, ChannelState>,
}

impl Serialize for ClientState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let uaid = self.uaid.as_ref().map(|uaid| uaid.expose().clone());
        Written { uaid, channels: self.channels.clone() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ClientState {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Written { uaid, channels } = Written::deserialize(deserializer)?;
        Ok(Self { uaid: uaid.map(Secret::new), channels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_survives_as_json_and_does_not_show() {
        let text = r#"{"uaid":"6f1c0b7a52d94e0c9b3ad41e8f27c650","channels":{"0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90":{"endpoint":"https://push.example.net/update/TOKA","version":7},"C2A7D91533E84B6D9F0271E4A80B5CDD":{"version":0}}}"#;
        let state: ClientState = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&state).unwrap(), text);
        let registered: Vec<_> = state.registered().collect();
        assert_eq!(registered.len(), 1);
        assert_eq!(registered[0].0.to_string(), "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90");
        // Rule: simplepush R-ID-6 — the UAID is never logged
        assert_eq!(
            format!("{state:?} {:?}", registered[0].1),
            "ClientState(2 channels) Endpoint(…)"
        );
    }
}
