//! What tests on Redis servers share.

#![allow(dead_code, reason = "every test uses some of it")]

use std::{sync::Arc, time::Duration};

use buswire_message::Timestamp;
use buswire_store::{
    Ack, Applied, Batch, BoxFuture, DedupeId, LogName, Operation, Outcome, Partition, Position,
    Store, StoreError,
    conformance::START,
    redis::{RedisConfig, RedisStore},
};
use buswire_testkit::RedisServer;
use bytes::Bytes;
use tokio::time::{sleep, timeout};

/// How long a test waits for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The user of `docs/redis.md`, who may do what it says there and no more, for keys of any prefix.
pub(crate) fn add_documented_user(server: &RedisServer) {
    let rules = documented_rules("ACL SETUSER buswire ");
    let rules: Vec<_> = rules.iter().map(String::as_str).collect();
    assert_eq!(server.cli(&[&["acl", "setuser", "buswire"], &rules[..]].concat()), "OK");
}

/// The rules in the line of `docs/redis.md` that begins with `start`.
pub(crate) fn documented_rules(start: &str) -> Vec<String> {
    let page = include_str!("../../../../docs/redis.md");
    let line = page.lines().find_map(|line| line.strip_prefix(start)).expect("the page has a user");
    let rules: Vec<_> = line
        .replace("PASSWORD", "sesame")
        .replace("buswire:*", "*")
        .split(' ')
        .map(str::to_owned)
        .collect();
    assert!(rules.iter().any(|rule| rule == ">sesame"), "{rules:?}");
    rules
}

/// A configuration whose connection is looked at often.
pub(crate) fn brisk(config: RedisConfig) -> RedisConfig {
    RedisConfig { check_interval: Duration::from_millis(100), ..config }
}

pub(crate) fn open(config: RedisConfig) -> BoxFuture<'static, Arc<dyn Store>> {
    Box::pin(async { Arc::new(RedisStore::open(config).await.unwrap()) as Arc<dyn Store> })
}

pub(crate) fn log() -> LogName {
    LogName::new("messages").unwrap()
}

pub(crate) fn partition(name: &str) -> Partition {
    Partition::new(name).unwrap()
}

pub(crate) fn append(to: &str, body: &str) -> Batch {
    Batch::new(partition(to)).then(Operation::Append {
        log: log(),
        dedupe: DedupeId::new(body.to_owned()),
        body: Bytes::from(body.to_owned()),
        expires: Timestamp::MAX,
    })
}

/// Appends `body`, again until it is answered.
pub(crate) async fn publish(store: &RedisStore, to: &str, body: &str) -> Position {
    let publish = async {
        loop {
            match store.commit(append(to, body), Ack::Safe, START).await {
                Ok(Outcome::Committed(applied)) => match applied[0] {
                    Applied::Appended(position) | Applied::Repeated(position) => break position,
                    other => panic!("{other:?} is not a position"),
                },
                Ok(conflict) => panic!("{conflict:?}"),
                Err(StoreError::Unavailable(_)) => sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(PATIENCE, publish).await.expect("it is published in time")
}

/// What the log of a partition has.
pub(crate) async fn bodies(store: &RedisStore, of: &str) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = store.read_log(&partition(of), &log(), after, 4000, START).await.unwrap();
        let body = |entry: buswire_store::Entry| String::from_utf8(entry.body.to_vec()).unwrap();
        all.extend(page.entries.into_iter().map(body));
        if !page.more {
            return all;
        }
        after = Some(page.next);
    }
}
