//! What administrators see and do, and endpoints that are not channels.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use buswire_message::{Clock as _, TraceParent, Version};
use buswire_simplepush::{
    ForeignEndpoints, NotifyError, SimplePush, UserAgentId, UserAgentPresence,
};
use buswire_store::BoxFuture;
use support::{Server, put_request};

const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";
const B: &str = "C2A7D91533E84B6D9F0271E4A80B5CDD";

async fn all(push: &SimplePush, limit: usize) -> Vec<UserAgentId> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = push.user_agents(after, limit).await.unwrap();
        assert!(page.user_agents.len() <= limit);
        all.extend(page.user_agents.iter().map(|user_agent| user_agent.id));
        after = page.next;
        if after.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn user_agents_are_listed_in_pages() {
    let server = Server::start().await;
    let mut expected = BTreeSet::new();
    for _ in 0..40 {
        let mut device = server.device().await;
        let uaid = device.hello("", "").await;
        device.register(A).await;
        expected.insert(UserAgentId::of_uaid(&uaid).unwrap());
    }
    // One without channels is not among them: nothing is stored of it.
    server.device().await.hello("", "").await;
    for limit in [1, 7, 1000] {
        assert_eq!(all(&server.push, limit).await, expected.iter().copied().collect::<Vec<_>>());
    }
    let dropped = *expected.first().unwrap();
    assert!(server.push.drop_user_agent(dropped).await.unwrap());
    assert!(!server.push.drop_user_agent(dropped).await.unwrap());
    expected.remove(&dropped);
    assert_eq!(all(&server.push, 3).await, expected.into_iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_user_agent_is_shown_with_its_channels() {
    let server = Server::start().await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let created = server.clock.now();
    let (a, _b) = (device.register(A).await, device.register(B).await);
    let id = UserAgentId::of_uaid(&uaid).unwrap();
    assert_eq!(server.push.endpoint(&a).unwrap(), (id, A.parse().unwrap()));
    let shown = server.push.user_agent(id).await.unwrap().unwrap();
    assert_eq!((shown.channels, shown.pending, shown.pending_since), (2, 0, None));
    assert_eq!((shown.created, shown.presence), (created, UserAgentPresence::Connected));
    device.close().await;

    server.clock.advance(Duration::from_secs(100));
    let since = server.clock.now();
    assert_eq!(server.put(&a, "version=7").await.status, 202);
    server.clock.advance(Duration::from_secs(100));
    let shown = server.push.user_agent(id).await.unwrap().unwrap();
    assert_eq!((shown.pending, shown.pending_since), (1, Some(since)));
    assert_eq!(shown.presence, UserAgentPresence::Away);

    let page = server.push.channels(id, None, 1).await.unwrap().unwrap();
    let [first] = page.channels[..] else { panic!("{page:?}") };
    assert_eq!((first.channel.to_string(), page.next), (A.to_owned(), Some(first.channel)));
    let pending = first.pending.unwrap();
    assert_eq!((pending.version.get(), pending.since), (7, since));
    let page = server.push.channels(id, page.next, 1).await.unwrap().unwrap();
    assert_eq!((page.channels[0].channel.to_string(), page.next), (B.to_owned(), None));
    assert_eq!(page.channels[0].pending, None);

    let notified = server.push.notify_channel(id, B.parse().unwrap(), Version::new(3)).await;
    assert_eq!(notified.unwrap().version.get(), 3);
    let nobody = UserAgentId::of_uaid(A).unwrap();
    assert_eq!(server.push.user_agent(nobody).await.unwrap(), None);
    assert_eq!(server.push.channels(nobody, None, 9).await.unwrap(), None);
}

#[tokio::test]
async fn a_user_agent_that_is_dropped_shakes_hands_again() {
    // Rule: simplepush L8 — if the server drops state it disconnects the client, who gets a working UAID
    let server = Server::start().await;
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let endpoint = device.register(A).await;
    assert!(server.push.drop_user_agent(UserAgentId::of_uaid(&uaid).unwrap()).await.unwrap());
    assert_eq!(device.closed().await, 1011);
    assert_eq!(server.put(&endpoint, "version=1").await.status, 410);
    let mut device = server.device().await;
    assert_ne!(device.hello(&uaid, &format!("\"{A}\"")).await, uaid);
    let endpoint = device.register(A).await;
    assert_eq!(server.put(&endpoint, "version=1").await.status, 200);
    assert_eq!(device.notified(A).await, 1);
}

/// A version, data and a place in a trace.
type Taken = (Option<u64>, Option<String>, Option<TraceParent>);

/// Takes PUTs to the token `inbox`.
#[derive(Debug, Default)]
struct Inbox(Mutex<Vec<Taken>>);

impl ForeignEndpoints for Inbox {
    fn knows<'a>(&'a self, token: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move { token == "inbox" })
    }

    fn put<'a>(
        &'a self,
        token: &'a str,
        version: Option<Version>,
        data: Option<&'a str>,
        traceparent: Option<TraceParent>,
    ) -> BoxFuture<'a, Option<Result<(), NotifyError>>> {
        Box::pin(async move {
            let put = (version.map(Version::get), data.map(str::to_owned), traceparent);
            (token == "inbox").then(|| {
                self.0.lock().unwrap().push(put);
                Ok(())
            })
        })
    }
}

#[tokio::test]
async fn other_endpoints_are_served_on_the_same_path() {
    let inbox = Arc::new(Inbox::default());
    let foreign: Arc<dyn ForeignEndpoints> = Arc::<Inbox>::clone(&inbox);
    let server = Server::serve(|push| push.router_with(foreign)).await;
    for (path, form, status) in [
        ("/update/inbox", "version=7&data=x", 200),
        ("/update/inbox", "", 200),
        ("/update/inbox", "version=-1", 400),
        ("/update/other", "", 404),
        ("/update/other", "version=-1", 404),
    ] {
        assert_eq!(server.http(put_request(path, form)).await.status, status, "{path} {form}");
    }
    let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = put_request("/update/inbox", "")
        .replace("\r\n\r\n", &format!("\r\ntraceparent: {traceparent}\r\n\r\n"));
    assert_eq!(server.http(traced).await.status, 200);
    let taken = inbox.0.lock().unwrap();
    let traced = (None, None, traceparent.parse().ok());
    assert_eq!(taken[..], [(Some(7), Some("x".to_owned()), None), (None, None, None), traced]);
}

#[tokio::test]
async fn whoever_keeps_channels_is_told_when_they_end() {
    let server = Server::start().await;
    let mut ended = server.push.ended_channels();
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    let id = UserAgentId::of_uaid(&uaid).unwrap();
    for channel in [A, B] {
        device.register(channel).await;
        assert_eq!(server.push.check_channel(id, channel.parse().unwrap()).await, Ok(()));
    }
    device.exchange(&format!(r#"{{"messageType":"unregister","channelID":"{A}"}}"#)).await;
    assert!(server.push.drop_user_agent(id).await.unwrap());
    for channel in [A, B] {
        let told = ended.recv().await.unwrap();
        assert_eq!((told.user_agent, told.channel.to_string()), (id, channel.to_owned()));
        let checked = server.push.check_channel(id, channel.parse().unwrap()).await;
        assert_eq!(checked, Err(NotifyError::Gone));
    }
    assert!(ended.is_empty());
    // Pruned: the device lists one of two.
    let mut device = server.device().await;
    let uaid = device.hello("", "").await;
    device.register(A).await;
    device.register(B).await;
    device.close().await;
    let mut device = server.device().await;
    assert_eq!(device.hello(&uaid, &format!("\"{A}\"")).await, uaid);
    assert_eq!(ended.recv().await.unwrap().channel.to_string(), B);
}
