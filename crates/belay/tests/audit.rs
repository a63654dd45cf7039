//! The audit record, read as a subscriber of events gets it.
//!
//! Alone in its process: whether an event is recorded is decided once for all threads of a process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    fmt::{self, Write as _},
    sync::{Arc, Mutex},
};

use common::World;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

/// Writes down every event.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0.lock().unwrap(), " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("buswire")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push('\n');
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn the_audit_record_names_handles_only() {
    // Rule: belay 20.9 — grant, wrap, revoke, suspend and every invocation are recorded, by handle
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let world = World::new().await;
    let root = world.grant("test.echo", r#"{"channel":"s3cret-channel"}"#, "").await;
    let child = world.wrap(&root.cap, "").await;
    world.call("POST", &child.cap, r#"{"value":"s3cret-body"}"#).await;
    world.call("PUT", &root.control, r#"{"value":{"suspended":true}}"#).await;
    world.call("DELETE", &root.control, "").await;
    let text = log.0.lock().unwrap().clone();
    let (root_handle, child_handle) = (&root.handle, &child.handle);
    for line in [
        format!("granted handle={root_handle} kind=test.echo link=Root"),
        format!("wrapped handle={child_handle} kind=test.echo by=\"{root_handle}\""),
        format!(
            "invoked handle={child_handle} chain=\"{root_handle}\" control=false \
             method=\"POST\" status=200 bytes_in=23 bytes_out=23"
        ),
        format!("changed handle={root_handle} suspended=true by=\"{root_handle}\""),
        format!("revoked handle={root_handle} kind=test.echo by=\"{root_handle}\""),
    ] {
        assert!(text.contains(&line), "{line} is not in {text}");
    }
    assert!(!text.contains("s3cret") && !text.contains("/cap/"));
    for cap in [&root.cap, &root.control, &child.cap, &child.control] {
        assert!(!text.contains(world.server.local_id(cap).unwrap().expose().as_str()));
    }
}
