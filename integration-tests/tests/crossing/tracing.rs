//! One trace through every hop, seen by an OpenTelemetry collector that is not ours.

use buswire_integration_tests::{Gateway, GatewayBuilder, Peer, Single, Site, curl, python, until};
use serde_json::{Value, json};

use super::grant;

/// The trace and the span in it that callers say they come from.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// What others keep of it, sent as two headers.
const STATE: &str = "rojo=00f0,congo=t61rcWkgMzE";
const BODY: &str = r#"{"value":{"type":"t","payload":1}}"#;

/// A collector, and a gateway that is to send to it.
fn collector(mode: &str) -> (Peer, GatewayBuilder) {
    let peer = python("otlp_collector", &[mode]);
    let endpoint = format!("http://127.0.0.1:{}", peer.json()["port"]);
    (peer, Gateway::builder().set("telemetry.otlp.endpoint", &endpoint))
}

/// The next spans of the trace that callers name.
fn spans(collector: &Peer, count: usize) -> Vec<Value> {
    let all = std::iter::repeat_with(|| collector.json());
    all.filter(|span| span["trace"] == TRACE).take(count).collect()
}

/// The span that is called so and hangs on another.
fn below<'a>(spans: &'a [Value], name: &str, parent: &Value) -> &'a Value {
    let span = spans.iter().find(|span| span["name"] == name && span["parent"] == *parent);
    span.unwrap_or_else(|| panic!("no {name} below {parent}: {spans:#?}"))
}

/// What the messages of a bus carry.
fn traceparents(gateway: &Gateway, bus: &str) -> Vec<String> {
    carried(gateway, bus, "traceparent")
}

fn carried(gateway: &Gateway, bus: &str, what: &str) -> Vec<String> {
    let lines = gateway.admin(&["message", "read", "--scope", &format!("bus:{bus}")]);
    let messages = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    messages.map(|message| message[what].as_str().unwrap_or_default().to_owned()).collect()
}

/// Invokes a capability of the kind `bus.publish`.
fn post(cap: &str, traceparent: &str) {
    let header = format!("traceparent: {traceparent}");
    let states = ["tracestate: rojo=00f0", "tracestate: congo=t61rcWkgMzE"];
    let request = curl(cap).method("POST").header(&header);
    let reply =
        states.iter().fold(request, |request, state| request.header(state)).json(BODY).send();
    assert_eq!(reply.status, 200, "{}", reply.body);
}

fn publisher(gateway: &Gateway) -> String {
    let granted = grant(gateway, "bus.publish", &json!({"bus": "b", "channel": "c"}));
    granted["cap"].as_str().unwrap().to_owned()
}

#[test]
fn a_collector_sees_one_tree_from_the_post_over_a_bus_and_a_worker_to_the_answer() {
    let (collector, gateway) = collector("take");
    let gateway = gateway
        .set("telemetry.otlp.headers", "authorization=Bearer hunter2")
        .set("mdp.trace_services", r#"["orders"]"#)
        .start();
    let site = Site::create(&gateway, "shop.example", &[]);
    gateway.admin(&["bus", "create", "desk.example"]);
    let visit = site.visit(&gateway);
    let worker = python("mdp_worker", &[&gateway.bound().mdp, "orders", "json"]);
    assert_eq!(worker.json()["event"], "ready");
    let forward = ["route", "create", "forward", "--scope", "bus:shop.example"];
    gateway.admin(&[&forward[..], &["--sink", "bus:desk.example"]].concat());
    let ask = ["route", "create", "ask", "--scope", "bus:desk.example type:order/new"];
    gateway.admin(&[&ask[..], &["--sink", "mdp:orders", "--reply-type", "order/answer"]].concat());

    let reply = curl(&gateway.url("/v2/message"))
        .header(&format!("Authorization: Bearer {}", site.token))
        .header(&format!("traceparent: {GIVEN}"))
        .json(&site.message(&visit.channel, "order/new", "1"))
        .send();
    assert_eq!((reply.status, reply.header("traceparent")), (201, None));
    let request = until("the worker gets the order", || {
        Some(worker.json()).filter(|line| line["event"] == "request")
    });

    let seen = spans(&collector, 6);
    let (mut parent, mut began) = (json!(CALLER), 0);
    let mut chain = Vec::new();
    for (name, attribute, value) in [
        ("publish shop.example", "buswire.door", "backplane/2"),
        ("deliver forward", "buswire.sink", "bus"),
        ("publish desk.example", "buswire.door", "route"),
        ("deliver ask", "buswire.sink", "mdp"),
        ("request orders", "rpc.system", "majordomo"),
    ] {
        let span = below(&seen, name, &parent);
        assert_eq!((&span["attributes"][attribute], &span["failure"]), (&json!(value), &json!("")));
        assert_eq!(span["authorization"], "Bearer hunter2");
        assert_eq!(span["resource"]["service.name"], "buswire");
        let start = span["began"].as_u64().unwrap();
        assert!(began <= start && start <= span["ended"].as_u64().unwrap(), "{seen:#?}");
        (parent, began) = (span["id"].clone(), start);
        chain.push(span);
    }
    let context = |span: &Value| format!("00-{TRACE}-{}-01", span["id"].as_str().unwrap());
    let further = json!(context(chain[4]));
    assert_eq!(request["body"][1], further, "the worker can go on with the trace");
    let answer = below(&seen, "publish desk.example", &chain[3]["id"]);
    let id = &chain[2]["attributes"]["messaging.message.id"];
    assert_eq!(&answer["attributes"]["messaging.message.conversation_id"], id);
    assert!(!seen.iter().any(|span| span.to_string().contains(&visit.channel)), "no channels");

    // The messages carry their spans, and the gateway's own trace names the trace.
    let carried = traceparents(&gateway, "desk.example");
    assert_eq!(carried, [context(chain[2]), context(answer)]);
    let shown = gateway.admin(&["trace", id.as_str().unwrap()]);
    assert_eq!(shown.lines().next(), Some(format!("trace {TRACE}").as_str()));
    assert!(!gateway.log().contains("hunter2"), "no header is in the log");
}

#[test]
fn every_door_goes_on_with_a_trace_and_begins_one_where_the_header_is_malformed() {
    let (collector, gateway) = collector("take");
    let gateway = gateway.start();
    gateway.admin(&["bus", "create", "b"]);
    let cap = publisher(&gateway);
    let door = |span: &Value| span["attributes"]["buswire.door"].clone();

    post(&cap, GIVEN);
    let seen = spans(&collector, 2);
    let invocation = below(&seen, "invoke bus.publish", &json!(CALLER));
    assert_eq!(invocation["state"], STATE);
    let published = below(&seen, "publish b", &invocation["id"]);
    assert_eq!((door(published), &published["state"]), (json!("belay"), &json!(STATE)));

    let inbound = ["push", "inbound", "create", "--bus", "b", "--channel", "c", "--type", "t"];
    let inbound = gateway.admin(&[&inbound[..], &["--output", "json"]].concat());
    let inbound: Value = serde_json::from_str(&inbound).unwrap();
    let header = format!("traceparent: {GIVEN}");
    let put = curl(inbound["endpoint"].as_str().unwrap()).method("PUT").header(&header).send();
    assert_eq!(put.status, 200, "{}", put.body);
    assert_eq!(door(below(&spans(&collector, 1), "publish b", &json!(CALLER))), "simplepush");

    let message = r#"{"type":"t","payload":2}"#;
    let frames = [&gateway.bound().mdp, "bus.publish", &cap, message, GIVEN];
    let answer = python("mdp_client", &frames).json();
    assert_eq!(answer[2], "200", "{answer}");
    let seen = spans(&collector, 2);
    let invocation = below(&seen, "invoke bus.publish", &json!(CALLER));
    assert_eq!(door(below(&seen, "publish b", &invocation["id"])), "majordomo");

    let last = || traceparents(&gateway, "b").pop().unwrap();
    post(&cap, "00-00000000000000000000000000000000-00f067aa0ba902b7-01");
    assert!(!last().contains(TRACE) && last().ends_with("-01"), "{}", last());
    let states = carried(&gateway, "b", "tracestate");
    assert_eq!(states, [STATE, "", "", ""], "a state belongs to its trace");
    post(&cap, &GIVEN.replace("-01", "-00"));
    assert!(last().contains(TRACE) && last().ends_with("-00"), "{}", last());
}

#[test]
fn without_a_collector_a_context_stays_as_it_came_and_goes_on_to_other_servers() {
    let first = Gateway::builder()
        .set("belay.egress.allow_http", "true")
        .set("belay.egress.allow", r#"["127.0.0.1"]"#)
        .start();
    let second = Gateway::spawn();
    for gateway in [&first, &second] {
        gateway.admin(&["bus", "create", "b"]);
    }
    let sink = format!("cap:{}", publisher(&second));
    first.admin(&["route", "create", "out", "--scope", "bus:b", "--sink", &sink]);
    post(&publisher(&first), GIVEN);
    assert_eq!(traceparents(&first, "b"), [GIVEN]);
    let arrived = until("it is at the other gateway", || traceparents(&second, "b").pop());
    assert!(arrived.contains(TRACE) && !arrived.contains(CALLER), "{arrived}");
    assert_eq!(carried(&first, "b", "tracestate"), [STATE]);
    assert_eq!(carried(&second, "b", "tracestate"), [STATE], "what others keep of it goes on too");
}

#[test]
fn a_collector_that_hangs_or_is_absent_holds_nothing_up() {
    let (hanging, gateway) = collector("hang");
    let absent = Gateway::builder().set("telemetry.otlp.endpoint", "http://127.0.0.1:1");
    for (gateway, reason) in [(gateway, "queue"), (absent, "export")] {
        let gateway = gateway.single(Single::Counts);
        let mut gateway = gateway.set("telemetry.otlp.queue", "4").start();
        for bus in ["a", "b"] {
            gateway.admin(&["bus", "create", bus]);
        }
        gateway.admin(&["route", "create", "copy", "--scope", "bus:a", "--sink", "bus:b"]);
        let publish = || {
            let message = ["--channel", "c", "--type", "t", "--payload", "1"];
            gateway.admin(&[&["message", "publish", "--bus", "a"], &message[..]].concat())
        };
        publish();
        if reason == "queue" {
            assert_eq!(hanging.json()["name"], "publish a", "a request is under way");
        }
        for _ in 0..6 {
            publish();
        }
        let tail = ["message", "tail", "--scope", "bus:b", "--since", "beginning"];
        let copies = gateway.admin(&[&tail[..], &["--count", "7"]].concat());
        assert_eq!(copies.lines().count(), 7);
        until("what is dropped is counted", || dropped(&gateway, reason));
        assert!(gateway.terminate().success(), "{}", gateway.log());
    }
}

/// How many spans were dropped for a reason, once there are any.
fn dropped(gateway: &Gateway, reason: &str) -> Option<u64> {
    let metrics = gateway.metrics();
    let name = format!("buswire_telemetry_spans_dropped_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name))?.parse().ok()
}
