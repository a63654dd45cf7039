//! Encrypted connections with keys; needs a libzmq that has CURVE.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use buswire_mdp::core::{Access, Dropped, Grant};
use buswire_mdp::{
    AllowedKeys, BoxFuture, Broker, BrokerConfig, BrokerHandle, Client, ClientCurve, ClientError,
    CurveConfig, CurveSecret, Frames, LocalRequest, LocalService, StartError, Worker,
};

// The documented test keys of libzmq's manual.
const SERVER_PUBLIC: &str = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
const SERVER_SECRET: &str = "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6";
const CLIENT_PUBLIC: &str = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
const CLIENT_SECRET: &str = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs";

const PATIENCE: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_millis(500);

fn start(allowed: AllowedKeys) -> Result<BrokerHandle, StartError> {
    Broker::start(BrokerConfig {
        endpoints: vec!["tcp://127.0.0.1:0".to_owned()],
        curve: Some(CurveConfig { secret: CurveSecret::from_z85(SERVER_SECRET).unwrap(), allowed }),
        ..BrokerConfig::default()
    })
}

/// Starts a broker, or checks that a libzmq without CURVE is a clear error.
fn start_if_possible(allowed: AllowedKeys) -> Option<BrokerHandle> {
    if zmq::has("curve") == Some(true) {
        return Some(start(allowed).unwrap());
    }
    assert!(matches!(start(allowed), Err(StartError::NoCurve)));
    None
}

fn keys() -> ClientCurve {
    ClientCurve::from_z85(SERVER_PUBLIC, CLIENT_PUBLIC, CLIENT_SECRET).unwrap()
}

fn client(broker: &BrokerHandle) -> Client {
    Client::builder().endpoint(&broker.endpoints()[0]).curve(keys()).connect().unwrap()
}

/// Answers with the key of the caller.
struct WhoAmI;

impl LocalService for WhoAmI {
    fn call(&self, request: LocalRequest) -> BoxFuture<'static, Frames> {
        let user = request.user.map(|user| user.to_string()).unwrap_or_default();
        Box::pin(async move { Frames::from([user]) })
    }
}

#[tokio::test]
async fn keys_let_in_and_name_the_caller() {
    // Rule: mdp §16.2 — without CURVE in libzmq everything else works, and asking for it is an error
    // Rule: mdp §14.1 — a CURVE connection's user is its public key, taken from the message
    let only = AllowedKeys::from_z85([CLIENT_PUBLIC]).unwrap();
    let Some(broker) = start_if_possible(only) else {
        return;
    };
    broker.register(&"who-am-i".parse().unwrap(), Arc::new(WhoAmI)).await.unwrap();
    let client = client(&broker);
    let reply = client.request("who-am-i", Frames::new(), PATIENCE).await.unwrap();
    assert_eq!(reply.single().unwrap(), CLIENT_PUBLIC);
    let _worker = Worker::builder("echo".parse().unwrap())
        .endpoint(&broker.endpoints()[0])
        .curve(keys())
        .handler(|request: Frames| request)
        .start()
        .unwrap();
    assert_eq!(client.request("echo", ["a"], PATIENCE).await.unwrap(), Frames::from(["a"]));
}

#[tokio::test]
async fn others_are_kept_out_until_they_are_allowed() {
    // Rule: mdp §14.2 — only keys on the list connect; the list can be replaced
    let nobody = AllowedKeys::from_z85([]).unwrap();
    let Some(broker) = start_if_possible(nobody) else {
        return;
    };
    let refused = client(&broker).request("mmi.service", ["x"], SILENCE).await;
    assert!(matches!(refused, Err(ClientError::Timeout)));
    broker.allow(AllowedKeys::Any).await;
    assert!(client(&broker).request("mmi.service", ["x"], PATIENCE).await.is_ok());
    // Rule: mdp §14.1 — a peer without keys never gets through to a broker with them
    let plain = Client::builder().endpoint(&broker.endpoints()[0]).connect().unwrap();
    let refused = plain.request("mmi.service", ["x"], SILENCE).await;
    assert!(matches!(refused, Err(ClientError::Timeout)));
}

#[tokio::test]
async fn rules_are_about_keys_and_can_be_replaced() {
    // Rule: mdp §14.2 — users are authorised by the key of their connection, and rules are reloaded
    let Some(broker) = start_if_possible(AllowedKeys::Any) else {
        return;
    };
    broker.register(&"who-am-i".parse().unwrap(), Arc::new(WhoAmI)).await.unwrap();
    let client = client(&broker);
    let nobody = Access::default();
    broker.set_access(Some(nobody.clone())).await;
    let refused = client.request("who-am-i", Frames::new(), SILENCE).await;
    assert!(matches!(refused, Err(ClientError::Timeout)));
    assert!(client.request("mmi.service", ["x"], PATIENCE).await.is_ok());
    let grant = Grant { call: vec!["who-*".parse().unwrap()], ..Grant::default() };
    let users = [(CLIENT_PUBLIC.into(), grant)].into();
    broker.set_access(Some(Access { users, ..nobody })).await;
    assert!(client.request("who-am-i", Frames::new(), PATIENCE).await.is_ok());
    let dropped = broker.counters().await.requests.dropped;
    assert!(dropped.of(Dropped::Forbidden) >= 1);
}

#[test]
fn keys_are_checked_and_never_printed() {
    assert!(CurveSecret::from_z85("short").is_none());
    assert!(AllowedKeys::from_z85([CLIENT_PUBLIC, "short"]).is_none());
    assert!(ClientCurve::from_z85(SERVER_PUBLIC, CLIENT_PUBLIC, "é").is_none());
    let secret = CurveSecret::from_z85(SERVER_SECRET).unwrap();
    assert_eq!(format!("{secret:?} {:?}", keys()), "CurveSecret(…) ClientCurve(…)");
}
