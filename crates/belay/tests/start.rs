//! Start records over HTTP (Belay §22.5).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{body::Body, extract::Request};
use buswire_belay::{ClientAddress, StartConfig, StartRecords};
use buswire_message::Clock as _;
use buswire_store::{Direction, KeyRange, Partition, Store, memory::MemoryStore};
use buswire_testkit::{Fault, FaultyStore, SeededEntropy, VirtualClock};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

struct Start {
    records: StartRecords,
    clock: VirtualClock,
}

impl Start {
    fn new(config: StartConfig) -> Self {
        let clock = VirtualClock::default();
        let entropy = Arc::new(SeededEntropy::new(1));
        Self { records: StartRecords::new(Arc::new(clock.clone()), entropy, config), clock }
    }

    async fn send(&self, request: Request) -> (u16, Value) {
        let response = self.records.router().oneshot(request).await.unwrap();
        let headers = response.headers();
        assert_eq!(headers.get("access-control-allow-origin"), None);
        if response.status() != 405 {
            assert_eq!(headers["cache-control"], "no-store");
        }
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.send(request(path, body)).await
    }

    async fn put(&self, body: &str) -> String {
        let (status, answer) = self.post("/belay/start", body).await;
        assert_eq!(status, 200, "{answer}");
        answer["value"]["startId"].as_str().unwrap().to_owned()
    }

    async fn take(&self, value: Value) -> (u16, Value) {
        self.post("/belay/start/take", &json!({"value": value}).to_string()).await
    }
}

fn request(path: &str, body: &str) -> Request {
    Request::post(path).body(Body::from(body.to_owned())).unwrap()
}

fn failure(status: u16, message: &str) -> (u16, Value) {
    (status, json!({"error": {"status": status, "message": message}}))
}

/// Two gateways on one store.
fn pair() -> ([Start; 2], Arc<dyn Store>) {
    let (store, clock) = (Arc::new(MemoryStore::new()), VirtualClock::default());
    let one = |seed| {
        let shared = FaultyStore::new(Arc::clone(&store) as Arc<dyn Store>, seed).shared();
        let (time, chance) = (Arc::new(clock.clone()), Arc::new(SeededEntropy::new(seed)));
        let records = StartRecords::shared(Arc::new(shared), time, chance, StartConfig::default());
        Start { records, clock: clock.clone() }
    };
    ([one(1), one(2)], store)
}

#[tokio::test]
async fn a_record_that_is_left_at_one_gateway_is_taken_once_at_any() {
    // Rule: belay 22.5 — with several gateways on one store a record is still taken once
    let ([here, there], _) = pair();
    let id = here.put(r#"{"value":{"record":{"a":"hush"},"origin":"https://a.example"}}"#).await;
    let page = |origin: &str| json!({"startId": id, "origin": origin});
    assert_eq!(there.take(page("https://b.example")).await, failure(403, "forbidden"));
    let ours = page("https://a.example");
    let (first, second) = tokio::join!(here.take(ours.clone()), there.take(ours.clone()));
    let mut statuses = [first.0, second.0];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 404], "one gateway gives it out");
    assert_eq!(there.take(ours).await, failure(404, "not found"));
    let id = there.put(r#"{"value":{"record":"hush"}}"#).await;
    here.clock.advance(Duration::from_secs(59));
    let again = here.put(r#"{"value":{"record":"hush"}}"#).await;
    here.clock.advance(Duration::from_secs(1));
    assert_eq!(here.take(json!(id)).await, failure(404, "not found"), "after a minute");
    assert_eq!(there.take(json!(again)).await.1["value"], "hush");
}

#[tokio::test]
async fn a_record_in_the_store_takes_room_until_it_is_taken_or_not_stored() {
    // Rule: belay 23.11 — start records are bounded: those that wait
    let (clock, entropy) = (VirtualClock::default(), Arc::new(SeededEntropy::new(1)));
    let store = Arc::new(FaultyStore::new(Arc::new(MemoryStore::new()), 1).shared());
    let shared = Arc::clone(&store) as Arc<dyn Store>;
    let config = StartConfig { records_max: 2, ..StartConfig::default() };
    let records = StartRecords::shared(shared, Arc::new(clock.clone()), entropy, config);
    let start = Start { records, clock };
    let body = r#"{"value":{"record":5}}"#;
    for _ in 0..3 {
        store.script(Fault::Before);
        assert_eq!(start.post("/belay/start", body).await.0, 503);
    }
    let first = start.put(body).await;
    start.put(body).await;
    assert_eq!(start.post("/belay/start", body).await.0, 503, "two wait");
    assert_eq!(start.take(json!(first)).await, (200, json!({"value": 5})));
    start.put(body).await;
    assert_eq!(start.take(json!(first)).await.0, 404);
    assert_eq!(start.post("/belay/start", body).await.0, 503, "two wait again");
}

#[tokio::test]
async fn who_has_the_store_reads_no_record_and_no_start_id() {
    // Rule: belay 22.5 — a record is under the hash of its id, and readable with the id alone
    let ([here, _], store) = pair();
    let id = here.put(r#"{"value":{"record":{"a":"hush"}}}"#).await;
    let mut rows = 0;
    for first in 0..=u8::MAX {
        let partition = Partition::new(&format!("start/{first:02x}")).unwrap();
        let (all, now) = (KeyRange::prefix(b""), here.clock.now());
        let page = store.scan(&partition, all, 10, Direction::Ascending, now).await.unwrap();
        for (key, row) in &page.rows {
            let text =
                format!("{key:?} {}", String::from_utf8_lossy(row.value.as_bytes().unwrap()));
            assert!(!text.contains("hush") && !text.contains(&id), "{text}");
            rows += 1;
        }
    }
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_record_crosses_once() {
    // Rule: belay 22.5 — a start record is posted, gets an id of 43 characters and is taken once
    let start = Start::new(StartConfig::default());
    let record = r#"{"startLaunch":{"@":"urn:x-cap:926c0c63-b02a-40a9-a19f-edb19190c143:d859f7a0-4008-4c35-a99a-b7a23a5fc35d"},"n":1.50}"#;
    let id = start.put(&format!(r#"{{"value":{{"record":{record}}}}}"#)).await;
    assert_eq!(id.len(), 43);
    let (status, taken) = start.take(json!(id)).await;
    assert_eq!((status, &taken["value"]), (200, &serde_json::from_str(record).unwrap()));
    assert_eq!(start.take(json!(id)).await, failure(404, "not found"));
    let id = start.put(r#"{"value":{"record":null}}"#).await;
    start.clock.advance(Duration::from_secs(60));
    assert_eq!(start.take(json!(id)).await, failure(404, "not found"));
    assert!(!format!("{:?}", start.records).contains(&id));
}

#[tokio::test]
async fn a_record_for_one_origin_is_refused_to_others() {
    // Rule: belay 22.5 — the taking frame reports the origin of its page, and a mismatch is 403
    let start = Start::new(StartConfig::default());
    let id = start.put(r#"{"value":{"record":5,"origin":"https://a.example"}}"#).await;
    assert_eq!(start.take(json!(id)).await, failure(403, "forbidden"));
    let other = json!({"startId": id, "origin": "https://b.example"});
    assert_eq!(start.take(other).await, failure(403, "forbidden"));
    let right = json!({"startId": id, "origin": "https://a.example"});
    assert_eq!(start.take(right).await, (200, json!({"value": 5})));
}

#[tokio::test]
async fn other_sites_are_refused() {
    // Rule: belay 23.1 — a page of another site can't leave or take start records
    let start = Start::new(StartConfig::default());
    let id = start.put(r#"{"value":{"record":5}}"#).await;
    for site in ["cross-site", "same-site", "none"] {
        let mut stranger = request("/belay/start/take", &format!(r#"{{"value":"{id}"}}"#));
        stranger.headers_mut().insert("sec-fetch-site", site.parse().unwrap());
        assert_eq!(start.send(stranger).await, failure(403, "forbidden"), "{site}");
    }
    let mut frame = request("/belay/start/take", &format!(r#"{{"value":"{id}"}}"#));
    frame.headers_mut().insert("sec-fetch-site", "same-origin".parse().unwrap());
    assert_eq!(start.send(frame).await.0, 200);
    let options = Request::options("/belay/start").body(Body::empty()).unwrap();
    assert_eq!(start.send(options).await.0, 405);
}

#[tokio::test]
async fn bodies_that_are_no_record_are_refused() {
    let start = Start::new(StartConfig { record_bytes_max: 100, ..StartConfig::default() });
    for body in [
        "",
        "{}",
        r#"{"value":5}"#,
        r#"{"value":{}}"#,
        r#"{"value":{"record":5,"origin":5}}"#,
        r#"{"value":{"record":{"@":5}}}"#,
    ] {
        assert_eq!(start.post("/belay/start", body).await, failure(400, "bad request"), "{body}");
    }
    assert_eq!(start.take(json!(5)).await, failure(400, "bad request"));
    assert_eq!(start.take(json!({"origin": "https://a.example"})).await.0, 400);
    let long = format!(r#"{{"value":{{"record":"{}"}}}}"#, "x".repeat(101));
    assert_eq!(start.post("/belay/start", &long).await, failure(413, "too large"));
    let longer = format!(r#"{{"value":{{"record":"{}"}}}}"#, "x".repeat(2000));
    assert_eq!(start.post("/belay/start", &longer).await, failure(413, "too large"));
}

#[tokio::test]
async fn there_is_room_for_so_many() {
    // Rule: belay 23.11 — start records are bounded altogether and for each address
    let start = Start::new(StartConfig { records_max: 2, per_minute: 3, ..StartConfig::default() });
    let from = |address: [u8; 4]| {
        let mut request = request("/belay/start", r#"{"value":{"record":5}}"#);
        request.extensions_mut().insert(ClientAddress(IpAddr::from(address)));
        request
    };
    for expected in [200, 200, 503, 429] {
        assert_eq!(start.send(from([192, 0, 2, 1])).await.0, expected);
    }
    start.clock.advance(Duration::from_secs(60));
    assert_eq!(start.send(from([192, 0, 2, 1])).await.0, 200);
    assert_eq!(start.send(from([192, 0, 2, 2])).await.0, 200);
}
