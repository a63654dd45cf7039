//! What happens at each bound (mdp.md §8.8, §11.7).

use super::*;

#[test]
fn a_full_queue_drops_the_newest() {
    // Rule: mdp §8.8 — on overflow the newest request is dropped, silently, and counted
    let mut it =
        stage_with(with_policy(ServicePolicy { queue_max: 2, ..ServicePolicy::default() }));
    for body in ["a", "b", "c"] {
        it.gets(&format!(r#"C | (empty) | "MDPC01" | "echo" | "{body}""#));
    }
    it.silent();
    assert_eq!(
        (it.core.counters().requests.accepted, it.core.counters().requests.dropped.total()),
        (2, 1)
    );
    it.gets(READY);
    it.says(WORK);
}

#[test]
fn a_client_cannot_hold_more_than_its_share() {
    // Rule: mdp §11.7 — requests in hand are capped per client
    let mut it = stage_with(CoreConfig { per_client_max: 1, ..CoreConfig::default() });
    it.gets(ASK);
    it.gets(ASK);
    it.gets(r#"V | (empty) | "MDPC01" | "echo""#);
    assert_eq!(
        (it.core.counters().requests.accepted, it.core.counters().requests.dropped.total()),
        (2, 1)
    );
}

#[test]
fn bytes_in_hand_are_capped() {
    // Rule: mdp §8.8 — queued bytes are capped over all services
    let mut it = stage_with(CoreConfig { held_bytes_max: 600, ..CoreConfig::default() });
    for service in ["a", "b", "c"] {
        it.gets(&format!(r#"C | (empty) | "MDPC01" | "{service}" | "x""#));
    }
    assert_eq!(
        (it.core.counters().requests.accepted, it.core.counters().requests.dropped.total()),
        (2, 1)
    );
    it.pass(Duration::from_secs(60));
    it.gets(ASK);
    assert_eq!(it.core.counters().requests.accepted, 3);
}

#[test]
fn services_are_capped_and_unused_ones_forgotten() {
    // Rule: mdp §7 — the number of services is bounded and unused ones are forgotten
    let config = CoreConfig { services_max: 2, ..CoreConfig::default() };
    let mut it = stage_with(config);
    it.gets(READY);
    it.gets(r#"C | (empty) | "MDPC01" | "x1""#);
    it.gets(r#"C | (empty) | "MDPC01" | "x2""#);
    assert_eq!(it.core.counters().requests.dropped.total(), 1);
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "x3""#);
    it.says(r#"V | (empty) | "MDPW01" | 05"#);
    // x1 is unused once its request expired, and makes room.
    for _ in 0..60 {
        it.pass(ms(1000));
        it.gets(BEAT);
    }
    assert_eq!(it.core.services(it.now).len(), 2);
    it.gets(r#"C | (empty) | "MDPC01" | "x2""#);
    assert_eq!(it.core.counters().requests.accepted, 2);
    for _ in 0..361 {
        it.pass(ms(1000));
        it.gets(BEAT);
    }
    let names: Vec<String> =
        it.core.services(it.now).iter().map(|info| info.name.to_string()).collect();
    assert_eq!(names, ["echo"]);
}

#[test]
fn workers_are_capped() {
    // Rule: mdp §11.7 — registered workers are capped
    let mut it = stage_with(CoreConfig { workers_max: 1, ..CoreConfig::default() });
    it.gets(READY);
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
    it.says(r#"V | (empty) | "MDPW01" | 05"#);
    assert_eq!(it.core.services(it.now)[0].workers, 1);
}

#[test]
fn parts_kept_for_a_01_client_are_capped() {
    // Rule: mdp §6.2 — a request fails when its parts exceed the buffer; the worker stays
    let mut it = stage_with(CoreConfig { partial_bytes_max: 40, ..CoreConfig::default() });
    it.gets(r#"W | "MDPW02" | 01 | "echo""#);
    it.gets(ASK);
    it.says(r#"W | "MDPW02" | 02 | T | (empty) | "a""#);
    for _ in 0..3 {
        it.gets(r#"W | "MDPW02" | 03 | T | (empty) | "part""#);
    }
    it.gets(r#"W | "MDPW02" | 04 | T | (empty) | "end""#);
    it.silent();
    it.registered("echo", "200");
}

#[test]
fn refused_peers_are_remembered_within_a_bound() {
    // Rule: mdp §8.2 — the memory of whom a DISCONNECT was sent is bounded
    let mut it = stage_with(CoreConfig { refusals_max: 2, ..CoreConfig::default() });
    for peer in ["01", "02", "03", "01"] {
        it.gets(&format!(r#"{peer} | (empty) | "MDPW01" | 04"#));
        it.says(&format!(r#"{peer} | (empty) | "MDPW01" | 05"#));
    }
    it.gets(r#"03 | (empty) | "MDPW01" | 04"#);
    it.silent();
}

#[test]
fn service_info_tells_what_is_held() {
    // Rule: mdp §12.5 — workers idle and busy, queue length and age are shown per service
    let mut it = busy(CoreConfig::default());
    it.gets(ASK);
    it.pass(ms(250));
    let info = it.core.services(it.now).remove(0);
    assert_eq!(info.name.as_str(), "echo");
    assert_eq!((info.workers, info.idle, info.busy, info.queued), (1, 0, 1, 1));
    assert_eq!(info.oldest_wait, ms(250));
    assert_eq!(it.core.counters().queue_wait.count(), 1);
}

#[test]
fn parts_kept_count_for_the_bytes_in_hand() {
    // Rule: mdp §11.7 — parts kept for 0.1 clients are bounded over all requests together
    let mut it = stage_with(CoreConfig { held_bytes_max: 700, ..CoreConfig::default() });
    it.gets(r#"W | "MDPW02" | 01 | "echo""#);
    it.gets(r#"V | "MDPW02" | 01 | "echo""#);
    it.gets(ASK);
    it.says(r#"W | "MDPW02" | 02 | T | (empty) | "a""#);
    it.gets(ASK);
    it.says(r#"V | "MDPW02" | 02 | T2 | (empty) | "a""#);
    let part = format!(r#""{}""#, "x".repeat(100));
    it.gets(&format!(r#"W | "MDPW02" | 03 | T | (empty) | {part}"#));
    it.gets(&format!(r#"V | "MDPW02" | 03 | T2 | (empty) | {part}"#));
    assert_eq!(it.core.counters().requests.partials_full, 1);
    it.gets(r#"V | "MDPW02" | 04 | T2 | (empty) | "end""#);
    it.silent();
    it.gets(r#"W | "MDPW02" | 04 | T | (empty) | "end""#);
    it.says(&format!(r#"C | (empty) | "MDPC01" | "echo" | {part} | "end""#));
}
