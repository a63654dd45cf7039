//! `bus.publish`, `bus.read` and `cap.invoke` for Majordomo clients of pyzmq, frame by frame.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{fs, process::Command};

use buswire_integration_tests::{Gateway, Peer, binary, python, until};
use serde_json::{Value, json};

/// Key pairs of the ZeroMQ manual: public and secret.
const BROKER: [&str; 2] =
    ["rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7", "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"];
const CLIENT: [&str; 2] =
    ["Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"];
const MESSAGE: &str =
    r#"{"channel":"c","payload":{"z":1.00000000000000000001, "a":1e2},"type":"t"}"#;
/// The payload of it, which is published as it is spelt.
const PAYLOAD: &str = r#"{"z":1.00000000000000000001, "a":1e2}"#;

fn granted(gateway: &Gateway, kind: &str, options: &[&str]) -> [String; 2] {
    let granted = gateway.admin(&[&["cap", "grant", kind][..], options].concat());
    let granted: Value = serde_json::from_str(&granted).unwrap();
    ["cap", "handle"].map(|member| granted[member].as_str().unwrap().to_owned())
}

fn grant(gateway: &Gateway, kind: &str, options: &[&str]) -> String {
    let [cap, _handle] = granted(gateway, kind, options);
    cap
}

fn ask(gateway: &Gateway, service: &str, frames: &[&str]) -> Peer {
    python("mdp_client", &[&[gateway.bound().mdp.as_str(), service], frames].concat())
}

/// The frames after the header and the service.
fn answer(client: &Peer, service: &str) -> Vec<String> {
    let frames: Vec<String> = serde_json::from_value(client.json()).unwrap();
    assert_eq!(frames[..2], ["MDPC01", service]);
    frames[2..].to_vec()
}

fn call(gateway: &Gateway, service: &str, frames: &[&str]) -> Vec<String> {
    answer(&ask(gateway, service, frames), service)
}

#[test]
fn publishing_is_answered_with_the_id_and_reading_with_the_messages() {
    // Rule: mdp gateway services — bus.publish answers [200][id], bus.read [200][JSON]
    let gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", "b"]);
    let [write, handle] = granted(&gateway, "bus.publish", &["--target", r#"{"bus":"b"}"#]);
    let read = grant(&gateway, "bus.read", &["--target", r#"{"bus":"b"}"#]);
    let published = call(&gateway, "bus.publish", &[&write, MESSAGE]);
    let [status, id] = published.as_slice() else { panic!("{published:?}") };
    assert_eq!(status, "200");
    let stored = gateway.admin(&["message", "read", "--scope", "bus:b"]);
    assert!(stored.contains(&format!("\"payload\":{PAYLOAD}")), "{stored}");
    let trace = gateway.admin(&["trace", id]);
    assert!(trace.contains("by majordomo"), "the door that it came in by: {trace}");
    // A capability that may only GET is enough for a read without parameters.
    let get = ["--target", r#"{"bus":"b"}"#, "--limits", r#"{"methods":["GET"]}"#];
    let get = grant(&gateway, "bus.read", &get);
    for frames in [&[read.as_str()][..], &[&read, ""], &[&get, ""], &[&read, r#"{"block":0}"#]] {
        let shown = call(&gateway, "bus.read", frames);
        let [status, body] = shown.as_slice() else { panic!("{shown:?}") };
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!((status.as_str(), &body["messages"][0]["id"]), ("200", &json!(id)));
        assert_eq!(body["messages"][0]["payload"], json!({"z": 1.0, "a": 100.0}));
        assert_eq!((&body["next"], &body["more"]), (&json!(id), &json!(false)));
    }
    let wait = json!({"since": id, "block": 15}).to_string();
    let waiting = ask(&gateway, "bus.read", &[&read, &wait]);
    let sticky = r#"{"channel":"c","type":"t","payload":2,"sticky":true}"#;
    let second = call(&gateway, "bus.publish", &[&write, sticky]);
    let shown = answer(&waiting, "bus.read");
    let body: Value = serde_json::from_str(&shown[1]).unwrap();
    let messages = body["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &messages[0]["id"]), (1, &json!(second[1])), "only what is new");
    assert_eq!(messages[0]["sticky"], true);
    gateway.admin(&["cap", "revoke", &handle]);
    assert_eq!(call(&gateway, "bus.publish", &[&write, MESSAGE]), ["404", "not found"]);
}

#[test]
fn invoking_is_answered_with_the_result_or_an_empty_frame() {
    // Rule: mdp gateway services — cap.invoke answers [status][bcapJson or empty]
    let gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", "b"]);
    let write = grant(&gateway, "bus.publish", &["--target", r#"{"bus":"b","channel":"c"}"#]);
    let posted = call(&gateway, "cap.invoke", &[&write, "POST", r#"{"type":"t","payload":1}"#]);
    let [status, result] = posted.as_slice() else { panic!("{posted:?}") };
    let result: Value = serde_json::from_str(result).unwrap();
    assert_eq!((status.as_str(), result["id"].as_str().unwrap().len()), ("200", 35));
    let read = grant(&gateway, "bus.read", &["--target", r#"{"bus":"b"}"#]);
    for frames in [&[read.as_str(), "GET"][..], &[&read, "GET", ""], &[&read, "POST", "{}"]] {
        let shown = call(&gateway, "cap.invoke", frames);
        let body: Value = serde_json::from_str(&shown[1]).unwrap();
        assert_eq!((shown[0].as_str(), body["messages"].as_array().unwrap().len()), ("200", 1));
    }
}

#[test]
fn every_failure_is_a_status_and_a_text() {
    // Rule: mdp gateway services — a failure answers [status][text], with nothing of a secret in it
    let gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", "b"]);
    let write = grant(&gateway, "bus.publish", &["--target", r#"{"bus":"b","channel":"c"}"#]);
    let read = grant(&gateway, "bus.read", &["--target", r#"{"bus":"b"}"#]);
    let (unknown, elsewhere) = (
        gateway.url(&format!("/cap/{}", "A".repeat(43))),
        format!("https://elsewhere.example/cap/{}", "A".repeat(43)),
    );
    let other_channel = r#"{"channel":"d","type":"t","payload":1}"#;
    let cases: [(&str, &[&str], [&str; 2]); 18] = [
        ("bus.publish", &[], ["400", "bad request"]),
        ("bus.publish", &[&write], ["400", "bad request"]),
        ("bus.publish", &[&write, "{"], ["400", "bad request"]),
        ("bus.publish", &[&write, "[]"], ["400", "bad request"]),
        ("bus.publish", &[&write, r#"{"type":"t"}"#], ["400", "bad request"]),
        ("bus.publish", &[&write, MESSAGE, "more"], ["400", "bad request"]),
        ("bus.publish", &[&write, other_channel], ["403", "forbidden"]),
        ("bus.publish", &[&read, MESSAGE], ["403", "forbidden"]),
        ("bus.publish", &[&unknown, MESSAGE], ["404", "not found"]),
        ("bus.publish", &[&elsewhere, MESSAGE], ["404", "not found"]),
        ("bus.publish", &["", MESSAGE], ["404", "not found"]),
        ("bus.publish", &["bus:b", MESSAGE], ["403", "forbidden"]),
        ("bus.read", &[&write], ["403", "forbidden"]),
        ("bus.read", &[&read, r#"{"block":-1}"#], ["400", "bad request"]),
        ("bus.read", &[&read, r#"{"until":1}"#], ["400", "bad request"]),
        ("cap.invoke", &[&write], ["400", "bad request"]),
        ("cap.invoke", &[&write, "SHOUT"], ["400", "bad request"]),
        ("cap.invoke", &["bus:b", "GET"], ["403", "forbidden"]),
    ];
    for (service, frames, expected) in cases {
        assert_eq!(call(&gateway, service, frames), expected, "{service} {frames:?}");
    }
    assert_eq!(call(&gateway, "cap.invoke", &[&write, "GET"])[0], "405");
}

#[test]
fn a_key_that_the_configuration_names_needs_no_capability() {
    // Rule: mdp gateway services — a call without a capability comes from a CURVE key that is named
    let keys = tempfile::NamedTempFile::new().unwrap();
    fs::write(keys.path(), BROKER[1]).unwrap();
    let file = format!(
        "[mdp.curve]\nsecret_key_file = {:?}\nallowed_keys = ['{}', '{}']\n\
         [[mdp.key_rights]]\nkey = '{}'\npublish = \"bus:b channel:c\"\nread = \"bus:b type:t\"\n",
        keys.path(),
        CLIENT[0],
        BROKER[0],
        CLIENT[0]
    );
    let gateway = Gateway::builder().file(&file).start();
    gateway.admin(&["bus", "create", "b"]);
    let call_with = |[public, secret]: [&str; 2], service: &str, frames: &[&str]| {
        let words = ["--curve", BROKER[0], public, secret, gateway.bound().mdp.as_str(), service];
        answer(&python("mdp_client", &[&words[..], frames].concat()), service)
    };
    let published = call_with(CLIENT, "bus.publish", &["bus:b", MESSAGE]);
    assert_eq!((published[0].as_str(), published[1].len()), ("200", 35));
    let fixed = r#"{"type":"hidden","payload":1}"#;
    assert_eq!(call_with(CLIENT, "bus.publish", &["bus:b/c", fixed])[0], "200");
    for frames in [&["bus:b"][..], &["bus:b/c", ""]] {
        let shown = call_with(CLIENT, "bus.read", frames);
        let body: Value = serde_json::from_str(&shown[1]).unwrap();
        let messages = body["messages"].as_array().unwrap();
        assert_eq!((shown[0].as_str(), messages.len()), ("200", 1), "of the type in its right");
        assert_eq!(messages[0]["id"], json!(published[1]));
    }
    let other_channel = r#"{"channel":"d","type":"t","payload":1}"#;
    let refused: [([&str; 2], &str, &[&str]); 6] = [
        (CLIENT, "bus.publish", &["bus:b", other_channel]),
        (CLIENT, "bus.publish", &["bus:b/d", other_channel]),
        (CLIENT, "bus.publish", &["bus:other", MESSAGE]),
        (CLIENT, "bus.read", &["bus:other"]),
        (BROKER, "bus.publish", &["bus:b", MESSAGE]),
        (BROKER, "bus.read", &["bus:b"]),
    ];
    for (pair, service, frames) in refused {
        assert_eq!(call_with(pair, service, frames), ["403", "forbidden"], "{service} {frames:?}");
    }
    let write = grant(&gateway, "bus.publish", &["--target", r#"{"bus":"b","channel":"d"}"#]);
    assert_eq!(call_with(BROKER, "bus.publish", &[&write, other_channel])[0], "200");
    let (without_rights, _) = file.split_once("[[mdp.key_rights]]").unwrap();
    fs::write(gateway.path("buswire.toml"), without_rights).unwrap();
    gateway.signal("HUP");
    until("the right is taken away on SIGHUP", || {
        (call_with(CLIENT, "bus.read", &["bus:b"]) == ["403", "forbidden"]).then_some(())
    });
}

#[test]
fn rights_of_a_key_that_may_not_connect_are_a_mistake() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let rights = format!("[[mdp.key_rights]]\nkey = '{}'\nread = \"type:t\"\n", CLIENT[0]);
    fs::write(file.path(), rights).unwrap();
    let mut check = Command::new(binary());
    let output = check.arg("check-config").arg("--config").arg(file.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("is not in mdp.curve.allowed_keys"), "{errors}");
    assert!(
        errors.contains("mdp.key_rights[0].read") && errors.contains("names no bus"),
        "{errors}"
    );
}
