//! The demo page in a real browser.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::process::Command;

use buswire_integration_tests::{Running, binary, chromium, screenshot, start, text_when};
use thirtyfour::prelude::*;

fn demo() -> (Running, String) {
    let mut command = Command::new(binary());
    command.args(["demo", "--set", "http.listen=127.0.0.1:0", "--set", "admin.listen=127.0.0.1:0"]);
    command.args([
        "--set",
        "ops.listen=127.0.0.1:0",
        "--set",
        "mdp.listen=[\"tcp://127.0.0.1:0\"]",
    ]);
    start(command, |line| {
        let at = line.find("http://")?;
        line.contains("/demo/").then(|| line.split_at(at).1.trim().to_owned())
    })
}

#[tokio::test]
async fn a_message_of_one_widget_arrives_in_the_other() {
    let (_demo, url) = demo();
    let (_driver, page) = chromium().await;
    page.goto(&url).await.unwrap();

    let send = page.query(By::Id("send")).and_enabled().first().await.unwrap();
    send.click().await.unwrap();
    let received = text_when(&page, "#received li.answer", |text| !text.is_empty()).await;
    assert!(received.contains("Confirmed: Two tickets to Oslo"), "{received}");
    text_when(&page, "#push-text", |text| text.starts_with("push: version ")).await;
    let read = text_when(&page, "#cap-result", |text| text.contains("demo/answer")).await;
    assert_eq!(read, "200: 2 messages (demo/order, demo/answer)");
    text_when(&page, ".path li.done:nth-child(5)", |text| text.contains("ms")).await;
    screenshot(&page, "demo.png").await;

    page.find(By::Id("revoke")).await.unwrap().click().await.unwrap();
    let revoked = text_when(&page, "#cap-result", |text| text.contains("404")).await;
    assert_eq!(revoked, "404 not found: this link does nothing any more.");
    let problem = page.find(By::Id("problem")).await.unwrap();
    assert!(!problem.is_displayed().await.unwrap(), "{}", problem.text().await.unwrap());
    screenshot(&page, "demo-revoked.png").await;
    page.quit().await.unwrap();
}
