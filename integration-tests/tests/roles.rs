//! Tokens of administrators with a role, at the real gateway.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::process::{Command, Output};

use buswire_integration_tests::{Gateway, binary, curl, until};

fn run(gateway: &Gateway, token: &str, arguments: &[&str]) -> Output {
    run_at(&gateway.bound().admin, token, arguments)
}

fn run_at(admin: &str, token: &str, arguments: &[&str]) -> Output {
    let admin = format!("http://{admin}");
    let mut command = Command::new(binary());
    command.args(arguments).args(["--admin", &admin, "--token", token]).output().unwrap()
}

fn refusal(gateway: &Gateway, token: &str, arguments: &[&str]) -> String {
    let output = run(gateway, token, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn allows(gateway: &Gateway, token: &str, arguments: &[&str]) {
    let output = run(gateway, token, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
}

const PUBLISH: [&str; 10] =
    ["message", "publish", "--bus", "a.example", "--channel", "c", "--type", "t", "--payload", "1"];

#[test]
fn a_viewer_looks_an_operator_runs_and_an_admin_does_everything() {
    let mut gateway = Gateway::spawn();
    gateway.admin(&["bus", "create", "a.example"]);
    let make =
        |name: &str, role: &str| gateway.admin(&["admin-token", "create", name, "--role", role]);
    let [viewer, operator, admin] = [("look", "viewer"), ("run", "operator"), ("all", "admin")]
        .map(|(name, role)| make(name, role));
    // They are stored: a restart changes nothing.
    gateway.kill();
    gateway.start();
    let looking =
        [&["bus", "list"][..], &["status"], &["message", "read", "--scope", "bus:a.example"]];
    let running = [
        &["bus", "create", "b.example"][..],
        &["route", "create", "r", "--scope", "bus:a.example", "--sink", "bus:b.example"],
        &["route", "pause", "r"],
        &PUBLISH,
    ];
    let handing_out = [
        &["cap", "grant", "bus.read", "--target", r#"{"bus":"a.example"}"#][..],
        &["client", "create", "--source-url", "https://v.example/"],
        &["admin-token", "create", "more", "--role", "viewer"],
        &["admin-token", "list"],
    ];
    for token in [&viewer, &operator, &admin] {
        for arguments in looking {
            allows(&gateway, token, arguments);
        }
    }
    for arguments in running.iter().chain(&handing_out) {
        assert!(refusal(&gateway, &viewer, arguments).contains("viewer"), "{arguments:?}");
    }
    for arguments in running {
        allows(&gateway, &operator, arguments);
    }
    for arguments in &handing_out {
        assert!(refusal(&gateway, &operator, arguments).contains("operator"), "{arguments:?}");
    }
    for arguments in handing_out {
        allows(&gateway, &admin, arguments);
    }

    // The console knows the same roles.
    let console = |token: &str, call: &str, headers: &[&str]| {
        let url = format!("http://{}/console/api/{call}", gateway.bound().admin);
        let asked = curl(&url).json(r#"{"name":"r"}"#);
        let bearer = format!("authorization: Bearer {token}");
        headers.iter().fold(asked.header(&bearer), |asked, header| asked.header(header)).send()
    };
    let own = &["x-buswire-console: 1"][..];
    assert_eq!(console(&viewer, "RouteService/GetRoute", own).status, 200);
    assert_eq!(console(&viewer, "RouteService/ResumeRoute", own).status, 403);
    assert_eq!(console(&operator, "RouteService/ResumeRoute", own).status, 200);
    // What a form of another site could send is refused, whoever's browser sends it.
    assert_eq!(console(&operator, "RouteService/PauseRoute", &[]).status, 403);

    gateway.admin(&["admin-token", "revoke", "run"]);
    // Other gateways are told by a hint; the one that revoked it refuses it at once.
    for at in 0..gateway.size() {
        until("every gateway refuses it", || {
            let output = run_at(&gateway.bound_at(at).admin, &operator, &["bus", "list"]);
            (!output.status.success()).then_some(())
        });
    }
    assert!(refusal(&gateway, &operator, &["bus", "list"]).contains("token"));
    assert_eq!(console(&operator, "RouteService/GetRoute", own).status, 401);
    let listed = gateway.admin(&["admin-token", "list"]);
    assert!(listed.contains("look") && !listed.contains("run"), "{listed}");
    for token in [&viewer, &operator, &admin] {
        assert!(!listed.contains(token.as_str()) && !gateway.log().contains(token.as_str()));
    }
}
