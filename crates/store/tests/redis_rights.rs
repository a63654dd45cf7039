//! What a user on a Redis server must be allowed, and what is said when it is not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod servers;

use buswire_store::{
    Ack, Store, StoreError,
    conformance::START,
    redis::{RedisAddress, RedisConfig, RedisOpenError, RedisStore},
};
use buswire_testkit::RedisServer;
use servers::{add_documented_user, append, bodies, brisk, publish};

fn config(server: &RedisServer) -> RedisConfig {
    let url = format!("redis://buswire:sesame@127.0.0.1:{}", server.port());
    brisk(RedisConfig::new(RedisAddress::parse(&url).unwrap()))
}

/// What is said to a user who lacks a right.
async fn lacks(server: &RedisServer, right: &str) -> String {
    add_documented_user(server);
    assert_eq!(server.cli(&["acl", "setuser", "buswire", right]), "OK");
    let error = RedisStore::open(config(server)).await.expect_err("it is refused");
    assert!(matches!(error, RedisOpenError::Rights { .. }), "{right}: {error:?}");
    error.to_string()
}

#[tokio::test]
async fn a_right_that_is_missing_is_named_before_anything_is_written() {
    let server = RedisServer::start(&[]);
    for command in ["info", "evalsha", "script|load", "subscribe"] {
        let said = lacks(&server, &format!("-{command}")).await;
        assert!(said.contains(&format!("'{command}'")) && said.contains("docs/redis.md"), "{said}");
        server.cli(&["flushall"]);
    }
    for command in [
        "hget",
        "hmget",
        "hset",
        "hdel",
        "hscan",
        "zadd",
        "zrem",
        "zrangebyscore",
        "zrangebylex",
        "zrevrangebylex",
        "xadd",
        "xdel",
        "xlen",
        "xrange",
        "xsetid",
        "del",
        "rpush",
        "ltrim",
        "lrange",
        "time",
        "publish",
    ] {
        let said = lacks(&server, &format!("-{command}")).await;
        assert!(said.contains(&format!("lacks {command})")), "{said}");
        assert_eq!(server.cli(&["dbsize"]), "0", "{command}: nothing was written");
    }
}

#[tokio::test]
async fn keys_and_channels_that_are_not_allowed_are_named() {
    let server = RedisServer::start(&[]);
    add_documented_user(&server);
    server.cli(&["acl", "setuser", "buswire", "resetkeys", "~other:*"]);
    let error = RedisStore::open(config(&server)).await.expect_err("it is refused").to_string();
    assert!(error.contains("too few rights") && error.contains("key"), "{error}");
    add_documented_user(&server);
    server.cli(&["acl", "setuser", "buswire", "allkeys", "resetchannels", "&other:*"]);
    let error = RedisStore::open(config(&server)).await.expect_err("it is refused").to_string();
    assert!(error.contains("lacks publish"), "{error}");
}

#[tokio::test]
async fn settings_that_a_user_may_not_read_are_told_of() {
    let server = RedisServer::start(&[]);
    add_documented_user(&server);
    server.cli(&["acl", "setuser", "buswire", "-config|get"]);
    let error = RedisStore::open(config(&server)).await.expect_err("it is refused");
    assert!(matches!(error, RedisOpenError::NotDurable { .. }), "{error}");
    assert!(error.to_string().contains("allow CONFIG GET"), "{error}");
}

#[tokio::test]
async fn a_right_that_is_taken_away_later_is_named_and_changes_nothing() {
    let server = RedisServer::start(&[]);
    add_documented_user(&server);
    let store = RedisStore::open(config(&server)).await.unwrap();
    publish(&store, "a", "1").await;
    server.cli(&["acl", "setuser", "buswire", "-evalsha"]);
    let error = store.commit(append("a", "2"), Ack::Safe, START).await.unwrap_err();
    let StoreError::Unavailable(said) = &error else { panic!("{error:?}") };
    assert!(said.contains("NOPERM") && said.contains("'evalsha'"), "{said}");
    assert!(store.status().unavailable.is_some_and(|why| why.contains("evalsha")));
    server.cli(&["acl", "setuser", "buswire", "+evalsha"]);
    publish(&store, "a", "3").await;
    assert_eq!(bodies(&store, "a").await, ["1", "3"]);
}

#[tokio::test]
async fn a_password_is_never_shown() {
    let server = RedisServer::start(&[]);
    add_documented_user(&server);
    let store = RedisStore::open(config(&server)).await.unwrap();
    assert!(!format!("{store:?} {:?}", config(&server)).contains("sesame"));
    server.cli(&["acl", "setuser", "buswire", "resetpass", ">another"]);
    let error = RedisStore::open(config(&server)).await.expect_err("it is refused");
    assert!(matches!(error, RedisOpenError::Unreachable { .. }), "{error}");
    assert!(!format!("{error} {error:?}").contains("sesame"), "{error}");
}
