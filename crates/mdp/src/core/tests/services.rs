//! MMI, and the parties in this process (mdp.md §13; the gateway's callers and services).

use super::*;

fn offer(it: &mut Stage, name: &str, slots: u32) {
    it.input(Input::Offer { service: name.parse().unwrap(), slots });
}

fn ask_here(it: &mut Stage, id: u64, timeout: Duration) {
    let body = Frames::from(["a"]);
    let service = "echo".parse().unwrap();
    it.input(Input::Request { id: LocalId(id), service, body, timeout });
}

#[track_caller]
fn call(it: &mut Stage) -> CallId {
    match it.core.poll_output() {
        Some(Output::Call { call, .. }) => call,
        other => panic!("{other:?} instead of a call"),
    }
}

#[test]
fn mmi_answers_at_once() {
    // Rule: mdp §13.1 — mmi.service says 200 or 404, any other mmi name 501
    // Rule: mdp §21.5 — MMI replies byte by byte, in the shape of the request
    let mut it = stage();
    it.gets(READY);
    it.registered("echo", "200");
    it.registered("nobody", "404");
    it.registered("mmi.service", "404");
    for name in ["mmi.nosuch", "mmi."] {
        it.gets(&format!(r#"C | (empty) | "MDPC01" | "{name}" | 78"#));
        it.says(&format!(r#"C | (empty) | "MDPC01" | "{name}" | 35 30 31"#));
    }
    it.gets(r#"C | "MDPC02" | 01 | "mmi.service" | "nobody""#);
    it.says(r#"C | "MDPC02" | 03 | "mmi.service" | 34 30 34"#);
}

#[test]
fn mmi_edge_cases() {
    // Rule: mdp §13.2 — the first frame counts, one frame is returned, no frame gives 404
    let mut it = stage();
    it.gets(READY);
    it.gets(r#"C | (empty) | "MDPC01" | "mmi.service" | "echo" | "nobody""#);
    it.says(r#"C | (empty) | "MDPC01" | "mmi.service" | "200""#);
    it.gets(r#"C | (empty) | "MDPC01" | "mmi.service""#);
    it.says(r#"C | (empty) | "MDPC01" | "mmi.service" | "404""#);
    it.gets(r#"C | (empty) | "MDPC01" | "mmi.service" | FF"#);
    it.says(r#"C | (empty) | "MDPC01" | "mmi.service" | "404""#);
    // Rule: mdp §13.2 — a service with queued requests only is 404; a busy worker counts
    it.gets(r#"C | (empty) | "MDPC01" | "queued""#);
    it.registered("queued", "404");
    it.gets(ASK);
    it.says(WORK);
    it.registered("echo", "200");
}

#[test]
fn a_caller_here_gets_the_reply() {
    let mut it = stage();
    it.gets(READY);
    ask_here(&mut it, 7, ms(1000));
    it.says(WORK);
    it.gets(DONE);
    it.answers(7, Ok(Frames::from(["A"])));
    it.silent();
    let service = "mmi.service".parse().unwrap();
    let body = Frames::from(["echo"]);
    it.input(Input::Request { id: LocalId(8), service, body, timeout: ms(1) });
    it.answers(8, Ok(Frames::from(["200"])));
}

#[test]
fn a_caller_here_learns_why_it_got_no_reply() {
    let mut it = stage();
    ask_here(&mut it, 1, ms(100));
    it.now = ms(100);
    it.core.handle_timeout(it.now);
    it.answers(1, Err(RequestError::NoWorker));
    it.gets(READY);
    ask_here(&mut it, 2, ms(100));
    it.says(WORK);
    it.now = ms(200);
    it.core.handle_timeout(it.now);
    it.answers(2, Err(RequestError::Timeout));
    // The worker goes on; its reply is for nobody and it stays registered.
    it.gets(DONE);
    it.silent();
    it.registered("echo", "200");
    ask_here(&mut it, 3, ms(100));
    it.says(r#"W | (empty) | "MDPW01" | 02 | T2 | (empty) | "a""#);
    it.gets(BYE);
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
    it.says(r#"V | (empty) | "MDPW01" | 02 | T3 | (empty) | "a""#);
    it.gets(r#"V | (empty) | "MDPW01" | 05"#);
    it.answers(3, Err(RequestError::Lost));
}

#[test]
fn a_caller_here_may_go_away() {
    let mut it = stage();
    ask_here(&mut it, 1, ms(100));
    it.input(Input::Cancel(LocalId(1)));
    assert_eq!(it.core.requests_held(), 0);
    it.gets(READY);
    it.silent();
    ask_here(&mut it, 2, ms(100));
    it.says(WORK);
    it.input(Input::Cancel(LocalId(2)));
    it.gets(DONE);
    it.silent();
    assert_eq!(
        (it.core.counters().requests.cancelled, it.core.counters().requests.orphaned),
        (2, 1)
    );
}

#[test]
fn a_service_here_answers_clients_within_its_slots() {
    let mut it = stage();
    offer(&mut it, "echo", 2);
    it.registered("echo", "200");
    for _ in 0..3 {
        it.gets(ASK);
    }
    let (first, second) = (call(&mut it), call(&mut it));
    it.silent();
    it.input(Input::CallDone(second, Frames::from(["A"])));
    it.says(REPLY);
    let third = call(&mut it);
    // A failed call is not repeated, and an answer to it comes too late.
    it.input(Input::CallFailed(first));
    it.input(Input::CallDone(first, Frames::from(["late"])));
    it.silent();
    it.input(Input::CallDone(third, Frames::from(["A"])));
    it.says(REPLY);
    assert_eq!((it.core.counters().requests.completed, it.core.counters().requests.lost), (2, 1));
}

#[test]
fn a_service_here_cannot_be_taken_over() {
    let mut it = stage();
    it.gets(READY);
    it.gets(ASK);
    it.says(WORK);
    offer(&mut it, "echo", 1);
    it.says(BYE);
    let moved = call(&mut it);
    it.gets(r#"V | (empty) | "MDPW01" | 01 | "echo""#);
    it.says(r#"V | (empty) | "MDPW01" | 05"#);
    it.input(Input::CallDone(moved, Frames::from(["A"])));
    it.says(REPLY);
    let info = &it.core.services(it.now)[0];
    assert_eq!((info.kind, info.workers, info.idle), (ServiceKind::Local, 1, 1));
    // No heartbeat and no expiry for what has no socket.
    assert!(it.pass(Duration::from_secs(100)).is_empty());
    it.registered("echo", "200");
}

#[test]
fn draining_takes_nothing_new_and_finishes_what_it_has() {
    // Rule: mdp §8.10 — a draining broker takes no requests and forwards outstanding replies
    let mut it = busy(CoreConfig::default());
    it.input(Input::Drain);
    it.gets(ASK);
    ask_here(&mut it, 1, ms(100));
    it.answers(1, Err(RequestError::Stopped));
    it.gets(DONE);
    it.says(REPLY);
    it.silent();
    assert_eq!(it.core.requests_held(), 0);
    // Rule: mdp §8.10 — a stopping broker sends DISCONNECT to all workers
    it.input(Input::Stop);
    it.says(BYE);
    it.silent();
    it.gets(READY);
    it.silent();
}

#[test]
fn stopping_fails_what_is_in_hand() {
    let mut it = stage();
    ask_here(&mut it, 1, ms(100));
    it.input(Input::Stop);
    it.answers(1, Err(RequestError::Stopped));
    it.input(Input::Stop);
    it.silent();
}
