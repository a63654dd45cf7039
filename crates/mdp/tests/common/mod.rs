//! What the tests over real sockets share: brokers on free ports, waiting, peers in Python.
#![allow(dead_code, reason = "no test uses all of it")]

pub(crate) mod python;

use std::future::Future;
use std::time::Duration;

use buswire_mdp::core::ServiceInfo;
use buswire_mdp::{Broker, BrokerConfig, BrokerHandle, Frames, ServiceName, Worker};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn config() -> BrokerConfig {
    BrokerConfig { endpoints: vec!["tcp://127.0.0.1:0".to_owned()], ..BrokerConfig::default() }
}

/// Starts a broker on a free port and returns its endpoint too.
pub(crate) fn start() -> (BrokerHandle, String) {
    let broker = Broker::start(config()).unwrap();
    let endpoint = broker.endpoints().remove(0);
    (broker, endpoint)
}

pub(crate) fn name(name: &str) -> ServiceName {
    name.parse().unwrap()
}

pub(crate) fn echo_worker(endpoint: &str) -> Worker {
    let builder = Worker::builder(name("echo")).endpoint(endpoint);
    builder.handler(|request: Frames| request).start().unwrap()
}

/// Waits until the broker's services look as wished.
pub(crate) async fn until(broker: &BrokerHandle, wished: impl Fn(&[ServiceInfo]) -> bool) {
    let look = async {
        while !wished(&broker.services().await) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("the services never look as wished");
}

pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("takes too long")
}

/// Waits, blocking the thread, until something is so; else fails with what is wrong.
pub(crate) fn until_true(so: impl Fn() -> bool, wrong: impl Fn() -> String) {
    #[expect(clippy::disallowed_methods, reason = "a test measures real time")]
    let start = std::time::Instant::now();
    while !so() {
        assert!(start.elapsed() < PATIENCE, "{}", wrong());
        std::thread::yield_now();
    }
}
