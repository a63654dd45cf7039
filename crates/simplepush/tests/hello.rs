//! `hello` and what it does to the state of the server (SimplePush §7.1, §9).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use buswire_simplepush::{ExtraChannels, MissingChannels};
use support::Server;

const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";
const B: &str = "C2A7D91533E84B6D9F0271E4A80B5CDD";

fn list(channels: &[&str]) -> String {
    channels.iter().map(|channel| format!("\"{channel}\"")).collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn a_reply_repeats_the_spelling_of_the_uaid() {
    // Rule: simplepush R-ID-3 — both spellings name one UA; replies echo the one of the hello
    let server = Server::start().await;
    let mut device = server.device().await;
    let dashed = "3E9B7C54-18aa-4d2f-a6b1-5c0d9e8f7a62";
    assert_eq!(device.hello(dashed, "").await, dashed);
    device.register(A).await;
    device.close().await;
    let mut device = server.device().await;
    let plain = "3e9b7c5418aa4d2fa6b15c0d9e8f7a62";
    assert_eq!(device.hello(plain, &list(&[A])).await, plain);
}

#[tokio::test]
async fn a_new_uaid_is_random() {
    // Rule: simplepush R-ID-1 — 32 lower-case hex digits from a secure source
    let server = Server::start().await;
    let mut seen = std::collections::BTreeSet::new();
    for uaid in ["", "null", "0", "6f1c0b7a52d94e0c9b3ad41e8f27c65", " x "] {
        let mut device = server.device().await;
        let given = device.hello(uaid, "").await;
        assert!(given.len() == 32 && given.as_bytes()[12] == b'4', "{given}");
        assert!(given.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)));
        assert!(seen.insert(given));
    }
}

#[tokio::test]
async fn an_unknown_user_agent_with_channels_starts_again() {
    // Rule: simplepush H8 — unknown UAID with a non-empty list: new UAID
    let server = Server::start().await;
    let mut device = server.device().await;
    let mine = "6f1c0b7a52d94e0c9b3ad41e8f27c650";
    assert_ne!(device.hello(mine, &list(&[A])).await, mine);
    // Rule: simplepush H9 — unknown UAID with an empty list: accepted
    let mut device = server.device().await;
    assert_eq!(device.hello(mine, "").await, mine);
}

#[tokio::test]
async fn a_missing_channel_resets_the_user_agent() {
    // Rule: simplepush R-SYNC-2 — a listed channel that is not registered: UAID dropped, new UAID
    // Rule: simplepush H10 — known UAID, some listed channel not registered: new UAID
    let server = Server::start().await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    device.close().await;
    let mut device = server.device().await;
    let new = device.hello(&uaid, &list(&[A, B])).await;
    assert_ne!(new, uaid);
    assert_eq!(server.put(&endpoint, "version=1").await.status, 410);
    // Entries that can't be channels are missing too.
    device.register(A).await;
    device.close().await;
    let mut device = server.device().await;
    assert_ne!(device.hello(&new, &format!("\"{A}\",7")).await, new);
}

#[tokio::test]
async fn missing_channels_may_be_ignored() {
    // Rule: simplepush R-SYNC-2 — the switch `ignore` keeps the UAID
    let server =
        Server::start_with(|config| config.missing_channels = MissingChannels::Ignore).await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    device.register(A).await;
    device.close().await;
    let mut device = server.device().await;
    assert_eq!(device.hello(&uaid, &list(&[A, B])).await, uaid);
}

#[tokio::test]
async fn extra_channels_are_pruned_if_some_are_listed() {
    for (policy, listed, left) in [
        // Rule: simplepush R-SYNC-1 — extras are deleted if the list names any channel
        (ExtraChannels::PruneIfListed, &[A][..], false),
        // Rule: simplepush R-SYNC-1 — an empty list deletes nothing by default
        (ExtraChannels::PruneIfListed, &[][..], true),
        (ExtraChannels::Keep, &[A][..], true),
        (ExtraChannels::Prune, &[][..], false),
    ] {
        let server = Server::start_with(|config| config.extra_channels = policy).await;
        let mut device = server.device().await;
        let uaid = device.hello("", "").await;
        device.register(A).await;
        let endpoint = device.register(B).await;
        device.close().await;
        assert_eq!(server.put(&endpoint, "version=9").await.status, 202);
        let mut device = server.device().await;
        assert_eq!(device.hello(&uaid, &list(listed)).await, uaid);
        if left {
            assert_eq!(device.notified(B).await, 9);
        }
        device.settle().await;
        let expected = if left { 200 } else { 410 };
        assert_eq!(server.put(&endpoint, "version=10").await.status, expected, "{policy:?}");
    }
}

#[tokio::test]
async fn too_many_channels_reset_the_user_agent() {
    // Rule: simplepush H7 — more entries than the limit: everything dropped, new UAID, status 200
    let server = Server::start_with(|config| config.limits.channels_max = 2).await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    device.close().await;
    let mut device = server.device().await;
    assert_ne!(device.hello(&uaid, &list(&[A, B, B])).await, uaid);
    assert_eq!(server.put(&endpoint, "version=1").await.status, 410);
}

#[tokio::test]
async fn the_newest_connection_wins_even_if_it_gets_a_new_uaid() {
    // Rule: simplepush R-HELLO-1 — the older connection is closed also if the newcomer gets a new UAID
    let server = Server::start().await;
    let mut older = server.device().await;
    let uaid = older.hello("", "").await;
    older.register(A).await;
    let mut newer = server.device().await;
    assert_ne!(newer.hello(&uaid, &list(&[B])).await, uaid);
    assert_eq!(older.closed().await, 1000);
}

#[tokio::test]
async fn a_store_that_fails_never_costs_the_uaid() {
    // Rule: simplepush R-HELLO-5 — store unreadable: status 503 with the same uaid, then close
    let server = Server::start().await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    server.store.close().await;
    // Rule: simplepush §7.2 — register fails with 500 and the connection stays open
    assert_eq!(
        device.exchange(&format!("{{\"messageType\":\"register\",\"channelID\":\"{B}\"}}")).await,
        format!(
            "{{\"messageType\":\"register\",\"channelID\":\"{B}\",\"status\":500,\"error\":\"Could not store the channel\"}}"
        )
    );
    // Rule: simplepush R-UNREG-5 — unregister fails with 500 and the connection stays open
    assert_eq!(
        device.exchange(&format!("{{\"messageType\":\"unregister\",\"channelID\":\"{A}\"}}")).await,
        format!(
            "{{\"messageType\":\"unregister\",\"channelID\":\"{A}\",\"status\":500,\"error\":\"Could not update channel record\"}}"
        )
    );
    device.settle().await;
    // Rule: simplepush §12.3 — store unavailable: 503 with Retry-After
    let reply = server.put(&endpoint, "version=1").await;
    assert_eq!((reply.status, reply.header("retry-after").is_some()), (503, true));
    let mut device = server.device().await;
    let hello =
        format!("{{\"messageType\":\"hello\",\"uaid\":\"{uaid}\",\"channelIDs\":[\"{A}\"]}}");
    assert_eq!(
        device.exchange(&hello).await,
        format!(
            "{{\"messageType\":\"hello\",\"uaid\":\"{uaid}\",\"status\":503,\"error\":\"The server is not available\"}}"
        )
    );
    assert_eq!(device.closed().await, 1013);
}

#[tokio::test]
async fn user_agents_are_forgotten_after_a_month() {
    // Rule: simplepush R-GC-1 — a UA that was away for 30 days is collected; PUTs then get 410
    let server = Server::start().await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    device.close().await;
    let day = Duration::from_secs(86_400);
    server.clock.advance(day * 30);
    assert_eq!(server.put(&endpoint, "version=5").await.status, 202);
    server.clock.advance(day);
    assert_eq!(server.put(&endpoint, "version=6").await.status, 410);
    let mut device = server.device().await;
    assert_ne!(device.hello(&uaid, &list(&[A])).await, uaid);
}

#[tokio::test]
async fn a_connected_user_agent_is_not_forgotten() {
    // Rule: simplepush R-GC-1 — connected UAs are never collected
    let server = Server::start_with(|config| {
        config.timing.probe_after = Duration::ZERO;
        config.timing.resend_interval = Duration::ZERO;
    })
    .await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    server.put(&endpoint, "version=5").await;
    assert_eq!(device.notified(A).await, 5);
    for _ in 0..40 {
        server.advance(Duration::from_secs(86_400)).await;
        device.settle().await;
    }
    device.close().await;
    let mut device = server.device().await;
    // S3: the pending version has lived as long as the UAID.
    assert_eq!(device.hello(&uaid, &list(&[A])).await, uaid);
    assert_eq!(device.notified(A).await, 5);
}
