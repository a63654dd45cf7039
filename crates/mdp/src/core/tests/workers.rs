//! The table per worker (mdp.md §8.2).

use super::*;

#[test]
fn the_first_example_runs_as_written() {
    // Rule: mdp §21.1 — READY, REQUEST, REPLY of MDP/0.1 byte by byte
    let mut it = stage();
    it.gets("W | (empty) | 4D 44 50 57 30 31 | 01 | 65 63 68 6F");
    it.silent();
    it.gets(r#"C | (empty) | 4D 44 50 43 30 31 | 65 63 68 6F | "Hello" | "World""#);
    it.says(r#"W | (empty) | "MDPW01" | 02 | T | (empty) | "Hello" | "World""#);
    it.gets(r#"W | (empty) | "MDPW01" | 03 | T | (empty) | "HELLO" | "WORLD""#);
    it.says(r#"C | (empty) | "MDPC01" | "echo" | "HELLO" | "WORLD""#);
    it.silent();
}

#[test]
fn two_requests_in_flight_answered_out_of_order() {
    // Rule: mdp §21.2 — replies carry the request's own stack, whatever their order
    let mut it = stage();
    it.gets(READY);
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
    it.gets(r#"C | 00 00 00 07 | (empty) | "MDPC01" | "echo" | 61"#);
    it.gets(r#"C | 00 00 00 08 | (empty) | "MDPC01" | "echo" | 62"#);
    it.says(r#"W | (empty) | "MDPW01" | 02 | T | (empty) | 61"#);
    it.says(r#"V | (empty) | "MDPW01" | 02 | T2 | (empty) | 62"#);
    it.gets(r#"V | (empty) | "MDPW01" | 03 | T2 | (empty) | 42"#);
    it.says(r#"C | 00 00 00 08 | (empty) | "MDPC01" | "echo" | 42"#);
    it.gets(r#"W | (empty) | "MDPW01" | 03 | T | (empty) | 41"#);
    it.says(r#"C | 00 00 00 07 | (empty) | "MDPC01" | "echo" | 41"#);
    it.silent();
}

#[test]
fn a_request_without_body_as_backbone_sends_it() {
    // Rule: mdp §21.3 — no body frame on either side is passed on as it is
    let mut it = stage();
    it.gets(r#"W | (empty) | "MDPW01" | 01 | "ls-service""#);
    it.gets(r#"C | (empty) | "MDPC01" | "ls-service""#);
    it.says(r#"W | (empty) | "MDPW01" | 02 | T | (empty)"#);
    it.gets(r#"W | (empty) | "MDPW01" | 03 | T | (empty)"#);
    it.says(r#"C | (empty) | "MDPC01" | "ls-service""#);
}

#[test]
fn streaming_in_02_and_towards_01() {
    // Rule: mdp §21.4 — PARTIAL 03 becomes 02 and FINAL 04 becomes 03
    let mut it = stage();
    it.gets(r#"W | "MDPW02" | 01 | "lines""#);
    it.gets(r#"C | "MDPC02" | 01 | "lines" | 33"#);
    it.says(r#"W | "MDPW02" | 02 | T | (empty) | 33"#);
    it.gets(r#"W | "MDPW02" | 03 | T | (empty) | "line 1""#);
    it.says(r#"C | "MDPC02" | 02 | "lines" | "line 1""#);
    it.gets(r#"W | "MDPW02" | 04 | T | (empty) | "line 3""#);
    it.says(r#"C | "MDPC02" | 03 | "lines" | "line 3""#);
    // Rule: mdp §6.2 — a 0.1 client gets one REPLY of all parts in order
    it.gets(r#"C | (empty) | "MDPC01" | "lines" | 33"#);
    it.says(r#"W | "MDPW02" | 02 | T2 | (empty) | 33"#);
    it.gets(r#"W | "MDPW02" | 03 | T2 | (empty) | "line 1""#);
    it.gets(r#"W | "MDPW02" | 03 | T2 | (empty) | "line 2""#);
    it.silent();
    it.gets(r#"W | "MDPW02" | 04 | T2 | (empty) | "line 3""#);
    it.says(r#"C | (empty) | "MDPC01" | "lines" | "line 1" | "line 2" | "line 3""#);
}

#[test]
fn versions_mix_on_one_service() {
    // Rule: mdp §6.2 — any worker serves any client; a 0.1 REPLY is a FINAL to a 0.2 client
    let mut it = stage();
    it.gets(READY);
    it.gets(r#"C | (empty) | "MDPC02" | 01 | "echo" | "a""#);
    it.says(WORK);
    it.gets(DONE);
    it.says(r#"C | (empty) | "MDPC02" | 03 | "echo" | "A""#);
}

#[test]
fn parts_are_dropped_towards_01_when_so_configured() {
    // Rule: mdp §6.2 — the policy for parts towards 0.1 is configurable
    let partial_policy = PartialPolicy::Drop;
    let mut it = stage_with(CoreConfig { partial_policy, ..CoreConfig::default() });
    it.gets(r#"W | "MDPW02" | 01 | "echo""#);
    it.gets(ASK);
    it.says(r#"W | "MDPW02" | 02 | T | (empty) | "a""#);
    it.gets(r#"W | "MDPW02" | 03 | T | (empty) | "part""#);
    it.gets(r#"W | "MDPW02" | 04 | T | (empty) | "A""#);
    it.says(REPLY);
}

#[test]
fn a_reply_while_idle_reaches_nobody() {
    // Rule: mdp §21.8 — a REPLY of an idle worker is answered with DISCONNECT and not forwarded
    let mut it = stage();
    it.gets(READY);
    it.gets(r#"W | (empty) | "MDPW01" | 03 | C | (empty) | "spoof""#);
    it.says(BYE);
    it.silent();
    it.registered("echo", "404");
}

#[test]
fn a_second_reply_to_one_request_is_a_violation() {
    // Rule: mdp §11.9 — two REPLYs to one request never make a worker available twice
    let mut it = busy(CoreConfig::default());
    it.gets(DONE);
    it.says(REPLY);
    it.gets(DONE);
    it.says(BYE);
    it.silent();
    assert_eq!(it.core.counters().unsolicited, 1);
}

#[test]
fn a_reply_to_another_assignment_is_not_forwarded_and_the_request_is_kept() {
    // Rule: mdp §8.2 — a busy worker's reply that names another address costs it its registration
    for wrong in ["T2", "C", "9F"] {
        let mut it = busy(CoreConfig::default());
        it.gets(&format!(r#"W | (empty) | "MDPW01" | 03 | {wrong} | (empty) | "A""#));
        it.says(BYE);
        it.silent();
        it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
        it.says(r#"V | (empty) | "MDPW01" | 02 | T2 | (empty) | "a""#);
        it.gets(r#"V | (empty) | "MDPW01" | 03 | T2 | (empty) | "A""#);
        it.says(REPLY);
    }
}

#[test]
fn a_reply_with_a_token_of_an_earlier_broker_is_refused() {
    // Rule: mdp §11.4 — a reply to an earlier broker never reaches a client, although ids repeat
    let mut it = stage();
    it.gets(r#"W | (empty) | "MDPW01" | 03 | 00 01 02 03 04 05 06 07 00 00 00 00 00 00 00 01 | (empty) | "A""#);
    it.says(BYE);
    it.silent();
}

#[test]
fn an_unknown_heartbeat_is_answered_with_disconnect_once_per_interval() {
    // Rule: mdp §8.2 — HEARTBEAT of an unknown worker is answered with DISCONNECT, rate-limited
    // Rule: mdp §21.7 — that is how a worker learns that the broker was restarted
    let mut it = stage();
    it.gets(BEAT);
    it.says(BYE);
    it.gets(BEAT);
    it.silent();
    it.pass(ms(1000));
    it.gets(BEAT);
    it.says(BYE);
    it.gets(r#"W | "MDPW02" | 05"#);
    it.silent();
    // Registering is possible at any time.
    it.gets(READY);
    it.silent();
    it.registered("echo", "200");
}

#[test]
fn a_disconnect_goes_out_in_the_shape_of_the_worker() {
    // Rule: mdp §8.2 — DISCONNECT has the version and shape of the peer
    let mut it = stage();
    it.gets(r#"W | "MDPW02" | 05"#);
    it.says(r#"W | "MDPW02" | 06"#);
    it.gets(r#"V | (empty) | "MDPW02" | 05"#);
    it.says(r#"V | (empty) | "MDPW02" | 06"#);
    it.gets(r#"C | 01 | (empty) | "MDPW01" | 04"#);
    it.says(r#"C | 01 | (empty) | "MDPW01" | 05"#);
}

#[test]
fn a_second_ready_is_a_violation_unless_configured() {
    // Rule: mdp §8.2 — a second READY is answered with DISCONNECT
    let mut it = stage();
    it.gets(READY);
    it.gets(READY);
    it.says(BYE);
    it.registered("echo", "404");
    // Rule: mdp §8.2 — a switch makes the same service again a sign of life
    let config = CoreConfig { duplicate_ready: DuplicateReady::Refresh, ..CoreConfig::default() };
    let mut it = stage_with(config);
    it.gets(READY);
    it.gets(READY);
    it.silent();
    it.gets(r#"W | (empty) | "MDPW01" | 01 | "other""#);
    it.says(BYE);
}

#[test]
fn ready_with_a_bad_name_is_refused() {
    // Rule: mdp §13.1 — a worker that registers an mmi. name is disconnected
    // Rule: mdp §7 — READY with an invalid name is answered with DISCONNECT
    for name in [r#""mmi.evil""#, r#""mmi.""#, "(empty)", "01 02", "FF"] {
        let mut it = stage();
        it.gets(&format!(r#"W | (empty) | "MDPW01" | 01 | {name}"#));
        it.says(BYE);
        it.silent();
    }
    for name in ["mmi", "mmix", "MMI.service"] {
        let mut it = stage();
        it.gets(&format!(r#"W | (empty) | "MDPW01" | 01 | "{name}""#));
        it.silent();
    }
}

#[test]
fn malformed_and_misdirected_commands_lose_the_registration() {
    // Rule: mdp §8.2 — REQUEST from a worker and unknown commands are answered with DISCONNECT
    for rest in ["02 | T | (empty)", "09", "01", "03 | T", "06", r#""1""#] {
        for ready in [true, false] {
            let mut it = stage();
            if ready {
                it.gets(READY);
            }
            it.gets(&format!(r#"W | (empty) | "MDPW01" | {rest}"#));
            it.says(BYE);
            it.silent();
        }
    }
}

#[test]
fn another_version_than_registered_is_a_violation_in_the_registered_one() {
    // Rule: mdp §8.2 — a header of another version than READY's loses the registration
    let mut it = busy(CoreConfig::default());
    it.gets(r#"W | (empty) | "MDPW02" | 05"#);
    it.says(BYE);
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
    it.says(r#"V | (empty) | "MDPW01" | 02 | T2 | (empty) | "a""#);
}

#[test]
fn disconnect_is_never_answered() {
    // Rule: mdp §8.2 — a worker's DISCONNECT is not answered; its request goes to another
    let mut it = busy(CoreConfig::default());
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
    it.gets(r#"W | (empty) | "MDPW01" | 05 | "echo""#);
    it.says(r#"V | (empty) | "MDPW01" | 02 | T2 | (empty) | "a""#);
    it.silent();
    it.gets(BYE);
    it.silent();
}

#[test]
fn a_peer_may_be_client_and_worker() {
    // Rule: mdp §12.3 — the two roles of one connection are independent
    let mut it = stage();
    it.gets(READY);
    it.gets(r#"W | (empty) | "MDPC01" | "echo" | "a""#);
    it.says(WORK);
    it.gets(DONE);
    it.says(r#"W | (empty) | "MDPC01" | "echo" | "A""#);
}

#[test]
fn clients_are_never_told_of_errors() {
    // Rule: mdp §8.5 — an invalid client message is dropped without an answer and counted
    let mut it = stage();
    for text in [
        r#"C | (empty) | "MDPC01""#,
        r#"C | (empty) | "MDPC01" | 01 02"#,
        r#"C | "MDPC02" | 02 | "echo""#,
        r#"C | (empty) | "MDPC03" | "echo""#,
        "C | (empty)",
    ] {
        it.gets(text);
        it.silent();
    }
    assert_eq!(it.core.counters().invalid.total(), 5);
    assert_eq!(it.core.counters().invalid.of(Invalid::Probe), 1);
}

#[test]
fn the_client_address_may_be_the_identity() {
    // Rule: mdp §11.2 — the client address is a token, or the client's id when so configured
    let config = CoreConfig { address_mode: AddressMode::Identity, ..CoreConfig::default() };
    let mut it = stage_with(config);
    it.gets(READY);
    it.gets(ASK);
    it.says(r#"W | (empty) | "MDPW01" | 02 | C | (empty) | "a""#);
    it.gets(r#"W | (empty) | "MDPW01" | 03 | C | (empty) | "A""#);
    it.says(REPLY);
}
