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
            let site = Site::create(&gateway, "load", &["--max-messages", "1000000"]);
            let visits: Vec<_> = (0..8).map(|_| site.visit(&gateway)).collect();
            let authorization = format!("Bearer {}", site.token);
            let payload = format!("\"{}\"", "x".repeat(64));
            let requests: Vec<_> = visits
                .iter()
                .map(|visit| site.message(&visit.channel, "load/post", &payload))
                .map(|body| post("/v2/message", &authorization, "application/json", &body))
                .collect();
            run(plan, &gateway.bound().http, &requests, gateway.pid(), check)
        },
        || {
            // Where the gateway keeps its data too.
            let file = tempfile::NamedTempFile::new().unwrap();
            let floor = Floor::start(&["posts", &file.path().display().to_string()]);
            let request = post("/", "none", "application/json", &"x".repeat(400));
            run(plan, &floor.address, &[request], floor.pid(), check)
        },
    );
}

fn check(answer: &Message) {
    assert_eq!(answer.status(), 201, "{}", String::from_utf8_lossy(&answer.body));
}
