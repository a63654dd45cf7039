//! Snapshots and restoring (Belay §6.1, §6.11, §25.3).

use std::{fs, sync::Arc};

use buswire_belay::{
    Bcap, BcapValue, InstanceId,
    instance::{CapServer, SnapshotError},
};
use buswire_testkit::SeededEntropy;
use serde_json::{Value, json};

use super::{Answers, constant, get, restarted, server, status};

fn entropy() -> Arc<SeededEntropy> {
    Arc::new(SeededEntropy::new(9))
}

#[test]
fn the_worked_example_is_read_and_written() {
    // Rule: belay 25.3 — the worked example of a snapshot
    // Rule: belay 6.11 — a snapshot holds the instance, named grants and wraps
    let path = format!("{}/tests/data/snapshot.json", env!("CARGO_MANIFEST_DIR"));
    let example: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let text = |name: &str| example[name].as_str().unwrap();
    let instance = InstanceId::parse(text("id")).unwrap();
    let server = CapServer::from_snapshot(instance, entropy(), text("text")).unwrap();
    let name = text("name").to_owned();
    server.set_named_handler(name, |_, args| Ok::<_, String>(constant(args.to_vec()).into()));
    let args = get(&server.restore(text("named"))).unwrap();
    let args = args.as_array().unwrap();
    assert_eq!(args[0].as_str(), example["args"][0].as_str());
    // Rule: belay 6.11 — capabilities inside the arguments are {"@": …}
    assert_eq!(args[1].as_cap().unwrap().expose(), example["args"][1]["$cap"].as_str().unwrap());
    let inner = text("inner").to_owned();
    server.set_resolver(move |instance| {
        let public: Arc<dyn buswire_belay::instance::Interface> =
            Arc::new(Seen(format!("urn:x-cap:{}:", instance.as_str()), inner.clone()));
        Some(public)
    });
    assert_eq!(get(&server.restore(text("wrap"))), Some("inner".into()));
    let mut expected: Value = serde_json::from_str(text("text")).unwrap();
    expected["v"] = json!(1);
    let written: Value = serde_json::from_str(server.serialize().expose()).unwrap();
    assert_eq!(written, expected);
}

/// Knows one capability of one instance.
#[derive(Debug)]
struct Seen(String, String);

impl buswire_belay::instance::Interface for Seen {
    fn invoke<'a>(
        &'a self,
        serialisation: &'a str,
        _method: &'a str,
        _data: Option<String>,
    ) -> futures::future::BoxFuture<'a, buswire_belay::instance::WireResult> {
        assert!(serialisation.starts_with(&self.0));
        assert_eq!(serialisation, self.1);
        Box::pin(async { Ok(Some(r#"{"value":"inner"}"#.to_owned())) })
    }
}

#[test]
fn plain_grants_do_not_survive_and_wraps_do() {
    // Rule: belay 6.2 — plain grants are not in the snapshot
    // Rule: belay 6.7 — wrap survives a restart, grant of a capability does not
    let first = server(1);
    first.set_named_handler("n", |_, _| Ok::<_, String>(constant(1).into()));
    let named = first.grant_named("n", vec![]).unwrap();
    let plain = first.grant(named.clone()).unwrap();
    let wrapped = first.wrap(&named).unwrap();
    let twice = first.wrap(&wrapped).unwrap();
    let second = restarted(&first, 2);
    second.set_named_handler("n", |_, _| Ok::<_, String>(constant(2).into()));
    let again = |cap: &buswire_belay::instance::Capability| second.restore(cap.serialize().clone());
    assert_eq!(status(&again(&plain), "GET", None), 404);
    assert_eq!((get(&again(&wrapped)), get(&again(&twice))), (Some(2.into()), Some(2.into())));
    second.revoke(again(&wrapped));
    assert_eq!(status(&again(&twice), "GET", None), 404);
    assert_eq!(get(&again(&named)), Some(2.into()));
    // Rule: belay 6.9 — a revoked capability is never reinstated, after a restart neither
    let third = restarted(&second, 3);
    third.set_named_handler("n", |_, _| Ok::<_, String>(constant(3).into()));
    assert_eq!(status(&third.restore(wrapped.serialize().clone()), "GET", None), 404);
}

#[test]
fn what_was_granted_under_an_older_id_is_still_ours() {
    // Rule: belay 6.1 — the id of a snapshot is an alias for the public side and for revoke
    let mut server = server(1);
    let cap = server.grant_named("n", vec![]).unwrap();
    for seed in 2..5 {
        server = restarted(&server, seed);
        server.set_named_handler("n", |_, _| Ok::<_, String>(constant(1).into()));
        assert_eq!(get(&server.restore(cap.serialize().clone())), Some(1.into()));
    }
    server.revoke(&cap);
    assert_eq!(status(&server.restore(cap.serialize().clone()), "GET", None), 404);
}

#[test]
fn any_text_is_restored_and_garbage_is_dead() {
    // Rule: belay 6.11 — restore never fails; garbage gives a dead capability
    // Rule: belay 3.1 — garbage is a dead capability
    // Rule: belay 18 D13 — a dead capability answers 404
    let server = server(1);
    let unknown = format!(
        "urn:x-cap:{}:00000000-0000-0000-0000-000000000000",
        server.instance().unwrap().as_str()
    );
    let foreign =
        "urn:x-cap:66c6bd1f4cda24069debe0efa2193f64baeae867:066401a1-00f3-4941-89df-5d74500654e4";
    for text in ["", "asdf", "urn:x-cap:", "HTTPS://a.example/", foreign, unknown.as_str()] {
        assert_eq!(status(&server.restore(text), "GET", None), 404, "{text}");
        assert_eq!(status(&server.wrap(&server.restore(text)).unwrap(), "GET", None), 404);
    }
}

#[test]
fn a_serialisation_is_location_free() {
    // Rule: belay 3.2 — a URN is invoked wherever its instance is routed, a URL by HTTP
    let (alice, bob) = (server(1), server(2));
    let cap = bob.restore(alice.grant(constant(1)).unwrap().serialize().clone());
    assert_eq!(status(&cap, "GET", None), 404);
    super::connect(&[&alice, &bob]);
    assert_eq!(get(&cap), Some(1.into()));
    let answers = Answers::new(|| Ok(Some(r#"{"value":2}"#.to_owned())));
    bob.set_transport(answers);
    assert_eq!(get(&bob.restore("http://a.example/x")), Some(2.into()));
}

#[test]
fn entries_of_unknown_kind_are_kept_until_revoked() {
    // Rule: belay 6.11 — entries of unknown kind are kept when the snapshot is written again
    let id = "066401a1-00f3-4941-89df-5d74500654e4";
    let text =
        format!(r#"{{"v":1,"id":"https://a.example","map":{{"{id}":{{"restoreFuture":[1]}}}}}}"#);
    let instance = InstanceId::parse("https://a.example").unwrap();
    let server = CapServer::from_snapshot(instance.clone(), entropy(), &text).unwrap();
    assert_eq!(server.serialize().expose(), &text);
    let cap = server.restore(format!("urn:x-cap:https://a.example:{id}"));
    assert_eq!(status(&cap, "GET", None), 404);
    server.revoke(&cap);
    assert_eq!(server.serialize().expose(), r#"{"v":1,"id":"https://a.example","map":{}}"#);
    // Rule: belay 6.1 — a malformed snapshot is refused
    let malformed = CapServer::from_snapshot(instance, entropy(), "{").map(|_| ());
    assert_eq!(malformed, Err(SnapshotError::Syntax));
}

#[test]
fn a_snapshot_that_was_tampered_with_ends() {
    let (one, other) =
        ("066401a1-00f3-4941-89df-5d74500654e4", "0fff746c-243c-476a-8eb9-9eb425d9ab81");
    let wrap = |id: &str, inner: &str| {
        format!(r#""{id}":{{"restoreCap":"urn:x-cap:https://a.example:{inner}"}}"#)
    };
    let text = format!(
        r#"{{"id":"https://a.example","map":{{{},{}}}}}"#,
        wrap(one, other),
        wrap(other, one)
    );
    let instance = InstanceId::parse("https://a.example").unwrap();
    let server = CapServer::from_snapshot(instance, entropy(), &text).unwrap();
    let round = server.restore(format!("urn:x-cap:https://a.example:{one}"));
    assert_eq!(status(&round, "GET", None), 404);
}

#[test]
fn serialisations_are_the_secret_of_a_snapshot() {
    // Rule: belay 6.11 — the text is as secret as the capabilities and does not print
    let server = server(1);
    let cap = server.grant_named("n", vec![BcapValue::from(Bcap::restore("https://a/s3cret"))]);
    let text = server.serialize();
    assert!(text.expose().contains("s3cret"));
    assert_eq!(format!("{text:?}"), "Secret(…)");
    drop(cap);
}

#[test]
fn ids_of_old_are_bounded() {
    let old = |number: u64| format!("00000000-0000-4000-8000-{number:012x}");
    let aliases: Vec<_> = (1..200).map(|number| format!("\"{}\"", old(number))).collect();
    let text = format!(r#"{{"id":"{}","aliases":[{}],"map":{{}}}}"#, old(0), aliases.join(","));
    let instance = InstanceId::parse("https://a.example").unwrap();
    let server = CapServer::from_snapshot(instance, entropy(), &text).unwrap();
    let written = server.serialize();
    assert!(written.expose().contains(&old(63)) && !written.expose().contains(&old(64)));
}
