//! The tables of mdp.md row by row: §8.2 per worker, §8.5 per client, §6.3, §11.10 and §19.

use super::*;

/// What is left of a worker after a message, and who was told what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Told DISCONNECT and forgotten; what it had in hand went to another worker.
    Sent,
    /// Forgotten without a word; what it had in hand went to another worker.
    Forgotten,
    /// As before, and nobody was told anything.
    Kept,
}

/// Plays one row of §8.2 for an unknown, an idle and a busy worker.
#[track_caller]
fn row(message: &str, unknown: End, idle: End, busy: End) {
    for (state, end) in [("unknown", unknown), ("idle", idle), ("busy", busy)] {
        let mut it = stage();
        if state != "unknown" {
            it.gets(READY);
        }
        if state == "busy" {
            it.gets(ASK);
            it.says(WORK);
            it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
        }
        it.gets(&format!("W | (empty) | {message}"));
        let bye = if state == "unknown" && message.contains("MDPW02") {
            r#"W | (empty) | "MDPW02" | 06"#
        } else {
            BYE
        };
        if end == End::Sent {
            it.says(bye);
        }
        if state == "busy" && end != End::Kept {
            it.says(r#"V | (empty) | "MDPW01" | 02 | T2 | (empty) | "a""#);
        }
        it.silent();
        let left = usize::from(end == End::Kept && state != "unknown");
        let others = usize::from(state == "busy");
        assert_eq!(it.core.workers(it.now).len(), left + others, "{message} while {state}");
    }
}

#[test]
fn ready_of_the_same_or_a_bad_name() {
    // Rule: mdp §8.2 — READY with a bad name is answered with DISCONNECT in every state
    for name in [r#" | "mmi.x""#, " | (empty)", " | 0A", ""] {
        row(&format!(r#""MDPW01" | 01{name}"#), End::Sent, End::Sent, End::Sent);
    }
    // Rule: mdp §8.2 — READY registers an unknown worker and costs a known one its registration
    let mut it = stage();
    it.gets(READY);
    it.silent();
    assert_eq!(it.core.workers(it.now).len(), 1);
    it.gets(READY);
    it.says(BYE);
    let mut it = busy(CoreConfig::default());
    it.gets(READY);
    it.says(BYE);
    assert_eq!((it.core.workers(it.now).len(), it.core.requests_held()), (0, 1));
}

#[test]
fn replies_that_name_nothing_of_the_workers_own() {
    // Rule: mdp §8.2 — REPLY or PARTIAL without a matching assignment is never forwarded
    for address in ["C", "T2", "00"] {
        row(
            &format!(r#""MDPW01" | 03 | {address} | (empty) | "A""#),
            End::Sent,
            End::Sent,
            End::Sent,
        );
        row(
            &format!(r#""MDPW02" | 03 | {address} | (empty) | "A""#),
            End::Sent,
            End::Sent,
            End::Sent,
        );
    }
    // Rule: mdp §8.2 — REPLY lacking address or delimiter is answered with DISCONNECT
    for rest in ["", " | T", r#" | T | "A""#, " | (empty) | (empty)"] {
        row(&format!(r#""MDPW01" | 03{rest}"#), End::Sent, End::Sent, End::Sent);
    }
}

#[test]
fn heartbeat_and_disconnect() {
    // Rule: mdp §8.2 — HEARTBEAT is answered with DISCONNECT if unknown, and refreshes otherwise
    row(r#""MDPW01" | 04"#, End::Sent, End::Kept, End::Kept);
    row(r#""MDPW01" | 04 | "more""#, End::Sent, End::Kept, End::Kept);
    // Rule: mdp §8.2 — DISCONNECT is never answered; a registered worker is forgotten
    row(r#""MDPW01" | 05"#, End::Kept, End::Forgotten, End::Forgotten);
    row(r#""MDPW01" | 05 | "echo""#, End::Kept, End::Forgotten, End::Forgotten);
}

#[test]
fn commands_no_worker_may_send() {
    // Rule: mdp §8.2 — REQUEST from a worker, unknown and overlong commands: DISCONNECT
    for command in ["02 | T | (empty)", "00", "06", "09", "FF", "04 04", "(empty)", r#""1""#] {
        row(&format!(r#""MDPW01" | {command}"#), End::Sent, End::Sent, End::Sent);
    }
    // Rule: mdp §8.2 — another version than READY's: DISCONNECT in the registered version
    row(r#""MDPW02" | 05"#, End::Sent, End::Sent, End::Sent);
}

#[test]
fn silence_while_idle_and_while_busy() {
    // Rule: mdp §8.2 — silence for the expiry time costs the registration; the request is requeued
    let mut it = stage();
    it.gets(READY);
    assert_eq!(it.pass(ms(7500)).last(), Some(&frames(BYE)));
    let mut it = busy(CoreConfig::default());
    it.gets(BEAT);
    it.gets(BEAT);
    assert!(it.pass(ms(7500)).contains(&frames(BYE)));
    assert_eq!(it.core.counters().requests.requeued, 1);
}

#[test]
fn client_messages_row_by_row() {
    let accepted = |text: &str| {
        let mut it = stage();
        it.gets(text);
        it.silent();
        it.core.counters().requests.accepted == 1
    };
    // Rule: mdp §8.5 — a valid REQUEST of either version is queued, with or without a body
    for text in [
        r#"C | (empty) | "MDPC01" | "echo" | "a""#,
        r#"C | (empty) | "MDPC01" | "echo""#,
        r#"C | "MDPC02" | 01 | "echo" | "a""#,
        r#"C | (empty) | "MDPC02" | 01 | "echo""#,
    ] {
        assert!(accepted(text), "{text}");
    }
    // Rule: mdp §8.5 — no service frame, an empty or an invalid name: dropped
    // Rule: mdp §8.5 — 0.2 codes other than 01, or not one byte: dropped
    for text in [
        r#"C | (empty) | "MDPC01""#,
        r#"C | (empty) | "MDPC01" | (empty)"#,
        r#"C | (empty) | "MDPC01" | FF FE"#,
        r#"C | (empty) | "MDPC01" | 61 00"#,
        r#"C | "MDPC02" | 01"#,
        r#"C | "MDPC02" | 02 | "echo""#,
        r#"C | (empty) | "MDPC02" | 02 | "echo""#,
        r#"C | "MDPC02" | 03 | "echo""#,
        r#"C | "MDPC02" | 04 | "echo""#,
        r#"C | "MDPC02" | 01 01 | "echo""#,
        r#"C | "MDPC02" | (empty) | "echo""#,
    ] {
        assert!(!accepted(text), "{text}");
    }
}

#[test]
fn dialects_row_by_row() {
    // Rule: mdp §6.3 — a: Backbone's 0.1 works by default, b: so does 0.2 with the delimiter
    let mut it = stage();
    it.gets(r#"W | (empty) | "MDPW02" | 01 | "echo""#);
    it.gets(r#"C | (empty) | "MDPC02" | 01 | "echo" | "a""#);
    it.says(r#"W | (empty) | "MDPW02" | 02 | T | (empty) | "a""#);
    it.gets(r#"W | (empty) | "MDPW02" | 04 | T | (empty) | "A""#);
    it.says(r#"C | (empty) | "MDPC02" | 03 | "echo" | "A""#);
    it.gets(r#"W | (empty) | "MDPW02" | 06"#);
    // Rule: mdp §6.3 — e: code 04 without an address is the frozen tag's heartbeat: DISCONNECT 06
    it.gets(r#"V | (empty) | "MDPW02" | 04"#);
    it.says(r#"V | (empty) | "MDPW02" | 06"#);
    // Rule: mdp §6.3 — c, d (off), f, g, h: other codes, frames and headers are dropped
    for text in [
        r#"C | (empty) | "MDPC02" | 02 | "echo""#,
        "C | AA A4 01 06 4D 44 50 43 30 32 01 04 65 63 68 6F | 61",
        r#"C | (empty) | "MDPC0X" | "echo""#,
        r#"C | "C" | "2" | "echo" | "id" | "data""#,
        r#"C | "MDPC03" | 01 | "echo""#,
    ] {
        it.gets(text);
        it.silent();
    }
    assert_eq!(it.core.counters().invalid.total(), 5);
    // Rule: mdp §6.3 — i: the ASCII digit 1 is no command
    it.gets(r#"C | (empty) | "MDPW01" | "1" | "echo""#);
    it.says(r#"C | (empty) | "MDPW01" | 05"#);
}

#[test]
fn holes_of_other_brokers_are_closed() {
    // Rule: mdp §11.10 — missing frames, extra stack frames and probes do not stop the broker
    let mut it = busy(CoreConfig::default());
    for text in [
        r#"C | (empty) | "MDPC01""#,
        r#"C | (empty) | "MDPC01" | "echo""#,
        r#"C | 01 | 02 | (empty) | "MDPC01" | "echo""#,
        "C | (empty)",
        "C",
        r#"C | "MDPC02""#,
    ] {
        it.gets(text);
        it.silent();
    }
    for text in [r#"V | (empty) | "MDPW01""#, r#"0B | (empty) | "MDPW01" | 01"#] {
        it.gets(text);
        assert!(matches!(it.core.poll_output(), Some(Output::Send(..))), "{text}");
    }
    // Rule: mdp §11.10 — a FINAL of an unregistered worker is refused
    it.gets(r#"0C | "MDPW02" | 04 | T | (empty) | "A""#);
    it.says(r#"0C | "MDPW02" | 06"#);
    // Rule: mdp §11.10 — DISCONNECT of a busy worker leaves nothing behind, mmi.service says 404
    it.gets(BYE);
    it.registered("echo", "404");
    // Rule: mdp §11.10 — a silent worker is not dispatched to
    it.gets(r#"0D | (empty) | "MDPW01" | 01 | "other""#);
    it.pass(ms(7500));
    it.gets(r#"C | (empty) | "MDPC01" | "other""#);
    it.silent();
}

#[test]
fn a_partial_names_the_service_that_was_asked_for() {
    // Rule: mdp §11.10 — PARTIAL names its own request's service, also when services alternate
    let mut it = stage();
    it.gets(r#"W | "MDPW02" | 01 | "one""#);
    it.gets(r#"V | "MDPW02" | 01 | "two""#);
    it.gets(r#"C | "MDPC02" | 01 | "one""#);
    it.says(r#"W | "MDPW02" | 02 | T | (empty)"#);
    it.gets(r#"C | "MDPC02" | 01 | "two""#);
    it.says(r#"V | "MDPW02" | 02 | T2 | (empty)"#);
    it.gets(r#"W | "MDPW02" | 03 | T | (empty) | "1""#);
    it.says(r#"C | "MDPC02" | 02 | "one" | "1""#);
    it.gets(r#"V | "MDPW02" | 03 | T2 | (empty) | "2""#);
    it.says(r#"C | "MDPC02" | 02 | "two" | "2""#);
}

#[test]
fn where_the_sources_disagree() {
    // Rule: mdp §19 — body frames: none to many; the stack stays in the broker, workers get a token
    let mut it = stage();
    it.gets(READY);
    it.gets(r#"C | 01 | 02 | (empty) | "MDPC01" | "echo""#);
    it.says(r#"W | (empty) | "MDPW01" | 02 | T | (empty)"#);
    it.gets(r#"W | (empty) | "MDPW01" | 03 | T | (empty)"#);
    it.says(r#"C | 01 | 02 | (empty) | "MDPC01" | "echo""#);
    // Rule: mdp §19 — a lost request is resent, within its attempts
    it.gets(ASK);
    it.says(r#"W | (empty) | "MDPW01" | 02 | T2 | (empty) | "a""#);
    it.gets(BYE);
    // Rule: mdp §19 — queued requests are dispatched when a worker registers
    it.gets(READY);
    it.says(r#"W | (empty) | "MDPW01" | 02 | T3 | (empty) | "a""#);
    // Rule: mdp §19 — mmi.service: a registered worker, the first frame, the prefix of the service
    it.gets(r#"C | (empty) | "MDPC01" | "mmi.service" | "echo" | "nobody""#);
    it.says(r#"C | (empty) | "MDPC01" | "mmi.service" | "200""#);
    it.gets(r#"C | (empty) | "MDPC01" | "x.mmi.service" | "echo""#);
    it.silent();
    // Rule: mdp §19 — heartbeats go to busy workers too, and any command refreshes
    assert!(it.pass(ms(1000)).contains(&frames(BEAT)));
    // Rule: mdp §19 — DISCONNECT is sent with the empty frame, also to a second READY
    it.gets(READY);
    it.says(BYE);
    // Rule: mdp §19 — a request for a service nobody knows is queued until its TTL
    it.gets(r#"C | (empty) | "MDPC01" | "nobody""#);
    assert_eq!(it.core.services(it.now).iter().map(|info| info.queued).sum::<usize>(), 2);
    it.pass(Duration::from_secs(60));
    assert_eq!(it.core.requests_held(), 0);
}
