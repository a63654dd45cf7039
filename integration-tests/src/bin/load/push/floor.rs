//! The floor of push: holds WebSockets, and turns each PUT into a frame; with a file, after the
//! `fdatasync` that covers it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp::OwnedWriteHalf},
    sync::{mpsc, oneshot},
};

use super::socket::text_frame;
use crate::{
    floors::{Write, disk, listener, runtime},
    http::Connection,
};

type Sink = Arc<tokio::sync::Mutex<OwnedWriteHalf>>;

/// What all connections share.
#[derive(Clone)]
struct Shared {
    sockets: Arc<Mutex<HashMap<String, Sink>>>,
    disk: Option<mpsc::Sender<Write>>,
}

/// Serves until it is killed.
pub(crate) fn serve(file: Option<&str>) {
    let shared = Shared { sockets: Arc::default(), disk: file.map(disk) };
    runtime().block_on(async {
        let listener = listener();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(connection(stream, shared.clone()));
        }
    });
}

async fn connection(stream: TcpStream, shared: Shared) {
    let mut http = Connection::over(stream);
    while let Some(request) = http.receive().await {
        let path = request.head.split(' ').nth(1).unwrap_or_default().to_owned();
        if request.head.starts_with("GET") {
            return hold(http.into_stream(), shared).await;
        }
        if let Some(disk) = &shared.disk {
            let (done, stored) = oneshot::channel();
            disk.send((request.body.clone(), done)).await.unwrap();
            stored.await.unwrap();
        }
        let socket = shared.sockets.lock().unwrap().get(&path).cloned();
        let body = String::from_utf8(request.body).unwrap();
        let version = body.trim_start_matches("version=");
        let channel = path.trim_start_matches("/update/");
        let text = format!(
            r#"{{"messageType":"notification","updates":[{{"channelID":"{channel}","version":{version}}}]}}"#
        );
        if let Some(socket) = socket {
            socket.lock().await.write_all(&text_frame(&text, false)).await.unwrap_or_default();
        }
        http.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    }
}

/// Answers hello and register; everything else that a client says is read and thrown away.
async fn hold(stream: TcpStream, shared: Shared) {
    let (mut from, mut to) = stream.into_split();
    // Clients that are ours do not look at the key of the answer.
    let head =
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
    to.write_all(head).await.unwrap();
    let to = Arc::new(tokio::sync::Mutex::new(to));
    let mut bytes = [0; 256];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        // Clients that are ours mask with zeros, so their texts can be read as they come.
        let said = String::from_utf8_lossy(&bytes[..count]).into_owned();
        let answer = if said.contains("hello") {
            r#"{"messageType":"hello","status":200,"uaid":"0"}"#.to_owned()
        } else if said.contains("register") {
            let channel = said.rsplit('"').nth(1).unwrap_or_default();
            let path = format!("/update/{channel}");
            shared.sockets.lock().unwrap().insert(path.clone(), Arc::clone(&to));
            format!(
                r#"{{"messageType":"register","status":200,"pushEndpoint":"http://floor{path}"}}"#
            )
        } else {
            continue;
        };
        to.lock().await.write_all(&text_frame(&answer, false)).await.unwrap();
    }
}
