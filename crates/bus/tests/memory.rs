//! The memory of a waiting reader. Alone in its process, so that nothing else is measured.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{pin::Pin, sync::Arc};

use buswire_bus::{BusConfig, BusError, BusLimits, Buses, ReadPage};
use buswire_message::{Cursor, Scope, Timestamp};
use buswire_store::memory::MemoryStore;
use buswire_testkit::VirtualClock;
use futures::poll;

type Waiter<'a> = Pin<Box<dyn Future<Output = Result<ReadPage, BusError>> + 'a>>;

async fn open(waiters_max: usize) -> Buses {
    let limits = BusLimits { waiters_max, ..BusLimits::default() };
    let config = BusConfig {
        message_url_prefix: "https://h.example/v2/message/".into(),
        limits,
        tracer: None,
    };
    let (store, clock) = (Arc::new(MemoryStore::new()), Arc::new(VirtualClock::default()));
    Buses::open(store, clock, config).await.unwrap()
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

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn a_waiter_takes_at_most_a_kibibyte() {
    // Each on its own channel: the worst case, since then nothing of the lists is shared.
    let buses = open(100_000).await;
    let scope = |n: usize| format!("bus:a.example channel:a-channel-of-{n:05}").parse().unwrap();
    let scopes: Vec<Scope> = (0..50_000).map(scope).collect();
    let warm_up = wait_all(&buses, &scopes[..1000]).await;
    let before = resident_bytes();
    let waiters = wait_all(&buses, &scopes[1000..]).await;
    println!("the future itself: {} bytes", size_of_val(&*waiters[0]));
    let each = resident_bytes().saturating_sub(before) / waiters.len();
    println!("{each} bytes for each waiter");
    assert!(each <= 1024, "{each} bytes for each waiter");
    drop((warm_up, waiters));
    assert_eq!(buses.waiting(), 0);
}
