//! A bus with a client and channels, set up as an administrator and a browser would.

use serde_json::Value;

use crate::{Gateway, client::curl};

/// A Backplane 2.0 client on a bus, and the tokens that it works with.
#[derive(Clone, Debug)]
pub struct Site {
    /// The bus.
    pub bus: String,
    /// The id of the client.
    pub client_id: String,
    /// Its secret.
    pub secret: String,
    /// The client's privileged token.
    pub token: String,
}

/// What a browser gets: a channel and the token that reads it.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The channel.
    pub channel: String,
    /// The anonymous token.
    pub token: String,
}

fn text(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("{name} in {value}"))
        .to_owned()
}

impl Site {
    /// Makes the bus and the client with the administration's command line, and gets a token with
    /// curl. `limits` are further arguments for `bus create`.
    pub fn create(gateway: &Gateway, bus: &str, limits: &[&str]) -> Self {
        gateway.admin(&[&["bus", "create", bus], limits].concat());
        Self::client(gateway, bus)
    }

    /// Makes another client of a bus, and gets it a token with curl.
    pub fn client(gateway: &Gateway, bus: &str) -> Self {
        let source = "https://vendor.example/";
        let create = ["client", "create", "--source-url", source, "--output", "json"];
        let created = gateway.admin(&create);
        let created: Value = serde_json::from_str(&created).expect("JSON");
        let (client_id, secret) = (text(&created, "client_id"), text(&created, "secret"));
        gateway.admin(&["grant", "create", &client_id, bus]);
        let token = curl(&gateway.url("/v2/token"))
            .args(&["--user", &format!("{client_id}:{secret}")])
            .args(&["--data", "grant_type=client_credentials"])
            .send();
        assert_eq!(token.status, 200, "{}", token.body);
        let token = text(&token.json(), "access_token");
        Self { bus: bus.into(), client_id, secret, token }
    }

    /// Gets a channel and an anonymous token as the browser library does.
    pub fn visit(&self, gateway: &Gateway) -> Visit {
        let reply = curl(&gateway.url(&format!("/v2/token?bus={}&callback=cb", self.bus))).send();
        assert_eq!(reply.status, 200, "{}", reply.body);
        let json = reply.body.trim().strip_prefix("cb(").and_then(|rest| rest.strip_suffix(");"));
        let json: Value = serde_json::from_str(json.expect("a padded answer")).expect("JSON");
        let scope = text(&json, "scope");
        let channel = scope.split("channel:").nth(1).expect("a channel in the scope").to_owned();
        Visit { channel, token: text(&json, "access_token") }
    }

    /// The body of a post on `channel`.
    pub fn message(&self, channel: &str, kind: &str, payload: &str) -> String {
        format!(
            r#"{{"message":{{"type":"{kind}","bus":"{}","channel":"{channel}","payload":{payload}}}}}"#,
            self.bus
        )
    }

    /// Posts a message with curl; it must be accepted.
    pub fn post(&self, gateway: &Gateway, channel: &str, kind: &str, payload: &str) {
        let reply = curl(&gateway.url("/v2/message"))
            .header(&format!("Authorization: Bearer {}", self.token))
            .json(&self.message(channel, kind, payload))
            .send();
        assert_eq!(reply.status, 201, "{}", reply.body);
    }

    /// Reads what the client may read, with payloads.
    pub fn read(&self, gateway: &Gateway, query: &str) -> Value {
        let reply = curl(&gateway.url(&format!("/v2/messages{query}")))
            .header(&format!("Authorization: Bearer {}", self.token))
            .send();
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.json()
    }
}
