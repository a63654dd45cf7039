//! What must hold of every input from outside: one function for each parser, on any bytes.
//!
//! The fuzz targets and the replay of their corpora run the same functions, which panic if something
//! does not hold. Nothing here is part of the crate's interface.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "what does not hold is a failed test"
)]

use std::{str::from_utf8, sync::Arc};

use buswire_message::{Entropy, Timestamp};
use futures::FutureExt as _;

use crate::{
    instance::{CapServer, InvokeError},
    limits::Limits,
    request::{ControlRequest, GrantorRequest, WrapRequest},
    target::{BusPublishTarget, BusReadTarget, PushNotifyTarget, RpcCallTarget},
    wire::{BcapValue, InstanceId, Serialisation, WireLimits, decode, decode_bare, encode},
};

/// bcapJson that is read is written again so that it says the same, and is plain JSON if it holds no
/// capability.
pub fn bcap_json(bytes: &[u8]) {
    let limits = WireLimits::default();
    let Ok(Some(value)) = decode(bytes, limits) else { return };
    let text = encode(Some(&value), limits).unwrap();
    let again = decode(text.as_bytes(), limits).unwrap();
    assert_eq!(encode(again.as_ref(), limits).as_ref(), Ok(&text));
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
    if let Ok(json) = value.to_json() {
        BcapValue::from_json(json).unwrap();
    }
}

/// A serialisation that is read is the text that it was, and any text makes a capability that can be
/// invoked to no effect.
pub fn serialisation(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let expected = match Serialisation::parse(text) {
        Some(Serialisation::Urn { instance, cap }) => {
            assert_eq!(InstanceId::parse(instance.as_str()), Some(instance.clone()));
            let parsed = Serialisation::Urn { instance, cap: cap.clone() };
            assert_eq!(parsed.to_text(), text);
            assert!(!format!("{parsed:?}").contains(cap.expose()));
            404
        }
        Some(parsed @ Serialisation::Url(_)) => {
            assert_eq!(Serialisation::parse(&parsed.to_text()), Some(parsed));
            0
        }
        None => 404,
    };
    let cap = CapServer::radish().restore(text);
    assert_eq!(cap.serialize().expose(), text);
    let Some(Err(InvokeError::Failed(failure))) = cap.get().now_or_never() else {
        unreachable!("nobody is there who could answer")
    };
    assert_eq!(failure.status(), expected);
}

/// A snapshot that is read is written again so that it says the same.
pub fn snapshot(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let restored = |text: &str| {
        let instance = InstanceId::parse("https://fuzz.example").unwrap();
        CapServer::from_snapshot(instance, Arc::new(Zeros), text)
    };
    let Ok(server) = restored(text) else { return };
    let written = server.serialize();
    assert_eq!(restored(written.expose()).unwrap().serialize(), written);
    server.revoke_named("reader", |_| true);
    server.revoke_all();
    assert!(server.serialize().expose().ends_with("\"map\":{}}"));
}

#[derive(Debug)]
struct Zeros;

impl Entropy for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

/// What is asked of a grantor, of `/belay/wrap` or of a control capability is read or refused, and
/// limits that are read say the same when they are written.
pub fn request(bytes: &[u8]) {
    let Ok(text) = from_utf8(bytes) else { return };
    let Ok(value) = decode_bare(text, WireLimits::default()) else { return };
    if let Ok(request) = GrantorRequest::parse(&value) {
        narrows(&request.grant.limits);
        let target = &request.grant.target;
        let known = [
            BusPublishTarget::parse(target).is_ok(),
            BusReadTarget::parse(target).is_ok(),
            PushNotifyTarget::parse(target).is_ok(),
            RpcCallTarget::parse(target).is_ok(),
        ];
        assert!(target.as_object().is_some() || known == [false; 4]);
    }
    if let Ok(request) = WrapRequest::parse(&value) {
        narrows(&request.limits);
    }
    if let Ok(request) = ControlRequest::parse(&value) {
        assert!(request.label.is_none_or(|label| label.as_str().len() <= 256));
    }
}

/// Whatever frames send, every call is answered once and nothing goes to who is not there.
pub fn relay(bytes: &[u8]) {
    crate::relay::fuzzing::play(bytes, Arc::new(Zeros));
}

fn narrows(limits: &Limits) {
    assert_eq!(Limits::parse(&limits.to_value()).as_ref(), Ok(limits));
    let bounds = limits.bounds();
    let itself = bounds.intersection(bounds);
    for now in [Timestamp::MAX].into_iter().chain(bounds.expires()).chain(bounds.not_before()) {
        assert_eq!(itself.is_current(now), bounds.is_current(now));
    }
    assert_eq!(itself.types(), bounds.types());
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
        // Rule: belay 4.3 — no input stops the decoder
        // Rule: belay 3.1 — no text stops the reader of serialisations
        // Rule: belay 22.4 — no message stops the relay
        replay("bcap_json", bcap_json);
        replay("serialisation", serialisation);
        replay("snapshot", snapshot);
        replay("request", request);
        replay("relay", relay);
    }

    proptest::proptest! {
        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            for play in [bcap_json, serialisation, snapshot, request, relay] {
                play(&bytes);
            }
        }
    }
}
