//! What the model does not foretell: claims that cross, silence, rates, queues, the end.

use std::{sync::Arc, time::Duration};

use buswire_message::{Secret, Timestamp};
use buswire_store::Revision;
use buswire_testkit::SeededEntropy;

use super::*;

const TEMPORARY: &str = "926c0c63-b02a-40a9-a19f-edb19190c143";
const HASHED: &str = "66c6bd1f4cda24069debe0efa2193f64baeae867";
const PREIMAGE: &str = "eba68eea-75f2-4b05-b87a-08365cc58043";
const CAP: &str = "d859f7a0-4008-4c35-a99a-b7a23a5fc35d";
const ONE: ConnectionId = ConnectionId(1);
const TWO: ConnectionId = ConnectionId(2);

struct Bench {
    core: Core,
    now: Timestamp,
}

impl Bench {
    fn new(config: RelayConfig) -> Self {
        let core = Core::new(Arc::new(config), Arc::new(SeededEntropy::new(7)));
        Self { core, now: Timestamp::from_secs(1_700_000_000) }
    }

    /// What comes of an input, in words; a claim is written down, not answered.
    fn apply(&mut self, input: Input) -> Vec<String> {
        self.core.handle(self.now, input);
        self.outputs()
    }

    fn pass(&mut self, seconds: u64) -> Vec<String> {
        self.now = self.now.saturating_add(Duration::from_secs(seconds));
        self.core.handle_timeout(self.now);
        self.outputs()
    }

    fn outputs(&mut self) -> Vec<String> {
        let word = |output| match output {
            Output::Send(to, message) => format!("{} {}", to.0, message.encode()),
            Output::Close(id, reason) => format!("{} {reason:?}", id.0),
            Output::Claim { by, .. } => format!("{} claim", by.0),
            Output::Renew { .. } => "renew".to_owned(),
            Output::Forward { tx, call } => format!("forward {tx} {}", call.method),
            Output::Retire { .. } => "retire".to_owned(),
            Output::Left(_) => "left".to_owned(),
            Output::Answer(id, answer) => format!("own {} {answer:?}", id.0),
        };
        std::iter::from_fn(|| self.core.poll_output()).map(word).collect()
    }

    fn message(&mut self, from: ConnectionId, text: &str) -> Vec<String> {
        let message = FromPeer::parse(text);
        self.apply(Input::Received { from, message, bytes: text.len() })
    }

    fn register(&mut self, by: ConnectionId, id: &str, proof: Option<&str>) -> Vec<String> {
        let proof = proof.map(|proof| format!(r#","proof":"{proof}""#)).unwrap_or_default();
        self.message(by, &format!(r#"{{"op":"register","id":"{id}"{proof}}}"#))
    }

    fn invoke(&mut self, from: ConnectionId, tx: u64, data: &str) -> Vec<String> {
        let ser = format!("urn:x-cap:{HASHED}:{CAP}");
        self.message(
            from,
            &format!(
                r#"{{"op":"invoke","txId":{tx},"ser":"{ser}","method":"POST","data":"{data}"}}"#
            ),
        )
    }

    /// Two connections, the first of which has [`HASHED`].
    fn pair(config: RelayConfig) -> Self {
        let mut bench = Self::new(config);
        bench.apply(Input::Opened(ONE));
        bench.apply(Input::Opened(TWO));
        assert!(bench.register(ONE, HASHED, Some(PREIMAGE))[0].contains("registered"));
        bench
    }
}

fn claimed(by: ConnectionId, outcome: Claimed) -> Input {
    Input::Claimed { by, id: TEMPORARY.to_owned(), outcome }
}

fn refused(id: &str, status: u16, message: &str) -> String {
    format!(r#"{{"op":"refused","id":"{id}","status":{status},"message":"{message}"}}"#)
}

#[test]
fn refusals_have_the_statuses_of_the_table() {
    // Rule: belay 22.4 — origin ids are not routable over the relay
    // Rule: belay 2.2 — the null id is never routed
    let mut bench = Bench::new(RelayConfig { ids_max: 1, ..RelayConfig::default() });
    bench.apply(Input::Opened(ONE));
    let null = "00000000-0000-0000-0000-000000000000";
    for (id, proof, status, message) in [
        ("bob", None, 400, "bad request"),
        (null, None, 400, "bad request"),
        ("https://myserv.com", None, 403, "forbidden"),
        ("https://myserv.com", Some(PREIMAGE), 403, "forbidden"),
        (HASHED, None, 403, "forbidden"),
        (HASHED, Some(TEMPORARY), 403, "forbidden"),
    ] {
        let answer = format!("1 {}", refused(id, status, message));
        assert_eq!(bench.register(ONE, id, proof), [answer]);
    }
    bench.register(ONE, HASHED, Some(PREIMAGE));
    let answer = format!("1 {}", refused(HASHED, 409, "already routed"));
    assert_eq!(bench.register(ONE, HASHED, Some(PREIMAGE)), [answer]);
    let answer = format!("1 {}", refused(TEMPORARY, 429, "too many requests"));
    assert_eq!(bench.register(ONE, TEMPORARY, None), [answer]);
}

#[test]
fn a_claim_is_answered_when_the_store_has_it() {
    // Rule: belay 22.4 — the first registration of a temporary id wins and gets a resume token
    let mut bench = Bench::new(RelayConfig::default());
    for connection in [ONE, TWO] {
        bench.apply(Input::Opened(connection));
    }
    assert_eq!(bench.register(ONE, TEMPORARY, None), ["1 claim"]);
    let taken = format!("2 {}", refused(TEMPORARY, 409, "already routed"));
    assert_eq!(bench.register(TWO, TEMPORARY, None), [taken]);
    let answer = bench.apply(claimed(ONE, Claimed::Yes(Revision(1))));
    assert!(answer[0].starts_with("1 {\"op\":\"registered\""), "{answer:?}");
    assert_eq!(bench.core.owner(TEMPORARY), Some(ONE));
    // What nobody asked for is nothing.
    assert!(bench.apply(claimed(TWO, Claimed::Yes(Revision(1)))).is_empty());
}

#[test]
fn who_goes_while_claiming_leaves_nothing() {
    let mut bench = Bench::new(RelayConfig::default());
    bench.apply(Input::Opened(ONE));
    bench.register(ONE, TEMPORARY, None);
    bench.apply(Input::Closed(ONE));
    assert!(bench.apply(claimed(ONE, Claimed::Yes(Revision(1)))).is_empty());
    assert_eq!(bench.core.sizes(), (0, 0));
    for (outcome, status, message) in [
        (Claimed::Taken, 409, "already routed"),
        (Claimed::Retired, 410, "gone"),
        (Claimed::TooMany, 429, "too many requests"),
        (Claimed::Failed, 503, "unavailable"),
    ] {
        bench.apply(Input::Opened(TWO));
        bench.register(TWO, TEMPORARY, None);
        let answer = format!("2 {}", refused(TEMPORARY, status, message));
        assert_eq!(bench.apply(claimed(TWO, outcome)), [answer]);
        assert_eq!(bench.core.sizes(), (0, 0));
    }
}

#[test]
fn a_claim_is_renewed_while_it_is_used_and_retired_after_the_grace() {
    // Rule: belay 22.4 — after 60 seconds a temporary id is retired
    let mut bench = Bench::new(RelayConfig {
        silence: Duration::from_secs(1_000_000),
        ..RelayConfig::default()
    });
    bench.apply(Input::Opened(ONE));
    bench.register(ONE, TEMPORARY, None);
    bench.apply(claimed(ONE, Claimed::Yes(Revision(1))));
    assert_eq!(bench.pass(86_400), ["renew"]);
    let revision = Some(Revision(2));
    bench.apply(Input::Renewed { id: TEMPORARY.to_owned(), revision });
    assert_eq!(bench.pass(86_400), ["renew"]);
    bench.apply(Input::Renewed { id: TEMPORARY.to_owned(), revision });
    bench.apply(Input::Closed(ONE));
    assert!(bench.pass(59).is_empty());
    assert_eq!(bench.pass(1), ["retire"]);
    assert_eq!(bench.core.poll_timeout(), None);
}

#[test]
fn a_claim_that_went_to_another_gateway_is_not_retired() {
    let mut bench = Bench::new(RelayConfig {
        silence: Duration::from_secs(1_000_000),
        ..RelayConfig::default()
    });
    bench.apply(Input::Opened(ONE));
    bench.register(ONE, TEMPORARY, None);
    bench.apply(claimed(ONE, Claimed::Yes(Revision(1))));
    bench.pass(86_400);
    bench.apply(Input::Renewed { id: TEMPORARY.to_owned(), revision: None });
    bench.apply(Input::Closed(ONE));
    assert!(bench.pass(60).is_empty());
    assert_eq!(bench.core.sizes(), (0, 0));
}

#[test]
fn silence_is_asked_about_and_then_ends_the_connection() {
    // Rule: belay 9 — after 30 seconds without traffic a ping is sent, and 30 later it is over
    let mut bench = Bench::pair(RelayConfig::default());
    bench.pass(20);
    bench.apply(Input::Heard(TWO));
    assert_eq!(bench.pass(10), [r#"1 {"op":"ping"}"#]);
    assert_eq!(bench.pass(29), [r#"2 {"op":"ping"}"#]);
    assert!(bench.message(TWO, r#"{"op":"pong"}"#).is_empty());
    assert_eq!(bench.pass(1), ["1 Silent"]);
    assert_eq!(bench.core.owner(HASHED), None);
    assert_eq!(bench.message(TWO, r#"{"op":"ping"}"#), [r#"2 {"op":"pong"}"#]);
}

#[test]
fn who_sends_too_much_is_turned_away_and_then_closed() {
    // Rule: belay 22.4 — per-frame rate limits: 429, and in the end the connection is closed
    let mut bench = Bench::pair(RelayConfig { tokens_max: 2, ..RelayConfig::default() });
    assert!(bench.invoke(TWO, 1, "a")[0].starts_with("1 "));
    assert!(bench.invoke(TWO, 2, "b")[0].starts_with("1 "));
    let answer = bench.invoke(TWO, 3, "c");
    assert!(answer[0].starts_with("2 ") && answer[0].contains("429"), "{answer:?}");
    // What somebody waits for is free.
    let answer = bench.message(ONE, r#"{"op":"response","txId":1000,"type":"success"}"#);
    assert_eq!(answer, [r#"2 {"op":"response","txId":1,"type":"success"}"#]);
    assert_eq!(bench.message(TWO, "junk"), ["2 Flood"]);
    assert!(bench.message(TWO, r#"{"op":"ping"}"#).is_empty());
}

#[test]
fn however_much_one_calls_somebody_else_finds_room() {
    // Rule: belay 9 — at most so many calls are pending in each direction, further ones fail 429
    let mut bench = Bench::pair(RelayConfig { pending_max: 8, ..RelayConfig::default() });
    let forwarded = |bench: &mut Bench, from, calls: std::ops::Range<u64>| {
        let answers = calls.map(|tx| bench.invoke(from, tx, "a"));
        let answers: Vec<_> = answers.map(|answer| answer[0].clone()).collect();
        let refused = answers.iter().filter(|answer| answer.contains(r#""status":429"#)).count();
        let passed = answers.iter().filter(|answer| answer.starts_with("1 ")).count();
        assert_eq!(passed + refused, answers.len(), "{answers:?}");
        passed
    };
    assert_eq!(forwarded(&mut bench, TWO, 0..20), 4, "half, while nobody else calls");
    let three = ConnectionId(3);
    bench.apply(Input::Opened(three));
    assert_eq!(forwarded(&mut bench, three, 0..20), 2, "half of what is left");
    // Who has many waiting gets none until others have room; who has none gets one.
    assert_eq!(forwarded(&mut bench, TWO, 20..21), 0);
    let four = ConnectionId(4);
    bench.apply(Input::Opened(four));
    assert_eq!(forwarded(&mut bench, four, 0..20), 1);
}

#[test]
fn who_does_not_read_is_closed() {
    // Rule: belay 23.11 — what waits for a slow window is bounded
    let mut bench = Bench::pair(RelayConfig { queued_bytes_max: 3000, ..RelayConfig::default() });
    let data = "x".repeat(1000);
    let first = bench.invoke(TWO, 1, &data);
    assert!(first[0].starts_with("1 "));
    bench.invoke(TWO, 2, &data);
    let end = bench.invoke(TWO, 3, &data);
    assert_eq!(end[0], "1 Slow");
    // Its callers are told, each once.
    assert_eq!(end.iter().filter(|it| it.contains("CapTunnel communication failed")).count(), 3);
    assert_eq!(bench.core.queued, bench.core.connections[&TWO].queued);
}

#[test]
fn queued_bytes_are_counted_down_as_they_are_taken() {
    let mut bench =
        Bench::pair(RelayConfig { queued_bytes_all_max: 1500, ..RelayConfig::default() });
    let bytes = bench.core.connections[&ONE].queued;
    bench.apply(Input::Taken { by: ONE, bytes });
    assert_eq!(bench.core.queued, 0);
    let data = "x".repeat(1000);
    bench.invoke(TWO, 1, &data);
    bench.invoke(TWO, 2, &data);
    let answer = bench.invoke(TWO, 3, &data);
    assert!(answer[0].starts_with("2 ") && answer[0].contains("429"), "{answer:?}");
    bench.apply(Input::Closed(ONE));
    bench.apply(Input::Closed(TWO));
    assert_eq!(bench.core.queued, 0);
}

#[test]
fn the_greatest_buffers_make_room_for_others() {
    // Rule: belay 23.11 — what the sockets of all windows keep in memory is bounded
    let config = RelayConfig { buffered_bytes_max: 5000, ..RelayConfig::default() };
    let mut bench = Bench::pair(config);
    let junk = "x".repeat(2000);
    assert!(bench.message(TWO, &junk).is_empty());
    // As long again takes no more room; longer does, and so does what goes out.
    assert!(bench.message(TWO, &junk).is_empty());
    assert!(bench.apply(Input::Taken { by: TWO, bytes: 2000 }).is_empty());
    assert_eq!(bench.message(ONE, &"x".repeat(1500)), ["2 Crowded"]);
    assert!(bench.message(ONE, &"x".repeat(3000)).is_empty());
    bench.apply(Input::Closed(ONE));
    assert_eq!(bench.core.buffered, 0);
}

#[test]
fn a_call_for_a_window_elsewhere_is_passed_on_once_and_bounded() {
    // Rule: belay 22.4 — a call that came from another gateway is never passed on
    let config = RelayConfig { own_pending_max: 2, ..RelayConfig::default() };
    let mut bench = Bench::pair(config);
    bench.core = std::mem::replace(
        &mut bench.core,
        Core::new(Arc::default(), Arc::new(SeededEntropy::new(1))),
    )
    .joined();
    let elsewhere = format!("urn:x-cap:{TEMPORARY}:{CAP}");
    let call =
        || Call { ser: Secret::new(elsewhere.clone()), method: "GET".to_owned(), data: None };
    let here = Input::Call(CallId(1), call(), Reach::Here);
    assert_eq!(bench.apply(here), ["own 1 Err(NotRegistered)"]);
    let text = format!(r#"{{"op":"invoke","txId":5,"ser":"{elsewhere}","method":"GET"}}"#);
    assert_eq!(bench.message(TWO, &text), ["forward 1000 GET"]);
    assert_eq!(bench.apply(Input::Call(CallId(2), call(), Reach::Anywhere)), ["forward 1001 GET"]);
    let third = Input::Call(CallId(3), call(), Reach::Anywhere);
    assert_eq!(bench.apply(third), ["own 3 Err(TooMany)"]);
    let answer = |tx| Input::Forwarded { tx, answer: Ok(Some("x".to_owned())) };
    let told = r#"2 {"op":"response","txId":5,"type":"success","data":"x"}"#;
    assert_eq!(bench.apply(answer(1000)), [told]);
    assert!(bench.apply(answer(1000)).is_empty(), "once");
    assert!(bench.core.is_away(1001) && !bench.core.is_away(1000));
    assert_eq!(bench.pass(30), ["own 2 Err(TimedOut)", r#"1 {"op":"ping"}"#, r#"2 {"op":"ping"}"#]);
    assert!(bench.apply(answer(1001)).is_empty(), "too late");
    assert_eq!(bench.core.away, 0);
}

#[test]
fn an_id_that_went_elsewhere_is_let_go_of_and_not_retired() {
    let mut bench = Bench::pair(RelayConfig::default());
    assert_eq!(bench.register(ONE, TEMPORARY, None), ["1 claim"]);
    bench.apply(claimed(ONE, Claimed::Yes(Revision(1))));
    bench.invoke(TWO, 5, "x");
    let gone = bench.apply(Input::Moved(HASHED.to_owned()));
    assert!(gone[0].contains("504"), "{gone:?}");
    assert_eq!(gone[1], format!(r#"1 {{"op":"unregistered","id":"{HASHED}"}}"#));
    let gone = bench.apply(Input::Moved(TEMPORARY.to_owned()));
    assert_eq!(gone, [format!(r#"1 {{"op":"unregistered","id":"{TEMPORARY}"}}"#)]);
    assert!(bench.apply(Input::Moved(TEMPORARY.to_owned())).is_empty());
    assert_eq!(bench.core.sizes(), (0, 0));
}

#[test]
fn draining_ends_everything() {
    let mut bench = Bench::pair(RelayConfig::default());
    let call = Call {
        ser: Secret::new(format!("urn:x-cap:{HASHED}:{CAP}")),
        method: "GET".to_owned(),
        data: None,
    };
    bench.apply(Input::Call(CallId(9), call.clone(), Reach::Anywhere));
    let end = bench.apply(Input::Drain);
    for expected in [
        "own 9 Err(Draining)",
        r#"1 {"op":"bye"}"#,
        r#"2 {"op":"bye"}"#,
        "1 Draining",
        "2 Draining",
    ] {
        assert!(end.iter().any(|it| it == expected), "{expected}: {end:?}");
    }
    assert_eq!(
        bench.apply(Input::Call(CallId(10), call, Reach::Anywhere)),
        ["own 10 Err(Draining)"]
    );
    assert_eq!(bench.apply(Input::Opened(ConnectionId(3))), ["3 Draining"]);
}

#[test]
fn a_call_that_can_not_be_is_answered_at_once() {
    // Rule: belay 7.2 — a serialisation that does not decode is 400 `Unparsable capability`
    let mut bench = Bench::pair(RelayConfig::default());
    for (ser, method, status, message) in [
        ("asdf", "GET", 400, "Unparsable capability"),
        ("https://gw.example/cap/Qm2vR8xK1tZ4yLw0nS7dJc9f", "GET", 400, "Unparsable capability"),
        (&format!("urn:x-cap:{TEMPORARY}:{CAP}"), "GET", 404, "not found"),
        (&format!("urn:x-cap:{HASHED}:{CAP}"), "", 400, "bad request"),
    ] {
        let text = format!(r#"{{"op":"invoke","txId":5,"ser":"{ser}","method":"{method}"}}"#);
        let data = format!(r#"{{"status":{status},"message":"{message}"}}"#);
        let answer = format!(r#"2 {{"op":"response","txId":5,"type":"failure","data":{data}}}"#);
        assert_eq!(bench.message(TWO, &text), [answer]);
    }
}
