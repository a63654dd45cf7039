//! Clients of SimplePush: a device that stays connected, and an application that PUTs versions.
//!
//! Never here: judging what came.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::load::Shared;

/// A connection on which nothing comes for so long is given up for another.
const QUIET: Duration = Duration::from_secs(8);
const PAUSE: Duration = Duration::from_millis(100);
const PACE: Duration = Duration::from_millis(60);

/// A user agent with one channel.
#[derive(Debug)]
pub(crate) struct Agent {
    number: usize,
    channel: String,
    uaid: Mutex<String>,
    /// The path of its endpoint.
    endpoint: Mutex<Option<String>>,
    /// The greatest version that came.
    pub(crate) version: AtomicU64,
    /// The greatest version that was accepted for the endpoint that it has now.
    pub(crate) accepted: AtomicU64,
    /// How many were accepted and refused.
    pub(crate) puts: [AtomicU64; 2],
    /// How often it was given another id and had to register again.
    pub(crate) resets: AtomicU64,
}

impl Agent {
    pub(crate) fn new(number: usize) -> Self {
        Self {
            number,
            channel: format!("8b9a1f6e-3f0b-4f5a-9d7a-6a1a3c1f0b{number:02}"),
            uaid: Mutex::default(),
            endpoint: Mutex::default(),
            version: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            puts: [AtomicU64::new(0), AtomicU64::new(0)],
            resets: AtomicU64::new(0),
        }
    }

    pub(crate) fn endpoint(&self) -> Option<String> {
        self.endpoint.lock().unwrap().clone()
    }

    fn hello(&self) -> Message {
        let uaid = self.uaid.lock().unwrap().clone();
        let channels: &[&str] = if uaid.is_empty() { &[] } else { &[&self.channel] };
        let hello = json!({"messageType": "hello", "uaid": uaid, "channelIDs": channels});
        Message::text(hello.to_string())
    }

    /// Takes what the server says; what to answer.
    fn hear(&self, told: &Value) -> Option<Value> {
        match told["messageType"].as_str()? {
            "hello" => {
                let given = told["uaid"].as_str().unwrap_or_default().to_owned();
                let before = std::mem::replace(&mut *self.uaid.lock().unwrap(), given.clone());
                if before == given {
                    return None;
                }
                if !before.is_empty() {
                    self.resets.fetch_add(1, Ordering::AcqRel);
                }
                // Whoever has to register again fetches everything now, as it does at first.
                *self.endpoint.lock().unwrap() = None;
                self.accepted.store(0, Ordering::Release);
                Some(json!({"messageType": "register", "channelID": self.channel}))
            }
            "register" => {
                let url = told["pushEndpoint"].as_str()?;
                let path = format!("/{}", url.splitn(4, '/').nth(3)?);
                *self.endpoint.lock().unwrap() = Some(path);
                None
            }
            "notification" => {
                for update in told["updates"].as_array()? {
                    self.version.fetch_max(update["version"].as_u64()?, Ordering::AcqRel);
                }
                Some(json!({"messageType": "ack", "updates": told["updates"]}))
            }
            _ => None,
        }
    }
}

/// Stays connected, to another gateway whenever one fails.
pub(crate) async fn listen(shared: Arc<Shared>, agent: Arc<Agent>) {
    for gateway in agent.number.. {
        let place = shared.place(gateway).replacen("http://", "ws://", 1);
        let opened = timeout(QUIET, connect_async(format!("{place}/push"))).await;
        if let Ok(Ok((mut socket, _))) = opened
            && socket.send(agent.hello()).await.is_ok()
        {
            // Without a word for a while the server may be gone: a connection is asked whether it lives.
            while let Ok(Some(Ok(message))) = timeout(QUIET, socket.next()).await {
                let Ok(text) = message.to_text() else { continue };
                let Ok(told) = serde_json::from_str::<Value>(text) else { continue };
                if let Some(answer) = agent.hear(&told)
                    && socket.send(Message::text(answer.to_string())).await.is_err()
                {
                    break;
                }
            }
        }
        sleep(PAUSE).await;
    }
}

/// PUTs one version after the other, to the gateways in turn.
pub(crate) async fn put(shared: Arc<Shared>, agent: Arc<Agent>) {
    for (version, gateway) in (1_u64..).zip(agent.number..) {
        if shared.is_over() {
            break;
        }
        sleep(PACE).await;
        let Some(path) = agent.endpoint() else { continue };
        let request = shared.http.put(format!("{}{path}", shared.place(gateway)));
        let answer = request.body(format!("version={version}")).send().await;
        let is_accepted = answer.is_ok_and(|answer| answer.status().is_success());
        agent.puts[usize::from(!is_accepted)].fetch_add(1, Ordering::AcqRel);
        // Unless it registered again meanwhile.
        if is_accepted && agent.endpoint().is_some_and(|now| now == path) {
            agent.accepted.fetch_max(version, Ordering::AcqRel);
        }
    }
}
