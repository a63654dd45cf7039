//! Runs the example and looks at what it saw.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "the example's main is not called, what it calls is")]
#[path = "../examples/belay_server.rs"]
mod belay_server;

#[tokio::test]
async fn the_example_does_what_it_says() {
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
