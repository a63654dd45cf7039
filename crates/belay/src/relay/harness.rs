//! One vocabulary of what happens to a relay, and a plain model to compare with.
//!
//! The model keeps a list of ids with their owner and a list of calls that wait, and says for each
//! operation which messages must come of it. The world is the state machine with a store that is a
//! map; [`Op::Crash`] throws the state machine away and keeps the store. Windows answer every `ping`.
//! Never here: sockets; rates and silence, which have tests of their own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use buswire_message::{Secret, SecretHash, Timestamp};
use buswire_store::Revision;
use buswire_testkit::{SeededEntropy, SplitMix64};
use proptest::prelude::*;

use super::{
    RelayConfig, RelayError,
    core::{CallId, Claimed, ConnectionId, Core, Input, Output, Reach},
    wire::{Call, FromPeer, ToPeer},
};
use crate::instance::{Failure, WireResult};

/// The ids: two temporary ones, two hashed ones with their pre-images.
const IDS: [(&str, Option<&str>); 4] = [
    ("926c0c63-b02a-40a9-a19f-edb19190c143", None),
    ("0b9e3d3c-2a0f-4f7e-8a65-9c1d6f1f2e11", None),
    ("66c6bd1f4cda24069debe0efa2193f64baeae867", Some("eba68eea-75f2-4b05-b87a-08365cc58043")),
    ("debc56d8a87287861914bdbf4d0850a7", Some("20079a21-1ee8-4523-ad65-d8c4736276af")),
];
const CAP: &str = "d859f7a0-4008-4c35-a99a-b7a23a5fc35d";
const PENDING_MAX: usize = 3;
const OWN_PENDING_MAX: usize = 2;

/// What a frame proves its right to an id with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    None,
    /// The resume token that was last given for the id, whoever got it.
    LastToken,
    /// A well-formed token that the frame chose.
    Chosen,
    Preimage,
    Malformed,
}

impl Proof {
    fn text(self, id: usize, last_token: Option<&String>) -> Option<String> {
        match self {
            Self::None => None,
            Self::LastToken => last_token.cloned(),
            Self::Chosen => Some("c".repeat(43)),
            Self::Preimage => Some(IDS[id].1.unwrap_or("not a preimage").to_owned()),
            Self::Malformed => Some("short".to_owned()),
        }
    }
}

/// One thing that happens. Connections and calls are taken modulo how many there are.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Open,
    Close(usize),
    Register(usize, usize, Proof),
    Unregister(usize, usize),
    /// A connection invokes an id with one of a few `txId`.
    Invoke(usize, usize, u64),
    /// The gateway invokes an id.
    Own(usize),
    /// The gateway gives its oldest call up.
    CancelOwn,
    /// The window that has the n-th waiting call answers it.
    Answer(usize, bool),
    /// A window answers something that nobody waits for: late, twice, or never asked.
    AnswerNothing(usize, u64),
    /// Seconds.
    Advance(u64),
    Crash,
}

pub(super) fn any_ops() -> impl Strategy<Value = Vec<Op>> {
    let proof = proptest::sample::select(vec![
        Proof::None,
        Proof::LastToken,
        Proof::Chosen,
        Proof::Preimage,
        Proof::Malformed,
    ]);
    let op = prop_oneof![
        3 => Just(Op::Open),
        2 => any::<usize>().prop_map(Op::Close),
        8 => (any::<usize>(), 0..IDS.len(), proof).prop_map(|(c, id, p)| Op::Register(c, id, p)),
        2 => (any::<usize>(), 0..IDS.len()).prop_map(|(c, id)| Op::Unregister(c, id)),
        12 => (any::<usize>(), 0..IDS.len(), 1000..1005_u64)
            .prop_map(|(c, id, tx)| Op::Invoke(c, id, tx)),
        3 => (0..IDS.len()).prop_map(Op::Own),
        1 => Just(Op::CancelOwn),
        6 => (any::<usize>(), any::<bool>()).prop_map(|(call, ok)| Op::Answer(call, ok)),
        2 => (any::<usize>(), 999..1010_u64).prop_map(|(c, tx)| Op::AnswerNothing(c, tx)),
        3 => (1..40_u64).prop_map(Op::Advance),
        1 => Just(Op::Crash),
    ];
    proptest::collection::vec(op, 1..80)
}

/// The same vocabulary from a seed, for long runs.
pub(super) fn seeded_ops(seed: u64, many: usize) -> Vec<Op> {
    let mut random = SplitMix64::new(seed);
    let mut below = move |bound: usize| usize::try_from(random.below(bound as u64)).unwrap();
    let proofs = [Proof::None, Proof::LastToken, Proof::Chosen, Proof::Preimage, Proof::Malformed];
    let op = |_| match below(40) {
        0..4 => Op::Open,
        4..6 => Op::Close(below(64)),
        6..14 => Op::Register(below(64), below(IDS.len()), proofs[below(proofs.len())]),
        14 => Op::Unregister(below(64), below(IDS.len())),
        15..26 => Op::Invoke(below(64), below(IDS.len()), 1000 + below(5) as u64),
        26..29 => Op::Own(below(IDS.len())),
        29 => Op::CancelOwn,
        30..36 => Op::Answer(below(64), below(2) == 0),
        36 => Op::AnswerNothing(below(64), 999 + below(10) as u64),
        37..39 => Op::Advance(1 + below(40) as u64),
        _ => {
            if below(5) == 0 {
                Op::Crash
            } else {
                Op::Open
            }
        }
    };
    (0..many).map(op).collect()
}

/// What comes of an operation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// With the token, if it can be foretold.
    Registered(ConnectionId, usize, Option<String>),
    Refused(ConnectionId, usize, u16),
    Unregistered(ConnectionId, usize),
    /// The call with this label reaches this connection.
    Forwarded(ConnectionId, String),
    /// Status 0 is success.
    Answered(Caller, u16, String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Caller {
    Peer(ConnectionId, u64),
    Own(CallId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Free,
    Live(ConnectionId),
    Lost(Timestamp),
    /// Claimed in the store by a process that is gone.
    Stranded,
    Retired,
}

#[derive(Clone, Debug)]
struct ModelCall {
    label: String,
    caller: Caller,
    id: usize,
    target: ConnectionId,
    deadline: Timestamp,
}

/// The plain truth.
struct Model {
    open: Vec<ConnectionId>,
    owners: [Owner; IDS.len()],
    tokens: [Option<String>; IDS.len()],
    calls: Vec<ModelCall>,
    now: Timestamp,
    expected: Vec<Event>,
}

impl Model {
    fn register(&mut self, by: ConnectionId, id: usize, proof: Proof, text: Option<&String>) {
        let has_token = text.is_some() && text == self.tokens[id].as_ref();
        let refusal = match (IDS[id].1.is_some(), self.owners[id]) {
            (_, Owner::Live(_) | Owner::Lost(_)) if has_token => None,
            (true, owner) if proof == Proof::Preimage => {
                matches!(owner, Owner::Live(_)).then_some(409)
            }
            (true, _) => Some(403),
            (false, Owner::Live(_) | Owner::Lost(_)) => Some(409),
            (false, _) if matches!(proof, Proof::Malformed | Proof::Preimage) => Some(403),
            (false, Owner::Free) => None,
            (false, Owner::Stranded) => (!has_token).then_some(409),
            (false, Owner::Retired) => Some(410),
        };
        if let Some(status) = refusal {
            return self.expected.push(Event::Refused(by, id, status));
        }
        if let Owner::Live(old) = self.owners[id]
            && old != by
        {
            self.fail(|call| call.target == old && call.id == id, &RelayError::Lost);
            self.expected.push(Event::Unregistered(old, id));
        }
        self.owners[id] = Owner::Live(by);
        let keeps = has_token || (IDS[id].1.is_none() && text.is_some());
        self.expected.push(Event::Registered(by, id, text.filter(|_| keeps).cloned()));
    }

    fn give_up(&mut self, id: usize) {
        self.owners[id] = if IDS[id].1.is_some() { Owner::Free } else { Owner::Retired };
    }

    fn unregister(&mut self, by: ConnectionId, id: usize) {
        if self.owners[id] == Owner::Live(by) {
            self.fail(|call| call.target == by && call.id == id, &RelayError::Lost);
            self.give_up(id);
            self.expected.push(Event::Unregistered(by, id));
        }
    }

    fn invoke(&mut self, caller: Caller, id: usize, label: &str) {
        let by_caller = |call: &&ModelCall| match (call.caller, caller) {
            (Caller::Peer(a, _), Caller::Peer(b, _)) => a == b,
            (Caller::Own(_), Caller::Own(_)) => true,
            _ => false,
        };
        let pending = self.calls.iter().filter(by_caller).count();
        let most = if matches!(caller, Caller::Own(_)) { OWN_PENDING_MAX } else { PENDING_MAX };
        if self.calls.iter().any(|call| call.caller == caller) {
            let answer = Event::Answered(caller, 400, "bad request".into());
            return self.expected.push(answer);
        }
        let Owner::Live(target) = self.owners[id] else {
            return self.answer(caller, RelayError::NotRegistered);
        };
        let at_target = self.calls.iter().filter(|call| call.target == target).count();
        let room = PENDING_MAX.saturating_sub(at_target);
        let there = self.calls.iter().filter(by_caller).filter(|call| call.target == target);
        if pending >= most || there.count() >= room {
            return self.answer(caller, RelayError::TooMany);
        }
        let deadline = self.now.saturating_add(Duration::from_secs(30));
        let call = ModelCall { label: label.to_owned(), caller, id, target, deadline };
        self.calls.push(call);
        self.expected.push(Event::Forwarded(target, label.to_owned()));
    }

    fn answer(&mut self, caller: Caller, error: RelayError) {
        let failure = error.into_failure();
        let message = failure.message().to_owned();
        self.expected.push(Event::Answered(caller, failure.status(), message));
    }

    fn fail(&mut self, concerned: impl Fn(&ModelCall) -> bool, error: &RelayError) {
        let (failed, rest) = self.calls.drain(..).partition(|call| concerned(call));
        self.calls = rest;
        let failed: Vec<ModelCall> = failed;
        for call in failed {
            self.answer(call.caller, error.clone());
        }
    }

    fn close(&mut self, gone: ConnectionId) {
        self.open.retain(|open| *open != gone);
        self.calls.retain(|call| !matches!(call.caller, Caller::Peer(by, _) if by == gone));
        self.fail(|call| call.target == gone, &RelayError::Lost);
        for owner in &mut self.owners {
            if *owner == Owner::Live(gone) {
                *owner = Owner::Lost(self.now.saturating_add(Duration::from_secs(60)));
            }
        }
    }

    fn second_passed(&mut self) {
        let now = self.now;
        self.fail(|call| call.deadline <= now, &RelayError::TimedOut);
        for id in 0..IDS.len() {
            if matches!(self.owners[id], Owner::Lost(until) if until <= now) {
                self.give_up(id);
            }
        }
    }

    fn crash(&mut self) {
        self.open.clear();
        self.calls.clear();
        for (owner, (_, preimage)) in self.owners.iter_mut().zip(IDS) {
            *owner = match *owner {
                Owner::Live(_) | Owner::Lost(_) if preimage.is_some() => Owner::Free,
                Owner::Live(_) | Owner::Lost(_) => Owner::Stranded,
                other => other,
            };
        }
    }
}

/// What a row of the store says: a token, or that the id is retired.
type ClaimRow = (Option<SecretHash>, Revision);

struct World {
    core: Core,
    store: BTreeMap<String, ClaimRow>,
    /// The `txId` of each call, by its label.
    forwarded: BTreeMap<String, (ConnectionId, u64)>,
    next: u64,
    revision: u64,
    happened: Vec<Event>,
}

fn id_of(text: &str) -> usize {
    IDS.iter().position(|(id, _)| *id == text).unwrap()
}

impl World {
    fn core(seed: u64) -> Core {
        let config = RelayConfig {
            pending_max: PENDING_MAX,
            own_pending_max: OWN_PENDING_MAX,
            tokens_max: u32::MAX,
            ..RelayConfig::default()
        };
        Core::new(Arc::new(config), Arc::new(SeededEntropy::new(seed)))
    }

    fn apply(&mut self, model: &mut Model, input: Input) {
        self.core.handle(model.now, input);
        self.settle(model);
    }

    fn say(&mut self, model: &mut Model, from: ConnectionId, message: FromPeer) {
        self.apply(model, Input::Received { from, message, bytes: 1 });
    }

    fn settle(&mut self, model: &mut Model) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send(to, message) => {
                    let bytes = message.size();
                    self.received(model, to, message);
                    self.core.handle(model.now, Input::Taken { by: to, bytes });
                }
                Output::Close(id, reason) => panic!("{id:?} is closed: {reason:?}"),
                Output::Claim { by, id, token, .. } => {
                    let outcome = self.claim(&id, token);
                    self.core.handle(model.now, Input::Claimed { by, id, outcome });
                }
                Output::Retire { id, revision } => {
                    let row = self.store.get_mut(&id).unwrap();
                    if row.1 == revision {
                        row.0 = None;
                    }
                }
                Output::Renew { id, revision } => {
                    let renewed = Input::Renewed { id, revision: Some(revision) };
                    self.core.handle(model.now, renewed);
                }
                Output::Forward { .. } | Output::Left(_) => panic!("there is no other gateway"),
                Output::Answer(call, Ok(data)) => self.happened.push(Event::Answered(
                    Caller::Own(call),
                    0,
                    data.unwrap_or_default(),
                )),
                Output::Answer(call, Err(error)) => {
                    self.answered(Caller::Own(call), Err(error.into_failure()));
                }
            }
        }
    }

    fn claim(&mut self, id: &str, token: SecretHash) -> Claimed {
        match self.store.get(id) {
            Some((None, _)) => return Claimed::Retired,
            Some((Some(other), _)) if *other != token => return Claimed::Taken,
            _ => {}
        }
        self.revision += 1;
        let revision = Revision(self.revision);
        self.store.insert(id.to_owned(), (Some(token), revision));
        Claimed::Yes(revision)
    }

    fn received(&mut self, model: &mut Model, to: ConnectionId, message: ToPeer) {
        match message {
            ToPeer::Registered { id, resume } => {
                let (id, token) = (id_of(&id), resume.expose().clone());
                model.tokens[id] = Some(token.clone());
                self.happened.push(Event::Registered(to, id, Some(token)));
            }
            ToPeer::Refused { id, status, .. } => {
                self.happened.push(Event::Refused(to, id_of(&id), status));
            }
            ToPeer::Unregistered { id } => {
                self.happened.push(Event::Unregistered(to, id_of(&id)));
            }
            ToPeer::Invoke { tx, call } => {
                let label = call.data.unwrap();
                let known = self.forwarded.insert(label.clone(), (to, tx));
                assert_eq!(known, None, "a call is passed on once");
                self.happened.push(Event::Forwarded(to, label));
            }
            ToPeer::Response { tx, result } => self.answered(Caller::Peer(to, tx), result),
            ToPeer::Ping => self.core.handle(model.now, Input::Heard(to)),
            ToPeer::Pong | ToPeer::Bye => panic!("{to:?} gets {}", message.encode()),
        }
    }

    fn answered(&mut self, caller: Caller, result: WireResult) {
        let (status, text) = match result {
            Ok(data) => (0, data.unwrap_or_default()),
            Err(failure) => (failure.status(), failure.message().to_owned()),
        };
        self.happened.push(Event::Answered(caller, status, text));
    }
}

fn call(id: usize, label: &str) -> Call {
    Call {
        ser: Secret::new(format!("urn:x-cap:{}:{CAP}", IDS[id].0)),
        method: "POST".to_owned(),
        data: Some(label.to_owned()),
    }
}

/// Runs operations against both and compares what comes of each.
pub(super) fn exercise(seed: u64, ops: &[Op]) {
    let mut model = Model {
        open: Vec::new(),
        owners: [Owner::Free; IDS.len()],
        tokens: [const { None }; IDS.len()],
        calls: Vec::new(),
        now: Timestamp::from_secs(1_700_000_000),
        expected: Vec::new(),
    };
    let mut world = World {
        core: World::core(seed),
        store: BTreeMap::new(),
        forwarded: BTreeMap::new(),
        next: 0,
        revision: 0,
        happened: Vec::new(),
    };
    for op in ops {
        step(&mut world, &mut model, op);
        compare(&mut world, &mut model, op);
    }
    // Nothing is left over when all are gone.
    for connection in model.open.clone() {
        model.close(connection);
        world.apply(&mut model, Input::Closed(connection));
    }
    compare(&mut world, &mut model, &Op::Close(0));
    assert_eq!(world.core.sizes().1, 0, "calls are left over");
    step(&mut world, &mut model, &Op::Advance(61));
    assert_eq!(world.core.sizes(), (0, 0), "ids are left over");
}

fn step(world: &mut World, model: &mut Model, op: &Op) {
    let pick = |at: usize, from: &[ConnectionId]| from.get(at % from.len().max(1)).copied();
    let label = format!("call {}", world.next);
    world.next += 1;
    match *op {
        Op::Open => {
            let id = ConnectionId(world.next);
            model.open.push(id);
            world.apply(model, Input::Opened(id));
        }
        Op::Close(at) => {
            if let Some(id) = pick(at, &model.open) {
                model.close(id);
                world.apply(model, Input::Closed(id));
            }
        }
        Op::Register(at, id, proof) => {
            let Some(by) = pick(at, &model.open) else { return };
            let text = proof.text(id, model.tokens[id].as_ref());
            model.register(by, id, proof, text.as_ref());
            let message =
                FromPeer::Register { id: IDS[id].0.to_owned(), proof: text.map(Secret::new) };
            world.say(model, by, message);
        }
        Op::Unregister(at, id) => {
            let Some(by) = pick(at, &model.open) else { return };
            model.unregister(by, id);
            let message = FromPeer::Unregister { id: IDS[id].0.to_owned() };
            world.say(model, by, message);
        }
        Op::Invoke(at, id, tx) => {
            let Some(by) = pick(at, &model.open) else { return };
            model.invoke(Caller::Peer(by, tx), id, &label);
            let message = FromPeer::Invoke { tx, call: call(id, &label) };
            world.say(model, by, message);
        }
        Op::Own(id) => {
            let own = CallId(world.next);
            model.invoke(Caller::Own(own), id, &label);
            world.apply(model, Input::Call(own, call(id, &label), Reach::Anywhere));
        }
        Op::CancelOwn => {
            let own = model.calls.iter().position(|it| matches!(it.caller, Caller::Own(_)));
            let Some(at) = own else { return };
            let Caller::Own(own) = model.calls.remove(at).caller else { return };
            world.apply(model, Input::Cancelled(own));
        }
        Op::Answer(at, success) => answer(world, model, at, success),
        Op::AnswerNothing(at, tx) => {
            let Some(from) = pick(at, &model.open) else { return };
            let awaited = |call: &ModelCall| world.forwarded[&call.label] == (from, tx);
            if !model.calls.iter().any(awaited) {
                let message = FromPeer::Response { tx, result: Ok(Some("late".into())) };
                world.say(model, from, message);
            }
        }
        Op::Advance(seconds) => {
            for _ in 0..seconds {
                model.now = model.now.saturating_add(Duration::from_secs(1));
                model.second_passed();
                world.core.handle_timeout(model.now);
                world.settle(model);
            }
        }
        Op::Crash => {
            model.crash();
            world.core = World::core(world.next);
        }
    }
}

fn answer(world: &mut World, model: &mut Model, at: usize, success: bool) {
    if model.calls.is_empty() {
        return;
    }
    let done = model.calls.remove(at % model.calls.len());
    let (from, tx) = world.forwarded[&done.label];
    assert_eq!(from, done.target);
    let (result, expected) = if success {
        (Ok(Some(done.label.clone())), Event::Answered(done.caller, 0, done.label))
    } else {
        (Err(Failure::new(418, "no")), Event::Answered(done.caller, 418, "no".into()))
    };
    model.expected.push(expected);
    let message = FromPeer::Response { tx, result };
    world.say(model, from, message);
}

fn compare(world: &mut World, model: &mut Model, op: &Op) {
    let mut expected = std::mem::take(&mut model.expected);
    let mut happened = std::mem::take(&mut world.happened);
    // Which token is made can't be foretold.
    for event in &mut happened {
        if let Event::Registered(by, id, token) = event
            && expected.contains(&Event::Registered(*by, *id, None))
        {
            *token = None;
        }
    }
    expected.sort();
    happened.sort();
    assert_eq!(happened, expected, "after {op:?}");
    assert_eq!(world.core.sizes().1, model.calls.len(), "calls that wait after {op:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    // Rule: belay 22.4 — an id is its owner's alone: no operation of others takes it, and every call is answered once
    #[test]
    fn the_relay_does_what_the_model_says(seed in any::<u64>(), ops in any_ops()) {
        exercise(seed, &ops);
    }

    #[test]
    fn no_text_upsets_it(texts in proptest::collection::vec(any_text(), 1..40)) {
        let mut core = Core::new(Arc::default(), Arc::new(SeededEntropy::new(1)));
        let (now, from) = (Timestamp::from_secs(1), ConnectionId(1));
        core.handle(now, Input::Opened(from));
        for text in &texts {
            let message = FromPeer::parse(text);
            core.handle(now, Input::Received { from, message, bytes: text.len() });
            while let Some(output) = core.poll_output() {
                if let Output::Send(_, message) = output {
                    let sent: serde_json::Value = serde_json::from_str(&message.encode()).unwrap();
                    prop_assert!(sent["op"].is_string());
                }
            }
        }
    }
}

/// Texts that look like messages, and others.
fn any_text() -> impl Strategy<Value = String> {
    let member = prop_oneof![
        Just(r#""op":"register""#.to_owned()),
        Just(r#""op":"invoke""#.to_owned()),
        Just(r#""op":"response""#.to_owned()),
        Just(r#""op":"unregister""#.to_owned()),
        Just(r#""op":"ping""#.to_owned()),
        (0..IDS.len()).prop_map(|id| format!(r#""id":"{}""#, IDS[id].0)),
        (0..IDS.len()).prop_map(|id| format!(r#""ser":"urn:x-cap:{}:{CAP}""#, IDS[id].0)),
        (998..1004_u64).prop_map(|tx| format!(r#""txId":{tx}"#)),
        Just(r#""method":"GET""#.to_owned()),
        Just(r#""type":"success""#.to_owned()),
        Just(r#""type":"failure""#.to_owned()),
        "\\PC{0,20}".prop_map(|text| format!(r#""data":{}"#, serde_json::Value::from(text))),
        Just(r#""data":{"status":-1}"#.to_owned()),
        "\\PC{0,10}",
    ];
    let object =
        proptest::collection::vec(member, 0..8).prop_map(|all| format!("{{{}}}", all.join(",")));
    prop_oneof![9 => object, 1 => "\\PC{0,80}"]
}

#[test]
fn long_simulations_agree_with_the_model() {
    for seed in 0..20 {
        exercise(seed, &seeded_ops(seed, 3000));
    }
}
