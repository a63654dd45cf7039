//! What is found, refused, counted and removed.

use buswire_message::{Headers, MessageId, Payload, Sequence};
use buswire_store::memory::MemoryStore;
use buswire_testkit::VirtualClock;

use super::*;

const GRANT: &str = "g_abcdefghijklmnop";

fn subscriptions(limits: SubscriptionLimits) -> Subscriptions {
    let clock = Arc::new(VirtualClock::default());
    Subscriptions::new(Arc::new(MemoryStore::new()), clock, limits).unwrap()
}

fn subscription(scope: &str, endpoint: &str) -> Subscription {
    Subscription {
        scope: scope.parse().unwrap(),
        endpoint: Endpoint {
            user_agent: "6f1c0b7a52d94e0c9b3ad41e8f27c650".parse().unwrap(),
            channel: format!("{endpoint:0>32}").parse().unwrap(),
        },
        grant: GRANT.parse().unwrap(),
        created: Timestamp::from_secs(1_700_000_000),
    }
}

fn message(channel: &str, kind: &str) -> Message {
    Message {
        id: MessageId::from_sequence(Sequence::from_u64(7).unwrap()),
        bus: "a".parse().unwrap(),
        channel: channel.parse().unwrap(),
        source: "https://shop.example/".parse().unwrap(),
        kind: kind.parse().unwrap(),
        sticky: false,
        expires_at: Timestamp::MAX,
        payload: Payload::parse(&"1".into()).unwrap(),
        headers: Headers::default(),
    }
}

/// The endpoints that are told of a message.
async fn told(subscriptions: &Subscriptions, message: &Message) -> Vec<String> {
    let mut endpoints = Vec::new();
    for scope in subscriptions.scopes_of(message).await.unwrap() {
        let page = subscriptions.page(scope, None, 100).await.unwrap();
        let name = |(_, found): &(_, Subscription)| {
            found.endpoint.channel.to_string().trim_start_matches('0').to_owned()
        };
        endpoints.extend(page.subscriptions.iter().map(name));
    }
    endpoints.sort();
    endpoints
}

#[tokio::test]
async fn a_message_finds_the_endpoints_that_asked_for_it() {
    let all = subscriptions(SubscriptionLimits::default());
    for (scope, endpoint) in [
        ("bus:a", "aa"),
        ("bus:a channel:c", "cc"),
        ("bus:a channel:c channel:d type:t", "dd"),
        ("bus:b", "ee"),
        ("bus:a type:u", "ee"),
    ] {
        all.add(&subscription(scope, endpoint)).await.unwrap();
    }
    assert_eq!(told(&all, &message("c", "t")).await, ["aa", "cc", "dd"]);
    assert_eq!(told(&all, &message("d", "t")).await, ["aa", "dd"]);
    assert_eq!(told(&all, &message("e", "t")).await, ["aa"]);
}

#[tokio::test]
async fn a_subscription_is_made_once_and_removed_whole() {
    let all = subscriptions(SubscriptionLimits::default());
    let one = subscription("bus:a channel:c channel:d", "1");
    let other = subscription("bus:a channel:c channel:d", "ee");
    for _ in 0..2 {
        all.add(&one).await.unwrap();
    }
    all.add(&other).await.unwrap();
    let anew = Subscription { grant: "g_qqqqqqqqqqqqqqqq".parse().unwrap(), ..one.clone() };
    all.add(&anew).await.unwrap();
    let listed = all.list(None, 10).await.unwrap();
    assert_eq!(listed.subscriptions.len(), 2);
    assert!(listed.subscriptions.iter().any(|(_, listed)| *listed == anew));
    assert!(all.remove(&one.scope, one.endpoint).await.unwrap());
    assert!(!all.remove(&one.scope, one.endpoint).await.unwrap());
    assert_eq!(told(&all, &message("d", "t")).await, ["ee"]);
    assert!(all.remove(&other.scope, other.endpoint).await.unwrap());
    // The channel of an endpoint ends: what was made before goes with it.
    for scope in ["bus:a", "bus:b"] {
        all.add(&Subscription { scope: scope.parse().unwrap(), ..one.clone() }).await.unwrap();
    }
    let later = Timestamp::from_secs(1_700_000_002);
    let anew = Subscription { created: later, ..one.clone() };
    all.add(&anew).await.unwrap();
    all.end(one.endpoint, Timestamp::from_secs(1_700_000_001)).await.unwrap();
    let listed = all.list(None, 10).await.unwrap().subscriptions;
    assert_eq!(listed.into_iter().map(|(_, left)| left).collect::<Vec<_>>(), [anew]);
    all.end(one.endpoint, later).await.unwrap();
    let rows = all.scan(KeyRange::all(), 10, Timestamp::from_secs(0)).await.unwrap();
    assert!(rows.is_empty(), "nothing is left of them: {rows:?}");
}

#[tokio::test]
async fn pages_go_on_where_they_ended() {
    let all = subscriptions(SubscriptionLimits::default());
    for n in 0..25 {
        all.add(&subscription("bus:a", &n.to_string())).await.unwrap();
    }
    let (mut seen, mut after) = (0, None);
    loop {
        let page = all.list(after.as_ref(), 10).await.unwrap();
        seen += page.subscriptions.len();
        let Some(next) = page.next else { break };
        let text = next.to_text();
        assert_eq!(SubscriptionKey::parse(&text), Some(next.clone()));
        after = Some(next);
    }
    assert_eq!(seen, 25);
    for bad in ["", "zz", &"0".repeat(63), &"0".repeat(66), "ü"] {
        assert_eq!(SubscriptionKey::parse(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn bounds_hold() {
    let limits = SubscriptionLimits {
        endpoints_per_scope: 2,
        scopes_per_endpoint: 2,
        scopes_per_place: 3,
        channels_per_scope: 2,
    };
    let all = subscriptions(limits);
    for endpoint in ["1", "2"] {
        all.add(&subscription("bus:a", endpoint)).await.unwrap();
    }
    let refused = async |scope: &str, endpoint: &str| {
        all.add(&subscription(scope, endpoint)).await.unwrap_err().to_string()
    };
    assert_eq!(refused("bus:a", "3").await, "there are too many subscriptions of this scope");
    all.add(&subscription("bus:a type:t", "1")).await.unwrap();
    assert_eq!(refused("bus:b", "1").await, "there are too many subscriptions of this endpoint");
    all.add(&subscription("bus:a type:u", "2")).await.unwrap();
    assert_eq!(
        refused("bus:a type:v", "3").await,
        "there are too many subscriptions of this channel"
    );
    for scope in ["", "bus:a bus:b", "type:t", "bus:a channel:1 channel:2 channel:3"] {
        assert!(refused(scope, "3").await.contains("names one bus"), "{scope}");
    }
    let url = "bus:a messageURL:https://gw.example/v2/message/x";
    assert!(refused(url, "3").await.contains("names one bus"));
}

#[tokio::test]
async fn many_at_once_are_all_counted() {
    let all = subscriptions(SubscriptionLimits { endpoints_per_scope: 20, ..Default::default() });
    let adding = (0..30).map(|n| {
        let all = all.clone();
        async move { all.add(&subscription("bus:a", &n.to_string())).await.is_ok() }
    });
    let added = futures::future::join_all(adding).await;
    assert_eq!(added.into_iter().filter(|added| *added).count(), 20);
}
