//! The client against our server, over restarts and losses, and against a server that speaks literal
//! text.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

use std::{sync::Arc, time::Duration};

use buswire_simplepush::{
    ChannelId,
    client::{
        Client, Connectivity, Event, Events, FileStorage, Refusal, RegisterError, Settings,
        StartError, Update,
    },
};
use buswire_store::memory::MemoryStore;
use buswire_testkit::VirtualClock;
use futures::{SinkExt as _, StreamExt as _};
use support::{DEADLINE, Server};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{Request, Response},
    },
};

const A: &str = "0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90";
const B: &str = "c2a7d915-33e8-4b6d-9f02-71e4a80b5cdd";

fn channel(text: &str) -> ChannelId {
    text.parse().unwrap()
}

/// Comes back at once.
fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.retry_first = Duration::from_millis(1);
    settings.retry_max = Duration::from_millis(20);
    settings
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.unwrap_or_else(|_| panic!("{what}, in time"))
}

async fn next(events: &mut Events) -> Event {
    in_time("an event", events.next()).await.expect("the client goes on").unwrap()
}

async fn update(events: &mut Events) -> Update {
    match next(events).await {
        Event::Update(update) => update,
        other => panic!("an update was expected, not {other:?}"),
    }
}

async fn wait_for(client: &Client, wanted: Connectivity) {
    let mut connectivity = client.connectivity();
    in_time("a change", connectivity.wait_for(|now| *now == wanted)).await.unwrap();
}

/// A place where servers of ours come and go under one address.
struct Place {
    listener: Arc<TcpListener>,
    url: String,
}

impl Place {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/push", listener.local_addr().unwrap());
        Self { listener: Arc::new(listener), url }
    }

    /// Carries connections to `server` until the result is dropped, which cuts them.
    fn carry(&self, server: &Server) -> tokio::task::JoinSet<()> {
        let (listener, address) = (Arc::clone(&self.listener), server.address);
        let mut carrying = tokio::task::JoinSet::new();
        carrying.spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    let mut far = TcpStream::connect(address).await.unwrap();
                    // It ends when either side does.
                    let _either = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                });
            }
        });
        carrying
    }
}

#[tokio::test]
async fn versions_arrive_and_are_told_until_acknowledged() {
    let server = Server::start().await;
    let place = Place::new().await;
    let carrying = place.carry(&server);
    let builder = Client::builder(&place.url).unwrap().settings(settings());
    let (client, mut events) = builder.start().await.unwrap();
    let endpoint = in_time("an endpoint", client.register(channel(A))).await.unwrap();
    assert_eq!(client.register(channel(A)).await.unwrap(), endpoint);
    let (other, _) = client.register_new().await.unwrap();
    assert_eq!(other.to_string().len(), 36);

    assert_eq!(server.put(endpoint.as_str(), "version=7&data=hi").await.status, 200);
    let taken = update(&mut events).await;
    let seen = (taken.channel(), taken.version().get(), taken.data());
    assert_eq!(seen, (channel(A), 7, Some("hi")));
    // Rule: simplepush L4 — a notification that is not acknowledged is sent again at each hello
    drop(carrying);
    wait_for(&client, Connectivity::Offline).await;
    server.wait_for_connections(0).await;
    assert_eq!(server.put(endpoint.as_str(), "version=6").await.status, 202);
    let carrying = place.carry(&server);
    let again = update(&mut events).await;
    assert_eq!((again.version().get(), again.data()), (7, None));
    again.acknowledge().await.unwrap();

    drop(carrying);
    wait_for(&client, Connectivity::Offline).await;
    server.wait_for_connections(0).await;
    // Rule: simplepush L3 — what came while a UA was away arrives after its next hello
    assert_eq!(server.put(endpoint.as_str(), "version=8").await.status, 202);
    let _carrying = place.carry(&server);
    assert_eq!(update(&mut events).await.version().get(), 8);

    client.unregister(channel(A)).await.unwrap();
    let gone = async { while server.put(endpoint.as_str(), "version=9").await.status != 410 {} };
    in_time("the channel is gone", gone).await;
    client.close().await;
    assert!(events.next().await.is_none());
    server.wait_for_connections(0).await;
}

#[tokio::test]
async fn a_program_goes_on_where_its_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.json");
    let (store, clock) = (Arc::new(MemoryStore::new()), VirtualClock::default());
    let server = Server::start_on(store.clone(), clock.clone(), |_| {}).await;
    let place = Place::new().await;
    let carrying = place.carry(&server);
    let start = || async {
        let builder = Client::builder(&place.url).unwrap().settings(settings());
        builder.storage(FileStorage::new(&file)).start().await.unwrap()
    };
    let (client, mut events) = start().await;
    let endpoint = client.register(channel(A)).await.unwrap();
    server.put(endpoint.as_str(), "version=3").await;
    update(&mut events).await.acknowledge().await.unwrap();
    client.close().await;
    server.wait_for_connections(0).await;
    server.put(endpoint.as_str(), "version=4").await;

    let (client, mut events) = start().await;
    assert_eq!(client.register(channel(A)).await.unwrap(), endpoint);
    // Only what was not acknowledged comes.
    update(&mut events).await.acknowledge().await.unwrap();

    // The server starts anew on its store: nobody loses anything.
    drop((carrying, server));
    let server = Server::start_on(store, clock, |_| {}).await;
    let carrying = place.carry(&server);
    server.wait_for_connections(1).await;
    server.put(endpoint.as_str(), "version=5").await;
    assert_eq!(update(&mut events).await.version().get(), 5);

    // The server loses its store: the channel gets another endpoint, which works.
    drop((carrying, server));
    let server = Server::start().await;
    let _carrying = place.carry(&server);
    // Rule: simplepush L8 — a UA whose state is dropped gets a working UAID and registers again
    let Event::Moved(moved, endpoint_after) = next(&mut events).await else { panic!("moved") };
    assert_eq!(moved, channel(A));
    assert_ne!(endpoint_after, endpoint);
    assert_eq!(server.put(endpoint.as_str(), "version=6").await.status, 410);
    server.put(endpoint_after.as_str(), "version=1").await;
    assert_eq!(update(&mut events).await.version().get(), 1);
}

/// The server's end of a connection, in literal text.
struct Script<S>(WebSocketStream<S>);

impl Script<TcpStream> {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = in_time("a connection", listener.accept()).await.unwrap();
        Self::open(stream).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Script<S> {
    #[expect(clippy::result_large_err, reason = "the library's own type")]
    async fn open(stream: S) -> Self {
        let answer = |request: &Request, mut response: Response| {
            let offered = request.headers()["sec-websocket-protocol"].clone();
            assert_eq!(offered, "push-notification");
            response.headers_mut().insert("sec-websocket-protocol", offered);
            Ok(response)
        };
        Self(in_time("an opening", accept_hdr_async(stream, answer)).await.unwrap())
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn hear(&mut self, text: &str) {
        match in_time("a message", self.0.next()).await {
            Some(Ok(Message::Text(heard))) => assert_eq!(heard.as_str(), text),
            other => panic!("{text} was expected, not {other:?}"),
        }
    }

    async fn greet(&mut self, uaid: &str, listed: &str) {
        let list = format!("\"uaid\":\"{uaid}\",\"channelIDs\":[{listed}]");
        self.hear(&format!("{{\"messageType\":\"hello\",{list}}}")).await;
        self.say("{\"messageType\":\"hello\",\"uaid\":\"u\",\"status\":200}").await;
    }

    /// Answers `register`; `rest` is what comes behind its status.
    async fn answer(&mut self, channel: &str, status: u16, rest: &str) {
        self.hear(&format!("{{\"messageType\":\"register\",\"channelID\":\"{channel}\"}}")).await;
        self.say(&format!(
            "{{\"messageType\":\"register\",\"status\":{status},\"channelID\":\"{channel}\",{rest}}}"
        ))
        .await;
    }
}

#[tokio::test]
async fn a_server_of_literal_text_is_understood() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let builder = Client::builder(&url).unwrap().settings(settings());
    let (client, mut events) = builder.start().await.unwrap();
    let script = async {
        // Rule: simplepush §5.1 — a UA offers the subprotocol push-notification
        let mut server = Script::accept(&listener).await;
        server.greet("", "").await;
        server.answer(A, 200, "\"pushEndpoint\":\"http://x/update/TOKA\"").await;
        server.answer(B, 500, "\"error\":\"Too many channels\"").await;
        server.say("{\"messageType\":\"notification\",\"updates\":[{\"channelID\":\"0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90\",\"version\":9223372036854775807},{\"channelID\":\"x\",\"version\":1}]}").await;
        // Of a channel that is not ours every version is acknowledged at once.
        server
            .hear("{\"messageType\":\"ack\",\"updates\":[{\"channelID\":\"x\",\"version\":1}]}")
            .await;
        server.hear("{\"messageType\":\"ack\",\"updates\":[{\"channelID\":\"0d5be3f4-7c11-4f0e-8a57-2b9f6c1d3e90\",\"version\":9223372036854775807}]}").await;
        drop(server);
        // Unavailable: it comes back with what it has.
        let mut server = Script::accept(&listener).await;
        let hello =
            format!("{{\"messageType\":\"hello\",\"uaid\":\"u\",\"channelIDs\":[\"{A}\"]}}");
        server.hear(&hello).await;
        server
            .say("{\"messageType\":\"hello\",\"uaid\":\"u\",\"status\":503,\"error\":\"x\"}")
            .await;
        // Another server has it.
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = Script::accept(&listener).await;
        server.hear(&hello).await;
        let redirect =
            format!("\"status\":307,\"redirect\":\"ws://{}/\"", other.local_addr().unwrap());
        server.say(&format!("{{\"messageType\":\"hello\",\"uaid\":\"u\",{redirect}}}")).await;
        let mut server = Script::accept(&other).await;
        server.greet("u", &format!("\"{A}\"")).await;
        server
    };
    let program = async {
        assert_eq!(client.register(channel(A)).await.unwrap().as_str(), "http://x/update/TOKA");
        let refusal = Refusal::Server { status: 500, reason: "Too many channels".into() };
        assert_eq!(client.register(channel(B)).await, Err(RegisterError::Refused(refusal)));
        let taken = update(&mut events).await;
        assert_eq!(taken.version().get(), i64::MAX as u64);
        taken.acknowledge().await.unwrap();
    };
    let (mut server, ()) = tokio::join!(script, program);
    wait_for(&client, Connectivity::Ready).await;
    client.unregister(channel(A)).await.unwrap();
    server.hear(&format!("{{\"messageType\":\"unregister\",\"channelID\":\"{A}\"}}")).await;
    drop(client);
    assert!(in_time("the end", events.next()).await.is_none(), "it ends with its last handle");
}

#[tokio::test]
async fn what_is_no_server_is_said_at_once() {
    for url in ["", "push.example.net", "http://push.example.net/", "ws:///push"] {
        assert!(matches!(Client::builder(url), Err(StartError::Url)), "{url}");
    }
}

#[tokio::test]
async fn wss_is_spoken_with_servers_that_are_trusted() {
    let certificate = include_bytes!("../../../gateway/tests/tls_files/first.pem");
    let certificate = CertificateDer::from_pem_slice(certificate).unwrap();
    let key = include_bytes!("../../../gateway/tests/tls_files/first.key");
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("wss://localhost:{}/push", listener.local_addr().unwrap().port());
    let accept = || async {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await
    };

    let builder = Client::builder(&url).unwrap().settings(settings());
    let (wary, _events) = builder.start().await.unwrap();
    assert!(in_time("a refusal", accept()).await.is_err(), "this system does not know it");
    wary.close().await;

    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let builder = Client::builder(&url).unwrap().settings(settings()).tls(Arc::new(config));
    let (client, _events) = builder.start().await.unwrap();
    let trusting = async {
        loop {
            // The other client may have tried once more before it ended.
            if let Ok(stream) = accept().await {
                return stream;
            }
        }
    };
    let stream = in_time("a connection", trusting).await;
    let mut server = Box::pin(Script::open(stream)).await;
    server.greet("", "").await;
    wait_for(&client, Connectivity::Ready).await;
}

/// Killed when the test ends, however it ends.
struct Example(std::process::Child, std::io::Lines<std::io::BufReader<std::process::ChildStdout>>);

impl Example {
    fn start(name: &str, argument: &str) -> Self {
        let tests = std::env::current_exe().unwrap();
        let folder = tests.ancestors().nth(2).unwrap().join("examples");
        let mut command = std::process::Command::new(folder.join(name));
        let child = command.arg(argument).stdout(std::process::Stdio::piped()).spawn();
        let mut child = child.expect("it is built: cargo build --examples");
        let out = std::io::BufReader::new(child.stdout.take().unwrap());
        Self(child, std::io::BufRead::lines(out))
    }

    fn line(&mut self) -> String {
        self.1.next().expect("a line").unwrap()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _already_dead = self.0.kill();
        let _status = self.0.wait();
    }
}

#[test]
fn the_examples_of_the_readme_talk_to_each_other() {
    let mut server = Example::start("simplepush_server", "127.0.0.1:0");
    let url = server.line();
    let mut client =
        Example::start("simplepush_client", &format!("{}/push", url.replacen("http", "ws", 1)));
    let endpoint = client.line();
    assert!(endpoint.starts_with(&format!("{url}/update/")), "{endpoint}");
    let (host, path) = endpoint.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut socket = std::net::TcpStream::connect(host).unwrap();
    let request = support::put_request(&format!("/{path}"), "version=7");
    std::io::Write::write_all(&mut socket, request.as_bytes()).unwrap();
    assert_eq!(client.line(), "7");
}
