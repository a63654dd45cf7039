//! A user agent of SimplePush, as small as one can be.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::Failure;

/// A connection with one registered channel.
pub(super) struct PushClient {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Where an application server tells of a new version.
    pub(super) endpoint: String,
}

impl PushClient {
    /// Says hello and registers one channel.
    pub(super) async fn connect(base: &str) -> Result<Self, Failure> {
        let url = base.replacen("http", "ws", 1) + "/push";
        let (socket, _) = connect_async(url).await?;
        let mut client = Self { socket, endpoint: String::new() };
        client.say(&json!({"messageType": "hello", "uaid": "", "channelIDs": []})).await?;
        client.hear("hello").await?;
        let channel = "0a1b2c3d-0e4f-4a5b-8c6d-7e8f90a1b2c3";
        client.say(&json!({"messageType": "register", "channelID": channel})).await?;
        let registered = client.hear("register").await?;
        let endpoint = registered.get("pushEndpoint").and_then(Value::as_str);
        let endpoint = endpoint.ok_or("no pushEndpoint in the answer to register")?.to_owned();
        Ok(Self { endpoint, ..client })
    }

    /// The next version that is told, acknowledged.
    pub(super) async fn version(&mut self) -> Result<u64, Failure> {
        let notification = self.hear("notification").await?;
        let updates = notification.get("updates").ok_or("a notification without updates")?;
        self.say(&json!({"messageType": "ack", "updates": updates})).await?;
        let version = updates.pointer("/0/version").and_then(Value::as_u64);
        version.ok_or_else(|| "an update without a version".into())
    }

    async fn say(&mut self, message: &Value) -> Result<(), Failure> {
        Ok(self.socket.send(Message::text(message.to_string())).await?)
    }

    /// The next text message, which must be of this type.
    async fn hear(&mut self, kind: &str) -> Result<Value, Failure> {
        while let Some(message) = self.socket.next().await {
            if let Message::Text(text) = message? {
                let value: Value = serde_json::from_str(&text)?;
                if value.get("messageType").and_then(Value::as_str) == Some(kind) {
                    return Ok(value);
                }
                return Err(format!("heard {text} instead of a {kind}").into());
            }
        }
        Err("the push connection was closed".into())
    }
}
