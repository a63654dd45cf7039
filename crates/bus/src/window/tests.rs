//! The window against a plain list.

use std::collections::BTreeSet;

use buswire_message::{Headers, Message, MessageId, Payload, Scope};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn at(second: u64) -> Timestamp {
    Timestamp::from_secs(1_700_000_000 + second)
}

fn sequence(number: u64) -> Sequence {
    Sequence::from_u64(number).unwrap()
}

fn stored(number: u64, channel: u8, expires: u64, key: Option<u8>) -> Arc<StoredMessage> {
    let dedupe_key = key.map(|key| format!("k{key}").parse().unwrap());
    let message = Message {
        id: MessageId::from_sequence(sequence(number)),
        bus: "b".parse().unwrap(),
        channel: format!("c{channel}").parse().unwrap(),
        source: "https://s.example/".parse().unwrap(),
        kind: "t".parse().unwrap(),
        sticky: false,
        expires_at: at(expires),
        payload: Payload::parse(&Bytes::from_static(b"1")).unwrap(),
        headers: Headers { dedupe_key, ..Headers::default() },
    };
    StoredMessage::new(message, 100)
}

fn selection(scope: &str) -> Selection {
    Selection::new(&scope.parse::<Scope>().unwrap(), &"https://h.example/".into())
}

fn reach(now: u64) -> Reach {
    Reach { after: None, through: Sequence::MAX, now: at(now), limit: 100, budget: 100 }
}

fn numbers(scan: &Scan) -> Vec<u64> {
    scan.messages.iter().map(|message| message.id.sequence().as_u64()).collect()
}

#[test]
fn a_key_stays_with_its_last_message_when_an_older_one_is_swept() {
    let mut window = Window::default();
    window.push(stored(1, 0, 10, Some(0)));
    window.push(stored(2, 0, 20, Some(0)));
    assert!(!window.sweep(at(10), 100));
    let key = "k0".parse().unwrap();
    assert_eq!(window.keyed(&key).unwrap().id.sequence(), sequence(2));
    window.sweep(at(20), 100);
    assert!(window.keyed(&key).is_none() && window.is_empty());
}

#[test]
fn a_scan_looks_at_no_more_than_its_budget_and_says_where_it_stopped() {
    let mut window = Window::default();
    for number in 1..=10 {
        window.push(stored(number, u8::try_from(number % 2).unwrap(), 10, None));
    }
    let scan = window.scan(&selection("bus:b type:u"), Reach { budget: 4, ..reach(0) });
    assert!(scan.messages.is_empty() && !scan.ended);
    assert_eq!(scan.examined, Some(sequence(4)));
    let rest = Reach { after: scan.examined, through: sequence(8), ..reach(0) };
    let scan = window.scan(&selection("bus:b channel:c0 channel:c1"), rest);
    assert_eq!((numbers(&scan), scan.ended), (vec![5, 6, 7, 8], true));
    // One channel alone is looked at, however many others there are.
    let one = Reach { budget: 5, ..reach(0) };
    let scan = window.scan(&selection("bus:b channel:c0"), one);
    assert_eq!((numbers(&scan), scan.ended), (vec![2, 4, 6, 8, 10], true));
}

#[derive(Debug, Clone)]
enum Step {
    Push { channel: u8, expires: u64, key: Option<u8> },
    Time(u64),
    Sweep(u64, usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u8..3, 0_u64..50, proptest::option::of(0_u8..2))
            .prop_map(|(channel, expires, key)| Step::Push { channel, expires, key }),
        2 => (0_u64..50).prop_map(Step::Time),
        1 => (0_u64..50, 0_usize..4).prop_map(|(now, budget)| Step::Sweep(now, budget)),
    ]
}

proptest! {
    #[test]
    fn counts_follow_the_clock_in_both_directions(
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut window = Window::default();
        let mut model: Vec<(u64, u8, u64, Option<u8>)> = Vec::new();
        let mut keys = std::collections::BTreeMap::new();
        let (mut next, mut now) = (1, 0);
        window.set_time(at(now));
        for step in steps {
            match step {
                Step::Push { channel, expires, key } => {
                    window.push(stored(next, channel, expires, key));
                    model.push((next, channel, expires, key));
                    keys.extend(key.map(|key| (key, next)));
                    next += 1;
                }
                Step::Time(time) => {
                    now = time;
                    window.set_time(at(now));
                }
                Step::Sweep(time, budget) => {
                    now = time;
                    let mut expired: Vec<_> =
                        model.iter().filter(|m| m.2 <= now).map(|m| (m.2, m.0)).collect();
                    expired.sort_unstable();
                    prop_assert_eq!(window.sweep(at(now), budget), expired.len() > budget);
                    let gone: BTreeSet<u64> =
                        expired.into_iter().take(budget).map(|(_, number)| number).collect();
                    model.retain(|m| !gone.contains(&m.0));
                    keys.retain(|_, number| !gone.contains(number));
                }
            }
            let live: Vec<_> = model.iter().filter(|m| now < m.2).collect();
            let channels: BTreeSet<u8> = live.iter().map(|m| m.1).collect();
            let (messages, bytes) = (live.len(), live.len() * 100);
            prop_assert_eq!(window.live(), Live { messages, bytes, channels: channels.len() });
            for channel in 0..3 {
                let in_channel = live.iter().filter(|m| m.1 == channel).count();
                let name = format!("c{channel}").parse().unwrap();
                prop_assert_eq!(window.live_in(&name), in_channel);
            }
            for key in 0..2 {
                let name = format!("k{key}").parse().unwrap();
                let named = window.keyed(&name).map(|m| m.id.sequence().as_u64());
                prop_assert_eq!(named, keys.get(&key).copied());
            }
            let scan = window.scan(&selection("bus:b"), reach(now));
            prop_assert_eq!(numbers(&scan), live.iter().map(|m| m.0).collect::<Vec<_>>());
            let two = window.scan(&selection("bus:b channel:c0 channel:c2"), reach(now));
            let expected = live.iter().filter(|m| m.1 != 1).map(|m| m.0);
            prop_assert_eq!(numbers(&two), expected.collect::<Vec<_>>());
        }
    }
}
