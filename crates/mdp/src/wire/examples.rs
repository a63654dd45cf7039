//! Every worked example of mdp.md §21 as bytes: whole, cut short, lengthened and mutated.

use bytes::Bytes;

use super::notation::frames;
use super::*;
use crate::Frames;

/// Messages to the broker.
const TO_BROKER: &[&str] = &[
    r#"00 6B 8B 45 67 | (empty) | 4D 44 50 57 30 31 "MDPW01" | 01 | 65 63 68 6F "echo""#,
    r#"00 6B 8B 45 68 | (empty) | 4D 44 50 43 30 31 "MDPC01" | 65 63 68 6F "echo" | 48 65 6C 6C 6F "Hello" | 57 6F 72 6C 64 "World""#,
    r#"W | (empty) | 4D 44 50 57 30 31 | 03 | 9F 3C 0A 55 77 E1 D2 44 00 00 00 00 00 00 00 01 | (empty) | 48 45 4C 4C 4F "HELLO" | 57 4F 52 4C 44 "WORLD""#,
    r"00 6B 8B 45 67 | (empty) | 4D 44 50 57 30 31 | 04",
    r"00 6B 8B 45 67 | (empty) | 4D 44 50 57 30 31 | 05",
    r"00 6B 8B 45 68 | 00 00 00 07 | (empty) | 4D 44 50 43 30 31 | 65 63 68 6F | 61",
    r"00 6B 8B 45 68 | 00 00 00 08 | (empty) | 4D 44 50 43 30 31 | 65 63 68 6F | 62",
    r"00 6B 8B 45 69 | (empty) | 4D 44 50 57 30 31 | 03 | T2 | (empty) | 42",
    r#"C | (empty) | "MDPC01" | 6C 73 2D 73 65 72 76 69 63 65 "ls-service""#,
    r#"W | (empty) | "MDPW01" | 03 | T | (empty) | "README.md""#,
    r#"W | 4D 44 50 57 30 32 "MDPW02" | 01 | 6C 69 6E 65 73 "lines""#,
    r#"C | 4D 44 50 43 30 32 "MDPC02" | 01 | "lines" | 33 "3""#,
    r#"W | "MDPW02" | 03 | T | (empty) | 6C 69 6E 65 20 31 "line 1""#,
    r#"W | "MDPW02" | 04 | T | (empty) | 6C 69 6E 65 20 33 "line 3""#,
    r#"W | "MDPW02" | 05"#,
    r#"W | "MDPW02" | 06"#,
    r#"W | (empty) | "MDPW02" | 04 | T | (empty) | "line 3""#,
    r#"C | (empty) | "MDPC01" | 6D 6D 69 2E 73 65 72 76 69 63 65 "mmi.service" | 65 63 68 6F "echo""#,
    r#"C | "MDPC02" | 01 | "mmi.service" | "nobody""#,
    r#"W | (empty) | "MDPW01" | 01 | "mmi.evil""#,
    r#"W | (empty) | "MDPW01" | 03 | C | (empty) | "spoof""#,
    r#"C | (empty) | "MDPC01" | "titanic.request" | "echo" | "Hello world""#,
];

fn decoded(text: &str) -> Result<Incoming, Invalid> {
    decode(&frames(text), &WireLimits::default())
}

fn worker(text: &str) -> WorkerMessage {
    match decoded(text).unwrap().peer {
        Peer::Worker(message) => message,
        Peer::Client(other) => panic!("{other:?}"),
    }
}

/// Sends what a peer said back as the message the broker would say with the same content.
fn encoded(to: Envelope, message: ToPeer) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    Outgoing { to, message }.write_to(&mut parts);
    parts.iter().map(|part| part.as_slice().to_vec()).collect()
}

#[test]
fn every_example_decodes() {
    // Rule: mdp §21 — every worked example decodes
    for text in TO_BROKER {
        let message = decoded(text).unwrap_or_else(|reason| panic!("{text}: {reason:?}"));
        let malformed = matches!(message.peer, Peer::Worker(WorkerMessage::Malformed));
        assert!(!malformed, "{text}");
    }
}

#[test]
fn client_requests_carry_stack_service_and_body() {
    // Rule: mdp §3.4 — the address stack is every frame up to the first empty one
    let message = decoded(TO_BROKER[5]).unwrap();
    assert_eq!(message.envelope.route.as_slice(), [0x00, 0x6B, 0x8B, 0x45, 0x68]);
    assert_eq!(message.envelope.stack[0].as_slice(), [0, 0, 0, 7]);
    let Peer::Client(request) = message.peer else { panic!("no client message") };
    assert_eq!(request.service.as_slice(), b"echo");
    assert_eq!(request.body, Frames::from(["a"]));
    // Rule: mdp §4.1 — a request without body frame is valid
    let Peer::Client(request) = decoded(TO_BROKER[8]).unwrap().peer else { panic!() };
    assert!(request.body.is_empty());
}

#[test]
fn replies_go_out_in_the_shape_of_the_request() {
    // Rule: mdp §6.1 — an answer has exactly the shape of its request
    let cases = [
        (
            r#"C | 00 00 00 07 | (empty) | "MDPC01" | "echo" | 61"#,
            r#"C | 00 00 00 07 | (empty) | "MDPC01" | "echo" | 41"#,
        ),
        (r#"C | "MDPC02" | 01 | "echo" | 61"#, r#"C | "MDPC02" | 03 | "echo" | 41"#),
        (
            r#"C | (empty) | "MDPC02" | 01 | "echo" | 61"#,
            r#"C | (empty) | "MDPC02" | 03 | "echo" | 41"#,
        ),
    ];
    for (request, reply) in cases {
        let to = decoded(request).unwrap().envelope;
        let message = ToPeer::Reply { service: "echo".parse().unwrap(), body: ["A"].into() };
        assert_eq!(encoded(to, message), frames(reply), "{request}");
    }
}

#[test]
fn worker_messages_of_both_versions() {
    // Rule: mdp §4.2 — the worker commands of 0.1 are 01 to 05
    // Rule: mdp §5.2 — 0.2 has PARTIAL 03, FINAL 04, HEARTBEAT 05, DISCONNECT 06
    assert_eq!(worker(TO_BROKER[3]), WorkerMessage::Heartbeat);
    assert_eq!(worker(TO_BROKER[4]), WorkerMessage::Disconnect);
    assert!(matches!(worker(TO_BROKER[12]), WorkerMessage::Partial { .. }));
    assert!(matches!(worker(TO_BROKER[13]), WorkerMessage::Reply { .. }));
    assert_eq!(worker(TO_BROKER[14]), WorkerMessage::Heartbeat);
    assert_eq!(worker(TO_BROKER[15]), WorkerMessage::Disconnect);
    // Rule: mdp §8.2 — frames beyond those a command needs are ignored
    assert_eq!(worker(r#"W | (empty) | "MDPW01" | 05 | "echo""#), WorkerMessage::Disconnect);
    assert_eq!(worker(r#"W | (empty) | "MDPW01" | 04 | (empty)"#), WorkerMessage::Heartbeat);
}

#[test]
fn malformed_worker_commands_are_told_apart_from_garbage() {
    // Rule: mdp §8.2 — a worker command that is unknown or incomplete is answered, not dropped
    for text in [
        r#"W | (empty) | "MDPW01""#,
        r#"W | (empty) | "MDPW01" | 01"#,
        r#"W | (empty) | "MDPW01" | 02 | T | (empty) | "x""#,
        r#"W | (empty) | "MDPW01" | 03 | T"#,
        r#"W | (empty) | "MDPW01" | 03 | T | "x""#,
        r#"W | (empty) | "MDPW01" | 03 | (empty) | (empty)"#,
        r#"W | (empty) | "MDPW01" | 06"#,
        r#"W | (empty) | "MDPW01" | 04 04"#,
        r#"W | (empty) | "MDPW01" | (empty)"#,
        r#"W | (empty) | "MDPW01" | "1" | "echo""#,
        // Rule: mdp §6.3 — code 04 without address is the frozen tag's heartbeat, not a FINAL
        r#"W | (empty) | "MDPW02" | 04"#,
    ] {
        assert_eq!(worker(text), WorkerMessage::Malformed, "{text}");
    }
}

#[test]
fn invalid_messages_have_a_reason() {
    // Rule: mdp §6.1 — headers match by exact bytes; bare 0.1, probes and unknown headers are dropped
    for (text, reason) in [
        ("W", Invalid::Probe),
        ("W | (empty)", Invalid::Probe),
        (r#"C | "MDPC01" | "echo" | "x""#, Invalid::Bare01),
        (r#"W | "MDPW01" | 01 | "echo""#, Invalid::Bare01),
        (r#"C | (empty) | "MDPC03" | "echo""#, Invalid::Header),
        (r#"C | (empty) | "MDPC0X" | "echo""#, Invalid::Header),
        (r#"C | (empty) | "MDPC01 " | "echo""#, Invalid::Header),
        (r#"C | (empty) | "C" | "2" | "echo""#, Invalid::Header),
        (r#"C | AA A4 01 06 4D 44 50 43 30 32 01 04 65 63 68 6F | "x""#, Invalid::Header),
        (r#"C | "x" | "MDPC02" | 01 | "echo""#, Invalid::Header),
        ("C | 01 | 02 | (empty)", Invalid::Header),
        (r#"C | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | (empty) | "MDPC01" | "echo""#, Invalid::Header),
        // Rule: mdp §8.5 — a client message without a service or with a wrong 0.2 code is dropped
        (r#"C | (empty) | "MDPC01""#, Invalid::NoService),
        (r#"C | (empty) | "MDPC01" | (empty)"#, Invalid::ServiceName),
        (r#"C | "MDPC02" | 01"#, Invalid::NoService),
        (r#"C | "MDPC02""#, Invalid::ClientCommand),
        (r#"C | "MDPC02" | 02 | "echo""#, Invalid::ClientCommand),
        (r#"C | "MDPC02" | 01 01 | "echo""#, Invalid::ClientCommand),
    ] {
        assert_eq!(decoded(text), Err(reason), "{text}");
    }
}

#[test]
fn bounds_hold_at_their_exact_values() {
    // Rule: mdp §15.2 — frame count and total bytes are capped, because libzmq caps single frames only
    let limits = WireLimits { frames_max: 6, bytes_max: 30, ..WireLimits::default() };
    let message = |body: &[&str]| {
        let mut all = frames(r#"C | (empty) | "MDPC01" | "echo""#);
        all.extend(body.iter().map(|frame| frame.as_bytes().to_vec()));
        decode(&all, &limits).map(|_| ())
    };
    assert_eq!(message(&["1", "2"]), Ok(()));
    assert_eq!(message(&["1", "2", "3"]), Err(Invalid::TooManyFrames));
    assert_eq!(message(&["123456789012345"]), Ok(()));
    assert_eq!(message(&["1234567890123456"]), Err(Invalid::TooLarge));
    let route = vec![7; 5];
    let eight: Vec<Vec<u8>> = std::iter::once(route)
        .chain((0..8).map(|hop| vec![hop + 1]))
        .chain(frames(r#"(empty) | "MDPC01" | "echo""#))
        .collect();
    assert_eq!(decode(&eight, &WireLimits::default()).unwrap().envelope.stack.len(), 8);
}

#[test]
fn mutated_examples_never_panic() {
    let limits = WireLimits::default();
    for text in TO_BROKER {
        let whole = frames(text);
        for end in 0..=whole.len() {
            drop(decode(&whole[..end], &limits));
            let lengthened = [&whole[..end], &[Vec::new()], &whole[end..]].concat();
            drop(decode(&lengthened, &limits));
        }
        for (at, frame) in whole.iter().enumerate() {
            for cut in 0..=frame.len() {
                let mut mutant = whole.clone();
                mutant[at].truncate(cut);
                drop(decode(&mutant, &limits));
                for bit in 0..8 {
                    let mut mutant = whole.clone();
                    if let Some(byte) = mutant[at].get_mut(cut) {
                        *byte ^= 1 << bit;
                        drop(decode(&mutant, &limits));
                        drop(decode_from_broker(Version::V01, &mutant[1..]));
                        drop(decode_reply(Version::V02, &mutant[1..]));
                    }
                }
            }
        }
    }
}

#[test]
fn the_dealer_side_speaks_the_same_examples() {
    // Rule: mdp §21.2 — a correlated request is id, delimiter, header, service, body
    let mut parts = Vec::new();
    let echo = "echo".parse().unwrap();
    encode_request(Version::V01, Some(&[0, 0, 0, 7]), &echo, Frames::from(["a"]), &mut parts);
    let written: Vec<Vec<u8>> = parts.iter().map(|part| part.as_slice().to_vec()).collect();
    assert_eq!(written, frames(r#"00 00 00 07 | (empty) | "MDPC01" | "echo" | 61"#));

    let reply = frames(r#"00 00 00 08 | (empty) | "MDPC01" | "echo" | 42"#);
    let reply = decode_reply(Version::V01, &reply).unwrap();
    assert_eq!(reply.id.unwrap().as_slice(), [0, 0, 0, 8]);
    assert_eq!(reply.body.single(), Some(&Bytes::from_static(b"B")));

    // Rule: mdp §8.4 — a client discards what is no reply and never aborts
    for text in [r#"(empty) | "MDPC02" | 03 | "echo""#, r#"(empty) | "MDPC01""#, "(empty)"] {
        assert_eq!(decode_reply(Version::V01, &frames(text)), None, "{text}");
    }
    let partial = decode_reply(Version::V02, &frames(r#""MDPC02" | 02 | "lines" | "line 1""#));
    assert_eq!(partial.unwrap().kind, ReplyKind::Partial);
}

#[test]
fn a_worker_tolerates_a_backbone_broker() {
    // Rule: mdp §8.3 — a worker accepts DISCONNECT and HEARTBEAT without the delimiter
    let from = |text: &str| decode_from_broker(Version::V01, &frames(text));
    assert_eq!(from(r#""MDPW01" | 05"#), Some(FromBroker::Disconnect));
    assert_eq!(from(r#"(empty) | "MDPW01" | 05"#), Some(FromBroker::Disconnect));
    assert_eq!(from(r#""MDPW01" | 04"#), Some(FromBroker::Heartbeat));
    // Rule: mdp §9.2 — a Backbone broker sends the whole client address stack, all of it is echoed
    let request = from(r#"(empty) | "MDPW01" | 02 | C | 00 00 00 07 | (empty) | "x""#);
    let Some(FromBroker::Request { address, body }) = request else { panic!("no request") };
    assert_eq!(body, Frames::from(["x"]));
    let mut parts = Vec::new();
    let message = ToBroker::Reply { address, body };
    encode_to_broker(Version::V01, Shape::Delimited, message, &mut parts);
    let written: Vec<Vec<u8>> = parts.iter().map(|part| part.as_slice().to_vec()).collect();
    assert_eq!(written, frames(r#"(empty) | "MDPW01" | 03 | C | 00 00 00 07 | (empty) | "x""#));
    // Rule: mdp §8.3 — a REQUEST without address or empty frame is ignored
    for text in [
        r#"(empty) | "MDPW01" | 02"#,
        r#"(empty) | "MDPW01" | 02 | C"#,
        r#"(empty) | "MDPW01" | 02 | (empty) | "x""#,
        r#"(empty) | "MDPW02" | 02 | C | (empty)"#,
        r#"(empty) | "MDPW01" | 09"#,
    ] {
        assert_eq!(from(text), None, "{text}");
    }
}

fn with_dialects(text: &str) -> Result<Incoming, Invalid> {
    let dialects = Dialects { majortomo: true, zproto: true };
    decode(&frames(text), &WireLimits { dialects, ..WireLimits::default() })
}

fn reply(to: &Envelope) -> Vec<Vec<u8>> {
    let message = ToPeer::Reply { service: "echo".parse().unwrap(), body: ["A"].into() };
    encoded(to.clone(), message)
}

fn partial(to: &Envelope) -> Vec<Vec<u8>> {
    let message = ToPeer::Partial { service: "echo".parse().unwrap(), body: ["A"].into() };
    encoded(to.clone(), message)
}

#[test]
fn majortomo_clients_are_answered_with_their_codes() {
    // Rule: mdp §6.3 — c: a delimited 0.2 client REQUEST 02 is answered 03/04 without service frame
    let message = with_dialects(r#"C | 07 | (empty) | "MDPC02" | 02 | "echo" | "a""#).unwrap();
    let Peer::Client(request) = &message.peer else { panic!() };
    assert_eq!((request.service.as_slice(), &request.body), (&b"echo"[..], &Frames::from(["a"])));
    let to = message.envelope;
    assert_eq!(partial(&to), frames(r#"C | 07 | (empty) | "MDPC02" | 03 | "A""#));
    assert_eq!(reply(&to), frames(r#"C | 07 | (empty) | "MDPC02" | 04 | "A""#));
    // The published code is still answered as published, and the bare form stays illegal.
    let message = with_dialects(r#"C | (empty) | "MDPC02" | 01 | "echo""#).unwrap();
    assert_eq!(reply(&message.envelope), frames(r#"C | (empty) | "MDPC02" | 03 | "echo" | "A""#));
    for text in [r#"C | "MDPC02" | 02 | "echo""#, r#"C | (empty) | "MDPC02" | 03 | "echo""#] {
        assert_eq!(with_dialects(text), Err(Invalid::ClientCommand), "{text}");
    }
    assert_eq!(decoded(r#"C | (empty) | "MDPC02" | 02 | "echo""#), Err(Invalid::ClientCommand));
}

/// The packed frames that mdp.md §6.3 d gives as captured.
const PACKED_REQUEST: &str = "C | AA A4 01 06 4D 44 50 43 30 32 01 04 65 63 68 6F | 61";
const PACKED_READY: &str = "W | AA A4 04 06 4D 44 50 57 30 32 01 04 65 63 68 6F";
const PACKED_HEARTBEAT: &str = "W | AA A4 08 06 4D 44 50 57 30 32 05";

#[test]
fn packed_messages_are_understood_and_answered_packed() {
    // Rule: mdp §6.3 — d: the packed first frame is read and written when the dialect is on
    let message = with_dialects(PACKED_REQUEST).unwrap();
    let Peer::Client(request) = &message.peer else { panic!() };
    assert_eq!((request.service.as_slice(), &request.body), (&b"echo"[..], &Frames::from(["a"])));
    let to = message.envelope;
    assert_eq!(reply(&to), frames("C | AA A4 03 06 4D 44 50 43 30 32 03 04 65 63 68 6F | 41"));
    assert_eq!(partial(&to), frames("C | AA A4 02 06 4D 44 50 43 30 32 02 04 65 63 68 6F | 41"));

    let message = with_dialects(PACKED_READY).unwrap();
    let service = Hop::from(&b"echo"[..]);
    assert_eq!(message.peer, Peer::Worker(WorkerMessage::Ready { service }));
    let to = message.envelope;
    let beat = with_dialects(PACKED_HEARTBEAT).unwrap();
    assert_eq!((&beat.envelope, beat.peer), (&to, Peer::Worker(WorkerMessage::Heartbeat)));
    let address = Hop::from(&b"T"[..]);
    let request = ToPeer::Request { address: address.clone(), body: ["a"].into() };
    let packed = "W | AA A4 05 06 4D 44 50 57 30 32 02 | 54 | (empty) | 61";
    assert_eq!(encoded(to.clone(), request), frames(packed));
    assert_eq!(encoded(to.clone(), ToPeer::Heartbeat), frames(PACKED_HEARTBEAT));
    let bye = "W | AA A4 09 06 4D 44 50 57 30 32 06";
    assert_eq!(encoded(to, ToPeer::Disconnect), frames(bye));
    assert_eq!(with_dialects(bye).unwrap().peer, Peer::Worker(WorkerMessage::Disconnect));

    let body = Frames::from(["A"]);
    let text = "W | AA A4 07 06 4D 44 50 57 30 32 04 | 54 | (empty) | 41";
    let said = with_dialects(text).unwrap().peer;
    assert_eq!(said, Peer::Worker(WorkerMessage::Reply { address: address.clone(), body }));
    let text = "W | AA A4 06 06 4D 44 50 57 30 32 03 | 54 | (empty)";
    let said = with_dialects(text).unwrap().peer;
    assert_eq!(said, Peer::Worker(WorkerMessage::Partial { address, body: Frames::new() }));
}

#[test]
fn broken_packed_messages_are_dropped() {
    // Rule: mdp §6.1 — a first frame AA A4 is invalid unless the dialect is on and well-formed
    for text in [PACKED_REQUEST, PACKED_READY, PACKED_HEARTBEAT] {
        assert_eq!(decoded(text), Err(Invalid::Header), "{text}");
        let whole = frames(text);
        for end in 0..whole[1].len() {
            let mut cut = whole.clone();
            cut[1].truncate(end);
            let dialects = Dialects { zproto: true, ..Dialects::default() };
            let result = decode(&cut, &WireLimits { dialects, ..WireLimits::default() });
            assert!(result.is_err(), "{text} cut at {end}");
        }
    }
    for text in [
        // Trailing byte, wrong id, wrong side, wrong command, wrong version.
        "W | AA A4 08 06 4D 44 50 57 30 32 05 00",
        "W | AA A4 0A 06 4D 44 50 57 30 32 07",
        "W | AA A4 00 06 4D 44 50 43 30 32 00",
        "W | AA A4 08 06 4D 44 50 43 30 32 05",
        "W | AA A4 08 06 4D 44 50 57 30 32 06",
        "W | AA A4 08 06 4D 44 50 57 30 31 05",
    ] {
        assert_eq!(with_dialects(text), Err(Invalid::Header), "{text}");
    }
    // A client's PARTIAL and FINAL are not for the broker.
    let text = "C | AA A4 03 06 4D 44 50 43 30 32 03 04 65 63 68 6F | 41";
    assert_eq!(with_dialects(text), Err(Invalid::ClientCommand));
}

#[test]
fn each_socket_takes_its_side_only() {
    // Rule: mdp §8.5 — a client header on a socket for workers is dropped, and the reverse
    // Rule: mdp §12.3 — with separate sockets each refuses the other's headers
    let client = || decoded(TO_BROKER[1]).unwrap();
    let worker = || decoded(TO_BROKER[0]).unwrap();
    assert_eq!(client().arrived_at(Side::Workers), Err(Invalid::WrongSide));
    assert_eq!(worker().arrived_at(Side::Clients), Err(Invalid::WrongSide));
    assert!(client().arrived_at(Side::Clients).is_ok() && client().arrived_at(Side::Both).is_ok());
    assert!(worker().arrived_at(Side::Workers).is_ok() && worker().arrived_at(Side::Both).is_ok());
}
