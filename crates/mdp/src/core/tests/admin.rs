//! What an administrator sees and does (mdp.md §12.5; issue 3, item 7).

use super::*;
use crate::wire::MessageKind;

fn echo() -> ServiceName {
    "echo".parse().unwrap()
}

fn worker(it: &Stage) -> WorkerInfo {
    it.core.workers(it.now).remove(0)
}

fn dismiss(it: &mut Stage, id: WorkerId, when: Dismissal) -> Result<(), AdminError> {
    let result = it.core.dismiss(it.now, id, when);
    it.core.check();
    result
}

fn set_paused(it: &mut Stage, paused: bool) {
    it.core.set_paused(it.now, &echo(), paused).unwrap();
    it.core.check();
}

#[test]
fn a_paused_service_queues_but_hands_out_nothing() {
    // Rule: mdp §8.7 — a paused service keeps its requests back until it is resumed
    let mut it = stage();
    it.gets(READY);
    set_paused(&mut it, true);
    it.gets(ASK);
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
    it.silent();
    let info = it.core.services(it.now).remove(0);
    assert_eq!((info.paused, info.idle, info.queued), (true, 2, 1));
    set_paused(&mut it, false);
    it.says(WORK);
    it.silent();
}

#[test]
fn a_paused_services_requests_expire_and_its_bounds_hold() {
    // Rule: mdp §8.8 — the TTL runs and the queue is bounded while a service is paused
    let mut it =
        stage_with(with_policy(ServicePolicy { queue_max: 1, ..ServicePolicy::default() }));
    set_paused(&mut it, true);
    it.gets(READY);
    it.gets(ASK);
    it.gets(ASK);
    assert_eq!(it.core.counters().requests.dropped.of(Dropped::QueueFull), 1);
    it.pass(Duration::from_secs(60));
    assert_eq!(it.core.counters().requests.expired, 1);
    set_paused(&mut it, false);
    it.silent();
}

#[test]
fn a_paused_service_finishes_what_is_in_hand_and_is_remembered() {
    let mut it = busy(CoreConfig::default());
    set_paused(&mut it, true);
    it.gets(ASK);
    it.gets(DONE);
    it.says(REPLY);
    it.silent();
    it.gets(BYE);
    it.pass(Duration::from_secs(1000));
    assert_eq!(it.core.services(it.now).len(), 1);
    set_paused(&mut it, false);
    it.pass(Duration::from_secs(300));
    assert!(it.core.services(it.now).is_empty());
}

#[test]
fn what_cannot_be_paused_is_an_error() {
    let mut it = stage_with(CoreConfig { services_max: 1, ..CoreConfig::default() });
    let mmi = "mmi.service".parse().unwrap();
    assert_eq!(it.core.set_paused(it.now, &mmi, true), Err(AdminError::Reserved));
    let other = "other".parse().unwrap();
    assert_eq!(it.core.set_paused(it.now, &other, false), Ok(()));
    set_paused(&mut it, true);
    assert_eq!(it.core.set_paused(it.now, &other, true), Err(AdminError::ServicesFull));
}

#[test]
fn workers_are_shown_with_what_they_do() {
    // Rule: mdp §12.5 — each worker is shown with its service, state, ages and count of answers
    let mut it = stage();
    let message = decode(&frames(READY), &WireLimits::default()).unwrap();
    it.input(Input::Received { message, user: Some("someone".into()) });
    it.pass(ms(100));
    let idle = worker(&it);
    assert_eq!((idle.state, idle.registered, idle.since), (WorkerState::Idle, ms(100), ms(100)));
    assert_eq!((idle.service, idle.user.as_deref()), (echo(), Some("someone")));
    assert_eq!((idle.version, idle.shape), (Version::V01, Shape::Delimited));
    it.gets(ASK);
    it.says(WORK);
    it.pass(ms(50));
    let busy = worker(&it);
    assert_eq!((busy.state, busy.since, busy.last_received), (WorkerState::Busy, ms(50), ms(150)));
    it.gets(DONE);
    it.says(REPLY);
    let again = worker(&it);
    assert_eq!((again.state, again.answered, again.id), (WorkerState::Idle, 1, idle.id));
    assert_eq!((again.last_received, again.since), (ms(0), ms(0)));
    // A service of this process has no such workers.
    it.input(Input::Offer { service: "own".parse().unwrap(), slots: 1 });
    assert_eq!(it.core.workers(it.now).len(), 1);
}

#[test]
fn a_drained_worker_answers_first_and_is_sent_away_then() {
    // Rule: mdp §8.10 — a worker that is drained finishes its request and gets DISCONNECT
    let mut it = busy(CoreConfig::default());
    it.gets(ASK);
    let id = worker(&it).id;
    assert_eq!(dismiss(&mut it, id, Dismissal::Drain), Ok(()));
    it.silent();
    assert_eq!(worker(&it).state, WorkerState::Draining);
    it.gets(DONE);
    it.says(REPLY);
    it.says(BYE);
    it.silent();
    it.registered("echo", "404");
    assert_eq!(dismiss(&mut it, id, Dismissal::Drain), Err(AdminError::UnknownWorker));
    // It may come back, under another id.
    it.gets(READY);
    it.says(r#"W | (empty) | "MDPW01" | 02 | T2 | (empty) | "a""#);
    assert_ne!(worker(&it).id, id);
}

#[test]
fn an_idle_worker_is_drained_at_once_and_a_busy_one_can_be_sent_away() {
    let mut it = stage();
    it.gets(READY);
    let id = worker(&it).id;
    assert_eq!(dismiss(&mut it, id, Dismissal::Drain), Ok(()));
    it.says(BYE);
    let mut it = busy(CoreConfig::default());
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
    let id = worker(&it).id;
    assert_eq!(dismiss(&mut it, id, Dismissal::Now), Ok(()));
    it.says(BYE);
    it.says(r#"V | (empty) | "MDPW01" | 02 | T2 | (empty) | "a""#);
    assert_eq!(it.core.counters().disconnects.of(Farewell::Dismissed), 1);
}

#[test]
fn a_slot_of_this_process_is_no_worker_to_dismiss() {
    let mut it = stage();
    it.input(Input::Offer { service: echo(), slots: 1 });
    for id in [0, 1, u64::MAX] {
        let refused = dismiss(&mut it, WorkerId(id), Dismissal::Now);
        assert_eq!(refused, Err(AdminError::UnknownWorker));
    }
    it.registered("echo", "200");
}

#[test]
fn messages_are_counted_by_kind_and_version() {
    // Rule: mdp §12.5 — messages in and out are counted by type and version
    let mut it = busy(CoreConfig::default());
    it.gets(DONE);
    it.says(REPLY);
    it.gets(r#"V | "MDPW02" | 05"#);
    it.says(r#"V | "MDPW02" | 06"#);
    let counters = it.core.counters();
    let [in_01, in_02] = counters.received;
    let [out_01, out_02] = counters.sent;
    for kind in [MessageKind::WorkerReady, MessageKind::ClientRequest, MessageKind::WorkerFinal] {
        assert_eq!(in_01.of(kind), 1, "{kind:?}");
    }
    assert_eq!((in_02.of(MessageKind::WorkerHeartbeat), in_01.total(), in_02.total()), (1, 3, 1));
    for kind in [MessageKind::WorkerRequest, MessageKind::ClientFinal] {
        assert_eq!(out_01.of(kind), 1, "{kind:?}");
    }
    assert_eq!((out_02.of(MessageKind::WorkerDisconnect), out_02.total()), (1, 1));
    // Rule: mdp §12.5 — DISCONNECTs are counted by reason
    assert_eq!(counters.disconnects.of(Farewell::Unregistered), 1);
}

#[test]
fn requests_are_counted_per_service_and_over_all() {
    // Rule: mdp §12.5 — accepted, completed and dropped requests are counted per service
    let mut it = busy(CoreConfig::default());
    it.gets(r#"C | (empty) | "MDPC01" | "other""#);
    it.gets(DONE);
    it.says(REPLY);
    it.undeliverable(SendFailure::Unreachable);
    let infos = it.core.services(it.now);
    let of = |at: usize| (infos[at].counters.accepted, infos[at].counters.completed);
    assert_eq!((of(0), of(1)), ((1, 1), (1, 0)));
    // Rule: mdp §12.5 — replies to unreachable clients are counted
    assert_eq!((infos[0].counters.undelivered, it.core.counters().unreachable), (1, 1));
    let all = it.core.counters().requests;
    assert_eq!((all.accepted, all.completed, all.undelivered), (2, 1, 1));
    // Rule: mdp §12.5 — round-trip and queue-wait are histograms
    assert_eq!(it.core.counters().round_trip.count(), 1);
}
