//! Messages that a route gave up: found, understood, mended and tried again from the command line.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use buswire_integration_tests::{Gateway, again, until};
use serde_json::{Value, json};

fn json_of(gateway: &Gateway, arguments: &[&str]) -> Value {
    let text = gateway.admin(&[arguments, &["--output", "json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
}

fn publish(gateway: &Gateway, payload: &str) -> String {
    let message = ["--bus", "from.example", "--channel", "c", "--type", "t", "--payload", payload];
    gateway.admin(&[&["message", "publish"], &message[..]].concat()).trim().to_owned()
}

fn delivered(gateway: &Gateway, count: &str) -> Vec<Value> {
    let tail = ["message", "tail", "--scope", "bus:to.example", "--count", count];
    let lines = gateway.admin(&tail);
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A route whose bus was deleted, and the ids of two messages that it gave up.
fn with_dead_letters() -> (Gateway, [String; 2]) {
    let gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", "from.example"]);
    gateway.admin(&["bus", "create", "to.example"]);
    let route = ["route", "create", "r", "--scope", "bus:from.example", "--sink", "bus:to.example"];
    let hard = ["--max-attempts", "2", "--first-delay", "1ms"];
    gateway.admin(&[&route[..], &hard].concat());
    gateway.admin(&["bus", "delete", "to.example"]);
    let ids = [r#"{"n":1.0}"#, r#"{"n":2.0}"#].map(|payload| publish(&gateway, payload));
    until("both messages are given up", || {
        let shown = json_of(&gateway, &["route", "show", "r"]);
        (shown["dead_letters_kept"] == 2).then_some(())
    });
    (gateway, ids)
}

#[test]
fn dead_letters_are_listed_shown_replayed_and_dropped() {
    let (mut gateway, [first, second]) = with_dead_letters();
    // The log says what kind of failure it was, and not what may quote the message.
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("a message became a dead letter")).unwrap();
    assert!(line.contains("class=\"unavailable\"") && !line.contains("no such bus"), "{line}");
    // They are stored before anybody hears of them.
    gateway.kill();
    gateway.start();
    let listed = json_of(&gateway, &["dead-letter", "list", "r"]);
    assert_eq!((&listed[0]["id"], &listed[1]["id"]), (&json!(first), &json!(second)));
    let shown = json_of(&gateway, &["dead-letter", "show", "r", &first]);
    assert_eq!((&shown["message"]["payload"], &shown["attempts"]), (&json!({"n": 1.0}), &json!(2)));
    let errors: Vec<_> = shown["failures"].as_array().unwrap().iter().collect();
    assert_eq!(errors.len(), 2);
    assert!(errors[0]["error"].as_str().unwrap().contains("to.example"), "{errors:?}");

    let again = gateway.command(&["dead-letter", "replay", "r", &first]);
    assert_eq!(again.status.code(), Some(1));
    let text = String::from_utf8_lossy(&again.stdout);
    assert!(text.ends_with("0 delivered, 1 failed again\n"), "{text}");
    gateway.admin(&["bus", "create", "to.example"]);
    let again = gateway.admin(&["dead-letter", "replay", "r", &first]);
    assert_eq!(again, format!("{first} delivered\n1 delivered, 0 failed again"));
    assert_eq!(delivered(&gateway, "1")[0]["payload"], json!({"n": 1.0}));

    let dropped = gateway.admin(&["dead-letter", "drop", "r", "--all"]);
    assert_eq!(dropped, "1 dropped");
    assert_eq!(json_of(&gateway, &["dead-letter", "list", "r"]), json!([]));
    let gone = gateway.command(&["dead-letter", "show", "r", &second]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("no dead letter"));
}

#[test]
fn a_route_is_mended_and_its_dead_letters_follow() {
    let (gateway, _) = with_dead_letters();
    gateway.admin(&["bus", "create", "to.example"]);
    let rules = ["--map", "type:copy", "--map", "channel:archive", "--map", "field:number=/n"];
    gateway.admin(&[&["route", "change", "r"], &rules[..]].concat());
    gateway.admin(&["dead-letter", "replay", "r", "--all"]);
    publish(&gateway, r#"{"n":3.0}"#);
    let copies = delivered(&gateway, "3");
    for (number, copy) in (1..).zip(&copies) {
        assert_eq!((&copy["type"], &copy["channel"]), (&json!("copy"), &json!("archive")));
        assert_eq!(copy["payload"], json!({"number": f64::from(number)}));
    }
    let wrong = ["route", "change", "r", "--scope", "type:x", "--map", "script:x", "--sink", "x:"];
    let refused = gateway.command(&wrong);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    for problem in ["scope: ", "map: ", "sink: "] {
        assert!(text.contains(problem), "{text}");
    }
    let nowhere = ["route", "create", "n", "--scope", "type:x", "--sink", "bus:nowhere.example"];
    let text = String::from_utf8_lossy(&gateway.command(&nowhere).stderr).into_owned();
    for problem in ["scope: name at least one bus", "sink: there is no bus nowhere.example"] {
        assert!(text.contains(problem), "{text}");
    }
    let nothing = gateway.command(&["route", "change", "r"]);
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("at least one"));
}

#[test]
fn a_trace_follows_a_message_through_every_hop() {
    let (gateway, [first, _]) = with_dead_letters();
    gateway.admin(&["bus", "create", "to.example"]);
    gateway.admin(&["bus", "create", "last.example"]);
    let on = ["route", "create", "on", "--scope", "bus:to.example", "--sink", "bus:last.example"];
    gateway.admin(&on);
    let dead = gateway.admin(&["trace", &first]);
    let (trace, rest) = dead.split_once('\n').unwrap();
    let is_id = trace.strip_prefix("trace ").is_some_and(|id| id.len() == 32);
    let lines: Vec<_> = rest.lines().collect();
    assert!(is_id && lines.len() == 4, "{dead}");
    assert_eq!(lines[0], format!("{first} * t on from.example/c by admin"));
    assert!(lines[1].starts_with("└ r → bus:to.example: dead letter after 2 attempts +"), "{dead}");
    assert!(lines[2].contains("  ├ failed: bus to.example: there is no such bus"), "{dead}");

    let id = publish(&gateway, r#"{"n":3.0}"#);
    gateway.admin(&["trace", &id, "--follow"]);
    // The trace is the same from whichever of its messages one looks.
    let copy = delivered(&gateway, "1")[0]["id"].as_str().unwrap().to_owned();
    until("the last hop is made", || {
        let trace = json_of(&gateway, &["trace", &copy]);
        (trace["passages"][0]["results"][0]["passages"][0]["state"] == "delivered").then_some(())
    });
    let trace = json_of(&gateway, &["trace", &copy]);
    assert_eq!(trace["id"], json!(id));
    let passage = &trace["passages"][0];
    assert_eq!((&passage["state"], &passage["attempts"]), (&json!("delivered"), &json!(1)));
    assert_eq!(passage["results"][0]["id"], json!(copy));
    let last = &passage["results"][0]["passages"][0]["results"][0];
    assert_eq!((&last["bus"], &last["passages"]), (&json!("last.example"), &json!([])));

    let unknown = gateway.command(&["trace", "2020-01-01T00:00:00.000Z-0000000000"]);
    assert_eq!(unknown.status.code(), Some(1));
}

#[test]
fn dead_letters_and_traces_are_the_same_at_every_gateway() {
    again(
        2,
        &[
            "dead_letters_are_listed_shown_replayed_and_dropped",
            "a_trace_follows_a_message_through_every_hop",
        ],
    );
}
