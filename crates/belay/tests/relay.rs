//! The relay's WebSocket, spoken to in literal JSON by a client of somebody else (Belay §22.4).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request};
use buswire_belay::{Bcap, Method, Relay, RelayConfig, RelayError, RelayStatus, SealKeys};
use buswire_store::{Store, memory::MemoryStore};
use buswire_testkit::{Fault, FaultyStore, SeededEntropy, VirtualClock};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, http::StatusCode},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

const TEMPORARY: &str = "926c0c63-b02a-40a9-a19f-edb19190c143";
const HASHED: &str = "66c6bd1f4cda24069debe0efa2193f64baeae867";
const PREIMAGE: &str = "eba68eea-75f2-4b05-b87a-08365cc58043";
const CAP: &str = "d859f7a0-4008-4c35-a99a-b7a23a5fc35d";
const PATIENCE: Duration = Duration::from_secs(10);

/// A gateway's relay, for as long as it is kept.
struct Gateway {
    relay: Relay,
    address: SocketAddr,
    clock: VirtualClock,
    _tasks: JoinSet<()>,
}

impl Gateway {
    async fn start(store: Arc<dyn Store>, config: RelayConfig) -> Self {
        let clock = VirtualClock::default();
        // Two gateways must not make the same tokens.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let entropy = Arc::new(SeededEntropy::new(address.port().into()));
        let relay = Relay::new(store, Arc::new(clock.clone()), entropy, config);
        Self::serve(relay, clock, listener)
    }

    /// Two gateways on one store.
    async fn pair() -> [Self; 2] {
        let (store, clock) = (Arc::new(MemoryStore::new()), VirtualClock::default());
        let mut both = Vec::new();
        for seed in [1, 2] {
            let shared = FaultyStore::new(Arc::clone(&store) as Arc<dyn Store>, seed).shared();
            let (time, chance) = (Arc::new(clock.clone()), Arc::new(SeededEntropy::new(seed)));
            let (config, keys) = (RelayConfig::default(), SealKeys::new(1, [9; 32]));
            let relay = Relay::joined(Arc::new(shared), time, chance, config, keys);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            both.push(Self::serve(relay, clock.clone(), listener));
        }
        both.try_into().unwrap_or_else(|_| panic!("two"))
    }

    fn serve(relay: Relay, clock: VirtualClock, listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        let app = relay.router().into_make_service_with_connect_info::<SocketAddr>();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        let runner = relay.clone();
        tasks.spawn(async move { runner.run(CancellationToken::new()).await });
        Self { relay, address, clock, _tasks: tasks }
    }

    async fn new() -> Self {
        Self::start(Arc::new(MemoryStore::new()), RelayConfig::default()).await
    }

    async fn open(&self) -> Window {
        let (socket, _) = connect_async(self.url()).await.unwrap();
        Window { socket }
    }

    fn url(&self) -> String {
        format!("ws://{}/belay/relay", self.address)
    }

    /// Waits until the relay holds so much.
    async fn until(&self, holds: impl Fn(RelayStatus) -> bool) {
        let wait = async {
            while !holds(self.relay.status()) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{:?}", self.relay.status()));
    }
}

struct Window {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Window {
    async fn send(&mut self, message: Value) {
        self.socket.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        loop {
            let next = timeout(PATIENCE, self.socket.next()).await.expect("a message comes");
            match next.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(frame) => panic!("closed: {frame:?}"),
                _ => {}
            }
        }
    }

    async fn ask(&mut self, message: Value) -> Value {
        self.send(message).await;
        self.next().await
    }

    async fn register(&mut self, id: &str, proof: Option<&str>) -> Value {
        let mut message = json!({"op": "register", "id": id});
        if let Some(proof) = proof {
            message["proof"] = proof.into();
        }
        self.ask(message).await
    }

    /// The code of the close frame.
    async fn end(mut self) -> Option<u16> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("an end comes") {
                Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }
}

fn refused(id: &str, status: u16, message: &str) -> Value {
    json!({"op": "refused", "id": id, "status": status, "message": message})
}

fn ser(id: &str) -> String {
    format!("urn:x-cap:{id}:{CAP}")
}

#[tokio::test]
async fn two_windows_invoke_each_other() {
    // Rule: belay 22.4 — windows invoke each other's capabilities over the relay
    // Rule: belay 8 — each hop correlates by a transaction id of its own
    let gateway = Gateway::new().await;
    let (mut one, mut two) = (gateway.open().await, gateway.open().await);
    assert_eq!(one.register(HASHED, Some(PREIMAGE)).await["op"], "registered");
    assert_eq!(two.register(TEMPORARY, None).await["op"], "registered");
    for (tx, data) in [(7, Some(r#"{"value":21}"#)), (8, None)] {
        let mut call = json!({"op": "invoke", "txId": tx, "ser": ser(HASHED), "method": "POST"});
        if let Some(data) = data {
            call["data"] = data.into();
        }
        two.send(call.clone()).await;
        call["txId"] = (1000 + tx - 7).into();
        assert_eq!(one.next().await, call);
    }
    one.send(json!({"op": "response", "txId": 1001, "type": "success"})).await;
    assert_eq!(two.next().await, json!({"op": "response", "txId": 8, "type": "success"}));
    let failure = json!({"status": 405, "message": "method not allowed"});
    one.send(json!({"op": "response", "txId": 1000, "type": "failure", "data": failure})).await;
    let answer = json!({"op": "response", "txId": 7, "type": "failure", "data": failure});
    assert_eq!(two.next().await, answer);
    // And the other way.
    one.send(json!({"op": "invoke", "txId": 7, "ser": ser(TEMPORARY), "method": "GET"})).await;
    assert_eq!(two.next().await["txId"], 1000);
    two.send(json!({"op": "response", "txId": 1000, "type": "success", "data": "x"})).await;
    assert_eq!(one.next().await["data"], "x");
}

#[tokio::test]
async fn windows_of_two_gateways_on_one_store_invoke_each_other() {
    // Rule: belay 22.4 — gateways that share a store are one relay: windows of any invoke each other
    let [here, there] = Gateway::pair().await;
    let (mut one, mut two) = (here.open().await, there.open().await);
    assert_eq!(one.register(HASHED, Some(PREIMAGE)).await["op"], "registered");
    assert_eq!(two.register(TEMPORARY, None).await["op"], "registered");
    let call = |id: &str| json!({"op": "invoke", "txId": 7, "ser": ser(id), "method": "POST", "data": "21"});
    two.send(call(HASHED)).await;
    let mut asked = call(HASHED);
    asked["txId"] = 1000.into();
    assert_eq!(one.next().await, asked);
    let failure = json!({"status": 405, "message": "method not allowed"});
    one.send(json!({"op": "response", "txId": 1000, "type": "failure", "data": failure})).await;
    let answer = json!({"op": "response", "txId": 7, "type": "failure", "data": failure});
    assert_eq!(two.next().await, answer);
    one.send(call(TEMPORARY)).await;
    assert_eq!(two.next().await["txId"], 1000);
    two.send(json!({"op": "response", "txId": 1000, "type": "success", "data": "42"})).await;
    let answer = json!({"op": "response", "txId": 7, "type": "success", "data": "42"});
    assert_eq!(one.next().await, answer);
    // The program of one gateway reaches a window of the other; what is nowhere is 404 at both.
    let cap = Bcap::restore(ser(HASHED));
    let invoked = there.relay.invoke(&cap, Method::Get, None);
    let window = async {
        assert_eq!(one.next().await["method"], "GET");
        one.send(json!({"op": "response", "txId": 1001, "type": "success", "data": "x"})).await;
    };
    assert_eq!(tokio::join!(invoked, window).0, Ok(Some("x".to_owned())));
    let nowhere = ser("0b9e3d3c-2a0f-4f7e-8a65-9c1d6f1f2e11");
    let cap = Bcap::restore(nowhere);
    for gateway in [&here, &there] {
        let answer = gateway.relay.invoke(&cap, Method::Get, None).await;
        assert_eq!(answer, Err(RelayError::NotRegistered));
    }
}

#[tokio::test]
async fn a_window_that_comes_back_at_another_gateway_is_reached_there() {
    // Rule: belay 22.4 — the resume token holds at every gateway that shares the store
    let [here, there] = Gateway::pair().await;
    let mut caller = here.open().await;
    for (id, proof) in [(HASHED, Some(PREIMAGE)), (TEMPORARY, None)] {
        let mut old = here.open().await;
        let token = old.register(id, proof).await["resume"].as_str().unwrap().to_owned();
        let mut stranger = there.open().await;
        let conflict = refused(id, 409, "already routed");
        assert_eq!(stranger.register(id, proof).await, conflict, "it is live at the other gateway");
        let guess = "x".repeat(43);
        let refusal = stranger.register(id, Some(&guess)).await;
        assert_eq!(refusal["op"], "refused", "{refusal}");
        // It may be that the old connection is dead and its gateway has not noticed.
        let mut new = there.open().await;
        assert_eq!(new.register(id, Some(&token)).await["op"], "registered");
        assert_eq!(old.next().await, json!({"op": "unregistered", "id": id}));
        caller.send(json!({"op": "invoke", "txId": 1, "ser": ser(id), "method": "GET"})).await;
        let asked = new.next().await;
        new.send(json!({"op": "response", "txId": asked["txId"], "type": "success"})).await;
        assert_eq!(caller.next().await, json!({"op": "response", "txId": 1, "type": "success"}));
        assert_eq!(caller.register(id, proof).await, conflict, "a stranger gets it at neither");
    }
}

#[tokio::test]
async fn nobody_takes_the_place_of_a_window() {
    // Rule: belay 22.4 — a second registration of a live id is 409
    // Rule: belay 23.8 — a holder of a capability can't take its instance's place after a disconnect
    let gateway = Gateway::new().await;
    let (mut owner, mut stranger) = (gateway.open().await, gateway.open().await);
    let token = owner.register(TEMPORARY, None).await["resume"].as_str().unwrap().to_owned();
    assert_eq!(token.len(), 43);
    let conflict = refused(TEMPORARY, 409, "already routed");
    let guess = "x".repeat(43);
    assert_eq!(stranger.register(TEMPORARY, None).await, conflict);
    assert_eq!(stranger.register(TEMPORARY, Some(&guess)).await, conflict);
    owner.socket.close(None).await.unwrap();
    gateway.until(|status| status.connections == 1).await;
    assert_eq!(stranger.register(TEMPORARY, None).await, conflict);
    assert_eq!(stranger.register(TEMPORARY, Some(&guess)).await, conflict);
    let answer = stranger
        .ask(json!({"op": "invoke", "txId": 1, "ser": ser(TEMPORARY), "method": "GET"}))
        .await;
    assert_eq!(answer["data"], json!({"status": 404, "message": "not found"}));
    let mut back = gateway.open().await;
    let resumed = json!({"op": "registered", "id": TEMPORARY, "resume": token});
    assert_eq!(back.register(TEMPORARY, Some(&token)).await, resumed);
    // It may be that the old connection is dead and nobody has noticed.
    let mut again = gateway.open().await;
    assert_eq!(again.register(TEMPORARY, Some(&token)).await, resumed);
    assert_eq!(back.next().await, json!({"op": "unregistered", "id": TEMPORARY}));
}

#[tokio::test]
async fn a_temporary_id_is_retired_after_its_grace() {
    // Rule: belay 22.4 — after the grace a temporary id is refused, for seven days at least
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let config = RelayConfig { grace: Duration::ZERO, ..RelayConfig::default() };
    let gateway = Gateway::start(Arc::clone(&store), config).await;
    let mut owner = gateway.open().await;
    let token = owner.register(TEMPORARY, None).await["resume"].as_str().unwrap().to_owned();
    drop(owner);
    gateway.until(|status| status.instances == 0).await;
    let gone = refused(TEMPORARY, 410, "gone");
    let mut back = gateway.open().await;
    let retired = async {
        // The store may still be burying it.
        while back.register(TEMPORARY, Some(&"x".repeat(43))).await != gone {}
    };
    timeout(PATIENCE, retired).await.unwrap();
    assert_eq!(back.register(TEMPORARY, Some(&token)).await, gone);
    // A restart forgets nothing, and neither do six days.
    let later = Gateway::start(Arc::clone(&store), RelayConfig::default()).await;
    assert_eq!(later.open().await.register(TEMPORARY, None).await, gone);
    later.clock.advance(Duration::from_secs(7 * 86_400 - 1));
    assert_eq!(later.open().await.register(TEMPORARY, None).await, gone);
}

#[tokio::test]
async fn an_id_that_is_given_up_is_gone_or_free() {
    // Rule: belay 22.4 — unregister gives an id up
    let gateway = Gateway::new().await;
    let mut window = gateway.open().await;
    for id in [HASHED, TEMPORARY] {
        window.register(id, (id == HASHED).then_some(PREIMAGE)).await;
        let answer = window.ask(json!({"op": "unregister", "id": id})).await;
        assert_eq!(answer, json!({"op": "unregistered", "id": id}));
    }
    assert_eq!(window.register(HASHED, Some(PREIMAGE)).await["op"], "registered");
    let retired = async {
        while window.register(TEMPORARY, None).await != refused(TEMPORARY, 410, "gone") {}
    };
    timeout(PATIENCE, retired).await.unwrap();
}

#[tokio::test]
async fn a_crash_gives_an_id_to_nobody_else() {
    // Rule: belay 22.4 — a claim is stored before it is answered
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let gateway = Gateway::start(Arc::clone(&store), RelayConfig::default()).await;
    let mut owner = gateway.open().await;
    let token = owner.register(TEMPORARY, None).await["resume"].as_str().unwrap().to_owned();
    drop(gateway);
    let next = Gateway::start(Arc::clone(&store), RelayConfig::default()).await;
    let mut stranger = next.open().await;
    let conflict = refused(TEMPORARY, 409, "already routed");
    assert_eq!(stranger.register(TEMPORARY, None).await, conflict);
    assert_eq!(next.open().await.register(TEMPORARY, Some(&token)).await["resume"], token);
}

#[tokio::test]
async fn gateways_that_share_a_store_are_not_joined() {
    // Rule: belay 22.4 — an instance is reached through the gateway that it is registered at
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let one = Gateway::start(Arc::clone(&store), RelayConfig::default()).await;
    let two = Gateway::start(Arc::clone(&store), RelayConfig::default()).await;
    let (mut owner, mut other) = (one.open().await, two.open().await);
    let token = owner.register(TEMPORARY, None).await["resume"].as_str().unwrap().to_owned();
    let cap = Bcap::restore(ser(TEMPORARY));
    let answer = two.relay.invoke(&cap, Method::Get, None).await;
    assert_eq!(answer, Err(RelayError::NotRegistered));
    // But an id is one owner's at both, who may move.
    assert_eq!(other.register(TEMPORARY, None).await["status"], 409);
    assert_eq!(other.register(TEMPORARY, Some(&token)).await["op"], "registered");
}

#[tokio::test]
async fn a_registration_whose_answer_was_lost_can_be_repeated() {
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1));
    let gateway = Gateway::start(store.clone(), RelayConfig::default()).await;
    let token = "t".repeat(43);
    let mut window = gateway.open().await;
    store.script(Fault::After);
    let failed = window.register(TEMPORARY, Some(&token)).await;
    assert_eq!(failed, refused(TEMPORARY, 503, "unavailable"));
    let answer = window.register(TEMPORARY, Some(&token)).await;
    assert_eq!(answer, json!({"op": "registered", "id": TEMPORARY, "resume": token}));
}

#[tokio::test]
async fn the_program_invokes_a_window() {
    // Rule: belay 22.4 — the gateway itself invokes windows through the relay
    let gateway = Gateway::new().await;
    let mut window = gateway.open().await;
    window.register(HASHED, Some(PREIMAGE)).await;
    let cap = Bcap::restore(ser(HASHED));
    for (answer, expected) in [
        (
            json!({"op": "response", "txId": 1000, "type": "success", "data": "x"}),
            Ok(Some("x".to_owned())),
        ),
        (json!({"op": "response", "txId": 1001, "type": "success"}), Ok(None)),
    ] {
        let call = gateway.relay.invoke(&cap, Method::Post, Some("y".to_owned()));
        let answered = async {
            let asked = window.next().await;
            assert_eq!((&asked["data"], &asked["method"]), (&json!("y"), &json!("POST")));
            window.send(answer).await;
        };
        assert_eq!(tokio::join!(call, answered).0, expected);
    }
    let call = gateway.relay.invoke(&cap, Method::Get, None);
    let answered = async {
        assert_eq!(window.next().await.get("data"), None);
        window.socket.close(None).await.unwrap();
    };
    assert_eq!(tokio::join!(call, answered).0, Err(RelayError::Lost));
    gateway.until(|status| status.pending == 0).await;
}

#[tokio::test]
async fn a_window_that_does_not_answer_is_timed_out_and_a_call_can_be_given_up() {
    // Rule: belay 10.2 — a call without an answer fails 504 `Router Timeout`
    let config = RelayConfig { call_timeout: Duration::from_millis(100), ..RelayConfig::default() };
    let gateway = Gateway::start(Arc::new(MemoryStore::new()), config).await;
    let mut window = gateway.open().await;
    window.register(HASHED, Some(PREIMAGE)).await;
    let cap = Bcap::restore(ser(HASHED));
    let answer = timeout(PATIENCE, gateway.relay.invoke(&cap, Method::Get, None)).await;
    assert_eq!(answer.unwrap(), Err(RelayError::TimedOut));
    window.next().await;
    // An answer that comes late is nobody's.
    window.send(json!({"op": "response", "txId": 1000, "type": "success"})).await;
    assert_eq!(window.ask(json!({"op": "ping"})).await, json!({"op": "pong"}));
    let call = Box::pin(gateway.relay.invoke(&cap, Method::Get, None));
    drop(futures::future::select(call, Box::pin(gateway.until(|it| it.pending == 1))).await);
    gateway.until(|status| status.pending == 0).await;
}

#[tokio::test]
async fn what_is_no_text_or_too_long_closes_the_connection() {
    // Rule: belay 22.4 — a message has at most 1 MiB
    let gateway = Gateway::new().await;
    let mut window = gateway.open().await;
    window.register(HASHED, Some(PREIMAGE)).await;
    let mut call = json!({"op": "invoke", "txId": 1, "ser": ser(HASHED), "method": "POST"});
    let space = 1024 * 1024 - call.to_string().len() - r#","data":"""#.len();
    call["data"] = "x".repeat(space).into();
    assert_eq!(call.to_string().len(), 1024 * 1024);
    window.send(call).await;
    assert_eq!(window.next().await["data"].as_str().unwrap().len(), space);
    let mut binary = gateway.open().await;
    binary.socket.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(binary.end().await, Some(1003));
    let mut long = gateway.open().await;
    long.socket.send(Message::text("x".repeat(1024 * 1024 + 1))).await.unwrap();
    assert_eq!(long.end().await, Some(1009));
    gateway.until(|status| status.connections == 1).await;
}

#[tokio::test]
async fn there_is_room_for_so_many_connections() {
    // Rule: belay 23.11 — connections are bounded altogether and for each address
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    for (config, expected) in [
        (
            RelayConfig { connections_max: 1, ..RelayConfig::default() },
            StatusCode::SERVICE_UNAVAILABLE,
        ),
        (
            RelayConfig { address_connections_max: 1, ..RelayConfig::default() },
            StatusCode::TOO_MANY_REQUESTS,
        ),
    ] {
        let gateway = Gateway::start(Arc::clone(&store), config).await;
        let first = gateway.open().await;
        match connect_async(gateway.url()).await {
            Err(Error::Http(response)) => assert_eq!(response.status(), expected),
            other => panic!("{other:?}"),
        }
        drop(first);
        gateway.until(|status| status.connections == 0).await;
        gateway.open().await;
    }
    let plain = Request::get("/belay/relay").body(Body::empty()).unwrap();
    let answer = Gateway::new().await.relay.router().oneshot(plain).await.unwrap();
    assert_eq!(answer.status(), 400);
}

#[tokio::test]
async fn draining_says_bye_and_closes() {
    let gateway = Gateway::new().await;
    let mut window = gateway.open().await;
    window.register(HASHED, Some(PREIMAGE)).await;
    let closed = async {
        assert_eq!(window.next().await, json!({"op": "bye"}));
        assert_eq!(window.end().await, Some(1001));
    };
    timeout(PATIENCE, futures::future::join(gateway.relay.drain(), closed)).await.unwrap();
    let cap = Bcap::restore(ser(HASHED));
    let answer = gateway.relay.invoke(&cap, Method::Get, None).await;
    assert_eq!(answer, Err(RelayError::Draining));
    assert!(matches!(connect_async(gateway.url()).await, Err(Error::Http(_))));
}

#[tokio::test]
async fn the_worked_example_of_the_tunnel_passes_the_relay() {
    // Rule: belay 25.4 — the exchange of the worked example, between two windows at the relay
    let gateway = Gateway::new().await;
    let (mut page, mut other) = (gateway.open().await, gateway.open().await);
    other.register(TEMPORARY, None).await;
    let (doubling, read_only) =
        ("688af7a0-4008-4c35-a99a-b7a23a5f4b5e", "f800f7a0-4008-4c35-a99a-b7a23a5f93d9");
    let unknown =
        "urn:x-cap:5f0c9b7e-4a1d-4c52-9e36-71b2d8a0c4f3:7d9f1c52-3b6e-4f08-a1d4-2c85e07b9936";
    assert_eq!(page.ask(json!({"op": "ping"})).await, json!({"op": "pong"}));
    for (tx, ser, method, sent, answer) in [
        (
            1000,
            format!("urn:x-cap:{TEMPORARY}:{doubling}"),
            "POST",
            Some(r#"{"value":21}"#),
            json!({"type": "success", "data": r#"{"value":42}"#}),
        ),
        (
            1001,
            format!("urn:x-cap:{TEMPORARY}:{read_only}"),
            "PUT",
            Some(r#"{"value":1}"#),
            json!({"type": "failure", "data": {"status": 405, "message": "method not allowed"}}),
        ),
        (
            1002,
            unknown.to_owned(),
            "GET",
            None,
            json!({"type": "failure", "data": {"status": 404, "message": "not found"}}),
        ),
        (
            1003,
            format!("urn:x-cap:{TEMPORARY}:{read_only}"),
            "DELETE",
            None,
            json!({"type": "success"}),
        ),
    ] {
        let mut call = json!({"op": "invoke", "txId": tx, "ser": ser, "method": method});
        if let Some(sent) = sent {
            call["data"] = sent.into();
        }
        page.send(call.clone()).await;
        let mut expected = answer.clone();
        expected["op"] = "response".into();
        expected["txId"] = tx.into();
        if ser != unknown {
            let mut asked = other.next().await;
            let here = asked["txId"].take();
            call["txId"] = Value::Null;
            assert_eq!(asked, call);
            let mut answer = answer;
            answer["op"] = "response".into();
            answer["txId"] = here;
            other.send(answer).await;
        }
        assert_eq!(page.next().await, expected);
    }
}
