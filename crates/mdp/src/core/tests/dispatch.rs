//! Who gets what, and when (mdp.md §8.7 to §8.9).

use super::*;

fn ready(it: &mut Stage, id: &str) {
    it.gets(&format!(r#"{id} | (empty) | "MDPW01" | 01 | "echo""#));
}

fn ask(it: &mut Stage, client: &str, body: &str) {
    it.gets(&format!(r#"{client} | (empty) | "MDPC01" | "echo" | "{body}""#));
}

fn done(it: &mut Stage, worker: &str, token: &str) {
    it.gets(&format!(r#"{worker} | (empty) | "MDPW01" | 03 | {token} | (empty)"#));
}

#[track_caller]
fn works(it: &mut Stage, worker: &str, token: &str, body: &str) {
    it.says(&format!(r#"{worker} | (empty) | "MDPW01" | 02 | {token} | (empty) | "{body}""#));
}

#[test]
fn the_longest_idle_worker_is_next() {
    // Rule: mdp §8.7 — dispatch is least recently used; heartbeats do not reorder
    let mut it = stage();
    for worker in ["01", "02", "03"] {
        ready(&mut it, worker);
    }
    it.gets(r#"01 | (empty) | "MDPW01" | 04"#);
    for (worker, token) in [("01", "T"), ("02", "T2")] {
        ask(&mut it, "C", "a");
        works(&mut it, worker, token, "a");
    }
    done(&mut it, "02", "T2");
    it.says(r#"C | (empty) | "MDPC01" | "echo""#);
    done(&mut it, "01", "T");
    it.says(r#"C | (empty) | "MDPC01" | "echo""#);
    for (worker, token) in [("03", "T3"), ("02", "T4"), ("01", "T5")] {
        ask(&mut it, "C", "a");
        works(&mut it, worker, token, "a");
    }
}

#[test]
fn a_request_without_worker_waits_for_one() {
    // Rule: mdp §8.8 — a request for a service without worker is queued
    // Rule: mdp §8.7 — READY dispatches what waits
    let mut it = stage();
    ask(&mut it, "C", "a");
    it.silent();
    it.registered("echo", "404");
    it.gets(READY);
    it.says(WORK);
}

#[test]
fn clients_are_served_in_turn_and_each_in_order() {
    // Rule: mdp §8.7 — one client's pipeline does not starve another's request
    let mut it = stage();
    for body in ["a1", "a2", "a3"] {
        ask(&mut it, "0B", body);
    }
    ask(&mut it, "0C", "b1");
    ready(&mut it, "01");
    let mut served = Vec::new();
    for number in 1..=4 {
        let Some(Output::Send(_, message)) = it.core.poll_output() else { panic!("no request") };
        let crate::wire::ToPeer::Request { body, .. } = message.message else { panic!() };
        served.push(String::from_utf8(body.get(0).unwrap().to_vec()).unwrap());
        done(&mut it, "01", &format!("T{number}"));
        it.core.poll_output();
    }
    assert_eq!(served, ["a1", "b1", "a2", "a3"]);
}

#[test]
fn services_do_not_hold_each_other_up() {
    // Rule: mdp §11.6 — queues are per service
    let mut it = stage();
    ask(&mut it, "C", "a");
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "other""#);
    it.gets(r#"C | (empty) | "MDPC01" | "other" | "b""#);
    it.says(r#"V | (empty) | "MDPW01" | 02 | T | (empty) | "b""#);
    it.silent();
}

#[test]
fn a_lost_workers_request_is_served_next() {
    // Rule: mdp §8.9 — a lost request is requeued at the head
    let mut it = busy(CoreConfig::default());
    ask(&mut it, "C", "b");
    it.gets(BYE);
    it.silent();
    ready(&mut it, "V");
    works(&mut it, "V", "T2", "a");
    done(&mut it, "V", "T2");
    it.says(r#"C | (empty) | "MDPC01" | "echo""#);
    works(&mut it, "V", "T3", "b");
}

#[test]
fn a_request_is_given_up_after_its_attempts() {
    // Rule: mdp §8.9 — at most max-attempts deliveries in total
    let mut it = busy(CoreConfig::default());
    it.gets(BYE);
    ready(&mut it, "V");
    works(&mut it, "V", "T2", "a");
    it.gets(r#"V | (empty) | "MDPW01" | 05"#);
    ready(&mut it, "W");
    it.silent();
    assert_eq!((it.core.counters().requests.requeued, it.core.counters().requests.lost), (1, 1));
    assert_eq!(it.core.requests_held(), 0);
}

#[test]
fn attempts_can_be_limited_per_service() {
    // Rule: mdp §8.9 — max-attempts is settable per service for work that must not run twice
    let policy = ServicePolicy { attempts_max: 1, ..ServicePolicy::default() };
    let services = [("echo".parse().unwrap(), policy)].into();
    let mut it = busy(CoreConfig { services, ..CoreConfig::default() });
    it.gets(BYE);
    ready(&mut it, "V");
    it.silent();
    assert_eq!(it.core.counters().requests.lost, 1);
}

#[test]
fn a_started_stream_is_not_started_over() {
    // Rule: mdp §8.9 — no requeue after a PARTIAL was forwarded
    let mut it = stage();
    it.gets(r#"W | "MDPW02" | 01 | "echo""#);
    it.gets(r#"C | "MDPC02" | 01 | "echo" | "a""#);
    it.says(r#"W | "MDPW02" | 02 | T | (empty) | "a""#);
    it.gets(r#"W | "MDPW02" | 03 | T | (empty) | "part""#);
    it.says(r#"C | "MDPC02" | 02 | "echo" | "part""#);
    it.gets(r#"W | "MDPW02" | 06"#);
    ready(&mut it, "V");
    it.silent();
}

#[test]
fn parts_kept_for_a_lost_attempt_are_forgotten() {
    // Rule: mdp §6.2 — a 0.1 client gets the parts of one attempt only
    let mut it = stage();
    it.gets(r#"W | "MDPW02" | 01 | "echo""#);
    it.gets(ASK);
    it.says(r#"W | "MDPW02" | 02 | T | (empty) | "a""#);
    it.gets(r#"W | "MDPW02" | 03 | T | (empty) | "half""#);
    it.gets(r#"W | "MDPW02" | 06"#);
    ready(&mut it, "V");
    works(&mut it, "V", "T2", "a");
    it.gets(r#"V | (empty) | "MDPW01" | 03 | T2 | (empty) | "A""#);
    it.says(REPLY);
}

#[test]
fn an_unreachable_worker_costs_no_attempt() {
    // Rule: mdp §11.3 — EHOSTUNREACH means the worker is gone: requeue and try the next at once
    let policy = ServicePolicy { attempts_max: 1, ..ServicePolicy::default() };
    let mut it = stage_with(CoreConfig { default_policy: policy, ..CoreConfig::default() });
    it.gets(READY);
    ready(&mut it, "V");
    it.gets(ASK);
    it.says(WORK);
    it.undeliverable(SendFailure::Unreachable);
    it.says(r#"V | (empty) | "MDPW01" | 02 | T2 | (empty) | "a""#);
    it.silent();
    assert_eq!(it.core.counters().unreachable, 1);
}

#[test]
fn a_worker_that_takes_no_message_is_dead() {
    // Rule: mdp §11.6 — EAGAIN towards a worker counts as its death; nothing ever blocks
    let mut it = busy(CoreConfig::default());
    ready(&mut it, "V");
    it.pass(ms(999));
    it.now += ms(1);
    it.core.handle_timeout(it.now);
    it.says(BEAT);
    it.undeliverable(SendFailure::Full);
    it.says(r#"V | (empty) | "MDPW01" | 04"#);
    works(&mut it, "V", "T2", "a");
    assert_eq!(it.core.counters().peer_full, 1);
}

#[test]
fn an_unreachable_streaming_client_is_forgotten_but_its_worker_is_not() {
    // Rule: mdp §12.1 — the result of an orphaned request is discarded and its worker is idle again
    let mut it = stage();
    it.gets(r#"W | "MDPW02" | 01 | "echo""#);
    it.gets(r#"C | "MDPC02" | 01 | "echo" | "a""#);
    it.says(r#"W | "MDPW02" | 02 | T | (empty) | "a""#);
    it.gets(r#"W | "MDPW02" | 03 | T | (empty) | "part""#);
    it.says(r#"C | "MDPC02" | 02 | "echo" | "part""#);
    it.undeliverable(SendFailure::Unreachable);
    it.gets(r#"W | "MDPW02" | 03 | T | (empty) | "part""#);
    it.gets(r#"W | "MDPW02" | 04 | T | (empty) | "end""#);
    it.silent();
    assert_eq!(it.core.counters().requests.orphaned, 1);
    it.gets(r#"C | "MDPC02" | 01 | "echo" | "b""#);
    it.says(r#"W | "MDPW02" | 02 | T2 | (empty) | "b""#);
}

#[test]
fn equal_requests_are_two() {
    // Rule: mdp §8.5 — the same correlation frame again is another request
    // Rule: mdp §11.8 — a client that retries asks anew; nothing is guessed to be a duplicate
    let mut it = stage();
    it.gets(READY);
    ready(&mut it, "V");
    it.gets(r#"C | 07 | (empty) | "MDPC01" | "echo" | "a""#);
    it.gets(r#"C | 07 | (empty) | "MDPC01" | "echo" | "a""#);
    works(&mut it, "W", "T", "a");
    works(&mut it, "V", "T2", "a");
}
