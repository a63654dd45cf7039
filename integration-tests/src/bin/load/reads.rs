//! Reads that find nothing, each reader asking again at once.

use buswire_integration_tests::{Gateway, Site};

use crate::{
    exchange::run,
    http::{Message, get},
    stats::{Floor, Plan, compare as table},
};

pub(crate) fn compare(plan: &Plan) {
    let title = format!("reads that find nothing, {} readers", plan.clients);
    table(
        &title,
        plan,
        || {
            let gateway = Gateway::spawn();
            let site = Site::create(&gateway, "load", &[]);
            let visits: Vec<_> = (0..8).map(|_| site.visit(&gateway)).collect();
            let requests: Vec<_> =
                visits.iter().map(|visit| get("/v2/messages", &visit.token)).collect();
            run(plan, &gateway.bound().http, &requests, gateway.pid(), check)
        },
        || {
            let floor = Floor::start(&["reads"]);
            run(plan, &floor.address, &[get("/v2/messages", "none")], floor.pid(), check)
        },
    );
}

pub(crate) fn check(answer: &Message) {
    let body = String::from_utf8_lossy(&answer.body);
    assert!(answer.status() == 200 && body.contains("\"messages\":[]"), "{body}");
}
