//! Runs the examples and looks at what they saw.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "the example's main is not called, what it calls is")]
#[path = "../examples/belay_server.rs"]
mod belay_server;
#[allow(dead_code, reason = "the example's main is not called, what it calls is")]
#[path = "../examples/in_process.rs"]
mod in_process;

#[tokio::test]
async fn a_counter_is_lent_and_taken_back() {
    let seen = belay_server::run().await.unwrap();
    assert_eq!(
        seen,
        [
            r#"HTTP/1.1 200 OK: {"value":1}"#,
            r#"HTTP/1.1 200 OK: {"value":1}"#,
            r#"HTTP/1.1 405 Method Not Allowed: {"error":{"status":405,"message":"method not allowed"}}"#,
            r#"HTTP/1.1 404 Not Found: {"error":{"status":404,"message":"not found"}}"#,
        ]
    );
}

#[tokio::test]
async fn a_shelf_is_lent_on_and_outlives_a_restart() {
    // Rule: belay 6.11 — a server is revived from its snapshot and the named handlers
    let seen = in_process::run().await.unwrap();
    assert_eq!(
        seen,
        [
            "friend: Leaves of Grass",
            "reader: Leaves of Grass, Les Fleurs du mal",
            "friend: 404 not found",
            "reader: 404 not found",
        ]
    );
}
