//! Alert rules, the dashboard and the runbook: fired, compared with what the gateway exposes, and with
//! each other.

use std::{collections::BTreeSet, fs, process::Command};

use buswire_integration_tests::{Gateway, Single, curl, root, until};
use serde_json::{Value, json};

use super::{file, yaml};

const ALERTS: &str = "deploy/prometheus/alerts.yml";

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).current_dir(root()).output();
    let output = output.expect("promtool is installed: apt-get install prometheus");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// Names and expressions of the alerts.
fn alerts() -> Vec<(String, String)> {
    let rules = yaml(ALERTS)["groups"][0]["rules"].take();
    let text = |rule: &Value, key: &str| rule[key].as_str().unwrap().to_owned();
    rules.as_array().unwrap().iter().map(|r| (text(r, "alert"), text(r, "expr"))).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&file("deploy/grafana/buswire.json")).unwrap()
}

/// Every text of the field `name`, wherever it is.
fn fields(value: &Value, name: &str) -> Vec<String> {
    match value {
        Value::Object(all) => {
            let here = all.get(name).and_then(Value::as_str).map(str::to_owned);
            here.into_iter().chain(all.values().flat_map(|value| fields(value, name))).collect()
        }
        Value::Array(items) => items.iter().flat_map(|item| fields(item, name)).collect(),
        _ => Vec::new(),
    }
}

/// The metrics that an expression names.
fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| ["buswire_", "simplepush_"].iter().any(|own| word.starts_with(own)))
}

#[test]
fn every_alert_fires_and_has_its_paragraph() {
    promtool(&["check", "rules", ALERTS]);
    promtool(&["check", "config", "deploy/prometheus/prometheus.yml"]);
    promtool(&["test", "rules", "deploy/prometheus/alerts_test.yml"]);
    let tests = yaml("deploy/prometheus/alerts_test.yml");
    let mut fired = BTreeSet::new();
    for test in tests["tests"].as_array().unwrap() {
        let cases = test["alert_rule_test"].as_array().unwrap().iter();
        let firing = cases.filter(|case| !case["exp_alerts"].is_null());
        fired.extend(firing.map(|case| case["alertname"].as_str().unwrap().to_owned()));
    }
    let names: BTreeSet<_> = alerts().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, fired, "alerts, and those that a case fires");
    let runbook = file("docs/runbook.md");
    let paragraphs: BTreeSet<_> =
        runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    assert_eq!(names, paragraphs, "alerts, and paragraphs of docs/runbook.md");
    let rules = yaml(ALERTS);
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let anchor = rule["alert"].as_str().unwrap().to_lowercase();
        assert_eq!(rule["annotations"]["runbook"], format!("docs/runbook.md#{anchor}"));
    }
}

#[test]
fn every_graph_is_an_expression_of_prometheus() {
    let graphs = fields(&dashboard(), "expr");
    assert!(graphs.len() > 30, "{graphs:?}");
    // JSON is YAML, and a recording rule is checked as a graph would be.
    let record = |(number, graph): (usize, &String)| json!({"record": format!("graph:{number}"), "expr": graph.replace("$__rate_interval", "1m")});
    let rules: Vec<_> = graphs.iter().enumerate().map(record).collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("graphs.yml");
    let groups = json!({"groups": [{"name": "graphs", "rules": rules}]});
    fs::write(&path, groups.to_string()).unwrap();
    promtool(&["check", "rules", path.to_str().unwrap()]);
}

/// What a gateway exposes that has seen a bit of everything.
fn exposed() -> String {
    let certificates = tempfile::tempdir().unwrap();
    for (name, of) in [("cert", "first.pem"), ("key", "first.key")] {
        let of = root().join("gateway/tests/tls_files").join(of);
        fs::copy(of, certificates.path().join(name)).unwrap();
    }
    let path = |name: &str| certificates.path().join(name).display().to_string();
    let gateway = Gateway::single(Single::Counts)
        .set("bridge.max_attempts", "1")
        .set("bridge.attempt_timeout", "100ms")
        .set("http.tls.cert", &path("cert"))
        .set("http.tls.key", &path("key"))
        .start();
    let ask = |url: &str| curl(url).args(&["--insecure", "--http1.1"]);
    let base = format!("https://{}", gateway.bound().http);
    gateway.admin(&["bus", "create", "shop.example"]);
    let nobody = ["--scope", "bus:shop.example", "--sink", "mdp:nobody"];
    gateway.admin(&[&["route", "create", "stuck"], &nobody[..]].concat());
    let target = r#"{"bus":"shop.example","channel":"c"}"#;
    let granted = gateway.admin(&["cap", "grant", "bus.publish", "--target", target]);
    let granted: Value = serde_json::from_str(&granted).unwrap();
    let body = r#"{"value":{"type":"order/new","payload":1}}"#;
    let published = ask(granted["cap"].as_str().unwrap()).json(body).send();
    assert!([200, 201].contains(&published.status), "{}", published.body);
    gateway.admin(&["cap", "revoke", granted["handle"].as_str().unwrap()]);
    let gone = ask(granted["cap"].as_str().unwrap()).json(body).send();
    assert_eq!(gone.status, 404, "{}", gone.body);
    ask(&format!("{base}/v2/token?bus=shop.example&callback=cb")).send();
    fs::write(path("cert"), "no certificate").unwrap();
    gateway.signal("HUP");
    let scrape = || gateway.metrics();
    until("a dead letter, a reload that failed, and the broker's numbers", || {
        let metrics = scrape();
        let counted = |name: &str| metrics.lines().any(|line| line == format!("{name} 1"));
        let both = ["buswire_bridge_dead_letters_total", "buswire_reload_failures_total"];
        // The last that the broker writes, once a second.
        let written = metrics.contains("\nbuswire_mdp_round_trip_seconds_sum ");
        (written && both.into_iter().all(counted)).then_some(())
    });
    // An answer is put together bit by bit; in the next one everything is there.
    format!("{}{}", scrape(), exposed_while_ordering())
}

/// What one exposes that orders a certificate where nobody answers.
fn exposed_while_ordering() -> String {
    let gateway = Gateway::builder()
        .set("http.acme.domains", "[\"gw.example\"]")
        .set("http.acme.directory", "https://127.0.0.1:1/")
        .set("http.acme.accept_terms", "true")
        .start();
    let scrape = || curl(&format!("http://{}/metrics", gateway.bound().ops)).send().body;
    until("a failed order", || {
        scrape().lines().any(|line| line == "buswire_acme_failures_in_a_row 1").then(scrape)
    })
}

#[test]
fn alerts_and_graphs_ask_for_metrics_that_the_gateway_exposes() {
    let alerts = alerts().into_iter().map(|(_, expression)| expression);
    let graphs = ["expr", "query"].into_iter().flat_map(|name| fields(&dashboard(), name));
    let expressions: Vec<_> = alerts.chain(graphs).collect();
    let asked: BTreeSet<_> = expressions.iter().flat_map(|text| metrics(text)).collect();
    assert!(asked.len() > 30, "{asked:?}");
    let text = exposed();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let names: BTreeSet<_> = samples.filter_map(|line| line.split(['{', ' ']).next()).collect();
    let unknown: Vec<_> = asked.difference(&names).collect();
    assert!(unknown.is_empty(), "{unknown:?} in\n{text}");
    // A label whose values come from outside would grow the memory of both without bound.
    let values = |label: &str| -> BTreeSet<String> {
        let after = |line: &str| {
            Some(line.split_once(&format!("{label}=\""))?.1.split('"').next()?.to_owned())
        };
        text.lines().filter_map(after).collect()
    };
    for label in ["bus", "channel", "service", "client", "address", "route", "path"] {
        assert_eq!(values(label), BTreeSet::new(), "{label}");
    }
}
