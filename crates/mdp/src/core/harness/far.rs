//! Another broker, as far as the harness needs one: it is asked and asks, answers in whole and in parts, gives
//! back, takes back, and goes away.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{World, service};
use crate::Frames;
use crate::core::{BrokerAddress, Input, LinkConfig, LinkEnd, LinkId, LinkInput, LinkOutput};
use crate::wire::{BrokerId, Hop, LinkMessage, Returned};

const NEAR: BrokerId = BrokerId([1; 8]);
const FAR: BrokerId = BrokerId([2; 8]);

/// What the other broker does.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FarOp {
    /// It can be asked, and has workers for the first two services.
    Up,
    /// The connection on which it is asked ends.
    Down,
    /// It has workers for a service, or has not.
    Serve { service: u8, serves: bool },
    /// It answers what it was asked last.
    Answer,
    /// It sends a part of that.
    Part,
    /// It gives that back.
    Return { reason: u8 },
    /// It answers what nobody asked.
    Lie,
    /// It asks.
    Ask { service: u8 },
    /// It takes its oldest request back.
    Cancel,
    /// It asks over a new connection from now on.
    Anew,
}

impl FarOp {
    pub(super) fn of(kind: u8, detail: u8) -> Self {
        match kind {
            0 => Self::Up,
            1 => Self::Down,
            2 => Self::Serve { service: detail % 2, serves: detail >= 2 },
            3 | 4 => Self::Answer,
            5 => Self::Part,
            6 => Self::Return { reason: detail },
            7 => Self::Lie,
            8 | 9 => Self::Ask { service: detail % 3 },
            10 => Self::Cancel,
            _ => Self::Anew,
        }
    }
}

/// The other broker's view.
#[derive(Default)]
pub(super) struct Far {
    link: Option<LinkId>,
    is_up: bool,
    /// The places of what it says next, where it is asked and where it asks.
    orders: [u64; 2],
    life: u8,
    is_let_in: bool,
    /// Numbers and bodies of what it was asked.
    hand: Vec<(u64, Frames)>,
    /// Numbers of what it asked.
    asked: BTreeSet<u64>,
    next: u64,
}

/// Links with bounds that are soon reached.
pub(super) fn links() -> LinkConfig {
    let config = LinkConfig::new(NEAR);
    LinkConfig { in_flight_max: 5, service_in_flight_max: 3, brokers_max: 2, ..config }
}

impl World {
    pub(super) fn find_far(&mut self) {
        let other = BrokerAddress { id: FAR, name: "far".into(), endpoint: "far".into() };
        self.input(Input::Link(LinkInput::Brokers(vec![other])));
    }

    pub(super) fn far(&mut self, op: FarOp) {
        let last = self.far.hand.last().cloned();
        match (op, last) {
            (FarOp::Up, _) => self.far_up(),
            (FarOp::Down, _) => self.far_down(),
            (FarOp::Serve { service: which, serves }, _) => {
                let names = vec![service(which)];
                let message =
                    if serves { LinkMessage::Serves(names) } else { LinkMessage::Ceases(names) };
                self.far_says(message);
            }
            (FarOp::Answer, Some((number, body))) => {
                self.far.hand.pop();
                self.far_says(LinkMessage::Final { number, body });
            }
            (FarOp::Part, Some((number, body))) => {
                self.far_says(LinkMessage::Partial { number, body });
            }
            (FarOp::Return { reason }, Some((number, _))) => {
                self.far.hand.pop();
                let reasons = [Returned::NotServed, Returned::Lost, Returned::QueueFull];
                let reason = reasons[usize::from(reason) % reasons.len()];
                self.far_says(LinkMessage::Returned { number, reason });
            }
            (FarOp::Lie, _) => {
                self.far_says(LinkMessage::Final { number: u64::MAX, body: Frames::from(["lie"]) });
            }
            (FarOp::Ask { service }, _) => self.far_asks(service),
            (FarOp::Cancel, _) => {
                if let Some(number) = self.far.asked.pop_first() {
                    self.far_asking(LinkMessage::Cancel { number });
                }
            }
            (FarOp::Anew, _) => {
                self.far.life = self.far.life.wrapping_add(1);
                (self.far.orders[1], self.far.is_let_in) = (0, false);
                self.far.asked.clear();
                self.far_asking(LinkMessage::Hello { from: FAR, to: NEAR });
            }
            (FarOp::Answer | FarOp::Part | FarOp::Return { .. }, None) => {}
        }
    }

    fn far_up(&mut self) {
        if let Some(link) = self.far.link.filter(|_| !self.far.is_up) {
            (self.far.is_up, self.far.orders[0]) = (true, 0);
            self.input(Input::Link(LinkInput::Opened(link)));
            self.far_says(LinkMessage::Welcome(FAR));
            self.far_says(LinkMessage::Serves(vec![service(0), service(1)]));
        }
    }

    pub(super) fn far_down(&mut self) {
        if let Some(link) = self.far.link {
            self.input(Input::Link(LinkInput::Closed(link)));
        }
    }

    fn far_says(&mut self, message: LinkMessage) {
        if let Some(link) = self.far.link.filter(|_| self.far.is_up) {
            let order = self.far.orders[0];
            self.far.orders[0] += 1;
            let from = LinkEnd::Link(link);
            self.input(Input::Link(LinkInput::Received { from, message: Ok((order, message)) }));
        }
    }

    fn far_asking(&mut self, message: LinkMessage) {
        let order = self.far.orders[1];
        self.far.orders[1] += 1;
        let from = LinkEnd::Asker(Hop::from(&[3, self.far.life][..]));
        self.input(Input::Link(LinkInput::Received { from, message: Ok((order, message)) }));
    }

    fn far_asks(&mut self, which: u8) {
        if !self.far.is_let_in {
            return self.far(FarOp::Anew);
        }
        self.far.next += 1;
        let number = self.far.next;
        self.far.asked.insert(number);
        let body = Frames::from([format!("far.{number}")]);
        self.far_asking(LinkMessage::Request {
            number,
            wait: Duration::from_secs(24 * 3600),
            client: number % 2,
            service: service(which),
            user: None,
            body,
        });
    }

    /// Takes what this broker says to the other one, and checks it.
    pub(super) fn far_hears(&mut self, output: LinkOutput) {
        let far = &mut self.far;
        match output {
            LinkOutput::Dial { link, .. } => far.link = Some(link),
            LinkOutput::HangUp(link) => {
                assert_eq!(far.link.take(), Some(link));
                far.is_up = false;
                far.hand.clear();
            }
            LinkOutput::Note(_) => {}
            LinkOutput::Send { to: LinkEnd::Link(link), message, .. } => {
                assert_eq!(far.link, Some(link));
                match message {
                    LinkMessage::Request { number, body, .. } => {
                        let tag = String::from_utf8(body.get(0).unwrap().to_vec()).unwrap();
                        assert!(!tag.starts_with("far."), "its own request came back to it");
                        far.hand.push((number, body));
                        assert!(far.hand.len() <= 5, "more than may be in flight");
                    }
                    LinkMessage::Cancel { number } => far.hand.retain(|(it, _)| *it != number),
                    LinkMessage::Hello { .. } | LinkMessage::Beat => {}
                    other => panic!("it was asked {other:?}"),
                }
            }
            LinkOutput::Send { to: LinkEnd::Asker(route), message, .. } => {
                if route.as_slice() == [3, far.life] {
                    self.far_answered(message);
                }
            }
        }
    }

    fn far_answered(&mut self, message: LinkMessage) {
        let far = &mut self.far;
        match message {
            LinkMessage::Welcome(_) => far.is_let_in = true,
            LinkMessage::Refused(_) => {
                far.is_let_in = false;
                far.asked.clear();
            }
            LinkMessage::Partial { number, body } => {
                assert!(far.asked.contains(&number), "a part of nothing that it waits for");
                assert_eq!(body, Frames::from([format!("far.{number}")]));
            }
            LinkMessage::Final { number, body } => {
                assert!(far.asked.remove(&number), "an answer to nothing that it waits for");
                // A service of this process answers with what it was asked.
                assert_eq!(body, Frames::from([format!("far.{number}")]));
            }
            LinkMessage::Returned { number, .. } => {
                assert!(far.asked.remove(&number), "what it did not wait for came back");
            }
            LinkMessage::Beat | LinkMessage::Serves(_) | LinkMessage::Ceases(_) => {}
            other => panic!("it was told {other:?}"),
        }
    }

    /// Says whether the other broker still waits for something.
    pub(super) fn far_waits(&self) -> bool {
        self.far.is_let_in && !self.far.asked.is_empty()
    }
}
