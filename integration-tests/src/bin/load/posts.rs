//! Durable posts over HTTP, each publisher waiting for its answer.

use buswire_integration_tests::{Gateway, Site};

use crate::{
    exchange::run,
    http::{Message, post},
    stats::{Floor, Plan, compare as table},
};

pub(crate) fn compare(plan: &Plan) {
    let title = format!("durable posts, {} publishers", plan.clients);
    table(
        &title,
        plan,
        || {
            let gateway = Gateway::spawn();
            let requests = requests(&gateway);
            run(plan, &gateway.bound().http, &requests, gateway.pid(), check)
        },
        || {
            // Where the gateway keeps its data too.
            let file = tempfile::NamedTempFile::new().unwrap();
            let floor = Floor::start(&["posts", &file.path().display().to_string()]);
            run(plan, &floor.address, &[plain("/")], floor.pid(), check)
        },
    );
}

/// Posts of 64 bytes to eight channels of a new bus.
pub(crate) fn requests(gateway: &Gateway) -> Vec<Vec<u8>> {
    let site = Site::create(gateway, "load", &["--max-messages", "1000000"]);
    let visits: Vec<_> = (0..8).map(|_| site.visit(gateway)).collect();
    let authorization = format!("Bearer {}", site.token);
    let payload = format!("\"{}\"", "x".repeat(64));
    let bodies = visits.iter().map(|visit| site.message(&visit.channel, "load/post", &payload));
    bodies.map(|body| post("/v2/message", &authorization, "application/json", &body)).collect()
}

/// A post to another server, as long as what the gateway stores of one.
pub(crate) fn plain(path: &str) -> Vec<u8> {
    post(path, "none", "application/json", &"x".repeat(400))
}

pub(crate) fn check(answer: &Message) {
    assert!(answer.is_accepted(), "{}", String::from_utf8_lossy(&answer.body));
}
