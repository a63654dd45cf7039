//! Very many waiting readers: all are woken by one message, and each is small.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{pin::Pin, sync::Arc};

use buswire_bus::{BusConfig, BusError, BusLimits, Buses, ReadPage};
use buswire_message::{BusName, Cursor, Headers, NewMessage, Payload, Retention, Scope, Timestamp};
use buswire_store::memory::MemoryStore;
use buswire_testkit::VirtualClock;
use bytes::Bytes;
use futures::poll;

const WAITERS: usize = 10_000;

type Waiter<'a> = Pin<Box<dyn Future<Output = Result<ReadPage, BusError>> + 'a>>;

async fn open(waiters_max: usize) -> (Buses, BusName) {
    let limits = BusLimits { waiters_max, ..BusLimits::default() };
    let config = BusConfig {
        message_url_prefix: "https://h.example/v2/message/".into(),
        limits,
        tracer: None,
    };
    let (store, clock) = (Arc::new(MemoryStore::new()), Arc::new(VirtualClock::default()));
    let buses = Buses::open(store, clock, config).await.unwrap();
    let name: BusName = "a.example".parse().unwrap();
    buses.create(&name, Retention::default()).await.unwrap();
    (buses, name)
}

fn message(channel: &str) -> NewMessage {
    NewMessage {
        channel: channel.parse().unwrap(),
        source: "https://s.example/".parse().unwrap(),
        kind: "t".parse().unwrap(),
        sticky: false,
        expires_at: None,
        payload: Payload::parse(&Bytes::from_static(b"{}")).unwrap(),
        headers: Headers::default(),
    }
}

async fn wait_all<'a>(buses: &'a Buses, scopes: &'a [Scope]) -> Vec<Waiter<'a>> {
    let mut waiters = Vec::with_capacity(scopes.len());
    for scope in scopes {
        let wait = buses.read_wait(scope, Cursor::Start, 25, Timestamp::MAX);
        let mut waiter: Waiter<'a> = Box::pin(wait);
        assert!(poll!(&mut waiter).is_pending());
        waiters.push(waiter);
    }
    waiters
}

#[tokio::test]
async fn one_message_wakes_ten_thousand_waiters() {
    let (buses, name) = open(WAITERS).await;
    let scopes = vec!["bus:a.example channel:c".parse::<Scope>().unwrap(); WAITERS];
    let mut waiters = wait_all(&buses, &scopes).await;
    // Rule: backplane §10.3 — the number of waiting requests is bounded
    let refused = buses.read_wait(&scopes[0], Cursor::Start, 1, Timestamp::MAX).await;
    assert_eq!(refused.unwrap_err(), BusError::TooManyWaiters { max: WAITERS });
    buses.publish(&name, message("other")).await.unwrap();
    assert!(poll!(&mut waiters[0]).is_pending());
    let id = buses.publish(&name, message("c")).await.unwrap();
    let mut shared = None;
    for waiter in waiters {
        let page = waiter.await.unwrap();
        assert_eq!(page.messages[0].id, id);
        let first = shared.get_or_insert_with(|| Arc::clone(&page.messages[0]));
        assert!(Arc::ptr_eq(first, &page.messages[0]), "all share one message");
    }
    assert_eq!(buses.waiting(), 0);
}
