//! One vocabulary of operations on a tree of grants, and a model to compare with.
//!
//! The model is a list of grants with a parent each; a grant is alive if it and all above it are, and
//! an invocation goes through the limits of all of them, then through what it forwards to. The
//! world is a server, or several of which any is asked, over the store in memory, thrown away and made anew
//! at [`Op::Crash`]. Never here: HTTP.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buswire_message::{Clock as _, Timestamp};
use buswire_store::memory::MemoryStore;
use buswire_testkit::{FaultyStore, SeededEntropy, SplitMix64, VirtualClock};
use futures::future::BoxFuture;
use proptest::prelude::*;

use crate::{
    AdminError, Bcap, BcapError, BcapValue, Bounds, CapServer, Config, GrantError, GrantRequest,
    GrantState, Granted, Handle, Invocation, Label, Limits, Members, Method, MethodSet, Operation,
    Revoked, Subject, TargetError, WireLimits, encode, limits::Bucket, parse_limits,
};

/// One thing that happens. Indexes are taken modulo the number of grants there are.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Grant(Asked),
    /// A grant of a registered name.
    Named(Asked),
    /// A grant that forwards to another one.
    Forward(usize, Asked),
    /// A record of another one.
    Record(usize, Asked),
    /// Takes the facet of a record.
    Read(usize),
    Wrap(usize, Asked),
    Suspend(usize, bool),
    Revoke(usize),
    ControlDelete(usize),
    Invoke(usize, Method, Option<Said>),
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
    read_only: bool,
    channels: Option<Vec<&'static str>>,
    types: Option<Vec<&'static str>>,
    /// Count and seconds.
    rate: Option<(u64, u64)>,
    max_bytes: Option<u64>,
    expires_in: Option<u64>,
    starts_in: Option<u64>,
}

/// The argument of an invocation.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    channel: &'static str,
    kind: &'static str,
}

impl Said {
    fn value(&self) -> BcapValue {
        Members::new().with("channel", self.channel).with("type", self.kind).into()
    }

    fn bytes(&self) -> u64 {
        encode(Some(&self.value()), WireLimits::default()).unwrap().len() as u64
    }
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
        if self.read_only {
            parts.push("\"readOnly\":true".to_owned());
        }
        let list = |texts: &[&str]| format!("[\"{}\"]", texts.join("\",\""));
        if let Some(channels) = &self.channels {
            parts.push(format!("\"channels\":{}", list(channels)));
        }
        if let Some(types) = &self.types {
            parts.push(format!("\"types\":{}", list(types)));
        }
        if let Some((count, per)) = self.rate {
            parts.push(format!("\"rate\":{{\"count\":{count},\"per\":{per}}}"));
        }
        if let Some(bytes) = self.max_bytes {
            parts.push(format!("\"maxBytes\":{bytes}"));
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

fn any_asked() -> impl Strategy<Value = Asked> {
    use proptest::{option::weighted, sample::subsequence};
    let methods = subsequence(Method::ALL.to_vec(), 1..=4);
    (
        weighted(0.15, 1..5_u64),
        weighted(0.1, methods.prop_map(|methods| MethodSet::of(&methods))),
        proptest::bool::weighted(0.1),
        weighted(0.3, subsequence(vec!["a", "a.*", "a.b", "c"], 1..=3)),
        weighted(0.1, subsequence(vec!["t", "u"], 1..=2)),
        weighted(0.1, (1..4_u64, 1..5_u64)),
        weighted(0.1, 25..45_u64),
        weighted(0.2, 1..10_000_u64),
        weighted(0.1, 1..3_000_u64),
    )
        .prop_map(|all| {
            let (uses, methods, read_only, channels, types, rate, max_bytes, ends, starts) = all;
            let (expires_in, starts_in) = (ends, starts);
            let limits = Asked { uses, methods, read_only, channels, types, rate, ..EMPTY };
            Asked { max_bytes, expires_in, starts_in, ..limits }
        })
}

const EMPTY: Asked = Asked {
    uses: None,
    methods: None,
    read_only: false,
    channels: None,
    types: None,
    rate: None,
    max_bytes: None,
    expires_in: None,
    starts_in: None,
};

/// Lists of operations.
pub(crate) fn any_ops() -> impl Strategy<Value = Vec<Op>> {
    use proptest::sample::select;
    let at = any::<usize>;
    let said = (select(vec!["a", "a.b", "c"]), select(vec!["t", "u", "longer"]));
    let said = said.prop_map(|(channel, kind)| Said { channel, kind });
    let said = proptest::option::weighted(0.7, said);
    let op = prop_oneof![
        2 => any_asked().prop_map(Op::Grant),
        1 => any_asked().prop_map(Op::Named),
        4 => (at(), any_asked()).prop_map(|(at, asked)| Op::Forward(at, asked)),
        2 => (at(), any_asked()).prop_map(|(at, asked)| Op::Record(at, asked)),
        3 => at().prop_map(Op::Read),
        4 => (at(), any_asked()).prop_map(|(at, asked)| Op::Wrap(at, asked)),
        2 => (at(), any::<bool>()).prop_map(|(at, on)| Op::Suspend(at, on)),
        1 => at().prop_map(Op::Revoke),
        1 => at().prop_map(Op::ControlDelete),
        20 => (at(), select(Method::ALL.to_vec()), said)
            .prop_map(|(at, method, said)| Op::Invoke(at, method, said)),
        2 => (1..2_000_u64).prop_map(Op::Advance),
        1 => Just(Op::Crash),
    ];
    proptest::collection::vec(op, 1..80)
}

/// What a grant designates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Item {
    /// The test's own operation.
    Own,
    Forward(usize),
    Record(usize),
}

impl Item {
    const fn methods(self) -> MethodSet {
        match self {
            Self::Own | Self::Forward(_) => MethodSet::ALL,
            Self::Record(_) => MethodSet::GET,
        }
    }
}

struct ModelGrant {
    item: Item,
    parent: Option<usize>,
    /// Whether it counts as a use of its parent, as a wrap does and a facet does not.
    counts: bool,
    limits: Limits,
    used: u64,
    bucket: Option<Bucket>,
    suspended: bool,
    revoked: bool,
}

#[derive(Default)]
struct Model {
    grants: Vec<ModelGrant>,
    now: Timestamp,
}

impl Model {
    fn add(&mut self, item: Item, parent: Option<usize>, limits: Limits) {
        self.grants.push(ModelGrant {
            item,
            parent,
            counts: true,
            limits,
            used: 0,
            bucket: None,
            suspended: false,
            revoked: false,
        });
    }

    // A grant and all above it.
    fn chain(&self, at: usize) -> Vec<usize> {
        std::iter::successors(Some(at), |at| self.grants[*at].parent).collect()
    }

    // Those of them that an invocation counts for.
    fn counted(&self, at: usize) -> Vec<usize> {
        let next = |at: &usize| self.grants[*at].parent.filter(|_| self.grants[*at].counts);
        std::iter::successors(Some(at), next).collect()
    }

    fn any(&self, at: usize, test: impl Fn(&ModelGrant) -> bool) -> bool {
        self.chain(at).into_iter().any(|at| test(&self.grants[at]))
    }

    fn is_revoked(&self, at: usize) -> bool {
        self.any(at, |grant| grant.revoked)
    }

    // What the whole chain allows; a facet has in its own limits what its record allowed.
    fn bounds(&self, at: usize) -> Bounds {
        let levels = self.counted(at).into_iter().map(|at| self.grants[at].limits.bounds());
        levels.fold(Bounds::default(), |left, level| left.intersection(level))
    }

    fn state(&self, at: usize) -> GrantState {
        let bounds = self.bounds(at);
        let empty = |at: &usize| {
            let grant = &self.grants[*at];
            grant.limits.uses().is_some_and(|uses| grant.used >= uses.get())
        };
        if self.is_revoked(at) {
            GrantState::Revoked
        } else if bounds.expires().is_some_and(|end| self.now >= end) {
            GrantState::Expired
        } else if bounds.not_before().is_some_and(|begin| self.now < begin) {
            GrantState::Pending
        } else if self.any(at, |grant| grant.suspended) {
            GrantState::Suspended
        } else if self.counted(at).iter().any(empty) {
            GrantState::Exhausted
        } else {
            GrantState::Live
        }
    }

    // `outer` is what whoever forwards leaves; `depth` how many forward.
    fn invoke(
        &mut self,
        at: usize,
        method: Method,
        said: Option<&Said>,
        outer: &Bounds,
        depth: u8,
    ) -> Result<(), BcapError> {
        if depth > 8 {
            return Err(BcapError::BadGateway);
        }
        if self.state(at) != GrantState::Live {
            return Err(BcapError::NotFound);
        }
        let bounds = self.bounds(at).intersection(passed_on(outer).bounds());
        let item = self.grants[at].item;
        let allow = bounds.methods(item.methods(), MethodSet::GET);
        if !allow.contains(method) {
            return Err(BcapError::MethodNotAllowed { allow });
        }
        if said.is_some() && !method.takes_data() {
            return Err(BcapError::BadRequest);
        }
        if let (Item::Own, Some(said)) = (item, said)
            && !bounds.admits(said.channel, said.kind)
        {
            return Err(BcapError::Forbidden);
        }
        if bounds.max_bytes().is_some_and(|most| said.map_or(0, Said::bytes) > most) {
            return Err(BcapError::TooLarge);
        }
        self.count(at)?;
        match item {
            Item::Forward(inner) => self.invoke(inner, method, said, &bounds, depth + 1),
            Item::Own | Item::Record(_) => Ok(()),
        }
    }

    fn count(&mut self, at: usize) -> Result<(), BcapError> {
        let levels = self.counted(at);
        let mut wait = None;
        let mut taken = Vec::new();
        for level in &levels {
            let grant = &self.grants[*level];
            let Some(rate) = grant.limits.rate() else { continue };
            match rate.take(grant.bucket.unwrap_or_else(|| rate.full(self.now)), self.now) {
                Ok(bucket) => taken.push((*level, bucket)),
                Err(secs) => wait = wait.max(Some(secs)),
            }
        }
        if let Some(retry_after_secs) = wait {
            return Err(BcapError::TooManyRequests { retry_after_secs });
        }
        for (level, bucket) in taken {
            self.grants[level].bucket = Some(bucket);
        }
        for level in levels {
            self.grants[level].used += 1;
        }
        Ok(())
    }
}

// What holds for whatever is reached through a capability: everything but the methods.
fn passed_on(bounds: &Bounds) -> Limits {
    let BcapValue::Object(all) = Limits::from(bounds.clone()).to_value() else { unreachable!() };
    let kept = all.into_iter().filter(|(name, _)| name != "methods");
    Limits::parse(&kept.fold(Members::new(), |all, (name, v)| all.with(name, v)).into()).unwrap()
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

    fn subject(
        &self,
        _: &BcapValue,
        _: Method,
        data: Option<&BcapValue>,
    ) -> Result<Subject, BcapError> {
        let said = |name| {
            let members = data.and_then(BcapValue::as_object);
            let text = members.and_then(|members| members.get(name)?.as_str());
            text.map(str::to_owned).into_iter().collect()
        };
        Ok(Subject { channels: said("channel"), types: said("type") })
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
    /// Unknown for the facet of a record.
    control: Option<Bcap>,
    handle: Option<Handle>,
}

impl From<Granted> for Held {
    fn from(granted: Granted) -> Self {
        let (control, handle) = (Some(granted.control), Some(granted.handle));
        Self { cap: granted.cap, control, handle }
    }
}

struct World {
    store: Arc<FaultyStore>,
    clock: VirtualClock,
    entropy: Arc<SeededEntropy>,
    servers: Vec<CapServer>,
    /// Which of them is asked next.
    choice: Mutex<SplitMix64>,
    held: Vec<Held>,
}

impl World {
    fn new(servers: usize, seed: u64) -> Self {
        let store = FaultyStore::new(Arc::new(MemoryStore::new()), seed);
        let store = Arc::new(if servers > 1 { store.shared() } else { store });
        let clock = VirtualClock::default();
        let entropy = Arc::new(SeededEntropy::new(11));
        let servers = (0..servers).map(|_| Self::open(&store, &clock, &entropy)).collect();
        let choice = Mutex::new(SplitMix64::new(seed));
        Self { store, clock, entropy, servers, choice, held: Vec::new() }
    }

    fn any(&self) -> usize {
        let many = u64::try_from(self.servers.len()).unwrap();
        usize::try_from(self.choice.lock().unwrap().below(many)).unwrap()
    }

    /// Any of the servers.
    fn server(&self) -> &CapServer {
        &self.servers[self.any()]
    }

    fn crash(&mut self) {
        let at = self.any();
        self.servers[at] = Self::open(&self.store, &self.clock, &self.entropy);
    }

    fn open(
        store: &Arc<FaultyStore>,
        clock: &VirtualClock,
        entropy: &Arc<SeededEntropy>,
    ) -> CapServer {
        let config = Config::new("https://gw.example").unwrap();
        let server =
            CapServer::new(store.clone(), Arc::new(clock.clone()), entropy.clone(), config);
        server.register("test", Arc::new(Nothing)).unwrap();
        server.set_named_handler("test", Arc::new(Nothing)).unwrap();
        server
    }

    async fn invoke(
        &self,
        cap: &Bcap,
        method: Method,
        said: Option<&Said>,
    ) -> Result<Option<BcapValue>, BcapError> {
        let id = self.server().local_id(cap).unwrap();
        self.server().invoke(id.expose(), method, said.map(Said::value)).await
    }

    async fn grant(&mut self, kind: &str, target: BcapValue, limits: Limits) {
        let mut request = GrantRequest::parse(kind, "", "", "").unwrap();
        (request.target, request.limits) = (target, limits);
        let granted = self.server().grant(request).await.unwrap();
        self.held.push(granted.into());
    }
}

/// Does the operations to the world and to the model and compares every outcome. Each goes to any of so
/// many servers on one store.
pub(crate) async fn exercise(ops: &[Op], servers: usize, seed: u64) {
    let mut world = World::new(servers, seed);
    let mut model = Model { now: world.clock.now(), ..Model::default() };
    for op in ops {
        step(&mut world, &mut model, op).await;
    }
    for server in &world.servers {
        server.settle().await;
    }
    check_listing(&world, &model).await;
}

async fn step(world: &mut World, model: &mut Model, op: &Op) {
    let count = world.held.len().max(1);
    match op {
        Op::Grant(asked) => {
            let limits = asked.limits(model.now);
            world.grant("test", Members::new().into(), limits.clone()).await;
            model.add(Item::Own, None, limits);
        }
        Op::Named(asked) => {
            let limits = asked.limits(model.now);
            let named =
                world.server().grant_named("test", vec![], limits.clone(), Label::default());
            world.held.push(named.await.unwrap().into());
            model.add(Item::Own, None, limits);
        }
        Op::Advance(millis) => {
            world.clock.advance(Duration::from_millis(*millis));
            model.now = world.clock.now();
        }
        Op::Crash => world.crash(),
        _ if world.held.is_empty() => {}
        Op::Forward(at, asked) => {
            let (at, limits) = (at % count, asked.limits(model.now));
            let target = Members::new().with("url", world.held[at].cap.clone());
            world.grant("url", target.into(), limits.clone()).await;
            model.add(Item::Forward(at), None, limits);
        }
        Op::Record(at, asked) => {
            let (at, limits) = (at % count, asked.limits(model.now));
            let facets = Members::new().with("facet", world.held[at].cap.clone());
            let target = Members::new().with("facets", facets).with("bcaps", "fresh");
            world.grant("record", target.into(), limits.clone()).await;
            model.add(Item::Record(at), None, limits);
        }
        Op::Read(at) => read(world, model, at % count).await,
        Op::Wrap(at, asked) => wrap(world, model, at % count, asked).await,
        Op::Invoke(at, method, said) => {
            let at = at % count;
            // What a record gives has an operation of its own.
            let is_record = matches!(resolved(model, at), Item::Record(_));
            if !is_record || *method != Method::Get {
                let said = said.as_ref();
                let outcome = world.invoke(&world.held[at].cap, *method, said).await;
                let expected = model.invoke(at, *method, said, &Bounds::default(), 0);
                assert_eq!(outcome.map(drop), expected, "{op:?}");
            }
        }
        Op::Suspend(at, suspended) => suspend(world, model, at % count, *suspended).await,
        Op::Revoke(at) => {
            let at = at % count;
            let Some(handle) = &world.held[at].handle else { return };
            let outcome = world.server().revoke(handle).await.unwrap();
            if model.grants[at].revoked {
                assert_eq!(outcome, Revoked::Already);
            }
            model.grants[at].revoked = true;
        }
        Op::ControlDelete(at) => {
            let at = at % count;
            let Some(control) = world.held[at].control.clone() else { return };
            let outcome = world.invoke(&control, Method::Delete, None).await.map(drop);
            let dead = model.is_revoked(at);
            assert_eq!(outcome, if dead { Err(BcapError::NotFound) } else { Ok(()) });
            model.grants[at].revoked |= !dead;
        }
    }
}

// What is invoked in the end.
fn resolved(model: &Model, at: usize) -> Item {
    match model.grants[at].item {
        Item::Forward(inner) => resolved(model, inner),
        item => item,
    }
}

async fn suspend(world: &World, model: &mut Model, at: usize, suspended: bool) {
    let Some(handle) = &world.held[at].handle else { return };
    let outcome = world.server().set_suspended(handle, suspended).await;
    if model.is_revoked(at) {
        // What is below a revoked grant is buried some time later.
        assert!(matches!(outcome, Ok(()) | Err(AdminError::NotFound)), "{outcome:?}");
    } else {
        assert_eq!(outcome, Ok(()));
        model.grants[at].suspended = suspended;
    }
}

async fn read(world: &mut World, model: &mut Model, at: usize) {
    let Item::Record(facet) = model.grants[at].item else { return };
    let outcome = world.invoke(&world.held[at].cap, Method::Get, None).await;
    let mut expected = model.invoke(at, Method::Get, None, &Bounds::default(), 0);
    if expected.is_ok() && model.chain(at).len() == 32 {
        expected = Err(BcapError::Forbidden);
    }
    assert_eq!(outcome.as_ref().map(drop).map_err(|error| *error), expected);
    let Ok(Some(BcapValue::Object(facets))) = outcome else { return };
    let cap = facets.get("facet").and_then(BcapValue::as_cap).unwrap().clone();
    world.held.push(Held { cap, control: None, handle: None });
    let limits = passed_on(&model.bounds(at));
    model.add(Item::Forward(facet), Some(at), limits);
    model.grants.last_mut().unwrap().counts = false;
}

async fn wrap(world: &mut World, model: &mut Model, at: usize, asked: &Asked) {
    let limits = asked.limits(model.now);
    let id = world.server().local_id(&world.held[at].cap).unwrap();
    let outcome = world.server().wrap(id.expose(), limits.clone(), Label::default()).await;
    if model.state(at) != GrantState::Live {
        assert_eq!(outcome, Err(GrantError::NotFound));
        return;
    }
    if model.chain(at).len() == 32 {
        assert_eq!(outcome, Err(GrantError::Full));
        return;
    }
    world.held.push(outcome.unwrap().into());
    model.add(model.grants[at].item, Some(at), limits);
}

// Every grant is listed once, in the state that the model has for it.
async fn check_listing(world: &World, model: &Model) {
    let mut listed = Vec::new();
    let mut next = None;
    loop {
        let page = world.server().list(next.as_deref(), 3).await.unwrap();
        assert!(page.grants.len() <= 3);
        listed.extend(page.grants);
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(listed.len(), model.grants.len());
    for (at, held) in world.held.iter().enumerate() {
        let Some(handle) = &held.handle else { continue };
        let info = listed.iter().find(|info| info.handle == *handle).unwrap();
        assert_eq!(info.state, model.state(at), "{at}: {info:?}");
        let parent = model.grants[at].parent.map(|parent| world.held[parent].handle.clone());
        if let Some(Some(parent)) = parent {
            assert_eq!(info.parent, Some(parent));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn trees_of_grants_behave_as_the_model(ops in any_ops()) {
        // Rule: belay 20.6 — a grant is valid iff it and every ancestor are live, also after a restart
        // Rule: belay 20.8 — every limit of every level holds, through forwarders and records too
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(exercise(&ops, 1, 0));
    }

    #[test]
    fn trees_of_grants_are_the_same_at_any_of_two_servers(ops in any_ops(), seed: u64) {
        // Rule: belay 20.6 — with several gateways the row is the authority: each sees what all did
        // Rule: belay 20.8 — counters are never cached: uses and rates hold over all gateways
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(exercise(&ops, 2, seed));
    }
}
