//! TLS between the Redis engine and its servers, sentinels and nodes of a cluster.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod servers;

use std::fs;

use buswire_store::{
    Store,
    redis::{RedisAddress, RedisConfig, RedisIdentity, RedisOpenError, RedisStore, RedisTls},
};
use buswire_testkit::{Authority, Certificate, RedisSentinel, RedisServer, free_port};
use servers::{bodies, brisk, publish};

/// The names that a server on this machine is called by.
const NAMES: &str = "DNS:localhost,IP:127.0.0.1";

fn start(shown: &Certificate, authority: &Authority, more: &[&str]) -> (RedisServer, u16) {
    let port = free_port();
    let options = shown.redis_options(&authority.ca(), port);
    let options: Vec<_> = options.iter().map(String::as_str).chain(more.iter().copied()).collect();
    (RedisServer::start(&options), port)
}

/// A server that shows `shown` and does not ask who we are.
fn server(shown: &Certificate, authority: &Authority) -> (RedisServer, u16) {
    start(shown, authority, &["--tls-auth-clients", "no"])
}

fn config(url: &str, trusted: &Authority) -> RedisConfig {
    let tls = RedisTls { ca: Some(trusted.ca()), identity: None };
    brisk(RedisConfig { tls, ..RedisConfig::new(RedisAddress::parse(url).unwrap()) })
}

fn on(port: u16) -> String {
    format!("rediss://localhost:{port}")
}

async fn goes(config: RedisConfig) -> RedisStore {
    let store = RedisStore::open(config).await.unwrap();
    publish(&store, "a", "1").await;
    assert_eq!(bodies(&store, "a").await, ["1"]);
    store
}

async fn refused(config: RedisConfig) -> String {
    let error = RedisStore::open(config).await.expect_err("it is refused");
    assert!(matches!(error, RedisOpenError::Tls { .. }), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_server_of_a_private_authority_is_used_by_name_and_by_address() {
    let authority = Authority::new();
    let (_server, port) = server(&authority.issue("server", NAMES, 2), &authority);
    goes(config(&on(port), &authority)).await.close().await;
    goes(config(&format!("rediss://127.0.0.1:{port}"), &authority)).await;
}

#[tokio::test]
async fn a_server_that_is_not_to_be_trusted_is_refused_in_words() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (_server, port) = server(&authority.issue("server", NAMES, 2), &authority);
    let unknown = refused(config(&on(port), &other)).await;
    assert!(unknown.contains("authority that is not trusted"), "{unknown}");
    assert!(unknown.contains("store.redis.tls.ca"), "{unknown}");
    // Nor does the system know it.
    let system = RedisConfig::new(RedisAddress::parse(&on(port)).unwrap());
    let unknown = refused(system).await;
    assert!(unknown.contains("authority that is not trusted"), "{unknown}");
    let (_server, port) = server(&authority.issue("old", NAMES, -1), &authority);
    let expired = refused(config(&on(port), &authority)).await;
    assert!(expired.contains("has expired"), "{expired}");
    let (_server, port) = server(&authority.issue("other", "DNS:redis.example", 2), &authority);
    let misnamed = refused(config(&on(port), &authority)).await;
    assert!(misnamed.contains("is for another name"), "{misnamed}");
}

#[tokio::test]
async fn a_server_that_asks_is_shown_a_certificate() {
    let authority = Authority::new();
    let shown = authority.issue("server", NAMES, 2);
    let (_server, port) = start(&shown, &authority, &["--tls-auth-clients", "yes"]);
    let nobody = refused(config(&on(port), &authority)).await;
    assert!(nobody.contains("does not accept us"), "{nobody}");
    assert!(nobody.contains("store.redis.tls.cert"), "{nobody}");
    let identity = |of: &Authority| {
        let Certificate { certificate, key } = of.issue("client", "DNS:gateway", 2);
        let identity = Some(RedisIdentity { certificate, key });
        RedisTls { identity, ca: Some(authority.ca()) }
    };
    let stranger = Authority::new();
    let tls = identity(&stranger);
    let strange = refused(RedisConfig { tls, ..config(&on(port), &authority) }).await;
    assert!(strange.contains("does not accept us"), "{strange}");
    goes(RedisConfig { tls: identity(&authority), ..config(&on(port), &authority) }).await;
}

#[tokio::test]
async fn files_are_read_again_when_it_connects_again() {
    let authority = Authority::new();
    let shown = authority.issue("server", NAMES, 2);
    let (mut server, port) = server(&shown, &authority);
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("trusted.pem");
    fs::copy(authority.ca(), &ca).unwrap();
    let tls = RedisTls { ca: Some(ca.clone()), identity: None };
    let store = goes(RedisConfig { tls, ..config(&on(port), &authority) }).await;
    // The server comes back with a certificate of another authority, which is trusted from then on.
    let next = Authority::new();
    let renewed = next.issue("server", NAMES, 2);
    server.kill();
    fs::copy(renewed.certificate, &shown.certificate).unwrap();
    fs::copy(renewed.key, &shown.key).unwrap();
    fs::copy(next.ca(), &ca).unwrap();
    server.restart();
    publish(&store, "a", "2").await;
    assert_eq!(bodies(&store, "a").await, ["1", "2"]);
}

#[tokio::test]
async fn sentinels_and_the_master_that_they_name_are_asked_over_tls() {
    let authority = Authority::new();
    let shown = authority.issue("server", NAMES, 2);
    let (_server, tls_port) = server(&shown, &authority);
    // What the sentinel names is the port that it watches: that with TLS.
    let port = free_port();
    let options = shown.redis_options(&authority.ca(), port).join(" ");
    let lines: Vec<_> =
        options.split(" --").map(|option| option.trim_start_matches("--")).collect();
    let lines = format!("{}\ntls-auth-clients no\ntls-replication yes\n", lines.join("\n"));
    let _sentinel = RedisSentinel::of(tls_port, &lines);
    let url = format!("redis+sentinel://localhost:{port}/main?tls=true");
    goes(config(&url, &authority)).await;
    let stranger = Authority::new();
    let unknown = refused(config(&url, &stranger)).await;
    assert!(unknown.contains("authority that is not trusted"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_used_over_tls() {
    let authority = Authority::new();
    let nodes = RedisServer::tls_cluster(&authority);
    let url = format!("redis+cluster://127.0.0.1:{}?tls=true", nodes[0].1);
    let store = goes(config(&url, &authority)).await;
    for number in 0..32 {
        let (to, body) = (format!("p/{number}"), number.to_string());
        publish(&store, &to, &body).await;
        assert_eq!(bodies(&store, &to).await, [body]);
    }
    let stranger = Authority::new();
    let unknown = refused(config(&url, &stranger)).await;
    assert!(unknown.contains("authority that is not trusted"), "{unknown}");
}
