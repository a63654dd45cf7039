//! The conversation step by step, with times of the test's choosing.

use super::*;
use crate::wire::Hop;

fn reply(id: Option<u32>, service: &[u8], body: &'static str) -> Reply {
    let id = id.map(|id| Hop::from(id.to_be_bytes().as_slice()));
    Reply { id, kind: ReplyKind::Final, service: service.into(), body: Frames::from([body]) }
}

fn part(id: u32, body: &'static str) -> Reply {
    Reply { kind: ReplyKind::Partial, ..reply(Some(id), b"echo", body) }
}

fn settings() -> Settings {
    Settings {
        version: Version::V01,
        correlation: Correlation::Correlated,
        in_flight_max: 3,
        answer_bytes_max: 100,
        retries: Retries::default(),
        brokers: 1,
        broker: 0,
        broker_patience: second(10),
    }
}

fn retrying(count: u32) -> Settings {
    let retries = Retries { count, try_timeout: second(1), ..Retries::default() };
    Settings { retries, ..settings() }
}

fn plain(settings: Settings) -> Conversation {
    Conversation::new(Settings { correlation: Correlation::Plain, ..settings }, 7)
}

fn conversation() -> Conversation {
    Conversation::new(settings(), 7)
}

fn second(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ask(it: &mut Conversation, now: Duration, timeout: Duration) -> Result<u32, ClientError> {
    let service = "echo".parse().unwrap();
    let body = Frames::from(["x"]);
    it.submit(now, Question { service, body, timeout, streaming: false })
}

fn drain(it: &mut Conversation) -> Vec<Output> {
    std::iter::from_fn(|| it.poll_output()).collect()
}

/// Returns ticket and id of the request that is to be sent, the only output.
fn sent(it: &mut Conversation) -> (u32, u32) {
    match drain(it).as_slice() {
        [Output::Send { ticket, id: Some(id), body, .. }] => {
            assert_eq!(*body, Frames::from(["x"]));
            (*ticket, u32::from_be_bytes(*id))
        }
        other => panic!("{other:?}"),
    }
}

fn asked(it: &mut Conversation, timeout: u64) -> (u32, u32) {
    let ticket = ask(it, second(0), second(timeout)).unwrap();
    let (sent, id) = sent(it);
    assert_eq!(sent, ticket);
    (ticket, id)
}

#[test]
fn answers_are_matched_by_their_frame_and_not_by_order() {
    // Rule: mdp §11.1 — a late answer never reaches another request
    let mut it = conversation();
    let (a, a_id) = asked(&mut it, 1);
    let (b, b_id) = asked(&mut it, 9);
    it.handle_timeout(second(1));
    let outputs = drain(&mut it);
    assert!(matches!(outputs.as_slice(), [Output::Done(t, Err(ClientError::Timeout))] if *t == a));
    it.on_reply(second(1), reply(Some(a_id), b"echo", "late"));
    it.on_reply(second(1), reply(None, b"echo", "stray"));
    it.on_reply(second(1), reply(Some(b_id), b"other", "wrong service"));
    assert!(it.poll_output().is_none());
    it.on_reply(second(1), reply(Some(b_id), b"echo", "B"));
    let Some(Output::Done(t, Ok(body))) = it.poll_output() else { panic!("no answer") };
    assert_eq!((t, body), (b, Frames::from(["B"])));
    assert_eq!(it.poll_timeout(), None);
}

#[test]
fn a_plain_client_has_one_request_in_flight_and_drops_the_socket_after_silence() {
    // Rule: mdp §11.1 — plain mode keeps one request in flight and discards the socket on timeout
    let mut it = plain(settings());
    let a = ask(&mut it, second(0), second(1)).unwrap();
    let b = ask(&mut it, second(0), second(9)).unwrap();
    assert!(
        matches!(drain(&mut it).as_slice(), [Output::Send { ticket, id: None, .. }] if *ticket == a)
    );
    it.handle_timeout(second(1));
    let [Output::Done(done, Err(_)), Output::Reset(0), Output::Send { ticket, .. }] =
        drain(&mut it)[..]
    else {
        panic!("no new socket");
    };
    assert_eq!((done, ticket), (a, b));
    it.on_reply(second(2), reply(None, b"echo", "B"));
    assert!(matches!(it.poll_output(), Some(Output::Done(t, Ok(_))) if t == b));
}

#[test]
fn requests_in_flight_are_bounded() {
    let mut it = conversation();
    for _ in 0..3 {
        ask(&mut it, second(0), second(1)).unwrap();
    }
    let refused = ask(&mut it, second(0), second(1));
    assert!(matches!(refused, Err(ClientError::QueueFull)));
}

#[test]
fn parts_come_before_the_final_frames_within_a_bound() {
    let mut it = conversation();
    let (_, a) = asked(&mut it, 1);
    let (_, b) = asked(&mut it, 1);
    it.on_reply(second(0), part(a, "1"));
    it.on_reply(second(0), reply(Some(a), b"echo", "2"));
    let Some(Output::Done(_, Ok(body))) = it.poll_output() else { panic!("no answer") };
    assert_eq!(body, Frames::from(["1", "2"]));
    it.on_reply(second(0), Reply { body: Frames::from([vec![0; 101]]), ..part(b, "") });
    assert!(matches!(it.poll_output(), Some(Output::Done(_, Err(ClientError::AnswerTooLarge)))));
}

#[test]
fn parts_are_handed_on_to_who_wants_them() {
    // Rule: mdp §5.1 — zero or more PARTIALs, then one FINAL, in the worker's order
    let mut it = conversation();
    let question = Question {
        service: "echo".parse().unwrap(),
        body: Frames::from(["x"]),
        timeout: second(1),
        streaming: true,
    };
    let ticket = it.submit(second(0), question).unwrap();
    let (_, id) = sent(&mut it);
    it.on_reply(second(0), part(id, "1"));
    it.on_reply(second(0), part(id, "2"));
    it.on_reply(second(0), reply(Some(id), b"echo", "3"));
    it.on_reply(second(0), part(id, "after the end"));
    let outputs = drain(&mut it);
    let [Output::Part(a, one), Output::Part(b, two), Output::Done(c, Ok(three))] = &outputs[..]
    else {
        panic!("{outputs:?}");
    };
    assert_eq!([a, b, c], [&ticket; 3]);
    assert_eq!([one, two, three], [&"1".into(), &"2".into(), &"3".into()]);
}

#[test]
fn a_retry_is_a_new_request_and_the_old_answer_is_discarded() {
    // Rule: mdp §8.4 — on timeout a request is sent again; after several tries failure is reported
    let mut it = Conversation::new(retrying(2), 7);
    let (ticket, first) = asked(&mut it, 60);
    it.handle_timeout(second(1));
    assert!(it.poll_output().is_none(), "pauses");
    it.on_reply(second(1), reply(Some(first), b"echo", "late"));
    assert!(it.poll_output().is_none());
    let pause = it.poll_timeout().unwrap().saturating_sub(second(1));
    assert!((100..125).contains(&pause.as_millis()), "{pause:?}");
    it.handle_timeout(second(2));
    let (again, second_id) = sent(&mut it);
    assert_eq!(again, ticket);
    assert_ne!(second_id, first);
    it.handle_timeout(second(3));
    let pause = it.poll_timeout().unwrap().saturating_sub(second(3));
    assert!((200..250).contains(&pause.as_millis()), "{pause:?}");
    it.handle_timeout(second(4));
    let (_, third) = sent(&mut it);
    // The last try has the rest of the time.
    assert_eq!(it.poll_timeout(), Some(second(60)));
    it.on_reply(second(59), reply(Some(third), b"echo", "A"));
    assert!(matches!(it.poll_output(), Some(Output::Done(t, Ok(_))) if t == ticket));
    assert_eq!(it.poll_timeout(), None);
}

#[test]
fn the_callers_time_ends_tries_and_pauses() {
    let mut it = Conversation::new(retrying(9), 7);
    let (ticket, _) = asked(&mut it, 2);
    it.handle_timeout(second(1));
    it.handle_timeout(Duration::from_millis(1300));
    sent(&mut it);
    assert_eq!(it.poll_timeout(), Some(second(2)));
    it.handle_timeout(second(2));
    let outputs = drain(&mut it);
    assert!(
        matches!(outputs.as_slice(), [Output::Done(t, Err(ClientError::Timeout))] if *t == ticket)
    );
}

#[test]
fn nothing_is_tried_again_after_a_part() {
    // Rule: mdp §8.9 — a request is not sent again after a PARTIAL
    let mut it = Conversation::new(retrying(9), 7);
    let (_, id) = asked(&mut it, 60);
    it.on_reply(second(0), part(id, "1"));
    assert_eq!(it.poll_timeout(), Some(second(60)));
}

#[test]
fn a_plain_client_retries_on_a_new_socket() {
    // Rule: mdp §8.4 — on timeout the socket is closed and the request sent again on a new one
    let mut it = plain(retrying(1));
    ask(&mut it, second(0), second(60)).unwrap();
    assert!(matches!(drain(&mut it).as_slice(), [Output::Send { .. }]));
    it.handle_timeout(second(1));
    assert!(matches!(drain(&mut it).as_slice(), [Output::Reset(0)]));
    it.handle_timeout(second(2));
    assert!(matches!(drain(&mut it).as_slice(), [Output::Send { .. }]));
}

#[test]
fn a_silent_broker_is_left_for_the_next() {
    // Rule: mdp §12.7 — a client moves to the next endpoint when a broker is silent for long enough
    let mut it = Conversation::new(Settings { brokers: 2, ..retrying(9) }, 7);
    let (retried, first) = asked(&mut it, 60);
    it.on_reply(second(1), reply(Some(first), b"other", "alive"));
    it.handle_timeout(second(2));
    it.handle_timeout(second(3));
    sent(&mut it);
    let mut now = second(3);
    let mut outputs = Vec::new();
    while !matches!(outputs.as_slice(), [Output::Reset(_), ..]) {
        now = it.poll_timeout().unwrap();
        it.handle_timeout(now);
        outputs = drain(&mut it);
    }
    assert!(now >= second(13), "{now:?}");
    assert!(matches!(outputs.as_slice(), [Output::Reset(1)]), "{outputs:?}");
    now = it.poll_timeout().unwrap();
    it.handle_timeout(now);
    let (ticket, id) = sent(&mut it);
    it.on_reply(now, reply(Some(id), b"echo", "A"));
    assert!(
        matches!(it.poll_output(), Some(Output::Done(t, Ok(_))) if t == retried && t == ticket)
    );
}

#[test]
fn what_was_sent_to_a_lost_broker_is_sent_to_the_next_at_once() {
    let patience = Settings { brokers: 2, broker_patience: second(1), ..retrying(1) };
    let mut it = Conversation::new(patience, 7);
    asked(&mut it, 60);
    let other = ask(&mut it, Duration::from_millis(500), second(60)).unwrap();
    drain(&mut it);
    it.handle_timeout(second(1));
    let outputs = drain(&mut it);
    assert!(
        matches!(outputs.as_slice(), [Output::Reset(1), Output::Send { ticket, .. }] if *ticket == other),
        "{outputs:?}"
    );
}

#[test]
fn who_went_away_is_not_served() {
    let mut it = plain(settings());
    let a = ask(&mut it, second(0), second(9)).unwrap();
    let b = ask(&mut it, second(0), second(9)).unwrap();
    let c = ask(&mut it, second(0), second(9)).unwrap();
    drain(&mut it);
    it.fail(second(1), b, ClientError::Disconnected);
    assert!(matches!(drain(&mut it).as_slice(), [Output::Done(t, Err(_))] if *t == b));
    it.fail(second(1), a, ClientError::Disconnected);
    let [Output::Done(done, Err(_)), Output::Reset(0), Output::Send { ticket, .. }] =
        drain(&mut it)[..]
    else {
        panic!("no new socket");
    };
    assert_eq!((done, ticket), (a, c));
}
