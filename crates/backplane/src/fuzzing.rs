//! What must hold of every input from outside: one function for each parser, on any bytes.
//!
//! The fuzz targets and the replay of their corpora run the same functions, which panic if something
//! does not hold. Nothing here is part of the crate's interface.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "what does not hold is a failed test"
)]

use std::str::from_utf8;

use buswire_message::{
    BusName, ChannelName, Field, Message, MessageId, NewMessage, Scope, Timestamp,
};
use serde_json::{Value, from_slice, value::RawValue};

use crate::{
    config::{PaddingPrefix, StickyForm},
    rules::scopes,
    wire::{
        callback::Callback,
        frame::{self, Access},
        json::is_too_deep,
        params::{Params, decode_segment},
        path::{Endpoint, FrameForm},
        provision::{Body, Entity},
        upstream::{self, Upstream},
    },
};

/// A scope says the same after it was written and read, and only ever narrows.
pub fn scope(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    // Two scopes, of which one asks for a part of the other.
    let (held, asked) = text.split_once('\n').unwrap_or((text, ""));
    let (Ok(held), Ok(asked)) = (held.parse::<Scope>(), asked.parse::<Scope>()) else { return };
    assert_eq!(held.to_string().parse(), Ok(held.clone()));
    if let Ok(refreshed) = scopes::refreshed(&held, &asked) {
        for field in Field::ALL.into_iter().filter(|field| held.has(*field)) {
            let allowed: Vec<_> = held.values(field).collect();
            assert!(refreshed.values(field).all(|value| allowed.contains(&value)), "{refreshed}");
        }
    }
    let (bus, channel): (BusName, ChannelName) = ("b".parse().unwrap(), "c".parse().unwrap());
    if let Ok(anonymous) = scopes::anonymous(&held, Some(&bus), &channel) {
        assert!(anonymous.to_string().ends_with("bus:b channel:c"), "{anonymous}");
    }
}

/// Parameters and path segments are decoded once, and a bounded number of them.
pub fn params(bytes: &[u8]) {
    let params = Params::parse(bytes);
    for name in ["callback", "since", "block", "access_token", "scope", "code"] {
        if let Some(value) = params.non_blank(name) {
            assert!(!value.trim().is_empty());
            assert_eq!(params.first(name), Some(value));
        }
    }
    let Ok(text) = from_utf8(bytes) else { return };
    assert!(decode_segment(text).is_none_or(|decoded| decoded.len() <= text.len()));
    // How an endpoint is labelled in metrics comes from a closed set, whatever the path.
    assert!(Endpoint::parse(text).label().bytes().all(|byte| byte.is_ascii_graphic()));
}

/// A callback that is taken can do no more than name a function, and keeps what it is called with.
pub fn callback(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let (name, content) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(Some(callback)) = Callback::from_param(Some(name)) else { return };
    assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_$.".contains(&byte)));
    let value = Value::from(content);
    let body = callback.pad(value.to_string().as_bytes(), PaddingPrefix::None);
    let body = from_utf8(&body).unwrap();
    assert!(!body.contains(['<', '\u{2028}', '\u{2029}']), "{body}");
    let json = body.strip_prefix(name).and_then(|rest| rest.strip_prefix('('));
    let json = json.and_then(|rest| rest.strip_suffix(");")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(json).unwrap(), value);
}

/// A posted message that is taken is shown as JSON that holds the payload as it was written.
pub fn message(bytes: &[u8]) {
    let (bus, channel): (BusName, ChannelName) = ("b".parse().unwrap(), "c".parse().unwrap());
    for message in upstream::parse_list(bytes, &channel).unwrap_or_default() {
        shown(&stored(message, &bus), bytes);
    }
    let Ok(upstream) = Upstream::parse(bytes) else { return };
    let (_, _) = (upstream.bus(), upstream.channel());
    if let Ok(content) = upstream.content() {
        assert!(!content.kind.as_str().contains(' '));
        let source = "https://comments.example/".parse().unwrap();
        shown(&stored(content.into_message(channel, source), &bus), bytes);
    }
}

fn stored(new: NewMessage, bus: &BusName) -> Message {
    Message {
        id: "2024-03-09T14:05:21.337Z-0000000000".parse::<MessageId>().unwrap(),
        bus: bus.clone(),
        channel: new.channel,
        source: new.source,
        kind: new.kind,
        sticky: new.sticky,
        expires_at: new.expires_at.unwrap_or(Timestamp::MAX),
        payload: new.payload,
        headers: new.headers,
    }
}

fn shown(message: &Message, posted: &[u8]) {
    assert!(!is_too_deep(posted));
    let payload = message.payload.as_str();
    assert!(posted.windows(payload.len()).any(|part| part == payload.as_bytes()));
    let full = frame::two(message, Access::Full, "https://a/v2/message/", StickyForm::Boolean);
    let header = frame::two(message, Access::Header, "https://a/v2/message/", StickyForm::Boolean);
    for shown in [&full, &header, &frame::one(message, FrameForm::WithExpire)] {
        from_slice::<&RawValue>(shown).unwrap();
    }
    assert!(!from_utf8(&header).unwrap().contains("\"payload\":"));
    assert!(full.ends_with(format!("{payload}}}").as_bytes()));
}

/// The body of a provisioning request is read or refused, and what it keeps secret never shows.
pub fn provision(bytes: &[u8]) {
    let Ok(body) = Body::parse(bytes) else { return };
    assert!(!is_too_deep(bytes));
    let names = body.entities().unwrap_or_default();
    let grants = body.grants().unwrap_or_default();
    assert!(names.len() <= 1000 && grants.len() <= 1000);
    let entities = [Entity::V1Bus, Entity::User, Entity::V2Bus, Entity::Owner, Entity::Client];
    for config in entities.iter().flat_map(|entity| body.configs(*entity).unwrap_or_default()) {
        if let Ok(client) = config.client() {
            assert_eq!(config.password().ok().as_ref(), Some(&client.secret));
            assert!(format!("{:?}", client.secret).len() < 12);
        }
        let times = [config.v1_bus().map(|bus| bus.times), config.v2_bus().map(|bus| bus.times)];
        for times in times.into_iter().flatten() {
            let kept = times.on(buswire_message::Retention::default());
            assert!(kept.default_time().as_secs() <= 604_800);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(target: &str, play: fn(&[u8])) {
        let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
        let mut played = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            let run = std::panic::catch_unwind(|| play(&bytes));
            assert!(run.is_ok(), "{}", path.display());
            played += 1;
        }
        assert!(played >= 10, "{target}: {played} files");
    }

    #[test]
    fn every_file_of_the_corpora_is_read_or_refused() {
        // Rule: backplane §17 row 30 — no input stops a parser: scopes, parameters, callbacks, bodies
        replay("scope", scope);
        replay("params", params);
        replay("callback", callback);
        replay("message", message);
        replay("provision", provision);
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            for play in [scope, params, callback, message, provision] {
                play(&bytes);
            }
        }
    }
}
