//! Commands about SimplePush, against a gateway with fake doors.

use buswire_proto::v1::{self, push_service_client::PushServiceClient};
use serde_json::{Value, json};
use tonic::Code;

use crate::{commands::run, fake_push::AGENT, support::Server};

async fn shown(server: &Server, arguments: &[&str]) -> Value {
    let text = run(server, &[arguments, &["--output", "json"]].concat()).await.unwrap();
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn an_endpoint_is_notified() {
    let server = Server::start().await;
    let endpoint = "https://gateway.example/update/t";
    assert_eq!(run(&server, &["push", "notify", endpoint, "--version", "7"]).await.unwrap(), "7\n");
    assert_eq!(shown(&server, &["push", "notify", endpoint]).await, json!({"version": 4711}));
    assert_eq!(
        run(&server, &["push", "notify", "https://x.example/"]).await.unwrap_err(),
        "buswire: the endpoint is not one of this gateway's\n"
    );
    let channel = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";
    let by_name = ["push", "notify", "--agent", AGENT, "--channel", channel, "--version", "9"];
    assert_eq!(run(&server, &by_name).await.unwrap(), "9\n");
}

#[tokio::test]
async fn a_channel_is_named_in_one_way() {
    let server = Server::start().await;
    let mut client = PushServiceClient::new(server.authorized().await);
    for (endpoint, agent, channel) in [("", "", ""), ("", "a", ""), ("e", "a", "c"), ("e", "", "c")]
    {
        let request = v1::NotifyRequest {
            endpoint: endpoint.into(),
            agent: agent.into(),
            channel: channel.into(),
            version: None,
        };
        let refused = client.notify(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{endpoint} {agent} {channel}");
    }
}

#[tokio::test]
async fn user_agents_are_shown_and_dropped() {
    let server = Server::start().await;
    assert_eq!(
        run(&server, &["push", "list"]).await.unwrap(),
        "AGENT                             CONNECTED  CHANNELS  PENDING  PENDING SINCE             SEEN AT                   CREATED AT\n\
         0123456789abcdef0123456789abcdef  true       2         1        2024-03-09T14:05:21.000Z  2024-03-09T14:05:21.000Z  2024-03-09T14:05:21.000Z\n"
    );
    let agent = shown(&server, &["push", "show", AGENT]).await;
    assert_eq!((&agent["connected"], &agent["pending"]), (&json!(true), &json!(1)));
    let channels = shown(&server, &["push", "channels", AGENT]).await;
    assert_eq!(channels.as_array().unwrap().len(), 2, "both pages");
    assert_eq!(channels[0]["pending_version"], 7);
    assert_eq!(channels[1]["pending_version"], Value::Null);
    assert_eq!(
        run(&server, &["push", "drop", AGENT]).await.unwrap(),
        format!("user agent {AGENT} dropped\n")
    );
    assert_eq!(
        run(&server, &["push", "drop", "x"]).await.unwrap_err(),
        "buswire: there is no such user agent; `buswire push list` shows those there are\n"
    );
    assert_eq!(
        shown(&server, &["push", "status"]).await,
        json!({"connections": 3, "agents": 2, "draining": false, "store_unavailable": null})
    );
}

#[tokio::test]
async fn subscriptions_are_listed_and_removed() {
    let server = Server::start().await;
    assert_eq!(
        run(&server, &["push", "subscriptions"]).await.unwrap(),
        "ID  SCOPE                         AGENT  CHANNEL  GRANT  CREATED AT\n\
         s1  bus:example.com channel:news  a1     c1       g1     2024-03-09T14:05:21.000Z\n"
    );
    for (id, sentence) in [("s1", "subscription s1 removed\n"), ("s2", "no subscription s2\n")] {
        assert_eq!(run(&server, &["push", "unsubscribe", id]).await.unwrap(), sentence);
    }
}

#[tokio::test]
async fn inbound_endpoints_are_made_listed_and_revoked() {
    let server = Server::start().await;
    let create =
        |bus| ["push", "inbound", "create", "--bus", bus, "--channel", "news", "--type", "push"];
    assert_eq!(
        shown(&server, &create("example.com")).await,
        json!({"id": "i1", "endpoint": "https://gateway.example/update/secret"})
    );
    assert_eq!(
        run(&server, &create("b")).await.unwrap_err(),
        "buswire: there is no bus b; `buswire bus list` shows those there are\n"
    );
    let refused = run(&server, &create("a b")).await.unwrap_err();
    assert!(refused.contains("bus:"), "{refused}");
    let listed = shown(&server, &["push", "inbound", "list"]).await;
    assert_eq!(listed[0]["type"], "push");
    assert!(!listed.to_string().contains("/update/"), "URLs are not shown again");
    for (id, sentence) in
        [("i1", "inbound endpoint i1 revoked\n"), ("i2", "no inbound endpoint i2\n")]
    {
        assert_eq!(run(&server, &["push", "inbound", "revoke", id]).await.unwrap(), sentence);
    }
    let by_url = ["push", "inbound", "revoke", "https://gateway.example/update/hunter2"];
    assert!(!run(&server, &by_url).await.unwrap_err().contains("hunter2"));
}
