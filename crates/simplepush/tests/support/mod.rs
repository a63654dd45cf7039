//! A server on a real port, devices that speak literal JSON, and raw HTTP.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use buswire_message::Clock;
use buswire_simplepush::{Config, EndpointBase, SimplePush, TokenKey, TokenKeys};
use buswire_store::{Store, memory::MemoryStore, system::SystemEntropy};
use buswire_testkit::VirtualClock;
use futures::{SinkExt as _, StreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// A server on a port of its own, with a clock that only moves when told.
pub struct Server {
    pub address: SocketAddr,
    pub push: SimplePush,
    pub clock: VirtualClock,
    pub store: Arc<dyn Store>,
    pub stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(configure: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(Arc::new(MemoryStore::new()), VirtualClock::default(), configure).await
    }

    /// A server with routes of its own.
    pub async fn serve(router: impl FnOnce(&SimplePush) -> Router) -> Self {
        Self::make(Arc::new(MemoryStore::new()), VirtualClock::default(), |_| {}, router).await
    }

    pub async fn start_on(
        store: Arc<dyn Store>,
        clock: VirtualClock,
        configure: impl FnOnce(&mut Config),
    ) -> Self {
        Self::make(store, clock, configure, SimplePush::router).await
    }

    async fn make(
        store: Arc<dyn Store>,
        clock: VirtualClock,
        configure: impl FnOnce(&mut Config),
        router: impl FnOnce(&SimplePush) -> Router,
    ) -> Self {
        let keys = TokenKeys::new(&TokenKey::new(1, [7; 32]), &[]).unwrap();
        let base = EndpointBase::new("https://push.example.net").unwrap();
        let mut config = Config::new(base, keys);
        config.timing.tick = Duration::from_millis(5);
        configure(&mut config);
        let shared_clock: Arc<dyn Clock> = Arc::new(clock.clone());
        let push =
            SimplePush::new(Arc::clone(&store), shared_clock, Arc::new(SystemEntropy), config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (router, running, stopped) = (router(&push), push.clone(), stop.clone());
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
        tasks.spawn(async move { running.run(stopped).await });
        Self { address, push, clock, store, stop, tasks }
    }

    /// A device that offers the subprotocol.
    pub async fn device(&self) -> Device {
        let url = format!("ws://{}/push", self.address);
        let mut request = url.into_client_request().unwrap();
        let protocol = "push-notification".parse().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (socket, response) = connect_async(request).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "push-notification");
        Device { socket }
    }

    /// Sends one HTTP request and reads the answer.
    pub async fn http(&self, request: impl AsRef<[u8]>) -> HttpReply {
        let mut connection = Http::open(self).await;
        connection.exchange(request.as_ref()).await
    }

    /// PUTs a form to an endpoint.
    pub async fn put(&self, endpoint: &str, form: &str) -> HttpReply {
        let path = endpoint.strip_prefix("https://push.example.net").unwrap_or(endpoint);
        self.http(put_request(path, form)).await
    }

    /// Ends what the server does besides serving its connections, as when it hangs.
    pub async fn hang(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Moves the clock by at least 30 seconds and waits until every timer that is due has fired.
    pub async fn advance(&self, by: Duration) {
        assert!(by >= Duration::from_secs(30), "the sentinel waits so long");
        // A connection without hello ends after 30 seconds: when it does, the timers have fired.
        let mut sentinel = self.device().await;
        sentinel.settle().await;
        self.clock.advance(by);
        assert_eq!(sentinel.closed().await, 1008);
    }

    /// Waits until the server has this many connections.
    pub async fn wait_for_connections(&self, count: usize) {
        self.wait_until(|push| push.status().connections == count).await;
    }

    /// The status of the answer to a WebSocket opening.
    pub async fn opening_status(&self) -> u16 {
        let request = "GET /push HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        self.http(request).await.status
    }

    /// Waits until something is so.
    pub async fn wait_until(&self, condition: impl Fn(&SimplePush) -> bool) {
        let waiting = async {
            while !condition(&self.push) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, waiting).await.expect("it becomes so in time");
    }
}

/// The text of a PUT with a form.
pub fn put_request(path: &str, form: &str) -> String {
    format!(
        "PUT {path} HTTP/1.1\r\nHost: push.example.net\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    )
}

/// A device on a WebSocket.
pub struct Device {
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Device {
    pub async fn send(&mut self, text: &str) {
        self.send_frame(Message::text(text)).await;
    }

    pub async fn send_frame(&mut self, frame: Message) {
        self.socket.send(frame).await.unwrap();
    }

    async fn next(&mut self) -> Option<Message> {
        let next = self.socket.next();
        let next = tokio::time::timeout(DEADLINE, next).await.expect("a frame in time");
        next.and_then(Result::ok)
    }

    /// The next text; the connection must not end before.
    pub async fn receive(&mut self) -> String {
        loop {
            match self.next().await {
                Some(Message::Text(text)) => return text.to_string(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("a text was expected, not {other:?}"),
            }
        }
    }

    /// Sends a text and receives the next one.
    pub async fn exchange(&mut self, text: &str) -> String {
        self.send(text).await;
        self.receive().await
    }

    /// The close code; nothing else may come before.
    pub async fn closed(&mut self) -> u16 {
        loop {
            match self.next().await {
                Some(Message::Close(frame)) => {
                    // Sends the answer to it.
                    let _whatever = self.socket.flush().await;
                    return frame.map_or(1005, |frame| frame.code.into());
                }
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("a close frame was expected, not {other:?}"),
            }
        }
    }

    /// Sends a text and waits until the server has read it, though it may not read on after it: the
    /// PING goes before in the same segment, and is answered when that is dealt with.
    pub async fn send_settled(&mut self, text: &str) {
        self.socket.feed(Message::Ping("settle".into())).await.unwrap();
        self.send(text).await;
        self.settled().await;
    }

    /// Waits until the server has read everything that was sent; no text may come meanwhile.
    pub async fn settle(&mut self) {
        self.send_frame(Message::Ping("settle".into())).await;
        self.settled().await;
    }

    async fn settled(&mut self) {
        loop {
            match self.next().await {
                Some(Message::Pong(payload)) if payload == "settle" => return,
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("silence was expected, not {other:?}"),
            }
        }
    }

    /// Waits for a WebSocket PING of the server.
    pub async fn probed(&mut self) {
        loop {
            match self.next().await {
                Some(Message::Ping(_)) => return,
                Some(Message::Pong(_)) => {}
                other => panic!("a ping was expected, not {other:?}"),
            }
        }
    }

    /// Closes the connection and waits for the end of the closing handshake.
    pub async fn close(mut self) {
        self.socket.close(None).await.unwrap();
        while self.next().await.is_some() {}
    }

    /// Shakes hands and returns the UAID.
    pub async fn hello(&mut self, uaid: &str, channels: &str) -> String {
        let text = format!(
            "{{\"messageType\":\"hello\",\"uaid\":\"{uaid}\",\"channelIDs\":[{channels}]}}"
        );
        let reply = self.exchange(&text).await;
        let rest = reply.strip_prefix("{\"messageType\":\"hello\",\"uaid\":\"").unwrap();
        rest.strip_suffix("\",\"status\":200}").unwrap().to_owned()
    }

    /// Registers a channel and returns its endpoint.
    pub async fn register(&mut self, channel: &str) -> String {
        let request = format!("{{\"messageType\":\"register\",\"channelID\":\"{channel}\"}}");
        let reply = self.exchange(&request).await;
        let head = format!(
            "{{\"messageType\":\"register\",\"status\":200,\"channelID\":\"{channel}\",\"pushEndpoint\":\""
        );
        reply.strip_prefix(&head).unwrap().strip_suffix("\"}").unwrap().to_owned()
    }

    pub async fn ack(&mut self, channel: &str, version: u64) {
        self.send(&format!(
            "{{\"messageType\":\"ack\",\"updates\":[{{\"channelID\":\"{channel}\",\"version\":{version}}}]}}"
        ))
        .await;
    }

    /// Receives a notification of one channel and returns its version.
    pub async fn notified(&mut self, channel: &str) -> u64 {
        let text = self.receive().await;
        let head = format!(
            "{{\"messageType\":\"notification\",\"updates\":[{{\"channelID\":\"{channel}\",\"version\":"
        );
        let rest = text.strip_prefix(&head).unwrap_or_else(|| panic!("{text}"));
        rest.strip_suffix("}]}").unwrap().parse().unwrap()
    }
}

/// The answer to an HTTP request.
#[derive(Debug)]
pub struct HttpReply {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl HttpReply {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (header, value) = line.split_once(':')?;
            header.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A raw HTTP connection.
pub struct Http {
    stream: TcpStream,
}

impl Http {
    pub async fn open(server: &Server) -> Self {
        Self { stream: TcpStream::connect(server.address).await.unwrap() }
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub async fn exchange(&mut self, request: &[u8]) -> HttpReply {
        self.send(request).await;
        self.receive(!request.starts_with(b"HEAD ")).await
    }

    async fn byte(&mut self) -> u8 {
        let byte = tokio::time::timeout(DEADLINE, self.stream.read_u8()).await;
        byte.expect("an answer in time").expect("an answer")
    }

    pub async fn receive(&mut self, has_body: bool) -> HttpReply {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.byte().await);
        }
        let head = String::from_utf8(head).unwrap();
        let status = head[9..12].parse().unwrap();
        let mut reply = HttpReply { status, head, body: String::new() };
        let length = reply.header("content-length").map_or(0, |length| length.parse().unwrap());
        for _ in 0..if has_body { length } else { 0 } {
            let byte = self.byte().await;
            reply.body.push(char::from(byte));
        }
        reply
    }

    /// Receives exactly these bytes.
    pub async fn expect(&mut self, bytes: &[u8]) {
        let mut received = Vec::new();
        while received.len() < bytes.len() {
            received.push(self.byte().await);
        }
        assert_eq!(received, bytes);
    }

    /// Receives a close frame and returns its code.
    pub async fn close_code(&mut self) -> u16 {
        self.expect(b"\x88\x02").await;
        u16::from_be_bytes([self.byte().await, self.byte().await])
    }

    /// Waits until the server closes the connection.
    pub async fn closed(&mut self) {
        let mut rest = Vec::new();
        let reading = self.stream.read_to_end(&mut rest);
        let _either = tokio::time::timeout(DEADLINE, reading).await.expect("an end in time");
    }
}
