//! The demo page in a real browser.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::process::Command;

use buswire_integration_tests::{
    DEADLINE, Running, binary, chromium, look, press, screenshot, start, text_when,
};
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

#[tokio::test]
async fn one_link_for_each_transport_works_until_it_is_ended() {
    let (_demo, url) = demo();
    let (_driver, page) = chromium().await;
    page.goto(format!("{url}links/")).await.unwrap();

    press(&page, "Publish an order").await;
    text_when(&page, "#publish-result", |text| text.starts_with("It is message ")).await;
    // Rule: belay 22.4 — a route delivers into a window over the relay
    text_when(&page, "#window li", |text| text.starts_with("New order: ticket 1")).await;
    press(&page, "Call the service").await;
    text_when(&page, "#call-result", |text| text == "Confirmed: a seat.").await;
    press(&page, "Ring the device").await;
    text_when(&page, "#ring-result", |text| text == "The device was told: version 1.").await;
    let read = async {
        loop {
            press(&page, "Read the channel").await;
            let shown = text_when(&page, "#read-result", |text| text.contains("messages")).await;
            // The service's answer comes when it comes.
            if shown == "2 messages: demo/order, demo/answer" {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, read).await.expect("the answer is on the bus");
    for (width, scheme) in [(1120, "light"), (390, "dark")] {
        look(&page, width, scheme).await;
        screenshot(&page, &format!("demo-links-{width}-{scheme}.png")).await;
    }

    press(&page, "End all links").await;
    let ended = async {
        while text_when(&page, "#publish-result", |_| true).await != "404 not found" {
            press(&page, "Publish an order").await;
        }
    };
    tokio::time::timeout(DEADLINE, ended).await.expect("the links end");
    let problem = page.find(By::Id("problem")).await.unwrap();
    assert!(!problem.is_displayed().await.unwrap(), "{}", problem.text().await.unwrap());
    page.quit().await.unwrap();
}
