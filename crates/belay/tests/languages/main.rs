//! The instances of this crate and those of the library for pages, over a tunnel: what each grants the
//! other invokes, and both say the same (Belay §§4–9).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../common/mod.rs"]
mod common;
mod tunnel;

use std::{fs, path::Path, sync::Arc};

use buswire_belay::{
    Bcap, BcapValue, InstanceId, Members, Method,
    instance::{CapServer, Capability, Failure, Function, Handler, InvokeError, Item},
};
use buswire_testkit::SeededEntropy;
use proptest::{prelude::*, test_runner::TestRunner};
use serde_json::Value;

use common::World;
use tunnel::Peer;

/// A server here, and what the peer in Node has granted it.
struct Pair {
    server: CapServer,
    peer: Arc<Peer>,
    theirs: Members,
}

impl Pair {
    async fn new() -> Self {
        let world = World::new().await;
        let library = world.send("GET", "/belay/client.js", "").await.body;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("languages");
        fs::create_dir_all(&folder).unwrap();
        let file = tempfile::NamedTempFile::new_in(folder).unwrap();
        fs::write(file.path(), library).unwrap();
        let (peer, outpost) = Peer::start(file.path()).await;
        let server = server(1);
        let pair = Self { server, peer, theirs: outpost };
        pair.reach(&pair.server);
        pair
    }

    /// Lets a server and the peer reach each other.
    fn reach(&self, server: &CapServer) {
        self.peer.serve(server.public_interface());
        let peer = Arc::clone(&self.peer);
        server.set_resolver(move |_| Some(peer.clone()));
    }

    fn their(&self, name: &str) -> Capability {
        restore(&self.server, self.theirs.get(name).unwrap())
    }
}

fn server(seed: u64) -> CapServer {
    let entropy = Arc::new(SeededEntropy::new(seed));
    let server = CapServer::new(InstanceId::temporary(&*entropy), entropy);
    set_both(&server);
    server
}

/// The handler that the peer has under the same name.
fn set_both(server: &CapServer) {
    server.set_named_handler("both", |_, args| {
        let args = BcapValue::from(args.to_vec());
        let (got, posted) = (args.clone(), args);
        let get = Function::sync(move |_| Ok(Some(got.clone())));
        let post = Function::sync(move |request| {
            Ok(Some(vec![posted.clone(), request.into_data().into()].into()))
        });
        Ok::<_, String>(Handler::new().on(Method::Get, get).on(Method::Post, post).into())
    });
}

fn restore(server: &CapServer, value: &BcapValue) -> Capability {
    server.restore(value.as_cap().unwrap().clone())
}

fn fixed(value: Option<BcapValue>) -> Function {
    Function::sync(move |_| Ok(value.clone()))
}

/// The items of the peer, in this language.
fn items() -> Vec<(&'static str, Item)> {
    let echo = || Function::sync(|request| Ok(request.into_data()));
    let invoked = Function::sync(|request| {
        let gives = !matches!(request.method(), "PUT" | "DELETE");
        let method = request.method().to_owned();
        Ok(gives.then(|| vec![method.into(), request.into_data().into()].into()))
    });
    let chatty = Handler::new()
        .on(Method::Put, fixed(Some(1.into())))
        .on(Method::Delete, fixed(Some(BcapValue::Null)))
        .on(Method::Get, fixed(Some(1.into())));
    vec![
        ("dead", Item::Dead),
        ("echo", echo().into()),
        ("later", Function::future(|request| async { Ok(request.into_data()) }).into()),
        ("silent", fixed(None).into()),
        ("nothing", fixed(Some(BcapValue::Null)).into()),
        ("throws", Function::sync(|_| panic!("oops")).into()),
        ("fails", Function::sync(|_| Err(Failure::new(418, "short and stout"))).into()),
        ("reader", Handler::new().on(Method::Get, fixed(Some("read".into()))).into()),
        (
            "writer",
            Handler::new().on(Method::Put, fixed(None)).on(Method::Delete, fixed(None)).into(),
        ),
        ("chatty", chatty.into()),
        ("invoked", Item::Invoke(invoked)),
    ]
}

#[tokio::test]
async fn items_answer_alike_in_both_languages() {
    // Rule: belay 6.5 — the rules around items hold alike in the library for pages and in this crate
    // Rule: belay 7.2 — statuses and messages are alike in both
    let pair = Pair::new().await;
    let mut granted: Vec<_> =
        items().into_iter().map(|(name, item)| (name, pair.server.grant(item).unwrap())).collect();
    let echo = granted[1].1.clone();
    granted.push(("wrapped", pair.server.wrap(&echo).unwrap()));
    granted.push(("revoked", pair.server.wrap(&echo).unwrap()));
    pair.server.revoke(&granted.last().unwrap().1);
    let theirs = pair.theirs.get("items").unwrap().as_object().unwrap();
    assert_eq!(theirs.len(), granted.len());
    for (name, ours) in &granted {
        let theirs = restore(&pair.server, theirs.get(name).unwrap());
        let calls = [
            ("GET", None),
            ("PUT", Some(5.into())),
            ("PUT", Some(BcapValue::Null)),
            ("POST", Some("x".into())),
            ("POST", None),
            ("DELETE", None),
            ("PATCH", None),
        ];
        for (method, data) in calls {
            let expected = ours.invoke(method, data.clone()).await;
            let answer = theirs.invoke(method, data.clone()).await;
            assert_eq!(answer, expected, "{name} {method} {data:?}");
            // The same, asked by the peer.
            let asked = [("capability", BcapValue::from(ours)), ("method", method.into())];
            let asked =
                asked.into_iter().fold(Members::new(), |all, (name, value)| all.with(name, value));
            let asked = data.into_iter().fold(asked, |asked, data| asked.with("data", data));
            assert_eq!(pair.their("relay").post(asked).await, expected, "{name} {method}");
        }
    }
}

#[tokio::test]
async fn capabilities_are_lent_to_and_fro() {
    // Rule: belay 8 — an invocation of a page's wrapper comes back to what it wraps
    let pair = Pair::new().await;
    let double = Function::sync(|request| {
        let number = request.data().and_then(BcapValue::as_u64).unwrap();
        Ok(Some((number * 2).into()))
    });
    let double = pair.server.grant(double).unwrap();
    let lent = pair.their("wrap").post(&double).await.unwrap().unwrap();
    let lent = restore(&pair.server, &lent);
    assert_ne!(lent.serialize(), double.serialize());
    let mine = pair.server.wrap(&lent).unwrap();
    assert_eq!(mine.post(21).await, Ok(Some(42.into())));
    pair.their("revoke").put(&lent).await.unwrap();
    assert_eq!(mine.post(21).await, Err(Failure::new(404, "not found").into()));
    assert_eq!(double.post(21).await, Ok(Some(42.into())));
    let again = pair.their("wrap").post(&double).await.unwrap().unwrap();
    pair.server.revoke(&double);
    let again = restore(&pair.server, &again);
    assert_eq!(again.post(21).await, Err(Failure::new(404, "not found").into()));
    let unknown = pair.server.restore(
        "urn:x-cap:66c6bd1f4cda24069debe0efa2193f64baeae867:066401a1-00f3-4941-89df-5d74500654e4",
    );
    let Err(InvokeError::Failed(failure)) = unknown.get().await else { panic!() };
    assert_eq!(failure.status(), 404);
}

#[tokio::test]
async fn snapshots_are_revived_by_the_other_language() {
    // Rule: belay 6.11 — a snapshot of one implementation is read by the other
    let pair = Pair::new().await;
    let inner = pair.server.grant(fixed(Some("inner".into()))).unwrap();
    let args = vec!["orders".into(), BcapValue::from(&inner), 2.into(), BcapValue::Null];
    // Theirs, revived here.
    let asked = Members::new().with("args", args.clone()).with("inner", &inner);
    let theirs = pair.their("snapshot").post(asked).await.unwrap().unwrap();
    let theirs = theirs.as_object().unwrap();
    let entropy = Arc::new(SeededEntropy::new(2));
    let instance = InstanceId::temporary(&*entropy);
    let text = theirs.get("text").unwrap().as_str().unwrap();
    let revived = CapServer::from_snapshot(instance, entropy, text).unwrap();
    set_both(&revived);
    pair.reach(&revived);
    let named = restore(&revived, theirs.get("named").unwrap());
    assert_eq!(named.get().await, Ok(Some(args.clone().into())));
    let wrap = restore(&revived, theirs.get("wrap").unwrap());
    assert_eq!(wrap.get().await, Err(Failure::new(404, "not found").into()));
    // Ours, revived there.
    let named = revived.grant_named("both", args.clone()).unwrap();
    let wrap = revived.wrap(&inner).unwrap();
    pair.their("revive").post(revived.serialize().expose().as_str()).await.unwrap();
    let elsewhere = |cap: &Capability| pair.server.restore(cap.serialize().clone());
    assert_eq!(elsewhere(&named).get().await, Ok(Some(args.clone().into())));
    let posted = elsewhere(&named).post("more").await;
    assert_eq!(posted, Ok(Some(vec![args.into(), "more".into()].into())));
    assert_eq!(elsewhere(&wrap).get().await, Ok(Some("inner".into())));
}

#[test]
fn values_come_back_as_they_went() {
    // Rule: belay 4.5 — a round trip through the library for pages gives an equal value
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.unwrap();
    let pair = runtime.block_on(Pair::new());
    let theirs = pair.theirs.get("items").unwrap().as_object().unwrap();
    let echo = restore(&pair.server, theirs.get("echo").unwrap());
    let outcome = TestRunner::default().run(&any_value(), |value| {
        let answer = runtime.block_on(echo.post(value.clone())).unwrap();
        prop_assert_eq!(answer.map(sorted), Some(sorted(value)));
        Ok(())
    });
    outcome.unwrap();
}

/// The order of members is JavaScript's own where they look like numbers.
fn sorted(value: BcapValue) -> BcapValue {
    match value {
        BcapValue::Array(items) => items.into_iter().map(sorted).collect::<Vec<_>>().into(),
        BcapValue::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_by(|one, other| one.0.cmp(&other.0));
            members
                .into_iter()
                .fold(Members::new(), |all, (name, value)| all.with(name, sorted(value)))
                .into()
        }
        // Whole numbers have no other text in JavaScript.
        BcapValue::Number(number) => BcapValue::from_json(number.as_f64().unwrap().into()).unwrap(),
        other => other,
    }
}

fn any_value() -> impl Strategy<Value = BcapValue> {
    let plain = |json: Value| BcapValue::from_json(json).unwrap();
    let leaf = prop_oneof![
        Just(BcapValue::Null),
        any::<bool>().prop_map(BcapValue::from),
        any::<i32>().prop_map(move |number| plain(number.into())),
        (proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL)
            .prop_map(move |number| plain(number.into())),
        any::<String>().prop_map(BcapValue::from),
        any::<String>().prop_map(|text| Bcap::restore(text).into()),
    ];
    leaf.prop_recursive(6, 40, 6, |inner| {
        let name = prop_oneof![
            Just("__proto__".to_owned()),
            Just("toJSON".to_owned()),
            "[0-9]",
            "[^@]{0,4}"
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(BcapValue::from),
            proptest::collection::btree_map(name, inner, 0..6).prop_map(|members| {
                let members = members.into_iter();
                members.fold(Members::new(), |all, (name, value)| all.with(name, value)).into()
            }),
        ]
    })
}
