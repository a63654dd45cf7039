//! The record that is kept of what happened to grants (Belay §20.9).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use buswire_belay::{AuditAction, AuditEvent, Invoked, Method, Peer};
use common::World;

#[tokio::test]
async fn the_last_events_are_kept_and_can_be_followed() {
    // Rule: belay 20.9 — the record names who granted, changed and revoked, and the chain
    let world = World::new().await;
    let root = world.grant("test.echo", "", "").await;
    let child = world.wrap(&root.cap, "").await;
    world.call("POST", &child.cap, r#"{"value":"s3cret-body"}"#).await;
    world.call("DELETE", &child.control, "").await;
    world.server.revoke(&root.handle).await.unwrap();
    let page = world.server.audit_after(0);
    assert_eq!(page.missed, 0);
    let by_child = Some(child.handle.clone());
    let invoked: Vec<_> = page.events.iter().filter_map(|event| invoked_of(event)).collect();
    assert_eq!(invoked.len(), 2);
    assert_eq!(
        (invoked[0].method, invoked[0].status, invoked[0].control),
        (Method::Post, 200, false)
    );
    assert_eq!((invoked[0].bytes_in, invoked[0].peer), (23, Peer::Loopback));
    assert!(invoked[1].control);
    assert_eq!(page.events[2].above, std::slice::from_ref(&root.handle));
    let actions: Vec<_> = page.events.iter().map(|event| &event.action).collect();
    assert_eq!(actions[0], &AuditAction::Granted { by: None });
    // Rule: belay 20.9 — a wrap is recorded as one
    assert_eq!(actions[1], &AuditAction::Wrapped { by: root.handle.clone() });
    assert_eq!(actions[3], &AuditAction::Revoked { by: by_child });
    assert_eq!(actions[5], &AuditAction::Revoked { by: None });
    assert!(!format!("{page:?}").contains("s3cret"));
    // Whoever follows is woken by the next one, and told what it missed.
    let last = page.events.last().unwrap().sequence;
    let wait = world.server.audit_wait(last);
    let ((), _) = tokio::join!(wait, world.grant("test.echo", "", ""));
    assert_eq!(world.server.audit_after(last).events.len(), 1);
    for _ in 0..1100 {
        world.server.set_suspended(&root.handle, true).await.unwrap_err();
        let id = world.server.local_id(&child.cap).unwrap();
        world.server.invoke(id.expose(), Method::Get, None).await.unwrap_err();
    }
    assert_eq!(world.server.audit_after(last).events.len(), 1, "what is not found is not recorded");
    let more = world.grant("test.echo", "", "").await;
    let id = world.server.local_id(&more.cap).unwrap();
    for _ in 0..1100 {
        world.server.invoke(id.expose(), Method::Get, None).await.unwrap();
    }
    let page = world.server.audit_after(last);
    assert_eq!((page.events.len(), page.missed), (1024, 78));
}

fn invoked_of(event: &AuditEvent) -> Option<Invoked> {
    match &event.action {
        AuditAction::Invoked(invoked) => Some(invoked.clone()),
        _ => None,
    }
}
