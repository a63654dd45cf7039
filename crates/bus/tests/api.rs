//! The buses over the memory store, through their public API.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buswire_bus::{BusConfig, BusError, BusLimits, Buses, Created, PublishError, View};
use buswire_message::{
    BusName, Clock, Cursor, Headers, NewMessage, Payload, Recorder, Retention, SampleRatio, Scope,
    Span, Timestamp, TraceParent, Tracer, Work,
};
use buswire_store::memory::MemoryStore;
use buswire_testkit::{SeededEntropy, VirtualClock};
use bytes::Bytes;
use futures::StreamExt;

async fn open(clock: &VirtualClock) -> Buses {
    open_traced(clock, None).await
}

async fn open_traced(clock: &VirtualClock, tracer: Option<Tracer>) -> Buses {
    let config = BusConfig {
        message_url_prefix: "https://h.example/v2/message/".into(),
        limits: BusLimits::default(),
        tracer,
    };
    Buses::open(Arc::new(MemoryStore::new()), Arc::new(clock.clone()), config).await.unwrap()
}

fn bus(name: &str) -> BusName {
    name.parse().unwrap()
}

fn scope(text: &str) -> Scope {
    text.parse().unwrap()
}

fn message(channel: &str, json: &'static str) -> NewMessage {
    NewMessage {
        channel: channel.parse().unwrap(),
        source: "https://s.example/".parse().unwrap(),
        kind: "t".parse().unwrap(),
        sticky: false,
        expires_at: None,
        payload: Payload::parse(&Bytes::from_static(json.as_bytes())).unwrap(),
        headers: Headers::default(),
    }
}

fn sticky(channel: &str, json: &'static str) -> NewMessage {
    NewMessage { sticky: true, ..message(channel, json) }
}

async fn texts(buses: &Buses, text: &str, since: Cursor) -> Vec<String> {
    let page = buses.read(&scope(text), since, 100).await.unwrap();
    page.messages.iter().map(|m| m.payload.as_str().to_owned()).collect()
}

#[tokio::test]
async fn a_published_message_is_read_when_publish_returns() {
    // Rule: backplane §5.3 — a message is readable by every reader when the post returns
    // Rule: backplane §16 row 44 — a post is visible at once
    let clock = VirtualClock::default();
    let buses = open(&clock).await;
    let name = bus("a.example");
    assert_eq!(buses.create(&name, Retention::default()).await.unwrap(), Created::New);
    assert_eq!(buses.create(&name, Retention::default()).await.unwrap(), Created::Existed);
    let id = buses.publish(&name, message("c", "1")).await.unwrap();
    let page = buses.read(&scope("bus:a.example channel:c"), Cursor::Start, 25).await.unwrap();
    assert_eq!(page.messages.len(), 1);
    assert_eq!(page.messages[0].id, id);
    assert_eq!(page.next, Cursor::After(id.sequence()));
    assert!(!page.more);
    assert_eq!(texts(&buses, "bus:a.example channel:d", Cursor::Start).await, [""; 0]);
    let found = buses.message(id, &scope("bus:a.example")).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&found, &page.messages[0]), "readers share one message");
    assert!(buses.message(id, &scope("bus:a.example type:u")).await.unwrap().is_none());
    let first = found.view(View::V2Full, |m| m.payload.as_bytes().clone());
    let second = found.view(View::V2Full, |_| panic!("a view is encoded once"));
    assert_eq!(first.as_ptr(), second.as_ptr());
}

#[tokio::test]
async fn since_goes_on_after_an_id_whether_or_not_it_is_live() {
    // Rule: backplane §6.6 — since names a place: messages with a greater id, even if that message is gone
    // Rule: backplane §19.3 — a channel of A(sticky) < B < C < D(sticky), B expired
    let clock = VirtualClock::default();
    let buses = open(&clock).await;
    let name = bus("v1/a.example");
    buses.create(&name, Retention::default()).await.unwrap();
    let a = buses.publish(&name, sticky("c", "\"A\"")).await.unwrap();
    let b = buses.publish(&name, message("c", "\"B\"")).await.unwrap();
    clock.advance(Duration::from_secs(601));
    buses.publish(&name, message("c", "\"C\"")).await.unwrap();
    let d = buses.publish(&name, sticky("c", "\"D\"")).await.unwrap();
    let all = "bus:v1/a.example channel:c";
    let (full, tail) = (["\"A\"", "\"C\"", "\"D\""], ["\"C\"", "\"D\""]);
    assert_eq!(texts(&buses, all, Cursor::Start).await, full);
    assert_eq!(texts(&buses, all, Cursor::After(a.sequence())).await, tail);
    assert_eq!(texts(&buses, all, Cursor::After(b.sequence())).await, tail);
    assert_eq!(texts(&buses, all, Cursor::After(d.sequence())).await, [""; 0]);
    assert_eq!(texts(&buses, all, Cursor::parse_since("")).await, full);
    assert_eq!(texts(&buses, all, Cursor::parse_since("garbage")).await, full);
    let sticky = "bus:v1/a.example channel:c sticky:true";
    assert_eq!(texts(&buses, sticky, Cursor::Start).await, ["\"A\"", "\"D\""]);
    assert_eq!(texts(&buses, sticky, Cursor::After(a.sequence())).await, ["\"D\""]);
    let rest = "bus:v1/a.example channel:c sticky:false";
    assert_eq!(texts(&buses, rest, Cursor::Start).await, ["\"C\""]);
}

#[tokio::test]
async fn a_list_that_does_not_fit_is_refused_whole() {
    // Rule: backplane §5.4 — a list is refused whole if live messages + list length exceed the limit
    let clock = VirtualClock::default();
    let buses = open(&clock).await;
    let name = bus("a.example");
    let minute = Duration::from_secs(60);
    buses.create(&name, Retention::new(minute, minute, 3).unwrap()).await.unwrap();
    buses.publish_all(&name, vec![message("c", "1"), message("c", "2")]).await.unwrap();
    let two = vec![message("c", "3"), message("c", "4")];
    let refused = buses.publish_all(&name, two.clone()).await.unwrap_err();
    assert_eq!(refused, PublishError::ChannelFull { limit: 3 });
    assert_eq!(texts(&buses, "bus:a.example", Cursor::Start).await, ["1", "2"]);
    buses.publish(&name, message("c", "3")).await.unwrap();
    assert!(buses.publish(&name, message("c", "4")).await.is_err());
    buses.publish(&name, message("other", "5")).await.unwrap();
    // Rule: backplane §5.4 — only live messages count
    clock.advance(Duration::from_secs(61));
    buses.publish_all(&name, two).await.unwrap();
    assert_eq!(texts(&buses, "bus:a.example", Cursor::Start).await, ["3", "4"]);
    let info = buses.get(&name).await.unwrap().unwrap();
    assert_eq!((info.messages, info.channels), (2, 1));
}

#[tokio::test]
async fn publishing_needs_a_bus_and_reading_needs_a_name() {
    let clock = VirtualClock::default();
    let buses = open(&clock).await;
    let name = bus("a.example");
    let refused = buses.publish(&name, message("c", "1")).await.unwrap_err();
    assert_eq!(refused, PublishError::UnknownBus);
    assert_eq!(texts(&buses, "bus:a.example", Cursor::Start).await, [""; 0]);
    let refused = buses.read(&Scope::all(), Cursor::Start, 1).await.unwrap_err();
    assert_eq!(refused, BusError::NoBus);
    let mut subscription = buses.subscribe(Scope::all(), Cursor::Start);
    assert_eq!(subscription.next().await.unwrap().unwrap_err(), BusError::NoBus);
    assert!(subscription.next().await.is_none());
    // Rule: backplane §6.8 — deleting a bus keeps its messages until they expire
    buses.create(&name, Retention::default()).await.unwrap();
    buses.publish(&name, message("c", "1")).await.unwrap();
    let earlier = buses.get(&name).await.unwrap().unwrap().revision;
    buses.update(&name, Retention::default(), None).await.unwrap();
    let refused = buses.delete(&name, Some(earlier)).await.unwrap_err();
    assert_eq!(refused, BusError::Changed(name.clone()));
    assert!(buses.delete(&name, None).await.unwrap());
    assert!(!buses.delete(&name, None).await.unwrap());
    let refused = buses.publish(&name, message("c", "2")).await.unwrap_err();
    assert_eq!(refused, PublishError::UnknownBus);
    assert_eq!(texts(&buses, "bus:a.example", Cursor::Start).await, ["1"]);
    assert_eq!(buses.list(None).await.unwrap(), []);
}

#[tokio::test]
async fn a_long_poll_ends_with_a_message_or_at_its_deadline() {
    // Rule: backplane §10.3 — a blocked read is answered at once by a matching post, else empty at its end
    let clock = VirtualClock::default();
    let buses = open(&clock).await;
    let name = bus("a.example");
    buses.create(&name, Retention::default()).await.unwrap();
    let deadline = clock.now().saturating_add(Duration::from_secs(20));
    let wanted = scope("bus:a.example channel:c type:t");
    let mut poll = std::pin::pin!(buses.read_wait(&wanted, Cursor::Start, 25, deadline));
    assert!(futures::poll!(&mut poll).is_pending());
    buses.publish(&name, message("d", "1")).await.unwrap();
    assert!(futures::poll!(&mut poll).is_pending());
    buses.publish(&name, message("c", "2")).await.unwrap();
    let page = poll.await.unwrap();
    assert_eq!(page.messages[0].payload.as_str(), "2");
    let mut poll = std::pin::pin!(buses.read_wait(&wanted, page.next, 25, deadline));
    assert!(futures::poll!(&mut poll).is_pending());
    assert_eq!(buses.waiting(), 1);
    clock.set(Timestamp::from_millis(deadline.as_millis() - 1));
    buses.tick();
    assert!(futures::poll!(&mut poll).is_pending());
    clock.set(deadline);
    buses.tick();
    let page = poll.await.unwrap();
    assert!(page.messages.is_empty());
    assert_eq!(buses.waiting(), 0);
}

#[tokio::test]
async fn a_subscription_gives_what_was_there_and_what_comes() {
    let clock = VirtualClock::default();
    let buses = open(&clock).await;
    let (a, b) = (bus("a.example"), bus("b.example"));
    for name in [&a, &b] {
        buses.create(name, Retention::default()).await.unwrap();
    }
    buses.publish(&a, message("c", "1")).await.unwrap();
    buses.publish(&b, message("c", "2")).await.unwrap();
    let mut subscription = buses.subscribe(scope("bus:a.example bus:b.example"), Cursor::Start);
    for text in ["1", "2"] {
        assert_eq!(subscription.next().await.unwrap().unwrap().payload.as_str(), text);
    }
    assert!(futures::poll!(subscription.next()).is_pending());
    buses.publish(&b, message("c", "3")).await.unwrap();
    assert_eq!(subscription.next().await.unwrap().unwrap().payload.as_str(), "3");
    drop(subscription);
    assert_eq!(buses.waiting(), 0);
}

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Span>>);

impl Recorder for Kept {
    fn record(&self, span: Span) {
        self.0.lock().unwrap().push(span);
    }
}

#[tokio::test]
async fn a_message_has_a_span_of_its_own_whose_parent_is_what_came_with_it() {
    let clock = VirtualClock::default();
    let quiet = Tracer::new(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(3)));
    let kept = Arc::new(Kept::default());
    let recording = quiet.clone().recording(kept.clone(), SampleRatio::ALL);
    let given = TraceParent::new(7, 8, true);
    for (tracer, keeps_what_came) in [(Some(quiet), true), (None, true), (Some(recording), false)] {
        let is_traced = tracer.is_some();
        let buses = open_traced(&clock, tracer).await;
        buses.create(&bus("a"), Retention::default()).await.unwrap();
        let mut traced = message("c", "1");
        traced.headers.traceparent = Some(given.clone());
        let ids = buses.publish_all(&bus("a"), vec![traced, message("c", "2")]).await.unwrap();
        let page = buses.read(&scope("bus:a"), Cursor::Start, 10).await.unwrap();
        let contexts: Vec<_> =
            page.messages.iter().map(|m| m.headers.traceparent.clone()).collect();
        assert_eq!(contexts[0].as_ref() == Some(&given), keeps_what_came);
        assert_eq!(contexts[1].is_some(), is_traced);
        let spans = std::mem::take(&mut *kept.0.lock().unwrap());
        assert_eq!(spans.len(), if keeps_what_came { 0 } else { 2 });
        for ((span, context), published) in spans.iter().zip(contexts).zip(ids) {
            assert_eq!((Some(&span.context), &span.failure), (context.as_ref(), &None));
            assert!(matches!(span.work, Work::Publish { id, .. } if id == Some(published)));
        }
        assert_eq!(spans.first().and_then(|span| span.parent), spans.first().map(|_| 8));
    }
}

#[tokio::test]
async fn a_publish_that_fails_is_recorded_with_its_reason() {
    let clock = VirtualClock::default();
    let kept = Arc::new(Kept::default());
    let tracer = Tracer::new(Arc::new(clock.clone()), Arc::new(SeededEntropy::new(3)));
    let buses = open_traced(&clock, Some(tracer.recording(kept.clone(), SampleRatio::ALL))).await;
    let refused = buses.publish(&bus("nowhere"), message("c", "1")).await.unwrap_err();
    let spans = kept.0.lock().unwrap();
    assert_eq!((spans.len(), spans[0].parent), (1, None));
    assert_eq!(spans[0].failure, Some(refused.to_string()));
    assert!(matches!(spans[0].work, Work::Publish { id: None, .. }));
}
