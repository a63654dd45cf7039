//! One post at a time to many readers that wait for it.

use std::time::{Duration, Instant};

use buswire_integration_tests::{Gateway, Site};

use crate::{
    http::{Connection, Message, get, post},
    stats::{Floor, Plan, Run, compare as table, cpu_of},
};

/// Posts in one run.
const POSTS: usize = 30;
/// A server that uses no processor time for so long has taken all requests in.
const SETTLE: Duration = Duration::from_millis(50);

pub(crate) fn compare(plan: &Plan) {
    let title = format!("long poll, one post to {} readers", plan.clients);
    table(
        &title,
        plan,
        || {
            let gateway = Gateway::spawn();
            let site = Site::create(&gateway, "load", &["--max-messages", "1000000"]);
            let visit = site.visit(&gateway);
            let payload = format!("\"{}\"", "x".repeat(64));
            let body = site.message(&visit.channel, "load/post", &payload);
            let authorization = format!("Bearer {}", site.token);
            let post = post("/v2/message", &authorization, "application/json", &body);
            let again = following(&visit.token);
            run(plan, &gateway.bound().http, &post, &again, gateway.pid())
        },
        || {
            let floor = Floor::start(&["poll"]);
            let body = format!(
                r#"{{"nextURL":"http://floor/?since=x","messages":["{}"]}}"#,
                "x".repeat(300)
            );
            let post = post("/", "none", "application/json", &body);
            run(plan, &floor.address, &post, &following("none"), floor.pid())
        },
    );
}

/// The next request of a reader, from its last answer.
pub(crate) type Again<'a> = dyn Fn(Option<&Message>) -> Vec<u8> + 'a;

/// Reads on from the `nextURL` of each answer.
pub(crate) fn following(token: &str) -> impl Fn(Option<&Message>) -> Vec<u8> + use<> {
    let token = token.to_owned();
    move |answer| {
        let since = answer.map_or_else(String::new, next);
        get(&format!("/v2/messages?block=25{since}"), &token)
    }
}

/// Posts again and again when all readers wait; the latencies are from the post's answer to the
/// reader's.
pub(crate) fn run(plan: &Plan, address: &str, post: &[u8], again: &Again<'_>, pid: u32) -> Run {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut readers = Vec::new();
        for _ in 0..plan.clients {
            readers.push((Connection::open(address).await, again(None)));
        }
        let mut publisher = Connection::open(address).await;
        let mut latencies = Vec::new();
        let mut elapsed = Duration::ZERO;
        let cpu = cpu_of(pid);
        for _ in 0..POSTS {
            for (reader, request) in &mut readers {
                reader.send(request).await;
            }
            settled(pid).await;
            let start = Instant::now();
            let answer = publisher.exchange(post).await;
            let accepted = Instant::now();
            assert!(answer.is_accepted(), "{}", String::from_utf8_lossy(&answer.body));
            for (reader, request) in &mut readers {
                let answer = reader.receive().await.expect("an answer");
                latencies.push(accepted.elapsed());
                assert!(answer.status() == 200 && !answer.body.is_empty(), "{}", answer.head);
                *request = again(Some(&answer));
            }
            elapsed += start.elapsed();
        }
        let server_cpu = cpu_of(pid).saturating_sub(cpu);
        let lost = POSTS * plan.clients - latencies.len();
        Run { operations: latencies.len(), lost, wrong: 0, elapsed, server_cpu, latencies }
    })
}

/// Waits until the server does nothing any more: all readers wait.
async fn settled(pid: u32) {
    let mut before = cpu_of(pid);
    loop {
        tokio::time::sleep(SETTLE).await;
        let now = cpu_of(pid);
        if now == before {
            return;
        }
        before = now;
    }
}

/// The `since` parameter of `nextURL`.
fn next(answer: &Message) -> String {
    let body = String::from_utf8_lossy(&answer.body);
    assert!(
        body.contains("\"messages\":[\"") || body.contains("\"messages\":[{"),
        "a message: {body}"
    );
    let since = body.split("since=").nth(1).and_then(|rest| rest.split('"').next());
    format!("&since={}", since.expect("nextURL has since"))
}
