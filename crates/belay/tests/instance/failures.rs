//! Errors between instances (Belay §7).

use buswire_belay::{BcapError, MethodSet, instance::Failure};
use serde_json::{Value, json};

#[test]
fn every_status_has_its_text() {
    // Rule: belay 7.2 — the messages are those of the table
    let table = [
        (0, ""),
        (400, "bad request"),
        (403, "forbidden"),
        (404, "not found"),
        (405, "method not allowed"),
        (413, "too large"),
        (415, "unsupported media type"),
        (429, "too many requests"),
        (500, "internal server error"),
        (503, "unavailable"),
        (504, "timeout"),
        (299, ""),
    ];
    for (status, message) in table {
        assert_eq!(Failure::of_status(status), Failure::new(status, message));
    }
    assert_eq!(Failure::from(BcapError::NotFound), Failure::of_status(404));
    let allow = MethodSet::NONE;
    assert_eq!(Failure::from(BcapError::MethodNotAllowed { allow }), Failure::of_status(405));
}

#[test]
fn an_error_is_a_status_and_a_message() {
    // Rule: belay 7.1 — an error has an integer status and a message
    let error = Failure::new(405, "method not allowed");
    assert_eq!(
        serde_json::to_value(&error).unwrap(),
        json!({"status": 405, "message": "method not allowed"})
    );
    assert_eq!(error.to_string(), "405 method not allowed");
    let network = json!({"status": 0, "message": "", "reason": "network"});
    assert_eq!(serde_json::to_value(Failure::network()).unwrap(), network);
    assert_eq!(Failure::from_json(&network), Failure::network());
}

#[test]
fn an_answer_says_why_in_its_body_or_its_reason() {
    // Rule: belay 21.5 — the message is the body's, else the reason phrase, else the standard text
    let body = r#"{"error":{"status":404,"message":"gone"}}"#;
    assert_eq!(Failure::of_answer(404, "Not Found", body), Failure::new(404, "gone"));
    for body in ["", "<html>", "{}", r#"{"error":"x"}"#, r#"{"error":{"message":5}}"#] {
        assert_eq!(Failure::of_answer(404, "Not Found", body), Failure::new(404, "Not Found"));
        assert_eq!(Failure::of_answer(404, "", body), Failure::of_status(404));
    }
}

#[test]
fn what_others_call_an_error_is_made_one() {
    // Rule: belay 6.5 — an error without integer status is a 500, one without text has the standard one
    let cases: [(Value, Failure); 9] = [
        (json!({"status": 418, "message": "tea"}), Failure::new(418, "tea")),
        (json!({"status": 418, "message": "tea", "stack": "at"}), Failure::new(418, "tea")),
        (json!({"status": 404}), Failure::of_status(404)),
        (json!({"status": 404, "message": 5}), Failure::of_status(404)),
        (json!({"status": "404", "message": "x"}), Failure::new(500, "x")),
        (json!({"status": 4.5}), Failure::of_status(500)),
        (json!({"status": 70000}), Failure::of_status(500)),
        (json!("oops"), Failure::of_status(500)),
        (json!(null), Failure::of_status(500)),
    ];
    for (error, expected) in cases {
        assert_eq!(Failure::from_json(&error), expected, "{error}");
    }
}
