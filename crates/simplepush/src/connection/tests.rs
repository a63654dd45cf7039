//! The connection on its own: what it asks for, in which order, and when.

use std::{sync::Arc, time::Duration};

use buswire_message::{Timestamp, Version};
use buswire_store::Revision;

use super::*;
use crate::{
    config::{Config, EndpointBase},
    token::{TokenKey, TokenKeys},
};

const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";
const U: &str = "6f1c0b7a52d94e0c9b3ad41e8f27c650";

struct Driver {
    connection: Connection,
    now: Timestamp,
}

impl Driver {
    fn new() -> Self {
        let keys = TokenKeys::new(&TokenKey::new(1, [7; 32]), &[]).unwrap();
        let config = Config::new(EndpointBase::new("https://push.example.net").unwrap(), keys);
        let now = Timestamp::from_secs(1_700_000_000);
        Self { connection: Connection::new(Arc::new(config), now, [9; 16], Crowding::Room), now }
    }

    /// A connection whose `hello` was answered.
    fn ready() -> Self {
        let mut driver = Self::new();
        driver.text(&format!(
            "{{\"messageType\":\"hello\",\"uaid\":\"{U}\",\"channelIDs\":[\"{A}\"]}}"
        ));
        driver.effects();
        driver.reply(Reply::Loaded(Loaded::Known(known(&[]))));
        assert_eq!(driver.sent().len(), 1);
        driver
    }

    fn handle(&mut self, input: Input<'_>) {
        self.connection.handle(self.now, input);
    }

    fn text(&mut self, text: &str) {
        self.handle(Input::Text(text));
    }

    fn reply(&mut self, reply: Reply) {
        self.handle(Input::Store(reply));
    }

    fn put(&mut self, version: u64) {
        let version = Version::new(version).unwrap();
        let revision = Revision(version.get());
        self.handle(Input::Update(Update { channel: a(), version, revision, data: None }));
    }

    fn advance(&mut self, seconds: u64) {
        self.now = self.now.saturating_add(Duration::from_secs(seconds));
        self.connection.handle_timeout(self.now);
    }

    fn effects(&mut self) -> Vec<Effect> {
        let effects = std::iter::from_fn(|| self.connection.poll_effect());
        effects.filter(|effect| !matches!(effect, Effect::Count(_))).collect()
    }

    /// What is written to a socket that takes everything.
    fn sent(&mut self) -> Vec<String> {
        let shown = |transmit| match transmit {
            Transmit::Text(text) => text,
            other => format!("{other:?}"),
        };
        std::iter::from_fn(|| self.connection.poll_transmit(self.now)).map(shown).collect()
    }
}

fn a() -> ChannelId {
    ChannelId::parse(A).unwrap()
}

fn uaid() -> crate::id::Uaid {
    SpelledUaid::parse(U).unwrap().uaid()
}

fn known(pending: &[u64]) -> UserAgent {
    let pending = pending.iter().map(|&version| PendingVersion {
        channel: a(),
        version: Version::new(version).unwrap(),
        revision: Revision(version),
    });
    UserAgent {
        revision: Revision(1),
        touched: Timestamp::from_secs(1_700_000_000),
        channels: vec![a()],
        pending: pending.collect(),
    }
}

fn notification(version: u64) -> String {
    format!(
        "{{\"messageType\":\"notification\",\"updates\":[{{\"channelID\":\"{A}\",\"version\":{version}}}]}}"
    )
}

fn ack(version: u64) -> String {
    format!(
        "{{\"messageType\":\"ack\",\"updates\":[{{\"channelID\":\"{A}\",\"version\":{version}}}]}}"
    )
}

#[test]
fn a_hello_is_answered_before_anything_is_shown() {
    let mut driver = Driver::new();
    driver
        .text(&format!("{{\"messageType\":\"hello\",\"uaid\":\"{U}\",\"channelIDs\":[\"{A}\"]}}"));
    // Rule: simplepush R-DEL-2 — hello publishes the connection before it reads what is pending
    assert_eq!(driver.effects(), [Effect::Claim(uaid()), Effect::Store(Command::Enter(uaid()))]);
    // Rule: simplepush O3 — no notification before the hello reply
    driver.put(8);
    assert!(driver.sent().is_empty() && !driver.connection.wants_write());
    // Nothing else is read meanwhile.
    assert!(!driver.connection.wants_read());
    driver.reply(Reply::Loaded(Loaded::Known(known(&[7]))));
    // Rule: simplepush R-HELLO-3 — reply first, then the pending notifications
    // Rule: simplepush R-HELLO-2 — exactly one reply per hello
    let hello = format!("{{\"messageType\":\"hello\",\"uaid\":\"{U}\",\"status\":200}}");
    assert_eq!(driver.sent(), [hello, notification(8)]);
}

#[test]
fn optional_members_do_not_fail_a_hello() {
    // Rule: simplepush R-HELLO-4 — failure of an optional facility does not fail the handshake
    let mut driver = Driver::new();
    driver.text("{\"messageType\":\"hello\",\"channelIDs\":[],\"connect\":{\"type\":\"nonsense\"},\"wakeup_hostport\":7}");
    assert!(driver.sent().concat().ends_with("\"status\":200}"));
}

#[test]
fn a_slow_socket_coalesces() {
    // Rule: simplepush R-DEL-4 — a channel that is dirty and unsent keeps the greater version
    let mut driver = Driver::ready();
    for version in [3, 5, 4] {
        driver.put(version);
    }
    assert_eq!(driver.sent(), [notification(5)]);
    // Rule: simplepush R-DEL-3 — delivery to a live UA starts at once
    driver.put(4);
    assert_eq!(driver.sent(), [notification(4)]);
}

#[test]
fn an_ack_names_the_row_that_it_saw() {
    // Rule: simplepush R-ACK-2 — an ack is a compare-and-clear of the version that was acknowledged
    let mut driver = Driver::ready();
    driver.put(3);
    driver.sent();
    driver.text(&ack(2));
    assert!(driver.effects().is_empty());
    driver.text(&ack(3));
    let effects = driver.effects();
    let [Effect::Store(Command::Apply { changes, .. })] = &effects[..] else {
        panic!("{effects:?}")
    };
    let [Change::Clear { version, revision, .. }] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((version.get(), *revision), (3, Revision(3)));
}

#[test]
fn nothing_is_shown_of_a_channel_after_its_unregister_reply() {
    // Rule: simplepush R-UNREG-4 — after the reply no notification names the channel
    // Rule: simplepush S8 — also if the update was accepted before and arrives after
    let mut driver = Driver::ready();
    driver.put(3);
    driver.text(&format!("{{\"messageType\":\"unregister\",\"channelID\":\"{A}\"}}"));
    driver.effects();
    driver.reply(Reply::Applied(vec![Done::Unregistered]));
    driver.put(4);
    let reply = format!("{{\"messageType\":\"unregister\",\"status\":200,\"channelID\":\"{A}\"}}");
    assert_eq!(driver.sent(), [reply]);
    driver.advance(60);
    assert!(driver.sent().is_empty());
    // Registered again, it is shown again.
    driver.text(&format!("{{\"messageType\":\"register\",\"channelID\":\"{A}\"}}"));
    driver.effects();
    driver.reply(Reply::Applied(vec![Done::Registered(EndpointUrl("https://e".into()))]));
    driver.put(5);
    assert_eq!(driver.sent()[1..], [notification(5)]);
}

#[test]
fn a_register_is_answered_after_the_store() {
    // Rule: simplepush R-REG-1 — the registration is durable before the reply is sent
    let mut driver = Driver::ready();
    for _ in 0..3 {
        driver.text(&format!("{{\"messageType\":\"register\",\"channelID\":\"{A}\"}}"));
    }
    assert!(driver.sent().is_empty());
    // What waits meanwhile goes to the store together.
    assert_eq!(driver.effects().len(), 1);
    driver.reply(Reply::Failed);
    let effects = driver.effects();
    assert!(matches!(
        &effects[..],
        [Effect::Store(Command::Apply { changes, .. })] if changes.len() == 2
    ));
    // Rule: simplepush R-ERR-4 — a failure that is not the client's fault does not close
    let refusal = format!(
        "{{\"messageType\":\"register\",\"channelID\":\"{A}\",\"status\":500,\"error\":\"Could not store the channel\"}}"
    );
    assert_eq!(driver.sent(), [refusal]);
    assert!(driver.connection.wants_read());
}

#[test]
fn after_an_error_reply_nothing_is_processed() {
    // Rule: simplepush O8 — after an error reply that closes no further messages are processed
    // Rule: simplepush R-ERR-4 — protocol errors close after the reply
    let mut driver = Driver::ready();
    driver.text("{\"messageType\":\"nonsense\"}");
    driver.text("{}");
    driver.text(&ack(3));
    assert_eq!(driver.effects(), [Effect::Release]);
    let sent = driver.sent();
    assert_eq!(sent[1], "Close(ClientFault)");
    assert_eq!(sent.len(), 2);
    // Rule: simplepush §19.4 — a closing handshake may take 5 s
    driver.advance(4);
    assert!(!driver.connection.is_hung_up());
    driver.advance(1);
    assert!(driver.connection.is_finished());
}

#[test]
fn a_superseded_connection_says_nothing_more() {
    // Rule: simplepush O9 — nothing more is sent on the old connection; later requests are discarded
    let mut driver = Driver::ready();
    driver.text("{}");
    driver.put(3);
    driver.handle(Input::End(CloseReason::Superseded));
    driver.text(&format!("{{\"messageType\":\"register\",\"channelID\":\"{A}\"}}"));
    assert_eq!(driver.sent(), ["Close(Superseded)"]);
    assert_eq!(driver.effects(), [Effect::Release]);
}

#[test]
fn acks_before_the_end_still_count() {
    let mut driver = Driver::ready();
    driver.put(3);
    driver.sent();
    driver.text(&ack(3));
    driver.handle(Input::PeerClosed);
    assert!(driver.connection.is_hung_up() && !driver.connection.is_finished());
    // Rule: simplepush R-DEL-11 — the entry is removed as soon as the close frame is received
    assert!(matches!(&driver.effects()[..], [Effect::Store(_), Effect::Release]));
    driver.reply(Reply::Applied(vec![Done::Cleared]));
    assert!(driver.connection.is_finished());
}

#[test]
fn a_write_that_makes_no_progress_ends_the_connection() {
    // Rule: simplepush §19.4 — write progress within 60 s
    let mut driver = Driver::ready();
    driver.handle(Input::WriteBlocked);
    driver.advance(30);
    driver.handle(Input::WriteBlocked);
    driver.handle(Input::Written);
    driver.advance(45);
    assert!(!driver.connection.is_hung_up());
    driver.handle(Input::WriteBlocked);
    driver.advance(59);
    driver.handle(Input::WriteBlocked);
    assert!(!driver.connection.is_hung_up());
    driver.advance(1);
    assert!(driver.connection.is_hung_up());
}

#[test]
fn a_message_that_takes_too_long_ends_the_connection() {
    // Rule: simplepush §19.4 — a message has 30 s from its first byte
    let mut driver = Driver::ready();
    driver.handle(Input::Receiving);
    driver.advance(29);
    // More of it does not put the deadline off, nor do control frames between its fragments.
    driver.handle(Input::Receiving);
    driver.handle(Input::Control);
    assert!(driver.sent().is_empty());
    driver.advance(1);
    assert_eq!(driver.sent(), ["Close(Slow)"]);
    let mut driver = Driver::ready();
    driver.handle(Input::Receiving);
    driver.advance(29);
    driver.handle(Input::Received);
    driver.handle(Input::Receiving);
    driver.advance(29);
    assert!(driver.sent().is_empty());
}

#[test]
fn an_idle_connection_is_small() {
    // What a task of an idle connection holds; buffers are there only while there are bytes.
    assert!(size_of::<Connection>() <= 640, "{}", size_of::<Connection>());
    assert!(size_of::<crate::driver::Carrier>() <= 900, "{}", size_of::<crate::driver::Carrier>());
    assert!(size_of::<crate::table::Handle>() <= 200, "{}", size_of::<crate::table::Handle>());
}

#[test]
fn versions_are_sent_exactly() {
    // Rule: simplepush R-VER-5 — numbers above 2^53 are delivered exactly
    // Rule: simplepush R-NOTIF-4 — `expired` is never sent
    let mut driver = Driver::ready();
    driver.put((1 << 53) + 1);
    assert_eq!(driver.sent(), [notification(9_007_199_254_740_993)]);
}

#[test]
fn a_store_that_lost_writes_ends_the_connection() {
    // Rule: simplepush §11.1 — state that can't be relied on: the UA must shake hands again
    let mut driver = Driver::ready();
    driver.handle(Input::Recheck);
    assert_eq!(driver.effects(), [Effect::Store(Command::Load(uaid()))]);
    driver.reply(Reply::Loaded(Loaded::Stale));
    assert_eq!(driver.sent(), ["Close(StateDropped)"]);
}

#[test]
fn a_uaid_of_a_lost_life_is_dropped_before_it_is_used_again() {
    // Rule: simplepush §11.3 — a record of an older epoch is discarded as a whole
    for (list, keeps) in [("", true), ("\"x\"", false)] {
        let mut driver = Driver::new();
        driver.text(&format!(
            "{{\"messageType\":\"hello\",\"uaid\":\"{U}\",\"channelIDs\":[{list}]}}"
        ));
        driver.effects();
        driver.reply(Reply::Loaded(Loaded::Stale));
        assert_eq!(driver.effects(), [Effect::Store(Command::Drop(uaid()))]);
        driver.reply(Reply::Done);
        assert_eq!(driver.sent().concat().contains(U), keeps, "{list}");
    }
}
