//! Routes over the memory store, with sinks that fail as they are told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buswire_bridge::{
    LeaseTiming, Mapping, OpenSink, Reach, Replayed, Reply, RetryPolicy, Route, RouteChange,
    RouteDescription, RouteError, RouteProblem, RouteState, Routes, RoutesConfig, Sink,
    SinkDelivery, SinkError, SinkUri,
};
use buswire_bus::{BusConfig, BusLimits, Buses};
use buswire_message::{
    BusName, Clock, Cursor, Headers, NewMessage, Payload, Recorder, Retention, RouteName,
    SampleRatio, Scope, Span, TraceParent, Tracer,
};
use buswire_store::{
    Ack, Batch, BoxFuture, Key, Operation, Partition, Store, StoreError,
    memory::MemoryStore,
    system::{SystemClock, SystemEntropy},
};
use buswire_testkit::{Fault, Faults, FaultyStore};
use bytes::Bytes;
use futures::{StreamExt, stream};

/// Takes everything, unless it is told to fail; answers with the payload.
#[derive(Debug, Default)]
struct TestSink {
    taken: Mutex<Vec<String>>,
    is_down: AtomicBool,
    /// Nobody can tell whether it is there.
    is_blind: AtomicBool,
    /// Is done before the next answer.
    meanwhile: Mutex<Option<(Arc<MemoryStore>, Batch)>>,
}

impl Sink for TestSink {
    fn deliver(&self, delivery: SinkDelivery) -> BoxFuture<'_, Result<Option<Reply>, SinkError>> {
        Box::pin(async move {
            let meanwhile = self.meanwhile.lock().unwrap().take();
            if let Some((store, batch)) = meanwhile {
                store.commit(batch, Ack::Safe, SystemClock.now()).await.unwrap();
            }
            let text = delivery.message.payload.as_str().to_owned();
            if text == "\"poison\"" {
                return Err(SinkError::Reject("it is poison".into()));
            }
            if text == "\"hunter2\"" {
                return Err(SinkError::Answered("what is hunter2?".into()));
            }
            if self.is_down.load(Ordering::SeqCst) {
                return Err(SinkError::Retry("it is down".into()));
            }
            self.taken.lock().unwrap().push(text);
            Ok(Some(Reply { payload: delivery.message.payload.clone(), content_type: None }))
        })
    }
}

#[derive(Debug, Clone, Default)]
struct TestSinks(Arc<TestSink>, Arc<Mutex<Option<Reach>>>);

impl OpenSink for TestSinks {
    fn open(&self, uri: &SinkUri) -> Result<Arc<dyn Sink>, RouteProblem> {
        match uri {
            SinkUri::Mdp { .. } => Ok(self.0.clone()),
            _ => Err(RouteProblem::SinkUnavailable("only mdp: here".into())),
        }
    }

    fn check<'a>(&'a self, _: &'a SinkUri) -> BoxFuture<'a, Result<(), RouteError>> {
        let blind = || RouteError::Store(StoreError::Unavailable("it is away".into()));
        let is_blind = self.0.is_blind.load(Ordering::SeqCst);
        Box::pin(std::future::ready(if is_blind { Err(blind()) } else { Ok(()) }))
    }

    fn reach<'a>(&'a self, uris: &'a [SinkUri]) -> BoxFuture<'a, Vec<Reach>> {
        let reach = self.1.lock().unwrap().unwrap_or(Reach::Anywhere);
        Box::pin(std::future::ready(vec![reach; uris.len()]))
    }
}

struct World {
    store: Arc<MemoryStore>,
    buses: Buses,
    sinks: TestSinks,
}

impl World {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let config = BusConfig {
            message_url_prefix: "https://gw.example/v2/message/".into(),
            limits: BusLimits::default(),
            tracer: None,
        };
        let buses = Buses::open(store.clone(), Arc::new(SystemClock), config).await.unwrap();
        buses.create(&bus(), Retention::default()).await.unwrap();
        Self { store, buses, sinks: TestSinks::default() }
    }

    async fn routes(&self) -> Routes {
        self.routes_with(|_| ()).await
    }

    async fn routes_with(&self, settings: impl FnOnce(&mut RoutesConfig)) -> Routes {
        self.routes_over(self.store.clone(), settings).await
    }

    async fn routes_over(
        &self,
        store: Arc<dyn Store>,
        settings: impl FnOnce(&mut RoutesConfig),
    ) -> Routes {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let mut config = RoutesConfig::new("https://gw.example/".parse().unwrap());
        settings(&mut config);
        let sinks = Arc::new(self.sinks.clone());
        Routes::open(self.buses.clone(), store, clock, entropy, sinks, config).await.unwrap()
    }

    async fn publish(&self, channel: &str, kind: &str, payload: &str) {
        self.publish_with(channel, kind, payload, Headers::default()).await;
    }

    async fn publish_with(&self, channel: &str, kind: &str, payload: &str, headers: Headers) {
        let message = NewMessage {
            channel: channel.parse().unwrap(),
            source: "https://vendor.example/".parse().unwrap(),
            kind: kind.parse().unwrap(),
            sticky: false,
            expires_at: None,
            payload: Payload::parse(&Bytes::from(payload.to_owned())).unwrap(),
            headers,
        };
        self.buses.publish(&bus(), message).await.unwrap();
    }

    fn taken(&self) -> Vec<String> {
        self.sinks.0.taken.lock().unwrap().clone()
    }

    async fn until_taken(&self, expected: &[&str]) {
        until("the sink has taken what it should", async || self.taken() == expected).await;
    }
}

fn bus() -> BusName {
    "a.example".parse().unwrap()
}

fn route(name: &str, scope: &str, reply: Option<&str>) -> Route {
    let retry = RetryPolicy {
        first_delay: Duration::from_millis(2),
        longest_delay: Duration::from_millis(10),
        ..RetryPolicy::default()
    };
    let (sink, from) = ("mdp:work", "beginning");
    let wanted = RouteDescription { name, scope, map: &[], sink, reply_type: reply, from, retry };
    Route::parse(&wanted).unwrap()
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect(what);
}

#[tokio::test]
async fn messages_in_scope_are_delivered_and_answers_published_once() {
    let world = World::new().await;
    let routes = world.routes().await;
    // The answers are in the scope of the route too; it does not take its own.
    routes.create(route("r", "bus:a.example", Some("answer"))).await.unwrap();
    for n in ["1", "2", "3"] {
        world.publish("c", "order", n).await;
    }
    world.until_taken(&["1", "2", "3"]).await;
    let scope: Scope = "bus:a.example type:answer".parse().unwrap();
    until("the answers are published", async || {
        world.buses.read(&scope, Cursor::Start, 10).await.unwrap().messages.len() == 3
    })
    .await;
    let answers = world.buses.read(&scope, Cursor::Start, 10).await.unwrap().messages;
    assert_eq!(answers[0].headers.via[0].as_str(), "r");
    assert!(answers[0].headers.in_reply_to.is_some());
    routes.stop().await;
    assert_eq!(world.taken().len(), 3);
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    let world = World::new().await;
    let routes = world.routes().await;
    routes.create(route("r", "bus:a.example type:order", None)).await.unwrap();
    world.publish("c", "order", "1").await;
    world.until_taken(&["1"]).await;
    routes.stop().await;
    world.publish("c", "order", "2").await;
    let routes = world.routes().await;
    world.until_taken(&["1", "2"]).await;
    routes.stop().await;
}

#[tokio::test]
async fn a_sink_that_is_down_is_tried_again_and_poison_is_set_aside() {
    let world = World::new().await;
    world.sinks.0.is_down.store(true, Ordering::SeqCst);
    let routes = world.routes().await;
    let created = route("r", "bus:a.example", None);
    let name = created.name.clone();
    routes.create(created).await.unwrap();
    world.publish("c", "order", "\"poison\"").await;
    world.publish("c", "order", "1").await;
    until("an attempt failed", async || routes.get(&name).await.unwrap().failed_attempts > 1).await;
    world.sinks.0.is_down.store(false, Ordering::SeqCst);
    world.until_taken(&["1"]).await;
    let dead = routes.dead_letters(&name, None, 10).await.unwrap().letters;
    let payload = dead[0].message.payload.as_str();
    assert_eq!((dead.len(), payload, dead[0].error()), (1, "\"poison\"", "it is poison"));
    let shown = routes.get(&name).await.unwrap();
    assert_eq!((shown.dead, shown.dead_letters), (1, 1));
    routes.stop().await;
}

#[derive(Debug, Default)]
struct Spans(Mutex<Vec<Span>>);

impl Recorder for Spans {
    fn record(&self, span: Span) {
        self.0.lock().unwrap().push(span);
    }
}

#[tokio::test]
async fn what_the_other_end_says_is_kept_with_the_message_and_told_to_no_collector() {
    let world = World::new().await;
    let spans = Arc::new(Spans::default());
    let tracer = Tracer::new(Arc::new(SystemClock), Arc::new(SystemEntropy))
        .recording(spans.clone(), SampleRatio::ALL);
    let routes = world.routes_with(|config| config.tracer = Some(tracer)).await;
    let mut created = route("r", "bus:a.example", None);
    created.retry.attempts_max = 1;
    let name = created.name.clone();
    routes.create(created).await.unwrap();
    let traceparent = Some(TraceParent::new(1, 2, true));
    let headers = Headers { traceparent, ..Headers::default() };
    world.publish_with("c", "order", "\"hunter2\"", headers).await;
    until("it is dead", async || routes.get(&name).await.unwrap().dead_letters == 1).await;
    let dead = routes.dead_letters(&name, None, 1).await.unwrap().letters;
    assert_eq!(dead[0].error(), "what is hunter2?");
    let failures: Vec<_> = spans.0.lock().unwrap().iter().map(|it| it.failure.clone()).collect();
    assert_eq!(failures, [Some("the other end answered an error".to_owned())]);
    routes.stop().await;
}

#[tokio::test]
async fn a_paused_route_waits_and_a_deleted_one_is_gone() {
    let world = World::new().await;
    let routes = world.routes().await;
    let created = route("r", "bus:a.example", None);
    let name = created.name.clone();
    routes.create(created.clone()).await.unwrap();
    assert!(matches!(routes.create(created.clone()).await, Err(RouteError::Exists(_))));
    routes.set_enabled(&name, false, None).await.unwrap();
    assert_eq!(routes.get(&name).await.unwrap().state, RouteState::Paused);
    world.publish("c", "order", "1").await;
    routes.stop().await;
    assert_eq!(world.taken(), Vec::<String>::new());
    // Paused outlives a restart.
    let routes = world.routes().await;
    assert_eq!(routes.get(&name).await.unwrap().state, RouteState::Paused);
    routes.set_enabled(&name, true, None).await.unwrap();
    world.until_taken(&["1"]).await;
    routes.delete(&name, None).await.unwrap();
    assert!(matches!(routes.delete(&name, None).await, Err(RouteError::Unknown(_))));
    // A new route of the name begins anew.
    routes.create(created).await.unwrap();
    world.until_taken(&["1", "1"]).await;
    routes.stop().await;
}

#[tokio::test]
async fn a_route_that_is_made_while_one_of_its_name_is_deleted_stays() {
    let world = World::new().await;
    let store = Arc::new(FaultyStore::new(world.store.clone(), 1));
    let routes = world.routes_over(store.clone(), |_| ()).await;
    let created = route("r", "bus:a.example", None);
    let name = created.name.clone();
    routes.create(created.clone()).await.unwrap();
    // The description is gone, and whoever deletes it has not heard so yet.
    store.gate().close();
    store.script(Fault::DelayAfter);
    let made_meanwhile = async {
        until("the name is free", async || routes.create(created.clone()).await.is_ok()).await;
        world.publish("c", "order", "1").await;
        world.until_taken(&["1"]).await;
        store.gate().open();
    };
    tokio::join!(routes.delete(&name, None), made_meanwhile).0.unwrap();
    world.publish("c", "order", "2").await;
    world.until_taken(&["1", "2"]).await;
    routes.stop().await;
    // It kept its position too.
    let routes = world.routes().await;
    world.publish("c", "order", "3").await;
    world.until_taken(&["1", "2", "3"]).await;
    routes.stop().await;
}

#[tokio::test]
async fn a_sink_that_is_not_there_is_refused_by_name() {
    let world = World::new().await;
    let routes = world.routes().await;
    let mut route = route("r", "bus:a.example", None);
    route.sink = SinkUri::PushSubscribers;
    let error = routes.create(route).await.unwrap_err();
    assert_eq!(error.to_string(), "sink: only mdp: here");
    // What can't be told is not wrong.
    world.sinks.0.is_blind.store(true, Ordering::SeqCst);
    let error = routes.create(self::route("r", "bus:a.example", None)).await.unwrap_err();
    assert!(matches!(error, RouteError::Store(_)), "{error:?}");
    assert!(routes.list().await.unwrap().is_empty());
    routes.stop().await;
}

/// A route that gave up the messages 1 and 2, since its sink is down.
async fn with_dead_letters(world: &World, routes: &Routes) -> RouteName {
    world.sinks.0.is_down.store(true, Ordering::SeqCst);
    let mut created = route("r", "bus:a.example", None);
    created.retry.attempts_max = 2;
    let name = created.name.clone();
    routes.create(created).await.unwrap();
    world.publish("c", "order", "1").await;
    world.publish("c", "order", "2").await;
    until("both are given up", async || {
        routes.dead_letters(&name, None, 10).await.unwrap().letters.len() == 2
    })
    .await;
    name
}

#[tokio::test]
async fn a_dead_letter_is_tried_again_or_dropped() {
    let world = World::new().await;
    let routes = world.routes().await;
    let name = with_dead_letters(&world, &routes).await;
    let letters = routes.dead_letters(&name, None, 10).await.unwrap().letters;
    let (first, second) = (letters[0].message.id, letters[1].message.id);
    let after_first = routes.dead_letters(&name, Some(first), 10).await.unwrap().letters;
    assert_eq!(after_first, letters[1..]);

    let failed = Replayed::Failed("it is down".into());
    assert_eq!(routes.replay(&name, first).await.unwrap(), failed);
    let letter = routes.dead_letter(&name, first).await.unwrap();
    assert_eq!((letter.attempts, letter.failures.iter().len()), (3, 3));
    world.sinks.0.is_down.store(false, Ordering::SeqCst);
    assert_eq!(routes.replay(&name, first).await.unwrap(), Replayed::Delivered);
    assert_eq!(world.taken(), ["1"]);
    let gone = |result| matches!(result, Err(RouteError::NoLetter(..)));
    assert!(gone(routes.replay(&name, first).await.map(drop)));

    routes.drop_letter(&name, second).await.unwrap();
    assert!(gone(routes.drop_letter(&name, second).await));
    assert_eq!(world.taken(), ["1"]);
    assert_eq!(routes.get(&name).await.unwrap().dead_letters, 0);
    routes.stop().await;
}

#[tokio::test]
async fn a_dead_letter_is_dropped_although_another_gateway_changes_it() {
    let world = World::new().await;
    let store = Arc::new(FaultyStore::new(world.store.clone(), 1));
    let routes = world.routes_over(store.clone(), |_| ()).await;
    let name = with_dead_letters(&world, &routes).await;
    let id = routes.dead_letters(&name, None, 1).await.unwrap().letters[0].message.id;
    let key = Key::new([&b"d/"[..], &id.sequence().as_u64().to_be_bytes()].concat()).unwrap();
    let partition = Partition::new("route/r").unwrap();
    // It was read, and is to be deleted as it was read.
    store.gate().close();
    store.set_faults(Faults { delay_before: 100, ..Faults::default() });
    let changed_meanwhile = async {
        let row = world.store.get(&partition, &key, SystemClock.now()).await.unwrap().unwrap();
        let value = row.value.as_bytes().unwrap().clone();
        let change = Operation::Put { key: key.clone(), value, expires: None };
        let batch = Batch::new(partition.clone()).then(change);
        world.store.commit(batch, Ack::Safe, SystemClock.now()).await.unwrap();
        store.gate().open();
    };
    let (dropped, ()) = tokio::join!(routes.drop_letter(&name, id), changed_meanwhile);
    dropped.unwrap();
    assert!(world.store.get(&partition, &key, SystemClock.now()).await.unwrap().is_none());
    assert_eq!(routes.get(&name).await.unwrap().dead_letters, 1);
    routes.stop().await;
}

#[tokio::test]
async fn dead_letters_outlive_a_restart_and_a_change_of_their_route() {
    let world = World::new().await;
    let routes = world.routes().await;
    let name = with_dead_letters(&world, &routes).await;
    routes.stop().await;
    let routes = world.routes().await;
    assert_eq!(routes.get(&name).await.unwrap().dead_letters, 2);
    let map = vec!["field:was=".to_owned()];
    routes
        .change(&name, &RouteChange { map: Some(map), ..Default::default() }, None)
        .await
        .unwrap();
    assert_eq!(routes.get(&name).await.unwrap().dead_letters, 2);
    // They go to the route as it is now.
    world.sinks.0.is_down.store(false, Ordering::SeqCst);
    let id = routes.dead_letters(&name, None, 1).await.unwrap().letters[0].message.id;
    assert_eq!(routes.replay(&name, id).await.unwrap(), Replayed::Delivered);
    assert_eq!(world.taken(), [r#"{"was":1}"#]);
    routes.stop().await;
}

#[tokio::test]
async fn dead_letters_age_out_and_the_oldest_make_room() {
    let world = World::new().await;
    let routes = world.routes_with(|settings| settings.dead_letters_max = 1).await;
    let mut created = route("r", "bus:a.example", None);
    let name = created.name.clone();
    created.retry.attempts_max = 1;
    world.sinks.0.is_down.store(true, Ordering::SeqCst);
    routes.create(created).await.unwrap();
    world.publish("c", "order", "1").await;
    world.publish("c", "order", "2").await;
    until("the first made room for the second", async || {
        let letters = routes.dead_letters(&name, None, 10).await.unwrap().letters;
        letters.iter().map(|letter| letter.message.payload.as_str()).eq(["2"])
    })
    .await;
    routes.stop().await;
    let aged = |settings: &mut RoutesConfig| settings.dead_letters_kept = Duration::ZERO;
    let routes = world.routes_with(aged).await;
    until("it aged out", async || routes.get(&name).await.unwrap().dead_letters == 0).await;
    assert!(routes.dead_letters(&name, None, 10).await.unwrap().letters.is_empty());
    routes.stop().await;
}

#[tokio::test]
async fn a_changed_route_goes_on_where_it_was() {
    let world = World::new().await;
    let routes = world.routes().await;
    let created = route("r", "bus:a.example type:order", None);
    let name = created.name.clone();
    routes.create(created).await.unwrap();
    world.publish("c", "order", "1").await;
    world.until_taken(&["1"]).await;
    let change = RouteChange {
        scope: Some("bus:a.example".into()),
        map: Some(vec!["field:n=/a".into()]),
        ..RouteChange::default()
    };
    routes.change(&name, &change, None).await.unwrap();
    world.publish("c", "other", r#"{"a":2}"#).await;
    world.until_taken(&["1", r#"{"n":2}"#]).await;
    assert_eq!(routes.get(&name).await.unwrap().delivered, 2);

    // A wrong change changes nothing, and all that is wrong is named.
    let wrong = RouteChange {
        scope: Some("type:x".into()),
        sink: Some("cap:x".into()),
        ..RouteChange::default()
    };
    let error = routes.change(&name, &wrong, None).await.unwrap_err();
    assert!(matches!(&error, RouteError::Invalid(problems) if problems.len() == 2), "{error}");
    let elsewhere = RouteChange { sink: Some("bus:b".into()), ..RouteChange::default() };
    assert!(routes.change(&name, &elsewhere, None).await.is_err());
    world.publish("c", "order", r#"{"a":3}"#).await;
    world.until_taken(&["1", r#"{"n":2}"#, r#"{"n":3}"#]).await;
    routes.stop().await;
}

/// The routes of a gateway that shares the store, and how it sees the store.
async fn gateway(world: &World, called: &str) -> (Routes, Arc<FaultyStore>) {
    gateway_with(world, called, world.sinks.clone()).await
}

async fn gateway_with(world: &World, called: &str, sinks: TestSinks) -> (Routes, Arc<FaultyStore>) {
    let store = Arc::new(FaultyStore::new(world.store.clone(), 1).shared());
    let mut config = RoutesConfig::new("https://gw.example/".parse().unwrap());
    config.gateway = called.to_owned();
    config.lease = LeaseTiming {
        beat: Duration::from_millis(20),
        lease: Duration::from_millis(1500),
        margin: Duration::from_millis(300),
        settle: Duration::from_millis(200),
    };
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
    let sinks = Arc::new(sinks);
    let shared: Arc<dyn Store> = store.clone();
    let buses = world.buses.clone();
    (Routes::open(buses, shared, clock, entropy, sinks, config).await.unwrap(), store)
}

async fn owner(routes: &Routes, name: &RouteName) -> Option<String> {
    routes.get(name).await.unwrap().owner
}

#[tokio::test]
async fn what_is_changed_at_one_gateway_is_in_force_at_whichever_runs_the_route() {
    let world = World::new().await;
    let gateways = [gateway(&world, "one").await.0, gateway(&world, "two").await.0];
    let names: Vec<RouteName> = (0..8).map(|n| format!("r{n}").parse().unwrap()).collect();
    for (name, at) in names.iter().zip(gateways.iter().cycle()) {
        let mut route = route(name.as_str(), "bus:a.example", None);
        route.mapping = Mapping::parse(&["field:n=".to_owned()]).unwrap();
        at.create(route).await.unwrap();
    }
    until("both run some", async || {
        let owners = stream::iter(&names).then(|name| owner(&gateways[0], name));
        owners.collect::<BTreeSet<_>>().await.len() == 2
    })
    .await;
    // Whoever runs it has it in force when the call returns.
    for (name, at) in names.iter().zip(gateways.iter().rev().cycle()) {
        let map = Some(vec!["field:m=".to_owned()]);
        at.change(name, &RouteChange { map, ..Default::default() }, None).await.unwrap();
    }
    world.publish("c", "t", "1").await;
    until("each delivered it", async || world.taken().len() == 8).await;
    assert!(world.taken().iter().all(|taken| taken == r#"{"m":1}"#), "{:?}", world.taken());
    for (name, at) in names.iter().zip(gateways.iter().cycle()) {
        at.set_enabled(name, false, None).await.unwrap();
    }
    world.publish("c", "t", "2").await;
    for (name, at) in names.iter().zip(gateways.iter().cycle()) {
        let stale = at.get(name).await.unwrap().revision;
        at.set_enabled(name, true, Some(stale)).await.unwrap();
        let refused = at.set_enabled(name, false, Some(stale)).await;
        assert!(matches!(refused, Err(RouteError::Changed(_))), "{refused:?}");
    }
    until("each delivered the second", async || world.taken().len() == 16).await;
    for (name, at) in names.iter().zip(gateways.iter().rev().cycle()) {
        at.delete(name, None).await.unwrap();
    }
    until("none knows any", async || gateways.iter().all(|it| it.count() == 0)).await;
    // One of the name begins anew, wherever it runs.
    let begun = route("r0", "bus:a.example", None);
    gateways[1].create(begun).await.unwrap();
    until("it begins at the beginning", async || world.taken().len() == 18).await;
    for gateway in gateways {
        gateway.stop().await;
    }
}

#[tokio::test]
async fn routes_run_where_their_sink_is_and_wait_while_it_is_nowhere() {
    let world = World::new().await;
    let sinks = [(); 2].map(|()| TestSinks(world.sinks.0.clone(), Arc::default()));
    let is_at = |at: Option<usize>| {
        for (place, sinks) in sinks.iter().enumerate() {
            let reach = if at == Some(place) { Reach::Here } else { Reach::Elsewhere };
            *sinks.1.lock().unwrap() = Some(reach);
        }
    };
    is_at(None);
    let one = gateway_with(&world, "one", sinks[0].clone()).await.0;
    let two = gateway_with(&world, "two", sinks[1].clone()).await.0;
    let names: Vec<RouteName> = (0..4).map(|n| format!("r{n}").parse().unwrap()).collect();
    for name in &names {
        one.create(route(name.as_str(), "bus:a.example", None)).await.unwrap();
        assert_eq!(one.get(name).await.unwrap().state, RouteState::Waiting);
    }
    world.publish("c", "t", "1").await;
    for (place, called) in ["two", "one"].into_iter().enumerate() {
        is_at(Some(1 - place));
        for name in &names {
            let it_has = async || owner(&two, name).await.as_deref() == Some(called);
            until("whoever has the sink has the route", it_has).await;
        }
        until("it delivers", async || world.taken().len() == 4 * (place + 1)).await;
        world.publish("c", "t", "2").await;
        until("it goes on", async || world.taken().len() == 4 * (place + 2)).await;
    }
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn a_gateway_that_loses_the_store_loses_its_routes_and_records_nothing() {
    let world = World::new().await;
    let (one, store) = gateway(&world, "one").await;
    let created = route("r", "bus:a.example", None);
    let name = created.name.clone();
    one.create(created).await.unwrap();
    world.publish("c", "t", "1").await;
    world.until_taken(&["1"]).await;
    // From here on nothing that it sends arrives in time.
    store.gate().close();
    store.set_faults(Faults { delay_before: 100, ..Faults::default() });
    let (two, _) = gateway(&world, "two").await;
    until("the other takes it", async || owner(&two, &name).await.as_deref() == Some("two")).await;
    world.publish("c", "t", "2").await;
    until("it goes on", async || world.taken().iter().any(|taken| taken == "2")).await;
    let before = world.taken().len();
    // What was on its way arrives late: the owner row is another's.
    store.set_faults(Faults::default());
    store.gate().open();
    world.publish("c", "t", "3").await;
    until("it goes on", async || world.taken().len() > before).await;
    assert_eq!(world.taken().iter().filter(|taken| *taken == "3").count(), 1);
    two.stop().await;
    // The other one has left, so it takes the route at once, where that left it.
    until("it has it again", async || owner(&one, &name).await.as_deref() == Some("one")).await;
    world.publish("c", "t", "4").await;
    until("it goes on", async || world.taken().last().is_some_and(|taken| taken == "4")).await;
    assert_eq!(world.taken().iter().filter(|taken| *taken == "3").count(), 1);
    one.stop().await;
}

#[tokio::test]
async fn a_dead_letter_that_can_not_be_read_is_told_of_and_can_be_dropped() {
    let world = World::new().await;
    let routes = world.routes().await;
    let name = with_dead_letters(&world, &routes).await;
    let letters = routes.dead_letters(&name, None, 10).await.unwrap().letters;
    let id = letters[0].message.id;
    let key = [&b"d/"[..], &id.sequence().as_u64().to_be_bytes()].concat();
    let key = Key::new(key).unwrap();
    let put = Operation::Put { key, value: Bytes::from_static(b"{}"), expires: None };
    let batch = Batch::new(Partition::new("route/r").unwrap()).then(put);
    world.store.commit(batch, Ack::Safe, SystemClock.now()).await.unwrap();
    let listed = routes.dead_letters(&name, None, 10).await.unwrap();
    assert_eq!((listed.letters.as_slice(), listed.unreadable), (&letters[1..], vec![id]));
    assert!(matches!(routes.replay(&name, id).await, Err(RouteError::Damaged(_))));
    routes.drop_letter(&name, id).await.unwrap();
    assert!(routes.dead_letters(&name, None, 10).await.unwrap().unreadable.is_empty());
    routes.stop().await;
}

#[tokio::test]
async fn a_dead_letter_that_goes_while_it_is_tried_in_vain_does_not_come_back() {
    let world = World::new().await;
    let routes = world.routes().await;
    let name = with_dead_letters(&world, &routes).await;
    let id = routes.dead_letters(&name, None, 10).await.unwrap().letters[0].message.id;
    let key = [&b"d/"[..], &id.sequence().as_u64().to_be_bytes()].concat();
    let delete = Operation::Delete { key: Key::new(key).unwrap() };
    let batch = Batch::new(Partition::new("route/r").unwrap()).then(delete);
    // As the sweep and other gateways do, which wait for nobody.
    *world.sinks.0.meanwhile.lock().unwrap() = Some((world.store.clone(), batch));
    let gone = routes.replay(&name, id).await;
    assert!(matches!(gone, Err(RouteError::NoLetter(..))), "{gone:?}");
    let left = routes.dead_letters(&name, None, 10).await.unwrap().letters;
    assert_eq!(left.len(), 1);
    // One that is changed meanwhile, as by a replay at another gateway, goes when it is delivered.
    let id = left[0].message.id;
    let key = Key::new([&b"d/"[..], &id.sequence().as_u64().to_be_bytes()].concat()).unwrap();
    let partition = Partition::new("route/r").unwrap();
    let row = world.store.get(&partition, &key, SystemClock.now()).await.unwrap().unwrap();
    let value = row.value.as_bytes().unwrap().clone();
    let batch = Batch::new(partition).then(Operation::Put { key, value, expires: None });
    *world.sinks.0.meanwhile.lock().unwrap() = Some((world.store.clone(), batch));
    world.sinks.0.is_down.store(false, Ordering::SeqCst);
    assert_eq!(routes.replay(&name, id).await.unwrap(), Replayed::Delivered);
    assert!(routes.dead_letters(&name, None, 10).await.unwrap().letters.is_empty());
    routes.stop().await;
}
