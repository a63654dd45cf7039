//! One vocabulary of operations on a tree of grants, and a model to compare with.
//!
//! The model is a list of grants with a parent each; a grant is alive if it and all above it are. The
//! world is a server over the store in memory, thrown away and made anew at [`Op::Crash`]. Never here:
//! HTTP.

use std::{sync::Arc, time::Duration};

use buswire_message::{Clock as _, Timestamp};
use buswire_store::memory::MemoryStore;
use buswire_testkit::{SeededEntropy, VirtualClock};
use futures::future::BoxFuture;
use proptest::prelude::*;

use crate::{
    AdminError, Bcap, BcapError, BcapValue, Bounds, CapServer, Config, GrantError, GrantRequest,
    GrantState, Handle, Invocation, Label, Limits, Method, MethodSet, Operation, Revoked,
    TargetError, parse_limits,
};

/// One thing that happens. Indexes are taken modulo the number of grants there are.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Grant(Asked),
    Wrap(usize, Asked),
    Suspend(usize, bool),
    Revoke(usize),
    ControlDelete(usize),
    Invoke(usize, Method),
    /// Milliseconds.
    Advance(u64),
    /// The server is gone without a word; another one opens the store.
    Crash,
}

/// Limits that are asked for; times in milliseconds from when they are.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    uses: Option<u64>,
    methods: Option<MethodSet>,
    expires_in: Option<u64>,
    starts_in: Option<u64>,
}

impl Asked {
    fn limits(&self, now: Timestamp) -> Limits {
        let mut parts = Vec::new();
        let at = |millis| now.saturating_add(Duration::from_millis(millis));
        if let Some(uses) = self.uses {
            parts.push(format!("\"uses\":{uses}"));
        }
        if let Some(methods) = self.methods {
            let names: Vec<_> = methods.iter().map(|method| format!("\"{method}\"")).collect();
            parts.push(format!("\"methods\":[{}]", names.join(",")));
        }
        if let Some(millis) = self.expires_in {
            parts.push(format!("\"expires\":\"{}\"", at(millis)));
        }
        if let Some(millis) = self.starts_in {
            parts.push(format!("\"notBefore\":\"{}\"", at(millis)));
        }
        parse_limits(&format!("{{{}}}", parts.join(","))).unwrap()
    }
}

/// Lists of operations.
pub(crate) fn any_ops() -> impl Strategy<Value = Vec<Op>> {
    let asked = (
        proptest::option::weighted(0.3, 1..5_u64),
        proptest::option::weighted(
            0.2,
            proptest::sample::subsequence(Method::ALL.to_vec(), 1..=4)
                .prop_map(|methods| MethodSet::of(&methods)),
        ),
        proptest::option::weighted(0.2, 1..10_000_u64),
        proptest::option::weighted(0.1, 1..3_000_u64),
    )
        .prop_map(|(uses, methods, expires_in, starts_in)| Asked {
            uses,
            methods,
            expires_in,
            starts_in,
        });
    let op = prop_oneof![
        2 => asked.clone().prop_map(Op::Grant),
        6 => (any::<usize>(), asked).prop_map(|(at, asked)| Op::Wrap(at, asked)),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(at, on)| Op::Suspend(at, on)),
        1 => any::<usize>().prop_map(Op::Revoke),
        1 => any::<usize>().prop_map(Op::ControlDelete),
        12 => (any::<usize>(), proptest::sample::select(Method::ALL.to_vec()))
            .prop_map(|(at, method)| Op::Invoke(at, method)),
        2 => (1..2_000_u64).prop_map(Op::Advance),
        1 => Just(Op::Crash),
    ];
    proptest::collection::vec(op, 1..60)
}

struct ModelGrant {
    parent: Option<usize>,
    limits: Limits,
    used: u64,
    suspended: bool,
    revoked: bool,
}

#[derive(Default)]
struct Model {
    grants: Vec<ModelGrant>,
    now: Timestamp,
}

impl Model {
    fn add(&mut self, parent: Option<usize>, limits: Limits) {
        let grant = ModelGrant { parent, limits, used: 0, suspended: false, revoked: false };
        self.grants.push(grant);
    }

    // A grant and all above it.
    fn chain(&self, at: usize) -> Vec<usize> {
        std::iter::successors(Some(at), |at| self.grants[*at].parent).collect()
    }

    fn any(&self, at: usize, test: impl Fn(&ModelGrant) -> bool) -> bool {
        self.chain(at).into_iter().any(|at| test(&self.grants[at]))
    }

    fn is_revoked(&self, at: usize) -> bool {
        self.any(at, |grant| grant.revoked)
    }

    fn state(&self, at: usize) -> GrantState {
        let over = |b: &Bounds| b.expires().is_some_and(|end| self.now >= end);
        let early = |b: &Bounds| b.not_before().is_some_and(|begin| self.now < begin);
        let empty = |g: &ModelGrant| g.limits.uses().is_some_and(|uses| g.used >= uses.get());
        if self.is_revoked(at) {
            GrantState::Revoked
        } else if self.any(at, |grant| over(grant.limits.bounds())) {
            GrantState::Expired
        } else if self.any(at, |grant| early(grant.limits.bounds())) {
            GrantState::Pending
        } else if self.any(at, |grant| grant.suspended) {
            GrantState::Suspended
        } else if self.any(at, empty) {
            GrantState::Exhausted
        } else {
            GrantState::Live
        }
    }

    fn invoke(&mut self, at: usize, method: Method) -> Result<(), BcapError> {
        if self.state(at) != GrantState::Live {
            return Err(BcapError::NotFound);
        }
        let chain = self.chain(at);
        let levels = chain.iter().map(|at| self.grants[*at].limits.bounds());
        let allow = levels.fold(MethodSet::ALL, |left, b| b.methods(left, MethodSet::GET));
        if !allow.contains(method) {
            return Err(BcapError::MethodNotAllowed { allow });
        }
        for at in chain {
            self.grants[at].used += 1;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Nothing;

impl Operation for Nothing {
    fn check_target(&self, _: &BcapValue) -> Result<(), TargetError> {
        Ok(())
    }

    fn methods(&self, _: &BcapValue) -> MethodSet {
        MethodSet::ALL
    }

    fn invoke(
        &self,
        _: Invocation,
        _: Method,
        _: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        Box::pin(async { Ok(None) })
    }
}

struct Held {
    cap: Bcap,
    control: Bcap,
    handle: Handle,
}

struct World {
    store: Arc<MemoryStore>,
    clock: VirtualClock,
    entropy: Arc<SeededEntropy>,
    server: CapServer,
    held: Vec<Held>,
}

impl World {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let clock = VirtualClock::default();
        let entropy = Arc::new(SeededEntropy::new(11));
        let server = Self::open(&store, &clock, &entropy);
        Self { store, clock, entropy, server, held: Vec::new() }
    }

    fn open(
        store: &Arc<MemoryStore>,
        clock: &VirtualClock,
        entropy: &Arc<SeededEntropy>,
    ) -> CapServer {
        let config = Config::new("https://gw.example").unwrap();
        let server =
            CapServer::new(store.clone(), Arc::new(clock.clone()), entropy.clone(), config);
        server.register("test", Arc::new(Nothing)).unwrap();
        server
    }

    async fn invoke(&self, cap: &Bcap, method: Method) -> Result<(), BcapError> {
        let id = self.server.local_id(cap).unwrap();
        self.server.invoke(id.expose(), method, None).await.map(drop)
    }
}

/// Does the operations to the world and to the model and compares every outcome.
pub(crate) async fn exercise(ops: &[Op]) {
    let mut world = World::new();
    let mut model = Model { now: world.clock.now(), ..Model::default() };
    for op in ops {
        step(&mut world, &mut model, op).await;
    }
    world.server.settle().await;
    check_listing(&world, &model).await;
}

async fn step(world: &mut World, model: &mut Model, op: &Op) {
    let count = world.held.len().max(1);
    match op {
        Op::Grant(asked) => {
            let limits = asked.limits(model.now);
            let mut request = GrantRequest::parse("test", "", "", "").unwrap();
            request.limits = limits.clone();
            let granted = world.server.grant(request).await.unwrap();
            let (cap, control, handle) = (granted.cap, granted.control, granted.handle);
            world.held.push(Held { cap, control, handle });
            model.add(None, limits);
        }
        Op::Advance(millis) => {
            world.clock.advance(Duration::from_millis(*millis));
            model.now = world.clock.now();
        }
        Op::Crash => world.server = World::open(&world.store, &world.clock, &world.entropy),
        _ if world.held.is_empty() => {}
        Op::Wrap(at, asked) => wrap(world, model, at % count, asked).await,
        Op::Invoke(at, method) => {
            let at = at % count;
            let outcome = world.invoke(&world.held[at].cap, *method).await;
            assert_eq!(outcome, model.invoke(at, *method), "{op:?}");
        }
        Op::Suspend(at, suspended) => {
            let at = at % count;
            let outcome = world.server.set_suspended(&world.held[at].handle, *suspended).await;
            if model.is_revoked(at) {
                // What is below a revoked grant is buried some time later.
                assert!(matches!(outcome, Ok(()) | Err(AdminError::NotFound)), "{outcome:?}");
            } else {
                assert_eq!(outcome, Ok(()));
                model.grants[at].suspended = *suspended;
            }
        }
        Op::Revoke(at) => {
            let at = at % count;
            let outcome = world.server.revoke(&world.held[at].handle).await.unwrap();
            if model.grants[at].revoked {
                assert_eq!(outcome, Revoked::Already);
            }
            model.grants[at].revoked = true;
        }
        Op::ControlDelete(at) => {
            let at = at % count;
            let outcome = world.invoke(&world.held[at].control, Method::Delete).await;
            let dead = model.is_revoked(at);
            assert_eq!(outcome, if dead { Err(BcapError::NotFound) } else { Ok(()) });
            model.grants[at].revoked |= !dead;
        }
    }
}

async fn wrap(world: &mut World, model: &mut Model, at: usize, asked: &Asked) {
    let limits = asked.limits(model.now);
    let id = world.server.local_id(&world.held[at].cap).unwrap();
    let outcome = world.server.wrap(id.expose(), limits.clone(), Label::default()).await;
    if model.state(at) != GrantState::Live {
        assert_eq!(outcome, Err(GrantError::NotFound));
        return;
    }
    if model.chain(at).len() == 32 {
        assert_eq!(outcome, Err(GrantError::Full));
        return;
    }
    let granted = outcome.unwrap();
    let (cap, control, handle) = (granted.cap, granted.control, granted.handle);
    world.held.push(Held { cap, control, handle });
    model.add(Some(at), limits);
}

// Every grant is listed once, in the state that the model has for it.
async fn check_listing(world: &World, model: &Model) {
    let mut listed = Vec::new();
    let mut next = None;
    loop {
        let page = world.server.list(next.as_deref(), 3).await.unwrap();
        assert!(page.grants.len() <= 3);
        listed.extend(page.grants);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), model.grants.len());
    for (at, held) in world.held.iter().enumerate() {
        let info = listed.iter().find(|info| info.handle == held.handle).unwrap();
        assert_eq!(info.state, model.state(at), "{at}: {info:?}");
        let parent = model.grants[at].parent.map(|parent| &world.held[parent].handle);
        assert_eq!(info.parent.as_ref(), parent);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn trees_of_grants_behave_as_the_model(ops in any_ops()) {
        // Rule: belay 20.6 — a grant is valid iff it and every ancestor are live, also after a restart
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(exercise(&ops));
    }
}
