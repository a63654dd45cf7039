//! Just enough of a WebSocket client to hold many: a handshake, short text frames, no buffers while idle.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// Connections from one address: a local port serves one, and about 28,000 are given out.
const PER_ADDRESS: usize = 20_000;

/// A WebSocket.
pub(crate) struct Socket {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Socket {
    /// Opens the WebSocket at `path`; the number of the client chooses the address it comes from.
    pub(crate) async fn open(address: &str, path: &str, client: usize) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        let last = u8::try_from(client / PER_ADDRESS + 1).unwrap();
        let from = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        socket.bind(SocketAddr::new(from, 0)).unwrap();
        let stream = socket.connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut opened = Self { stream, received: Vec::new() };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: q1w2e3r4t5y6u7i8o9p0ag==\r\n\r\n"
        );
        opened.stream.write_all(request.as_bytes()).await.unwrap();
        loop {
            if let Some(end) = opened.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<u8> = opened.received.drain(..end + 4).collect();
                let head = String::from_utf8_lossy(&head);
                assert!(head.starts_with("HTTP/1.1 101"), "{head}");
                return opened;
            }
            assert!(opened.read().await, "the server closed");
        }
    }

    async fn read(&mut self) -> bool {
        self.received.reserve(512);
        self.stream.read_buf(&mut self.received).await.is_ok_and(|count| count > 0)
    }

    /// Sends a text of at most 65,535 bytes, masked with zeros.
    pub(crate) async fn say(&mut self, text: &str) {
        self.stream.write_all(&text_frame(text, true)).await.unwrap();
    }

    /// The next text; `None` when the server closed.
    pub(crate) async fn hear(&mut self) -> Option<String> {
        loop {
            if let Some((kind, payload)) = self.frame() {
                match kind {
                    1 => return Some(String::from_utf8(payload).unwrap()),
                    8 => return None,
                    _ => continue,
                }
            }
            if self.received.is_empty() {
                self.received.shrink_to_fit();
            }
            if !self.read().await {
                return None;
            }
        }
    }

    /// Takes a whole frame out of what was received.
    fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (&first, &second) = (self.received.first()?, self.received.get(1)?);
        let (start, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes(*self.received.get(2..)?.first_chunk()?))),
            127 => panic!("a frame of more than 64 KiB"),
            length => (2, usize::from(length)),
        };
        let payload = self.received.get(start..start + length)?.to_vec();
        self.received.drain(..start + length);
        Some((first & 0x0f, payload))
    }

    /// Says hello as a new UserAgent and waits for the answer.
    pub(crate) async fn hello(&mut self) {
        self.say(r#"{"messageType":"hello","uaid":"","channelIDs":[]}"#).await;
        let answer = self.hear().await.expect("an answer to hello");
        assert!(answer.contains("\"status\":200"), "{answer}");
    }

    /// Registers a channel and gives the path of its endpoint.
    pub(crate) async fn register(&mut self, channel: usize) -> String {
        let name = channel_name(channel);
        self.say(&format!(r#"{{"messageType":"register","channelID":"{name}"}}"#)).await;
        let answer = self.hear().await.expect("an answer to register");
        let token = answer.split("/update/").nth(1).and_then(|rest| rest.split('"').next());
        format!("/update/{}", token.unwrap_or_else(|| panic!("no endpoint: {answer}")))
    }

    /// Acknowledges a version.
    pub(crate) async fn acknowledge(&mut self, channel: usize, version: u64) {
        let name = channel_name(channel);
        self.say(&format!(
            r#"{{"messageType":"ack","updates":[{{"channelID":"{name}","version":{version}}}]}}"#
        ))
        .await;
    }
}

fn channel_name(channel: usize) -> String {
    format!("{channel:08x}-0000-4000-8000-000000000000")
}

/// A text of at most 65,535 bytes as a frame; a client's is masked, with zeros.
pub(super) fn text_frame(text: &str, is_masked: bool) -> Vec<u8> {
    let mask_bit = if is_masked { 0x80 } else { 0 };
    let length = u16::try_from(text.len()).unwrap();
    let mut frame = vec![0x81];
    if length <= 125 {
        frame.push(mask_bit + length.to_be_bytes()[1]);
    } else {
        frame.push(mask_bit + 126);
        frame.extend_from_slice(&length.to_be_bytes());
    }
    if is_masked {
        frame.extend_from_slice(&[0; 4]);
    }
    frame.extend_from_slice(text.as_bytes());
    frame
}
