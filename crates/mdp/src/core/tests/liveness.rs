//! Heartbeats, expiries and deadlines (mdp.md §8.6, §8.8).

use super::*;

#[test]
fn idle_and_busy_workers_get_heartbeats() {
    // Rule: mdp §8.6 — HEARTBEAT goes to every worker to which nothing was sent for the interval
    let mut it = stage();
    it.gets(READY);
    assert_eq!(it.pass(ms(3000)), vec![frames(BEAT); 3]);
    it.gets(ASK);
    it.says(WORK);
    assert_eq!(it.pass(ms(3000)), vec![frames(BEAT); 3]);
}

#[test]
fn sending_something_else_defers_the_heartbeat() {
    // Rule: mdp §8.6 — no HEARTBEAT while other commands are sent
    let mut it = stage();
    it.gets(READY);
    it.pass(ms(900));
    it.gets(ASK);
    it.says(WORK);
    assert!(it.pass(ms(999)).is_empty());
    assert_eq!(it.pass(ms(1)), vec![frames(BEAT)]);
}

#[test]
fn a_silent_idle_worker_expires_and_is_told() {
    // Rule: mdp §8.6 — an idle worker is gone after the expiry without traffic
    // Rule: mdp §8.2 — on expiry DISCONNECT is sent
    let mut it = stage();
    it.gets(READY);
    assert_eq!(it.pass(ms(7499)), vec![frames(BEAT); 7]);
    it.registered("echo", "200");
    assert_eq!(it.pass(ms(1)), vec![frames(BYE)]);
    // Rule: mdp §13.2 — mmi.service turns 404 as soon as the last worker is gone
    it.registered("echo", "404");
    assert_eq!(it.core.counters().disconnects.of(Farewell::Expired), 1);
}

#[test]
fn any_command_but_disconnect_counts_as_heartbeat() {
    // Rule: mdp §8.6 — a REPLY refreshes like a HEARTBEAT
    let mut it = busy(CoreConfig::default());
    it.pass(ms(5000));
    it.gets(DONE);
    it.says(REPLY);
    it.pass(ms(7000));
    it.registered("echo", "200");
    it.gets(BEAT);
    it.pass(ms(7000));
    it.registered("echo", "200");
    it.pass(ms(500));
    it.registered("echo", "404");
}

#[test]
fn a_busy_worker_that_never_heartbeats_has_the_busy_timeout() {
    // Rule: mdp §8.6 — a busy worker is not expired by silence but by the busy timeout
    let mut it = busy(CoreConfig::default());
    it.pass(Duration::from_secs(899));
    it.registered("echo", "200");
    let said = it.pass(Duration::from_secs(1));
    assert_eq!(said.last(), Some(&frames(BYE)));
    assert_eq!(it.core.counters().disconnects.of(Farewell::BusyTimeout), 1);
}

#[test]
fn a_busy_worker_that_heartbeats_expires_by_silence() {
    // Rule: mdp §8.6 — a worker that heartbeated while busy expires by ordinary silence
    let mut it = busy(CoreConfig::default());
    it.pass(ms(10));
    it.gets(BEAT);
    it.pass(ms(60_000));
    it.registered("echo", "200");
    it.gets(BEAT);
    it.pass(ms(7499));
    it.registered("echo", "200");
    it.pass(ms(1));
    it.registered("echo", "404");
}

#[test]
fn dead_workers_behind_a_live_one_are_found() {
    // Rule: mdp §8.6 — each worker has its own deadline, whatever the order of the list
    let mut it = stage();
    it.gets(READY);
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
    for _ in 0..8 {
        it.pass(ms(1000));
        it.gets(BEAT);
    }
    assert_eq!(it.core.services(it.now)[0].workers, 1);
}

#[test]
fn a_stall_of_the_broker_expires_nobody() {
    // Rule: mdp §8.6 — after a long stall the socket is drained before anybody expires
    let mut it = stage();
    it.gets(READY);
    it.now += ms(60_000);
    it.core.handle_timeout(it.now);
    it.says(BEAT);
    it.silent();
    it.gets(BEAT);
    it.pass(ms(7000));
    it.registered("echo", "200");
}

#[test]
fn times_out_of_range_are_brought_into_it() {
    let policy = ServicePolicy { busy_timeout: Duration::MAX, ..ServicePolicy::default() };
    let mut it = busy(CoreConfig {
        heartbeat_interval: Duration::ZERO,
        worker_expiry: Duration::MAX,
        request_ttl: Duration::MAX,
        service_idle: Duration::MAX,
        default_policy: policy,
        ..CoreConfig::default()
    });
    assert_eq!(it.pass(ms(5)).len(), 5);
    it.gets(DONE);
    it.says(REPLY);
}

#[test]
fn a_queued_request_expires_and_is_never_delivered() {
    // Rule: mdp §8.8 — a request waits at most its TTL from arrival; silence is the answer
    // Rule: mdp §11.8 — the request of a client that gave up runs no more after its TTL
    let mut it = stage();
    it.gets(ASK);
    it.pass(ms(59_999));
    assert_eq!(it.core.requests_held(), 1);
    it.pass(ms(1));
    assert_eq!(it.core.requests_held(), 0);
    it.gets(READY);
    it.silent();
    assert_eq!(it.core.counters().requests.expired, 1);
}

#[test]
fn the_ttl_does_not_end_work_but_ends_another_attempt() {
    // Rule: mdp §8.8 — once a worker has the request the busy timeout governs
    let mut it = busy(CoreConfig::default());
    it.pass(Duration::from_secs(120));
    it.gets(DONE);
    it.says(REPLY);
    // Rule: mdp §8.9 — a request is never requeued past its TTL
    let mut it = busy(CoreConfig::default());
    it.pass(Duration::from_secs(61));
    it.gets(BYE);
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
    it.silent();
    assert_eq!(it.core.counters().requests.expired, 1);
}

#[test]
fn a_requeue_does_not_restart_the_ttl() {
    // Rule: mdp §8.8 — the TTL is counted from first arrival
    let mut it = busy(CoreConfig::default());
    it.pass(Duration::from_secs(30));
    it.gets(BYE);
    it.pass(Duration::from_secs(30));
    assert_eq!(it.core.requests_held(), 0);
}
