//! Plays any bytes to the state machine, as a script of what happens.
//!
//! Each line is one thing: `o`, `c` and a digit open and close a connection; a digit sends the rest
//! of the line as a message of that connection; `y` and `n` answer the oldest claim; `g` is a call of
//! the gateway; `t` lets ten seconds pass. Never here: what should come of it, beyond what always
//! holds; the model is in `harness`.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what does not hold is a failed test"
)]

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use buswire_message::{Entropy, Secret, Timestamp};
use buswire_store::Revision;

use super::{
    RelayConfig,
    core::{CallId, Claimed, ConnectionId, Core, Input, Output, Reach},
    wire::{Call, FromPeer, ToPeer},
};

/// Panics if something does not hold.
pub(crate) fn play(bytes: &[u8], entropy: Arc<dyn Entropy>) {
    let Ok(script) = std::str::from_utf8(bytes) else { return };
    let mut stage = Stage {
        core: Core::new(Arc::new(RelayConfig::default()), entropy),
        now: Timestamp::EPOCH,
        open: BTreeSet::new(),
        claims: VecDeque::new(),
        calls: BTreeSet::new(),
    };
    for (at, line) in (0..).zip(script.lines()) {
        stage.play(at, line);
    }
    while let Some(connection) = stage.open.pop_first() {
        stage.apply(Input::Closed(connection));
    }
    assert!(stage.calls.is_empty(), "calls without an answer");
    assert_eq!(stage.core.sizes().1, 0, "calls that wait for nobody");
}

struct Stage {
    core: Core,
    now: Timestamp,
    open: BTreeSet<ConnectionId>,
    claims: VecDeque<(ConnectionId, String)>,
    /// Calls of the gateway that are not answered yet.
    calls: BTreeSet<CallId>,
}

impl Stage {
    fn play(&mut self, at: u64, line: &str) {
        let mut letters = line.chars();
        let first = letters.next().unwrap_or_default();
        let rest = letters.as_str();
        let connection = |digit: char| digit.to_digit(10).map(|it| ConnectionId(it.into()));
        match first {
            'o' => {
                if let Some(id) = rest.chars().next().and_then(connection)
                    && self.open.insert(id)
                {
                    self.apply(Input::Opened(id));
                }
            }
            'c' => {
                if let Some(id) = rest.chars().next().and_then(connection)
                    && self.open.remove(&id)
                {
                    self.apply(Input::Closed(id));
                }
            }
            'y' | 'n' => {
                let outcome =
                    if first == 'y' { Claimed::Yes(Revision(at)) } else { Claimed::Taken };
                if let Some((by, id)) = self.claims.pop_front() {
                    self.apply(Input::Claimed { by, id, outcome });
                }
            }
            'g' => {
                self.calls.insert(CallId(at));
                let ser = Secret::new(rest.to_owned());
                let call = Call { ser, method: "GET".to_owned(), data: None };
                self.apply(Input::Call(CallId(at), call, Reach::Anywhere));
            }
            't' => {
                self.now = self.now.saturating_add(Duration::from_secs(10));
                self.core.handle_timeout(self.now);
                self.settle();
            }
            digit => {
                if let Some(from) = connection(digit).filter(|id| self.open.contains(id)) {
                    let message = FromPeer::parse(rest);
                    self.apply(Input::Received { from, message, bytes: rest.len() });
                }
            }
        }
    }

    fn apply(&mut self, input: Input) {
        self.core.handle(self.now, input);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(to, message) => {
                    assert!(self.open.contains(&to), "a message to nobody");
                    check(&message);
                }
                Output::Close(id, _) => assert!(self.open.remove(&id), "closed twice"),
                Output::Claim { by, id, .. } => self.claims.push_back((by, id)),
                Output::Answer(call, _) => assert!(self.calls.remove(&call), "answered twice"),
                Output::Renew { .. }
                | Output::Retire { .. }
                | Output::Left(_)
                | Output::Forward { .. } => {}
            }
        }
    }
}

fn check(message: &ToPeer) {
    let text = message.encode();
    assert!(text.len() <= message.size() * 6, "the size is an estimate from below");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(value["op"].is_string());
}
