//! The rules of the broker, one test each, in frames as mdp.md §21 writes them.

mod access;
mod admin;
mod bounds;
mod corpus;
mod dispatch;
mod examples;
mod failures;
mod fleet;
mod links;
mod liveness;
mod mmi;
mod model;
mod services;
mod simulation;
mod tables;
mod workers;

use std::time::Duration;

use super::*;
use crate::wire::notation::{INCARNATION, frames};
use crate::wire::{Shape, Version, WireLimits, decode};

/// A broker, the time, and the tag of what it said last.
struct Stage {
    core: BrokerCore,
    now: Duration,
    last: Option<SendTag>,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn stage() -> Stage {
    stage_with(CoreConfig::default())
}

fn stage_with(config: CoreConfig) -> Stage {
    Stage { core: BrokerCore::new(config, INCARNATION), now: Duration::ZERO, last: None }
}

/// The default configuration with this policy for all services.
fn with_policy(default_policy: ServicePolicy) -> CoreConfig {
    CoreConfig { default_policy, ..CoreConfig::default() }
}

impl Stage {
    /// The broker receives these frames.
    fn gets(&mut self, text: &str) {
        let input = match decode(&frames(text), &WireLimits::default()) {
            Ok(message) => Input::Received { message, user: None },
            Err(reason) => Input::Invalid(reason),
        };
        self.core.handle(self.now, input);
        self.core.check();
    }

    fn input(&mut self, input: Input) {
        self.core.handle(self.now, input);
        self.core.check();
    }

    /// The next thing the broker says is this.
    #[track_caller]
    fn says(&mut self, text: &str) {
        match self.core.poll_output() {
            Some(Output::Send(tag, message)) => {
                let mut parts = Vec::new();
                message.write_to(&mut parts);
                let said: Vec<Vec<u8>> =
                    parts.iter().map(|part| part.as_slice().to_vec()).collect();
                assert_eq!(said, frames(text));
                self.last = Some(tag);
            }
            other => panic!("{other:?} instead of {text}"),
        }
    }

    #[track_caller]
    fn answers(&mut self, id: u64, expected: Result<Frames, RequestError>) {
        match self.core.poll_output() {
            Some(Output::Answer(to, result)) => assert_eq!((to, result), (LocalId(id), expected)),
            other => panic!("{other:?} instead of an answer"),
        }
    }

    /// The broker has nothing more to say.
    #[track_caller]
    fn silent(&mut self) {
        let output = self.core.poll_output();
        assert!(output.is_none(), "{output:?}");
    }

    /// Lets time pass as a driver would, and says what was sent meanwhile.
    fn pass(&mut self, time: Duration) -> Vec<Vec<Vec<u8>>> {
        let end = self.now + time;
        let mut said = Vec::new();
        while let Some(due) = self.core.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.core.handle_timeout(self.now);
            self.core.check();
            while let Some(Output::Send(_, message)) = self.core.poll_output() {
                let mut parts = Vec::new();
                message.write_to(&mut parts);
                said.push(parts.iter().map(|part| part.as_slice().to_vec()).collect());
            }
        }
        self.now = end;
        said
    }

    /// What was said last could not be sent.
    fn undeliverable(&mut self, failure: SendFailure) {
        let tag = self.last.take().unwrap();
        self.input(Input::Undeliverable(tag, failure));
    }

    #[track_caller]
    fn registered(&mut self, service: &str, code: &str) {
        self.gets(&format!(r#"0A | (empty) | "MDPC01" | "mmi.service" | "{service}""#));
        self.says(&format!(r#"0A | (empty) | "MDPC01" | "mmi.service" | "{code}""#));
    }
}

const READY: &str = r#"W | (empty) | "MDPW01" | 01 | "echo""#;
const ASK: &str = r#"C | (empty) | "MDPC01" | "echo" | "a""#;
const WORK: &str = r#"W | (empty) | "MDPW01" | 02 | T | (empty) | "a""#;
const DONE: &str = r#"W | (empty) | "MDPW01" | 03 | T | (empty) | "A""#;
const REPLY: &str = r#"C | (empty) | "MDPC01" | "echo" | "A""#;
const BEAT: &str = r#"W | (empty) | "MDPW01" | 04"#;
const BYE: &str = r#"W | (empty) | "MDPW01" | 05"#;

/// A worker has the request of a client in hand.
fn busy(config: CoreConfig) -> Stage {
    let mut it = stage_with(config);
    it.gets(READY);
    it.gets(ASK);
    it.says(WORK);
    it.silent();
    it
}
