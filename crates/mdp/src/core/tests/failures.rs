//! What becomes of requests that get no ordinary reply (mdp.md §8.2 note 2, §12.4).

use super::*;

const WORK_AGAIN: &str = r#"V | (empty) | "MDPW01" | 02 | T2 | (empty) | "a""#;

/// A worker that had a request fell silent and was told to go; the request waits again.
fn given_up(config: CoreConfig) -> Stage {
    let mut it = busy(config);
    it.pass(Duration::from_secs(1));
    it.gets(BEAT);
    it.gets(BEAT);
    it.pass(Duration::from_secs(8));
    it.registered("echo", "404");
    it
}

#[test]
fn a_late_result_of_a_waiting_request_is_taken() {
    // Rule: mdp §8.2 — a lost worker's reply to a request that waits again is taken, DISCONNECT sent
    let mut it = given_up(CoreConfig::default());
    it.pass(ms(500));
    it.gets(DONE);
    it.says(REPLY);
    it.says(BYE);
    assert_eq!(it.core.requests_held(), 0);
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
    it.silent();
    let requests = it.core.counters().requests;
    assert_eq!((requests.late, requests.completed, it.core.counters().unsolicited), (1, 1, 0));
}

#[test]
fn a_late_result_is_not_taken_once_another_worker_has_the_request() {
    // Rule: mdp §8.2 — a late reply to a request handed out again is not forwarded
    let mut it = given_up(CoreConfig::default());
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
    it.says(WORK_AGAIN);
    it.pass(ms(999));
    it.gets(DONE);
    it.pass(ms(1));
    it.gets(r#"V | (empty) | "MDPW01" | 03 | T2 | (empty) | "A""#);
    assert_eq!(it.core.counters().unsolicited, 1);
    let requests = it.core.counters().requests;
    assert_eq!((requests.late, requests.completed), (0, 1));
}

#[test]
fn a_late_result_is_taken_from_nobody_else() {
    // Rule: mdp §8.2 — a guessed address of a waiting request gains another peer nothing
    let mut it = given_up(CoreConfig::default());
    for reply in [
        r#"V | (empty) | "MDPW01" | 03 | T | (empty) | "A""#,
        r#"W | 01 | (empty) | "MDPW01" | 03 | T | (empty) | "A""#,
        r#"W | (empty) | "MDPW01" | 03 | T2 | (empty) | "A""#,
    ] {
        it.gets(reply);
        assert_eq!(it.core.requests_held(), 1, "{reply}");
    }
}

#[test]
fn half_a_stream_is_no_late_result() {
    let mut it = stage();
    it.gets(r#"W | "MDPW02" | 01 | "echo""#);
    it.gets(ASK);
    it.says(r#"W | "MDPW02" | 02 | T | (empty) | "a""#);
    it.gets(r#"W | "MDPW02" | 03 | T | (empty) | "half""#);
    it.gets(r#"W | "MDPW02" | 05"#);
    it.gets(r#"W | "MDPW02" | 05"#);
    it.pass(ms(7500));
    it.registered("echo", "404");
    it.gets(r#"W | "MDPW02" | 04 | T | (empty) | "other half""#);
    it.silent();
    assert_eq!(it.core.requests_held(), 1);
}

#[test]
fn a_client_id_as_address_names_no_late_result() {
    let address_mode = AddressMode::Identity;
    let mut it = stage_with(CoreConfig { address_mode, ..CoreConfig::default() });
    it.gets(READY);
    it.gets(ASK);
    it.says(r#"W | (empty) | "MDPW01" | 02 | C | (empty) | "a""#);
    it.gets(BEAT);
    it.gets(BEAT);
    it.pass(ms(7500));
    it.gets(r#"W | (empty) | "MDPW01" | 03 | C | (empty) | "A""#);
    it.silent();
    assert_eq!(it.core.requests_held(), 1);
}

#[test]
fn a_worker_that_broke_the_protocol_is_not_believed_later() {
    let mut it = busy(CoreConfig::default());
    it.gets(r#"W | (empty) | "MDPW01" | 09"#);
    it.says(BYE);
    it.gets(DONE);
    it.silent();
    assert_eq!(it.core.requests_held(), 1);
}

#[test]
fn failure_is_silence_unless_a_service_is_configured_to_tell() {
    // Rule: mdp §12.4 — a service may answer an expired, dropped or lost request with a set body
    let error_reply = Some(Frames::from(["sorry"]));
    let policy =
        ServicePolicy { error_reply, attempts_max: 1, queue_max: 1, ..ServicePolicy::default() };
    let services = [("echo".parse().unwrap(), policy)].into();
    let mut it = stage_with(CoreConfig { services, ..CoreConfig::default() });
    let sorry = r#"C | (empty) | "MDPC01" | "echo" | "sorry""#;
    it.gets(ASK);
    it.gets(ASK);
    it.says(sorry);
    assert_eq!(it.pass(Duration::from_secs(60)), vec![frames(sorry)]);
    it.gets(READY);
    it.gets(r#"C | "MDPC02" | 01 | "echo" | "a""#);
    it.says(WORK);
    it.gets(BYE);
    it.says(r#"C | "MDPC02" | 03 | "echo" | "sorry""#);
    // Another service keeps silent, and so does a broker that stops.
    it.gets(r#"C | (empty) | "MDPC01" | "other""#);
    it.gets(ASK);
    it.input(Input::Stop);
    it.silent();
}

#[test]
fn queue_bounds_are_per_service() {
    // Rule: mdp §8.8 — the queue's bound can be set for each service
    let policy = ServicePolicy { queue_max: 1, ..ServicePolicy::default() };
    let services = [("echo".parse().unwrap(), policy)].into();
    let mut it = stage_with(CoreConfig { services, ..CoreConfig::default() });
    for service in ["echo", "echo", "other", "other"] {
        it.gets(&format!(r#"C | (empty) | "MDPC01" | "{service}""#));
    }
    let requests = it.core.counters().requests;
    assert_eq!((requests.accepted, requests.dropped.of(Dropped::QueueFull)), (3, 1));
}
