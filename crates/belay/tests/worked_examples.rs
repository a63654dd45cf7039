//! The worked examples of Belay §25, which are data for other languages too.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{fs, sync::Mutex};

use buswire_belay::{
    Bcap, BcapValue, InstanceId, Members, PreImage, Serialisation, WireLimits, decode, encode,
    new_uuid,
};
use buswire_message::Entropy;
use serde_json::Value;

fn data(name: &str) -> Value {
    let path = format!("{}/tests/data/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap())
}

/// A value of which `{"$cap": TEXT}` is a capability.
fn value(json: &Value) -> BcapValue {
    match json {
        Value::Array(items) => items.iter().map(value).collect::<Vec<_>>().into(),
        Value::Object(members) => match members.get("$cap") {
            Some(text) => Bcap::restore(text.as_str().unwrap()).into(),
            None => members
                .iter()
                .fold(Members::new(), |all, (name, member)| all.with(name, value(member)))
                .into(),
        },
        plain => BcapValue::from_json(plain.clone()).unwrap(),
    }
}

/// Gives the bytes that it was made with.
#[derive(Debug)]
struct Fixed(Mutex<Vec<u8>>);

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0.lock().unwrap().drain(..bytes.len()).collect::<Vec<_>>());
    }
}

#[test]
fn bcap_json_encodes_and_decodes() {
    // Rule: belay 25.1 — the worked examples of bcapJson
    // Rule: belay 4.1 — objects, strings, numbers, booleans, null, arrays and capabilities are values
    // Rule: belay 4.2 — a value is wrapped, capabilities become {"@": serialisation}
    let data = data("bcap_json");
    for example in data["examples"].as_array().unwrap() {
        let text = example["text"].as_str().unwrap();
        let decoded = decode(text.as_bytes(), WireLimits::default()).unwrap();
        assert_eq!(encode(decoded.as_ref(), WireLimits::default()).unwrap(), text);
        // Members of the data are in another order than those of the text, so JSON is compared.
        let encoded =
            encode(example.get("value").map(value).as_ref(), WireLimits::default()).unwrap();
        let json = |text: &str| serde_json::from_str::<Value>(text).ok();
        assert_eq!(json(&encoded), json(text));
    }
    // Rule: belay 4 — what is not bcapJson is refused
    for text in texts(&data["rejected"]) {
        assert!(decode(text.as_bytes(), WireLimits::default()).is_err(), "{text}");
    }
}

#[test]
fn a_uuid_is_made_of_random_numbers_in_drawing_order() {
    // Rule: belay 2.1 — a UUID has version 4 and the variant of RFC 9562, in lower-case text form
    let uuid = &data("identifiers")["uuid"];
    let numbers = texts(&uuid["numbers"]).map(|number| u16::from_str_radix(number, 16).unwrap());
    let bytes: Vec<u8> = numbers.flat_map(u16::to_be_bytes).collect();
    let text = new_uuid(&Fixed(Mutex::new(bytes)));
    assert_eq!(text.expose(), uuid["text"].as_str().unwrap());
}

#[test]
fn instance_ids_are_hashes_of_pre_images() {
    // Rule: belay 2.2 — SHA-1 is taken of the text with hyphens and printed in 40 digits
    // Rule: belay 2.2 — SHA-256/128 is taken of the sixteen raw bytes and printed in 32 digits
    // Rule: belay 18 D1 — the SHA-1 form is produced, and both functions are there
    let data = data("identifiers");
    for vector in data["pre_images"].as_array().unwrap() {
        let pre_image = PreImage::parse(vector["pre_image"].as_str().unwrap()).unwrap();
        assert_eq!(pre_image.sha256_instance_id().as_str(), vector["sha256"].as_str().unwrap());
        if let Some(sha1) = vector["sha1"].as_str() {
            assert_eq!(pre_image.sha1_instance_id(), InstanceId::Sha1(sha1.to_owned()));
        }
        assert_eq!(format!("{pre_image:?}"), "PreImage(…)");
    }
    // Rule: belay 2.2 — a pre-image that is no v4 UUID in canonical form is refused, not folded
    for text in texts(&data["no_pre_images"]) {
        assert_eq!(PreImage::parse(text), None, "{text}");
    }
}

#[test]
fn serialisations_parse_and_print_again() {
    // Rule: belay 25.2 — the worked examples of serialisations
    // Rule: belay 3.1 — a serialisation is decoded from the right, so that origins fit
    // Rule: belay 2.2 — an instance id is a UUID, 32 or 40 hex digits, or an origin
    let data = data("serialisations");
    for example in data["examples"].as_array().unwrap() {
        let text = example["text"].as_str().unwrap();
        assert_eq!(text.len(), usize::try_from(example["length"].as_u64().unwrap()).unwrap());
        let parsed = Serialisation::parse(text).unwrap();
        assert_eq!(parsed.to_text(), text);
        let Serialisation::Urn { instance, cap } = parsed else { panic!("{text}") };
        assert_eq!(instance.as_str(), example["instance"].as_str().unwrap());
        assert_eq!(cap.expose(), example["cap"].as_str().unwrap());
        let kind = match instance {
            InstanceId::Temporary(_) => "temporary",
            InstanceId::Sha1(_) => "sha1",
            InstanceId::Sha256(_) => "sha256",
            InstanceId::Origin(_) => "origin",
        };
        assert_eq!(kind, example["kind"].as_str().unwrap());
    }
    // Rule: belay 3.1 — unparsable texts are dead capabilities: wrong prefix, case or length
    // Rule: belay 18 D19 — urn-x-cap is a typing error and is not read
    for text in texts(&data["unparsable"]) {
        assert_eq!(Serialisation::parse(text), None, "{text}");
    }
}
