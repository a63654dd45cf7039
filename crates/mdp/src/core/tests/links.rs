//! The rules of links, one test each: two brokers and whoever is connected to them.

mod order;

use std::collections::VecDeque;
use std::sync::Arc;

use super::*;
use crate::core::{
    BrokerAddress, Dropped, LinkConfig, LinkEnd, LinkId, LinkInput, LinkLoss, LinkNote, LinkOutput,
};
use crate::wire::{BadLinkMessage, BrokerId, Hop, LinkMessage, Refusal, Returned};

/// The broker of clients. What it says over links is kept, and what the other says comes as it is told.
struct Here {
    it: Stage,
    sent: VecDeque<LinkMessage>,
    link: Option<LinkId>,
    /// The next place of what the other says over this broker's link, and over its own.
    orders: [u64; 2],
    notes: Vec<LinkNote>,
    hung_up: usize,
    tag: Option<SendTag>,
}

const SELF: BrokerId = BrokerId([1; 8]);
const OTHER: BrokerId = BrokerId([2; 8]);

fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

fn linked(mut config: CoreConfig, bound: impl FnOnce(&mut LinkConfig)) -> Here {
    let mut links = LinkConfig::new(SELF);
    bound(&mut links);
    config.links = Some(links);
    let mut here = Here {
        it: stage_with(config),
        sent: VecDeque::new(),
        link: None,
        orders: [0; 2],
        notes: Vec::new(),
        hung_up: 0,
        tag: None,
    };
    here.listed();
    here
}

fn up() -> Here {
    up_with(CoreConfig::default(), |_| {})
}

/// The other one can be asked, and has workers for `echo`.
fn up_with(config: CoreConfig, bound: impl FnOnce(&mut LinkConfig)) -> Here {
    let mut here = linked(config, bound);
    here.greet();
    here.hears(LinkMessage::Serves(vec![name("echo")]));
    here
}

impl Here {
    fn listed(&mut self) {
        let other = BrokerAddress { id: OTHER, name: "g2".into(), endpoint: "tcp://g2:1".into() };
        self.link_input(LinkInput::Brokers(vec![other]));
    }

    fn greet(&mut self) {
        let link = self.link.unwrap();
        self.link_input(LinkInput::Opened(link));
        self.said(LinkMessage::Hello { from: SELF, to: OTHER });
        self.hears(LinkMessage::Welcome(OTHER));
    }

    fn link_input(&mut self, input: LinkInput) {
        self.it.input(Input::Link(input));
        self.take_links();
    }

    fn gets(&mut self, text: &str) {
        self.it.gets(text);
        self.take_links();
    }

    /// Sorts what the broker says: what goes over links is kept here, the rest stays to be looked at.
    fn take_links(&mut self) {
        let mut rest = VecDeque::new();
        while let Some(output) = self.it.core.poll_output() {
            match output {
                Output::Link(LinkOutput::Dial { link, .. }) => {
                    (self.link, self.orders[0]) = (Some(link), 0);
                }
                Output::Link(LinkOutput::HangUp(_)) => self.hung_up += 1,
                Output::Link(LinkOutput::Note(note)) => self.notes.push(note),
                Output::Link(LinkOutput::Send { message, tag, .. }) => {
                    self.sent.push_back(message);
                    self.tag = Some(tag);
                }
                other => rest.push_back(other),
            }
        }
        self.it.core.outputs = rest;
    }

    /// The other says this over the link on which it is asked.
    fn hears(&mut self, message: LinkMessage) {
        let order = self.orders[0];
        self.orders[0] += 1;
        let from = LinkEnd::Link(self.link.unwrap());
        self.link_input(LinkInput::Received { from, message: Ok((order, message)) });
    }

    /// The other says this over the link on which it asks.
    fn is_asked(&mut self, message: LinkMessage) {
        let order = self.orders[1];
        self.orders[1] += 1;
        let from = LinkEnd::Asker(Hop::from(&b"g2"[..]));
        self.link_input(LinkInput::Received { from, message: Ok((order, message)) });
    }

    #[track_caller]
    fn said(&mut self, message: LinkMessage) {
        assert_eq!(self.sent.pop_front(), Some(message));
    }

    /// The next thing that was said is a request; returns its number.
    #[track_caller]
    fn forwarded(&mut self) -> u64 {
        match self.sent.pop_front() {
            Some(LinkMessage::Request { number, service, .. }) if service == name("echo") => number,
            other => panic!("{other:?} instead of a request"),
        }
    }

    #[track_caller]
    fn quiet(&mut self) {
        assert_eq!(self.sent.pop_front(), None);
        self.it.silent();
    }

    /// The other asks, and this one has a worker for it.
    fn asked_for_echo(&mut self, number: u64) {
        let wait = Duration::from_secs(5);
        let (service, body) = (name("echo"), Frames::from(["a"]));
        self.is_asked(LinkMessage::Request { number, wait, client: 7, service, user: None, body });
    }

    fn welcomes(&mut self) {
        self.is_asked(LinkMessage::Hello { from: OTHER, to: SELF });
        self.said(LinkMessage::Welcome(SELF));
    }

    fn pass(&mut self, time: Duration) {
        let end = self.it.now + time;
        while let Some(due) = self.it.core.poll_timeout().filter(|due| *due <= end) {
            self.it.now = self.it.now.max(due);
            self.it.core.handle_timeout(self.it.now);
            self.it.core.check();
            self.take_links();
        }
        self.it.now = end;
    }
}

fn body(text: &'static str) -> Frames {
    Frames::from([text])
}

#[test]
fn a_request_without_a_worker_here_goes_to_a_broker_that_has_one_and_its_answer_comes_back() {
    let mut here = up();
    here.gets(ASK);
    let Some(LinkMessage::Request { number, wait, service, user, body: asked, .. }) =
        here.sent.pop_front()
    else {
        panic!("not forwarded")
    };
    assert_eq!((wait, service, user), (Duration::from_secs(60), name("echo"), None));
    assert_eq!(asked, body("a"));
    here.hears(LinkMessage::Final { number, body: body("A") });
    here.it.says(REPLY);
    here.quiet();
    assert_eq!(here.it.core.requests_held(), 0);
}

#[test]
fn the_workers_here_come_first_even_when_they_are_busy() {
    let mut here = up();
    here.gets(READY);
    here.gets(ASK);
    here.gets(ASK);
    here.it.says(WORK);
    here.quiet();
    // When the last is gone, what waits goes where workers are; what it had it has lost.
    here.gets(BYE);
    here.forwarded();
    here.forwarded();
    here.quiet();
}

#[test]
fn a_request_that_waits_goes_when_a_service_comes_up_anywhere() {
    let mut here = linked(CoreConfig::default(), |_| {});
    here.gets(ASK);
    here.greet();
    here.quiet();
    here.it.now = Duration::from_secs(9);
    here.hears(LinkMessage::Serves(vec![name("other"), name("echo")]));
    match here.sent.pop_front() {
        // Its time goes with it.
        Some(LinkMessage::Request { wait, .. }) => assert_eq!(wait, Duration::from_secs(51)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_another_broker_asks_goes_to_workers_here_and_never_on() {
    let mut here = up();
    here.welcomes();
    // The other has workers for it as well, but that one asked.
    here.asked_for_echo(1);
    here.said(LinkMessage::Returned { number: 1, reason: Returned::NotServed });
    here.gets(READY);
    here.said(LinkMessage::Serves(vec![name("echo")]));
    here.asked_for_echo(2);
    here.asked_for_echo(3);
    here.it.says(WORK);
    // With the last worker what waits goes back, and nothing of it is forwarded.
    here.gets(BYE);
    here.said(LinkMessage::Ceases(vec![name("echo")]));
    here.said(LinkMessage::Returned { number: 3, reason: Returned::NotServed });
    here.said(LinkMessage::Returned { number: 2, reason: Returned::Lost });
    here.quiet();
    assert_eq!(here.it.core.requests_held(), 0);
}

#[test]
fn parts_pass_in_order_and_the_last_comes_once() {
    let mut here = up();
    here.gets(r#"C | "MDPC02" | 01 | "echo" | "a""#);
    let number = here.forwarded();
    for part in ["1", "2"] {
        here.hears(LinkMessage::Partial { number, body: Frames::from([part]) });
        here.it.says(&format!(r#"C | "MDPC02" | 02 | "echo" | "{part}""#));
    }
    here.hears(LinkMessage::Final { number, body: body("3") });
    here.it.says(r#"C | "MDPC02" | 03 | "echo" | "3""#);
    for late in [
        LinkMessage::Partial { number, body: body("4") },
        LinkMessage::Final { number, body: body("5") },
        LinkMessage::Returned { number, reason: Returned::Lost },
    ] {
        here.hears(late);
    }
    here.quiet();
    assert_eq!(here.it.core.counters().links.late, 3);
}

#[test]
fn parts_for_a_client_of_one_reply_are_put_together() {
    let mut here = up();
    here.gets(ASK);
    let number = here.forwarded();
    here.hears(LinkMessage::Partial { number, body: body("A") });
    here.hears(LinkMessage::Final { number, body: body("B") });
    here.it.says(r#"C | (empty) | "MDPC01" | "echo" | "A" | "B""#);
}

#[test]
fn the_parts_of_a_worker_here_go_to_the_broker_that_asked() {
    let mut here = up();
    here.gets(r#"W | "MDPW02" | 01 | "echo""#);
    here.welcomes();
    here.said(LinkMessage::Serves(vec![name("echo")]));
    here.asked_for_echo(4);
    here.it.says(r#"W | "MDPW02" | 02 | T | (empty) | "a""#);
    here.gets(r#"W | "MDPW02" | 03 | T | (empty) | "1""#);
    here.said(LinkMessage::Partial { number: 4, body: body("1") });
    here.gets(r#"W | "MDPW02" | 04 | T | (empty) | "2""#);
    here.said(LinkMessage::Final { number: 4, body: body("2") });
    here.quiet();
}

#[test]
fn a_lost_broker_is_treated_as_a_lost_worker_for_each_of_its_requests() {
    for (attempts_max, is_tried_again) in [(2, true), (1, false)] {
        let policy = ServicePolicy {
            attempts_max,
            error_reply: Some(body("failed")),
            ..ServicePolicy::default()
        };
        let mut here = up_with(with_policy(policy), |_| {});
        here.gets(ASK);
        here.forwarded();
        here.link_input(LinkInput::Closed(here.link.unwrap()));
        assert_eq!(here.hung_up, 1);
        let note = LinkNote::Down("g2".into(), LinkLoss::Closed, 1);
        assert_eq!(here.notes.pop(), Some(note));
        let requests = here.it.core.counters().requests;
        if is_tried_again {
            assert_eq!((requests.requeued, requests.lost), (1, 0));
            here.quiet();
            here.gets(READY);
            here.it.says(WORK);
        } else {
            assert_eq!((requests.requeued, requests.lost), (0, 1));
            here.it.says(r#"C | (empty) | "MDPC01" | "echo" | "failed""#);
        }
    }
}

#[test]
fn what_was_answered_in_part_is_not_begun_anew_when_the_broker_is_lost() {
    let mut here = up();
    here.gets(r#"C | "MDPC02" | 01 | "echo" | "a""#);
    let number = here.forwarded();
    here.hears(LinkMessage::Partial { number, body: body("1") });
    here.it.says(r#"C | "MDPC02" | 02 | "echo" | "1""#);
    here.link_input(LinkInput::Closed(here.link.unwrap()));
    assert_eq!(here.it.core.counters().requests.lost, 1);
    assert_eq!(here.it.core.requests_held(), 0);
}

#[test]
fn attempts_are_counted_over_all_brokers() {
    let mut here = up();
    here.gets(ASK);
    // What comes back untried was no attempt.
    for _ in 0..3 {
        let number = here.forwarded();
        here.hears(LinkMessage::Returned { number, reason: Returned::NotServed });
    }
    for _ in 0..2 {
        let number = here.forwarded();
        here.hears(LinkMessage::Returned { number, reason: Returned::Lost });
    }
    here.quiet();
    assert_eq!(here.it.core.counters().requests.lost, 1);
}

#[test]
fn a_full_queue_there_is_a_full_queue_here() {
    let reasons = [
        (Returned::QueueFull, Dropped::QueueFull),
        (Returned::BytesFull, Dropped::BytesFull),
        (Returned::ClientFull, Dropped::ClientFull),
    ];
    for (returned, dropped) in reasons {
        let mut here = up();
        here.gets(ASK);
        let number = here.forwarded();
        here.hears(LinkMessage::Returned { number, reason: returned });
        here.quiet();
        let requests = here.it.core.counters().requests;
        assert_eq!((requests.dropped.of(dropped), requests.dropped.total()), (1, 1));
    }
}

#[test]
fn so_many_are_in_flight_and_so_many_wait() {
    let policy = ServicePolicy { queue_max: 2, ..ServicePolicy::default() };
    let mut here = up_with(with_policy(policy), |links| links.service_in_flight_max = 3);
    for _ in 0..6 {
        here.gets(ASK);
    }
    let first = here.forwarded();
    here.forwarded();
    here.forwarded();
    here.quiet();
    assert_eq!(here.it.core.counters().requests.dropped.of(Dropped::QueueFull), 1);
    here.hears(LinkMessage::Final { number: first, body: body("A") });
    here.it.says(REPLY);
    here.forwarded();
    here.quiet();
}

#[test]
fn a_slow_service_leaves_room_for_others_and_gets_it_back() {
    let mut here = up_with(CoreConfig::default(), |links| links.in_flight_max = 2);
    here.hears(LinkMessage::Serves(vec![name("slow")]));
    for _ in 0..2 {
        here.gets(r#"C | (empty) | "MDPC01" | "slow" | "a""#);
    }
    here.gets(ASK);
    let numbers: Vec<u64> = (0..2)
        .map(|_| match here.sent.pop_front() {
            Some(LinkMessage::Request { number, .. }) => number,
            other => panic!("{other:?}"),
        })
        .collect();
    here.quiet();
    here.hears(LinkMessage::Final { number: numbers[0], body: body("A") });
    here.it.says(r#"C | (empty) | "MDPC01" | "slow" | "A""#);
    here.forwarded();
    here.quiet();
}

#[test]
fn nobody_waits_any_more_and_the_other_is_told() {
    let mut here = up();
    let timeout = Duration::from_secs(2);
    let ask =
        |id| Input::Request { id: LocalId(id), service: name("echo"), body: body("a"), timeout };
    here.it.input(ask(1));
    here.it.input(ask(2));
    here.take_links();
    let (first, second) = (here.forwarded(), here.forwarded());
    here.it.input(Input::Cancel(LocalId(1)));
    here.take_links();
    here.said(LinkMessage::Cancel { number: first });
    here.pass(Duration::from_secs(2));
    here.it.answers(2, Err(RequestError::Timeout));
    let cancel = LinkMessage::Cancel { number: second };
    assert!(here.sent.contains(&cancel), "{:?}", here.sent);
    assert_eq!(here.it.core.requests_held(), 0);
}

#[test]
fn what_the_other_takes_back_is_not_begun_and_its_answer_is_thrown_away() {
    let mut here = up();
    here.gets(READY);
    here.welcomes();
    here.said(LinkMessage::Serves(vec![name("echo")]));
    here.asked_for_echo(1);
    here.asked_for_echo(2);
    here.it.says(WORK);
    for number in [1, 2, 3] {
        here.is_asked(LinkMessage::Cancel { number });
    }
    assert_eq!(here.it.core.requests_held(), 1, "the worker is at it");
    here.gets(DONE);
    here.quiet();
    assert_eq!(here.it.core.requests_held(), 0);
    assert_eq!(here.it.core.counters().requests.orphaned, 1);
}

#[test]
fn its_time_is_up_there_as_here() {
    let mut here = up();
    here.gets(READY);
    here.welcomes();
    here.said(LinkMessage::Serves(vec![name("echo")]));
    here.asked_for_echo(1);
    here.asked_for_echo(2);
    here.it.says(WORK);
    for _ in 0..6 {
        here.gets(BEAT);
        here.is_asked(LinkMessage::Beat);
        here.hears(LinkMessage::Beat);
        here.pass(Duration::from_secs(1));
    }
    let expired = LinkMessage::Returned { number: 2, reason: Returned::Expired };
    assert!(here.sent.contains(&expired), "{:?}", here.sent);
    let mut there = up();
    there.gets(ASK);
    let number = there.forwarded();
    there.hears(LinkMessage::Returned { number, reason: Returned::Expired });
    assert_eq!(there.it.core.counters().requests.expired, 1);
    assert_eq!(there.it.core.requests_held(), 0);
}

#[test]
fn mmi_knows_the_services_of_all() {
    // Rule: mdp §13.1 — mmi.service: 200 if a worker is registered, at whichever broker
    let mut here = up_with(CoreConfig { mmi_extensions: true, ..CoreConfig::default() }, |_| {});
    here.it.registered("echo", "200");
    here.gets(r#"C | (empty) | "MDPC01" | "mmi.services""#);
    here.it.says(r#"C | (empty) | "MDPC01" | "mmi.services" | "200" | "echo""#);
    here.gets(r#"C | (empty) | "MDPC01" | "mmi.workers" | "echo""#);
    here.it.says(r#"C | (empty) | "MDPC01" | "mmi.workers" | "200" | "0" | "0""#);
    let infos = here.it.core.services(here.it.now);
    assert_eq!(infos[0].elsewhere, [Arc::from("g2")]);
    here.hears(LinkMessage::Ceases(vec![name("echo")]));
    here.it.registered("echo", "404");
}

#[test]
fn a_paused_service_is_offered_to_nobody_and_one_of_this_process_is_not_either() {
    let mut here = up();
    here.welcomes();
    here.it.input(Input::Offer { service: name("bus.read"), slots: 2 });
    here.take_links();
    here.quiet();
    here.gets(READY);
    here.said(LinkMessage::Serves(vec![name("echo")]));
    here.it.core.set_paused(here.it.now, &name("echo"), true).unwrap();
    here.take_links();
    here.said(LinkMessage::Ceases(vec![name("echo")]));
    here.gets(ASK);
    here.quiet();
    here.it.core.set_paused(here.it.now, &name("echo"), false).unwrap();
    here.take_links();
    here.said(LinkMessage::Serves(vec![name("echo")]));
    here.it.says(WORK);
}

#[test]
fn a_broker_that_drains_takes_nothing_more_and_gives_back_what_waits() {
    let mut here = up();
    here.gets(READY);
    here.welcomes();
    here.said(LinkMessage::Serves(vec![name("echo")]));
    here.asked_for_echo(1);
    here.asked_for_echo(2);
    here.it.says(WORK);
    here.it.input(Input::Drain);
    here.take_links();
    here.said(LinkMessage::Ceases(vec![name("echo")]));
    here.said(LinkMessage::Returned { number: 2, reason: Returned::NotServed });
    here.asked_for_echo(3);
    here.said(LinkMessage::Returned { number: 3, reason: Returned::NotServed });
    here.gets(DONE);
    here.said(LinkMessage::Final { number: 1, body: body("A") });
    here.it.input(Input::Stop);
    here.take_links();
    assert_eq!(here.sent.pop_back(), Some(LinkMessage::Refused(Refusal::Stopped)));
}

#[test]
fn a_message_out_of_order_ends_the_link() {
    for order in [0, 3, 9] {
        let mut here = up();
        let from = LinkEnd::Link(here.link.unwrap());
        here.link_input(LinkInput::Received { from, message: Ok((order, LinkMessage::Beat)) });
        assert_eq!(here.hung_up, 1, "{order}");
        let mut here = up();
        here.welcomes();
        let from = LinkEnd::Asker(Hop::from(&b"g2"[..]));
        here.link_input(LinkInput::Received { from, message: Ok((order, LinkMessage::Beat)) });
        here.said(LinkMessage::Refused(Refusal::Broken));
    }
}

#[test]
fn another_version_is_refused_and_told_of() {
    let mut here = linked(CoreConfig::default(), |_| {});
    let bad = || Err(BadLinkMessage::Version(9));
    let from = LinkEnd::Asker(Hop::from(&b"g2"[..]));
    here.link_input(LinkInput::Received { from, message: bad() });
    here.said(LinkMessage::Refused(Refusal::Version));
    assert_eq!(here.notes.pop(), Some(LinkNote::Version(9)));
    let link = here.link.unwrap();
    here.link_input(LinkInput::Opened(link));
    here.link_input(LinkInput::Received { from: LinkEnd::Link(link), message: bad() });
    assert_eq!(here.notes.pop(), Some(LinkNote::Down("g2".into(), LinkLoss::Version(9), 0)));
    // It is not tried again soon, but it is.
    here.pass(Duration::from_secs(29));
    assert_eq!(here.link, Some(link));
    here.pass(Duration::from_secs(2));
    assert_ne!(here.link, Some(link));
}

#[test]
fn who_did_not_say_hello_or_is_this_broker_itself_is_not_served() {
    let mut here = linked(CoreConfig::default(), |_| {});
    here.gets(READY);
    here.asked_for_echo(1);
    here.said(LinkMessage::Refused(Refusal::Unknown));
    here.orders = [0; 2];
    here.is_asked(LinkMessage::Hello { from: SELF, to: OTHER });
    here.said(LinkMessage::Refused(Refusal::Itself));
    here.quiet();
}

#[test]
fn another_process_at_the_address_is_not_asked() {
    let mut here = linked(CoreConfig::default(), |_| {});
    here.link_input(LinkInput::Opened(here.link.unwrap()));
    here.hears(LinkMessage::Welcome(BrokerId([3; 8])));
    assert_eq!(here.hung_up, 1);
    assert_eq!(here.notes, [LinkNote::Down("g2".into(), LinkLoss::Another, 0)]);
}

#[test]
fn silence_ends_a_link_on_both_sides() {
    let mut here = up();
    here.gets(READY);
    here.welcomes();
    here.said(LinkMessage::Serves(vec![name("echo")]));
    here.asked_for_echo(1);
    here.it.says(WORK);
    for _ in 0..7 {
        here.gets(BEAT);
        here.pass(Duration::from_secs(1));
    }
    assert_eq!(here.hung_up, 0);
    let beats = here.sent.iter().filter(|it| **it == LinkMessage::Beat).count();
    assert!((13..=14).contains(&beats), "each second one on each of two links: {beats}");
    here.pass(Duration::from_secs(1));
    assert_eq!(here.hung_up, 1);
    assert!(here.sent.contains(&LinkMessage::Refused(Refusal::Unknown)), "{:?}", here.sent);
    assert_eq!(here.it.core.brokers()[0].asking, 0);
}

#[test]
fn a_new_connection_takes_the_place_of_the_one_before() {
    let mut here = up();
    here.gets(READY);
    here.welcomes();
    here.said(LinkMessage::Serves(vec![name("echo")]));
    here.asked_for_echo(1);
    here.it.says(WORK);
    let from = LinkEnd::Asker(Hop::from(&b"new"[..]));
    let hello = LinkMessage::Hello { from: OTHER, to: SELF };
    here.link_input(LinkInput::Received { from, message: Ok((0, hello)) });
    here.said(LinkMessage::Welcome(SELF));
    here.said(LinkMessage::Serves(vec![name("echo")]));
    here.gets(DONE);
    here.quiet();
    assert_eq!(here.it.core.counters().requests.orphaned, 1, "nobody waits for that any more");
}

#[test]
fn who_looks_for_one_that_died_at_this_address_is_refused_and_keeps_its_link() {
    let mut here = up();
    here.gets(READY);
    here.welcomes();
    here.said(LinkMessage::Serves(vec![name("echo")]));
    here.asked_for_echo(1);
    here.it.says(WORK);
    let from = LinkEnd::Asker(Hop::from(&b"late"[..]));
    let hello = LinkMessage::Hello { from: OTHER, to: BrokerId([9; 8]) };
    here.link_input(LinkInput::Received { from, message: Ok((0, hello)) });
    here.said(LinkMessage::Refused(Refusal::Another));
    here.gets(DONE);
    here.said(LinkMessage::Final { number: 1, body: body("A") });
    here.quiet();
}

#[test]
fn who_finds_another_one_at_an_address_tries_again_soon() {
    let mut here = linked(CoreConfig::default(), |_| {});
    let link = here.link;
    here.link_input(LinkInput::Opened(link.unwrap()));
    here.hears(LinkMessage::Refused(Refusal::Another));
    assert_eq!(here.notes, [LinkNote::Down("g2".into(), LinkLoss::Another, 0)]);
    here.pass(Duration::from_secs(1));
    assert_ne!(here.link, link);
}

#[test]
fn a_broker_that_does_not_take_what_is_sent_is_lost() {
    let mut here = up();
    here.gets(ASK);
    here.forwarded();
    let full = Input::Undeliverable(here.tag.take().unwrap(), SendFailure::Full);
    here.it.input(full);
    here.take_links();
    assert_eq!(here.notes.pop(), Some(LinkNote::Down("g2".into(), LinkLoss::Full, 1)));
    assert_eq!(here.it.core.counters().requests.requeued, 1);
}

#[test]
fn a_broker_that_is_off_the_list_is_asked_until_it_is_lost() {
    let mut here = up();
    here.link_input(LinkInput::Brokers(Vec::new()));
    here.gets(ASK);
    here.forwarded();
    here.link_input(LinkInput::Closed(here.link.unwrap()));
    let link = here.link;
    here.pass(Duration::from_secs(5));
    assert_eq!((here.link, here.it.core.brokers().len()), (link, 0));
    here.listed();
    assert_ne!(here.link, link);
}

#[test]
fn a_lost_link_is_made_anew_after_a_rest_that_grows() {
    let mut here = linked(CoreConfig::default(), |_| {});
    for rest in [100, 200, 400, 800, 1600, 2000, 2000] {
        let link = here.link.unwrap();
        here.link_input(LinkInput::Closed(link));
        here.pass(ms(rest - 1));
        assert_eq!(here.link, Some(link), "{rest}");
        here.pass(ms(1));
        assert_ne!(here.link, Some(link), "{rest}");
    }
    assert_eq!(here.notes.len(), 1, "it is told of once");
}
