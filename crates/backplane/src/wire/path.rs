//! Which endpoint a path names (Backplane §3.1).

use std::borrow::Cow;

use super::{
    params::decode_segment,
    provision::{Call, Generation},
};
use crate::browser::{Script, ScriptName};

/// Whether frames of a 1.x path show `expire`: only those of `/v1.3` do (Backplane §6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameForm {
    Plain,
    WithExpire,
}

/// Where host-meta is read, which decides its form (Backplane §12.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostMetaForm {
    /// That of the reference server, below `/v2`.
    Reference,
    /// That of RFC 6415, at the root of the host.
    Standard,
}

/// In whose style errors are written (Backplane §3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    /// `{"ERR_MSG":…}`.
    One,
    /// `{"error":…,"error_description":…}`.
    Two,
    /// Plain text.
    Other,
}

/// Every [`label`](Endpoint::label).
pub(crate) const LABELS: [&str; 13] = [
    "v2_messages",
    "v2_post",
    "v1_channel",
    "v1_bus",
    "v1_new_channel",
    "v2_token",
    "v2_message",
    "v2_authorize",
    "v2_authenticate",
    "host_meta",
    "provision",
    "script",
    "unknown",
];

/// The endpoint that a path names. Names in it are decoded but not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint<'a> {
    /// `/v1…/bus/{bus}/channel/new`
    NewChannel { bus: Cow<'a, str> },
    /// `/v1…/bus/{bus}/channel/{channel}`
    Channel { form: FrameForm, bus: Cow<'a, str>, channel: Cow<'a, str> },
    /// `/v1…/bus/{bus}`
    Bus { form: FrameForm, bus: Cow<'a, str> },
    /// `/v2/token`
    Token,
    /// `/v2/messages`
    Messages,
    /// `/v2/message/{id}`
    Message { id: Cow<'a, str> },
    /// `/v2/message`
    Post,
    /// `/v2/authorize`
    Authorize,
    /// `/v2/authenticate`
    Authenticate,
    /// `/v2/.well-known/host-meta` and `/.well-known/host-meta`
    HostMeta(HostMetaForm),
    /// `/v1…/provision/{entity}/{action}`, `/v2/provision/{entity}/{action}`
    Provision(Call),
    /// `/backplane.js`, `/backplane2.js`, `/identity-services.js`, and below `/static/`
    Script(Script, ScriptName),
    /// Nothing of ours.
    Unknown(Family),
}

impl<'a> Endpoint<'a> {
    /// Reads a path: runs of slashes count as one, one at the end counts as none, segments are
    /// decoded once after splitting.
    pub(crate) fn parse(path: &'a str) -> Self {
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        let Some(first) = segments.next() else { return Self::Unknown(Family::Other) };
        let mut decoded: Vec<Cow<'a, str>> = Vec::with_capacity(4);
        for segment in segments {
            match decode_segment(segment) {
                Some(segment) if decoded.len() < 5 => decoded.push(segment),
                _ => return Self::Unknown(family(first)),
            }
        }
        match first {
            "bus" => {
                decoded.insert(0, Cow::Borrowed("bus"));
                Self::one(FrameForm::Plain, decoded)
            }
            "v1" | "v1.1" | "v1.2" => Self::one(FrameForm::Plain, decoded),
            "v1.3" => Self::one(FrameForm::WithExpire, decoded),
            "v2" => Self::two(decoded),
            ".well-known" if decoded == ["host-meta"] => Self::HostMeta(HostMetaForm::Standard),
            _ => Self::script(first, &decoded).unwrap_or(Self::Unknown(Family::Other)),
        }
    }

    fn script(first: &str, rest: &[Cow<'a, str>]) -> Option<Self> {
        let name = match (first, rest) {
            (name, []) => name,
            ("static", [name]) => name.as_ref(),
            _ => return None,
        };
        Script::named(name).map(|(script, name)| Self::Script(script, name))
    }

    fn one(form: FrameForm, segments: Vec<Cow<'a, str>>) -> Self {
        let mut segments = segments.into_iter();
        let four = [segments.next(), segments.next(), segments.next(), segments.next()];
        match (four, segments.next()) {
            ([Some(word), Some(bus), None, None], None) if word == "bus" => Self::Bus { form, bus },
            ([Some(word), Some(bus), Some(second), Some(channel)], None)
                if word == "bus" && second == "channel" =>
            {
                if channel == "new" {
                    Self::NewChannel { bus }
                } else {
                    Self::Channel { form, bus, channel }
                }
            }
            ([Some(word), Some(entity), Some(action), None], None) if word == "provision" => {
                provision(Generation::One, &entity, &action)
            }
            _ => Self::Unknown(Family::One),
        }
    }

    fn two(segments: Vec<Cow<'a, str>>) -> Self {
        let mut segments = segments.into_iter();
        let four = (segments.next(), segments.next(), segments.next(), segments.next());
        match (four.0.as_deref(), four.1, four.2, four.3) {
            (Some("token"), None, None, None) => Self::Token,
            (Some("messages"), None, None, None) => Self::Messages,
            (Some("message"), None, None, None) => Self::Post,
            (Some("authorize"), None, None, None) => Self::Authorize,
            (Some("authenticate"), None, None, None) => Self::Authenticate,
            (Some(".well-known"), Some(name), None, None) if name == "host-meta" => {
                Self::HostMeta(HostMetaForm::Reference)
            }
            (Some("message"), Some(id), None, None) => Self::Message { id },
            (Some("provision"), Some(entity), Some(action), None) => {
                provision(Generation::Two, &entity, &action)
            }
            _ => Self::Unknown(Family::Two),
        }
    }

    /// In whose style its errors are written.
    pub(crate) const fn family(&self) -> Family {
        match self {
            Self::NewChannel { .. } | Self::Channel { .. } | Self::Bus { .. } => Family::One,
            Self::Token
            | Self::Messages
            | Self::Message { .. }
            | Self::Post
            | Self::Authorize
            | Self::Authenticate
            | Self::HostMeta(_) => Family::Two,
            Self::Provision(call) => match call.generation() {
                Generation::One => Family::One,
                Generation::Two => Family::Two,
            },
            Self::Script(..) => Family::Other,
            Self::Unknown(family) => *family,
        }
    }

    /// A name for metrics: one of a closed set.
    pub(crate) const fn label(&self) -> &'static str {
        match self {
            Self::NewChannel { .. } => "v1_new_channel",
            Self::Channel { .. } => "v1_channel",
            Self::Bus { .. } => "v1_bus",
            Self::Token => "v2_token",
            Self::Messages => "v2_messages",
            Self::Message { .. } => "v2_message",
            Self::Post => "v2_post",
            Self::Authorize => "v2_authorize",
            Self::Authenticate => "v2_authenticate",
            Self::HostMeta(_) => "host_meta",
            Self::Provision(_) => "provision",
            Self::Script(..) => "script",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The methods that it takes, for `Allow`.
    pub(crate) const fn allowed(&self) -> &'static str {
        match self {
            Self::Bus { .. }
            | Self::Messages
            | Self::Message { .. }
            | Self::HostMeta(_)
            | Self::Script(..) => "GET, HEAD",
            Self::NewChannel { .. }
            | Self::Channel { .. }
            | Self::Token
            | Self::Authorize
            | Self::Authenticate => "GET, HEAD, POST",
            Self::Post | Self::Provision(_) => "POST",
            Self::Unknown(_) => "",
        }
    }

    /// Whether a browser may read it: the five endpoints that take `callback` (Backplane §3.5).
    pub(crate) const fn is_for_browsers(&self) -> bool {
        match self {
            Self::NewChannel { .. }
            | Self::Channel { .. }
            | Self::Token
            | Self::Messages
            | Self::Message { .. } => true,
            Self::Bus { .. }
            | Self::Post
            | Self::Authorize
            | Self::Authenticate
            | Self::HostMeta(_)
            | Self::Provision(_)
            | Self::Script(..)
            | Self::Unknown(_) => false,
        }
    }
}

fn provision(generation: Generation, entity: &str, action: &str) -> Endpoint<'static> {
    match (Call::parse(generation, entity, action), generation) {
        (Some(call), _) => Endpoint::Provision(call),
        (None, Generation::One) => Endpoint::Unknown(Family::One),
        (None, Generation::Two) => Endpoint::Unknown(Family::Two),
    }
}

fn family(first: &str) -> Family {
    match first {
        "bus" | "v1" | "v1.1" | "v1.2" | "v1.3" => Family::One,
        "v2" => Family::Two,
        _ => Family::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn channel(form: FrameForm) -> Endpoint<'static> {
        Endpoint::Channel { form, bus: "a.example".into(), channel: "x".into() }
    }

    #[test]
    fn paths_of_section_19_1() {
        use FrameForm::{Plain, WithExpire};
        // Rule: backplane §19.1 — slashes collapse, one at the end is dropped, dots in bus names stay
        let id = "2024-03-09T14:07:02.110Z-Vt5Gk2Lp0X";
        let cases = [
            ("/bus/a.example/channel/x", channel(Plain)),
            ("/v1/bus/a.example/channel/x", channel(Plain)),
            ("//bus/a.example/channel/x/", channel(Plain)),
            ("/v1.3/bus/a.example/channel/x", channel(WithExpire)),
            ("/v1.1/bus/a.example/", Endpoint::Bus { form: Plain, bus: "a.example".into() }),
            ("/v1.2/bus/a.example/channel/new", Endpoint::NewChannel { bus: "a.example".into() }),
            ("//v2/token", Endpoint::Token),
            ("/v2//messages/", Endpoint::Messages),
            ("/v2/message", Endpoint::Post),
            ("/backplane.js", Endpoint::Script(Script::One, ScriptName::Plain)),
            ("//static//backplane2.js", Endpoint::Script(Script::Two, ScriptName::Plain)),
            (
                "/v2/message/2024-03-09T14:07:02.110Z-Vt5Gk2Lp0X",
                Endpoint::Message { id: id.into() },
            ),
            (
                "/v2/message/2024-03-09T14%3A07%3A02.110Z-Vt5Gk2Lp0X",
                Endpoint::Message { id: id.into() },
            ),
        ];
        for (path, endpoint) in cases {
            assert!(LABELS.contains(&endpoint.label()), "{path}");
            assert_eq!(Endpoint::parse(path), endpoint, "{path}");
        }
    }

    #[test]
    fn other_paths_are_unknown_in_the_style_of_their_family() {
        // Rule: backplane §3.1 — only /v1, /v1.1, /v1.2, /v1.3 and /v2 are served
        let cases = [
            ("/v9/bus/a/channel/x", Family::Other),
            ("/1.1/bus/a", Family::Other),
            ("/", Family::Other),
            ("/backplane3.js", Family::Other),
            ("/backplane.00000000000000000000.js", Family::Other),
            ("/static", Family::Other),
            ("/static/backplane.js/x", Family::Other),
            ("/js/backplane.js", Family::Other),
            ("/v1", Family::One),
            ("/v1/bus", Family::One),
            ("/bus/a/channel", Family::One),
            ("/v1/bus/a/channel/x/y", Family::One),
            ("/v1/bus/a/b/c/d/e/f/g", Family::One),
            ("/v2", Family::Two),
            ("/v2/message/a/b", Family::Two),
            ("/v2/message/%ff", Family::Two),
            ("/v1/provision/client/list", Family::One),
            ("/bus/provision/bus/list", Family::One),
            ("/v2/provision/bus/add", Family::Two),
            ("/v2/provision/grant/list/x", Family::Two),
        ];
        for (path, family) in cases {
            assert_eq!(Endpoint::parse(path), Endpoint::Unknown(family), "{path}");
        }
    }

    proptest! {
        #[test]
        fn more_slashes_name_the_same(gaps in proptest::collection::vec(1_usize..4, 5)) {
            let mut path = String::new();
            for (gap, word) in gaps.iter().zip(["v1", "bus", "a.example", "channel", "x"]) {
                path.push_str(&"/".repeat(*gap));
                path.push_str(word);
            }
            prop_assert_eq!(Endpoint::parse(&path), channel(FrameForm::Plain));
        }
    }
}
