//! `kill -9` of the gateway while application servers PUT: no accepted version is lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use buswire_integration_tests::{DEADLINE, Gateway, until};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream as AsyncTcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

const ROUNDS: u64 = 30;
const DEVICES: usize = 8;

/// A device that is away while versions are PUT.
struct Device {
    channel: String,
    uaid: String,
    /// The path of its endpoint.
    path: String,
    /// The greatest version that was answered 2xx.
    accepted: AtomicU64,
    /// The greatest version that it acknowledged.
    acked: u64,
}

type Socket = WebSocketStream<MaybeTlsStream<AsyncTcpStream>>;

async fn connect(gateway: &Gateway) -> Socket {
    connect_async(format!("ws://{}/push", gateway.bound().http)).await.unwrap().0
}

async fn receive(socket: &mut Socket) -> Value {
    let next = tokio::time::timeout(DEADLINE, socket.next()).await.expect("a message in time");
    serde_json::from_str(next.unwrap().unwrap().to_text().unwrap()).unwrap()
}

async fn exchange(socket: &mut Socket, message: Value) -> Value {
    socket.send(Message::text(message.to_string())).await.unwrap();
    receive(socket).await
}

async fn enrol(gateway: &Gateway, number: usize) -> Device {
    let mut socket = connect(gateway).await;
    let hello = json!({"messageType": "hello", "uaid": "", "channelIDs": []});
    let uaid = exchange(&mut socket, hello).await["uaid"].as_str().unwrap().to_owned();
    let channel = format!("0d5be3f4-7c11-4f0e-8a57-{number:012x}");
    let register = json!({"messageType": "register", "channelID": channel});
    let reply = exchange(&mut socket, register).await;
    let endpoint = reply["pushEndpoint"].as_str().unwrap();
    let path = format!("/update/{}", endpoint.rsplit('/').next().unwrap());
    Device { channel, uaid, path, accepted: AtomicU64::new(0), acked: 0 }
}

/// PUTs ever greater versions until the gateway is gone.
fn put_until_killed(http: &str, device: &Device, total: &AtomicU64) {
    let mut stream = TcpStream::connect(http).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    for version in device.accepted.load(Ordering::SeqCst) + 1.. {
        let body = format!("version={version}");
        let request = format!(
            "PUT {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}",
            device.path,
            body.len()
        );
        let mut answer = Vec::new();
        let mut bytes = [0; 1024];
        if stream.write_all(request.as_bytes()).is_err() {
            return;
        }
        // The body of every success is `{}`.
        while !answer.ends_with(b"\r\n\r\n{}") {
            match stream.read(&mut bytes) {
                Ok(read @ 1..) => answer.extend(&bytes[..read]),
                _ => return,
            }
        }
        assert!(answer.starts_with(b"HTTP/1.1 20"), "{}", String::from_utf8_lossy(&answer));
        device.accepted.store(version, Ordering::SeqCst);
        total.fetch_add(1, Ordering::SeqCst);
    }
}

/// The device comes back: it has its UAID, and learns of what was accepted.
async fn come_back(gateway: &Gateway, device: &mut Device, acknowledges: bool) {
    let mut socket = connect(gateway).await;
    let (uaid, channel) = (&device.uaid, &device.channel);
    let hello = json!({"messageType": "hello", "uaid": uaid, "channelIDs": [channel]});
    let reply = exchange(&mut socket, hello).await;
    assert_eq!(reply["uaid"], uaid.as_str(), "the UAID and its channels are there");
    let accepted = device.accepted.load(Ordering::SeqCst);
    if accepted > device.acked {
        let notification = receive(&mut socket).await;
        let update = &notification["updates"][0];
        assert_eq!(update["channelID"], channel.as_str());
        let version = update["version"].as_u64().unwrap();
        // One more than accepted may have been stored: its answer was lost.
        assert!((accepted..=accepted + 1).contains(&version), "{accepted} is {version}");
        // The next versions are greater than what may be there.
        device.accepted.store(version, Ordering::SeqCst);
        if acknowledges {
            let updates = json!([{"channelID": channel, "version": version}]);
            let ack = json!({"messageType": "ack", "updates": updates});
            // The answer to the ping says that the acknowledgement was read.
            socket.send(Message::text(ack.to_string())).await.unwrap();
            let mut answer = exchange(&mut socket, json!({})).await;
            // Another gateway's last words about the version may have come before it was acknowledged.
            while gateway.size() > 1 && answer == notification {
                answer = receive(&mut socket).await;
            }
            assert_eq!(answer, json!({}));
            device.acked = version;
        }
    }
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_accepted_version_is_lost() {
    // Rule: simplepush S6 — after kill -9 a version that was answered 2xx is pending, or the UAID is new
    let mut gateway = Gateway::builder().set("simplepush.takeovers_per_minute", "0").start();
    let mut devices = Vec::new();
    for number in 0..DEVICES {
        devices.push(enrol(&gateway, number).await);
    }
    for round in 0..ROUNDS {
        let total = AtomicU64::new(0);
        let http = gateway.bound().http.clone();
        thread::scope(|scope| {
            for device in &devices {
                let (http, total) = (&http, &total);
                scope.spawn(move || put_until_killed(http, device, total));
            }
            let enough = 20 + round * 7;
            until("enough is accepted", || (total.load(Ordering::SeqCst) >= enough).then_some(()));
            gateway.kill();
        });
        gateway.start();
        for device in &mut devices {
            come_back(&gateway, device, round % 3 == 0).await;
        }
    }
}
