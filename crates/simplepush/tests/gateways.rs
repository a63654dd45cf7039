//! Several gateways on one store (SimplePush §15).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use std::{sync::Arc, time::Duration};

use buswire_message::Timestamp;
use buswire_simplepush::{Config, Gateways, UserAgentId, UserAgentPresence};
use buswire_store::{BoxFuture, Key, Partition, Row, Store, StoreError, memory::MemoryStore};
use buswire_testkit::{Faults, FaultyStore, HintFault, VirtualClock};
use support::Server;

const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";

fn several(config: &mut Config) {
    config.gateways = Gateways::Several;
    config.timing.probe_after = Duration::ZERO;
}

/// Two gateways on one store.
async fn two() -> (Server, Server) {
    two_on(Arc::new(MemoryStore::new())).await
}

async fn two_on(store: Arc<dyn Store>) -> (Server, Server) {
    let clock = VirtualClock::default();
    let one = Server::start_on(Arc::clone(&store), clock.clone(), several).await;
    (one, Server::start_on(store, clock, several).await)
}

#[tokio::test]
async fn a_put_at_one_gateway_reaches_a_client_of_another() {
    // Rule: simplepush R-NODE-2 — after storing, the connection is looked for wherever it is
    // Rule: simplepush R-NODE-1 — the version is in the shared store before any routing
    // Rule: simplepush §12.3 — 200 if the UA is connected to any node, 202 if it is not
    let (one, two) = two().await;
    let mut device = one.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    assert_eq!(two.put(&endpoint, "version=3").await.status, 200);
    assert_eq!(device.notified(A).await, 3);
    device.ack(A, 3).await;
    device.settle().await;
    device.close().await;
    one.wait_for_connections(0).await;
    assert_eq!(two.put(&endpoint, "version=4").await.status, 202);
    let mut device = two.device().await;
    assert_eq!(device.hello(&uaid, &format!("\"{A}\"")).await, uaid);
    assert_eq!(device.notified(A).await, 4);
    assert_eq!(one.put(&endpoint, "version=5").await.status, 200);
    assert_eq!(device.notified(A).await, 5);
}

#[tokio::test]
async fn administrators_of_any_gateway_see_that_a_client_is_connected() {
    // Rule: simplepush R-NODE-2 — where a client is connected makes no difference
    let (one, two) = two().await;
    let mut device = one.device().await;
    device.hello("", "").await;
    device.register(A).await;
    for server in [&one, &two] {
        becomes(server, UserAgentPresence::Connected).await;
        let listed = server.push.user_agents(None, 10).await.unwrap().user_agents;
        let shown = server.push.user_agent(listed[0].id).await.unwrap().unwrap();
        assert_eq!((listed.len(), &shown), (1, &listed[0]));
    }
    device.close().await;
    for server in [&one, &two] {
        becomes(server, UserAgentPresence::Away).await;
    }
}

/// Waits until the only user agent is so for the administrators of a gateway.
async fn becomes(server: &Server, presence: UserAgentPresence) {
    let wait = async {
        while server.push.user_agents(None, 10).await.unwrap().user_agents[0].presence != presence {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::DEADLINE, wait).await.unwrap_or_else(|_| panic!("{presence:?}"));
}

#[tokio::test]
async fn the_newest_connection_wins_at_every_gateway() {
    // Rule: simplepush R-NODE-3 — newest connection wins, in the order in which the store saw them
    // Rule: simplepush S10 — at most one live identified connection per UAID, whatever the gateway
    let (one, two) = two().await;
    let mut older = one.device().await;
    let uaid = older.hello("", "").await;
    let endpoint = older.register(A).await;
    let list = format!("\"{A}\"");
    for (here, there) in [(&one, &two), (&two, &one), (&one, &two)] {
        let mut newer = there.device().await;
        assert_eq!(newer.hello(&uaid, &list).await, uaid);
        assert_eq!(older.closed().await, 1000);
        here.wait_for_connections(0).await;
        // The late end of the older connection does not make the newer one absent.
        assert_eq!(here.put(&endpoint, "version=7").await.status, 200);
        assert_eq!(newer.notified(A).await, 7);
        newer.ack(A, 7).await;
        newer.settle().await;
        older = newer;
    }
}

#[tokio::test]
async fn a_name_without_channels_is_one_connection_too() {
    // Rule: simplepush R-NODE-3 — also before anything is registered
    let (one, two) = two().await;
    let uaid = "3e9b7c54-18aa-4d2f-a6b1-5c0d9e8f7a62";
    let mut older = one.device().await;
    assert_eq!(older.hello(uaid, "").await, uaid);
    let mut newer = two.device().await;
    assert_eq!(newer.hello(uaid, "").await, uaid);
    assert_eq!(older.closed().await, 1000);
    let endpoint = newer.register(A).await;
    assert_eq!(one.put(&endpoint, "version=1").await.status, 200);
    assert_eq!(newer.notified(A).await, 1);
}

#[tokio::test]
async fn a_gateway_that_is_gone_is_found_out() {
    // Rule: simplepush R-NODE-5 — a failed peer costs bounded time and never the answer
    let (mut one, two) = two().await;
    let mut device = one.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    assert_eq!(two.put(&endpoint, "version=1").await.status, 200);
    assert_eq!(device.notified(A).await, 1);
    one.hang().await;
    two.clock.advance(Duration::from_secs(16));
    assert_eq!(two.put(&endpoint, "version=2").await.status, 202);
    let mut device = two.device().await;
    device.hello(&uaid, &format!("\"{A}\"")).await;
    assert_eq!(device.notified(A).await, 2);
}

#[tokio::test]
async fn a_gateway_that_stops_says_so() {
    let (one, two) = two().await;
    let mut device = one.device().await;
    device.hello("", "").await;
    let endpoint = device.register(A).await;
    one.stop.cancel();
    let away = async { while two.put(&endpoint, "version=1").await.status != 202 {} };
    tokio::time::timeout(support::DEADLINE, away).await.expect("it is found out in time");
}

#[tokio::test]
async fn a_user_agent_dropped_at_one_gateway_is_disconnected_at_another() {
    // Rule: simplepush L8 — the client is disconnected wherever its state was dropped
    let (one, two) = two().await;
    let mut device = one.device().await;
    let uaid = device.hello("", "").await;
    device.register(A).await;
    let id = UserAgentId::of_uaid(&uaid).unwrap();
    assert!(two.push.drop_user_agent(id).await.unwrap());
    assert_eq!(device.closed().await, 1011);
}

#[tokio::test]
async fn lost_hints_delay_but_lose_nothing() {
    // Rule: simplepush L1 — every accepted version is shown, though the store's hints are lost
    let faulty = FaultyStore::new(Arc::new(MemoryStore::new()), 7);
    faulty.set_faults(Faults { hints: 100, hint_fault: HintFault::Silent, ..Faults::default() });
    let (one, two) = two_on(Arc::new(faulty)).await;
    let mut device = one.device().await;
    device.hello("", "").await;
    let endpoint = device.register(A).await;
    assert_eq!(two.put(&endpoint, "version=3").await.status, 200);
    device.settle().await;
    one.clock.advance(Duration::from_secs(64));
    assert_eq!(device.notified(A).await, 3);
}

#[tokio::test]
async fn gateways_have_no_ports_for_each_other() {
    // Rule: simplepush R-NODE-4 — there is nothing to reach from outside: gateways meet in the store
    let (one, _two) = two().await;
    for path in ["/route/x", "/push/x", "/notif/x", "/update/../route/x"] {
        for method in ["PUT", "GET", "DELETE"] {
            let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n");
            let status = one.http(request).await.status;
            assert!(status == 404 || status == 405, "{method} {path}: {status}");
        }
    }
}

/// A store in which nobody can look for gateways: such reads never end.
#[derive(Debug)]
struct Hanging(MemoryStore);

impl Store for Hanging {
    fn get<'a>(
        &'a self,
        partition: &'a Partition,
        key: &'a Key,
        now: Timestamp,
    ) -> BoxFuture<'a, Result<Option<Row>, StoreError>> {
        if partition.as_str() == "push-gateways" {
            return Box::pin(std::future::pending());
        }
        self.0.get(partition, key, now)
    }

    buswire_store::forward!(0: commit scan read_log grown hints sweep status close);
}

#[tokio::test]
async fn looking_for_a_gateway_takes_a_bounded_time() {
    // Rule: simplepush R-NODE-5 — the answer comes in time though the peer can't be found
    let (one, two) = two_on(Arc::new(Hanging(MemoryStore::new()))).await;
    let mut device = one.device().await;
    device.hello("", "").await;
    let endpoint = device.register(A).await;
    assert_eq!(two.put(&endpoint, "version=1").await.status, 202);
    // The version is there nonetheless.
    assert_eq!(device.notified(A).await, 1);
}

#[tokio::test]
async fn a_page_of_user_agents_takes_a_bounded_time_where_no_gateway_can_be_found() {
    // Rule: simplepush R-NODE-5 — whether others have them is asked for a bounded time, not for each some
    let (one, two) = two_on(Arc::new(Hanging(MemoryStore::new()))).await;
    let mut devices = Vec::new();
    for _ in 0..200 {
        let mut device = one.device().await;
        device.hello("", "").await;
        device.register(A).await;
        devices.push(device);
    }
    // Nothing but the deadline lets time pass from here on.
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    let page = two.push.user_agents(None, 1000).await.unwrap();
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(4), "{took:?}");
    assert_eq!(page.user_agents.len(), 200);
    assert!(page.user_agents.iter().all(|it| it.presence == UserAgentPresence::Away));
}
