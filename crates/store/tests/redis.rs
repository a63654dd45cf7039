//! The conformance suite on the Redis engine, against a server that each test starts, by the user of
//! `docs/redis.md`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod servers;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use buswire_store::{
    BoxFuture,
    conformance::{Engine, Instance},
    redis::{RedisAddress, RedisConfig},
};
use buswire_testkit::RedisServer;
use servers::{add_documented_user, open};

/// One server for all stores of a test, which differ in their prefix.
#[derive(Default)]
struct OnServer {
    servers: Mutex<Vec<Arc<RedisServer>>>,
    stores: AtomicUsize,
}

impl OnServer {
    fn server(&self, options: &[&str]) -> Arc<RedisServer> {
        let mut servers = self.servers.lock().unwrap();
        if servers.is_empty() {
            let server = RedisServer::start(options);
            add_documented_user(&server);
            servers.push(Arc::new(server));
        }
        Arc::clone(&servers[0])
    }

    async fn store(&self, options: &[&str]) -> Instance {
        let server = self.server(options);
        let number = self.stores.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("test-{number}").into();
        let url = format!("redis://buswire:sesame@127.0.0.1:{}", server.port());
        let address = RedisAddress::parse(&url).unwrap();
        let config = RedisConfig { prefix, ..RedisConfig::new(address) };
        let store = open(config.clone()).await;
        let reopen = move || {
            // Opening again finds enough space.
            server.cli(&["config", "set", "maxmemory", "0"]);
            open(config.clone())
        };
        Instance { store, reopen: Some(Box::new(reopen)) }
    }
}

impl Engine for OnServer {
    fn fresh(&self) -> BoxFuture<'_, Instance> {
        Box::pin(self.store(&[]))
    }

    fn nearly_full(&self) -> Option<BoxFuture<'_, Instance>> {
        Some(Box::pin(self.store(&["--maxmemory", "4mb"])))
    }
}

buswire_store::conformance_tests!(OnServer::default());

#[test]
fn agrees_with_memory() {
    buswire_store::conformance::harness::agrees_with_memory(&OnServer::default(), 96, 60);
}
