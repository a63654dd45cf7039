//! The clients of the library against literal bytes, as other servers send them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use buswire_backplane::{
    Post,
    client::{
        Access, Backoff, Client, ClientError, Credentials, Position, Select, Server, Settings,
        V1Client, V1Path,
    },
};
use buswire_message::Secret;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// `comments-svc:tangled-kelp-4`.
const BASIC: &str = "authorization: Basic Y29tbWVudHMtc3ZjOnRhbmdsZWQta2VscC00";
const TOKEN: &str = r#"{"token_type":"Bearer","access_token":"PC3wLm70GxTb9ZkQ2vNc8HsYd1RfJe5A","expires_in":31536000,"scope":"bus:gazette.example","refresh_token":"PR8nVz14QcXk6JwL0mTy3GbHs9DfRe2P"}"#;
const BEARER: &str = "authorization: Bearer PC3wLm70GxTb9ZkQ2vNc8HsYd1RfJe5A";

/// A server that answers each request with the bytes that `answer` gives; with none, it breaks the
/// connection.
struct Scripted {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
    _connections: JoinSet<()>,
}

impl Scripted {
    async fn start(answer: impl Fn(usize, &str) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut each = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                each.spawn(async move {
                    let request = read_request(&mut stream).await;
                    let number = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request.clone());
                        seen.len() - 1
                    };
                    if let Some(bytes) = answer(number, &request) {
                        stream.write_all(bytes.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        Self { url, requests, _connections: connections }
    }

    /// A server with one answer after the other.
    async fn with(answers: &[&str]) -> Self {
        let answers: Vec<_> = answers.iter().map(|&answer| answer.to_owned()).collect();
        Self::start(move |number, _| answers.get(number).cloned()).await
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn client(&self, access: Access) -> Client {
        let server = Server::parse(&self.url).unwrap();
        Client::new(server, access, settings()).unwrap()
    }
}

/// The request line without the version, the headers that matter in order of name, the body.
async fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8(bytes.clone()).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let mut lines = head.split("\r\n");
            let first = lines.next().unwrap().replace(" HTTP/1.1", "");
            let headers = lines.map(|line| line.split_once(": ").unwrap());
            let mut headers: BTreeMap<_, _> =
                headers.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
            let length = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
            if body.len() >= length {
                headers
                    .retain(|name, _| ["authorization", "content-type"].contains(&name.as_str()));
                let headers = headers.iter().map(|(name, value)| format!("\n{name}: {value}"));
                return format!("{first}{}\n{body}", headers.collect::<String>());
            }
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "half a request");
    }
}

fn settings() -> Settings {
    Settings {
        idle: Duration::ZERO,
        backoff: Backoff { first: Duration::from_millis(1), failures_max: 2, ..Backoff::default() },
        ..Settings::default()
    }
}

fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn ok(body: &str) -> String {
    answer("200 OK", body)
}

fn credentials() -> Credentials {
    Credentials::new("comments-svc".parse().unwrap(), "tangled-kelp-4".to_owned())
}

fn grants() -> Access {
    Access::Grants(credentials())
}

fn page(ids: &[&str], next: &str, more: bool) -> String {
    let message = |id: &&str| {
        format!(
            r#"{{"messageURL":"https://bp.example.net/v2/message/{id}","source":"https://s.example/","type":"t","bus":"gazette.example","channel":"c","sticky":"true","payload":1}}"#
        )
    };
    let messages = ids.iter().map(message).collect::<Vec<_>>().join(",");
    ok(&format!(
        r#"{{"nextURL":"https://bp.example.net/v2/messages{next}","messages":[{messages}],"moreMessages":{more}}}"#
    ))
}

#[tokio::test]
async fn the_requests_of_a_back_end_are_those_of_the_examples() {
    // Rule: backplane §10.2 — a client sends its credentials in the header and the grant type in the body
    let server = Scripted::with(&[&ok(TOKEN), &answer("201 Created", "")]).await;
    let login = Post::new("identity/login".parse().unwrap(), &json!({"id": "u-88"})).unwrap();
    let (bus, channel) = ("gazette.example".parse().unwrap(), "Zr4uQm81".parse().unwrap());
    server.client(grants()).post(&bus, &channel, &login.sticky()).await.unwrap();
    let form = "content-type: application/x-www-form-urlencoded";
    let message = r#"{"message":{"type":"identity/login","bus":"gazette.example","channel":"Zr4uQm81","sticky":true,"payload":{"id":"u-88"}}}"#;
    let json = "content-type: application/json";
    let expected = [
        format!("POST /v2/token\n{BASIC}\n{form}\ngrant_type=client_credentials"),
        format!("POST /v2/message\n{BEARER}\n{json}\n{message}"),
    ];
    assert_eq!(server.requests(), expected);
}

#[tokio::test]
async fn a_code_is_exchanged_and_never_shown() {
    let code = "b7Kx2QmZ9Lw4Tn0VcY6RsHd1GfJpEa83";
    let used = format!(r#"{{"error":"invalid_grant","error_description":"Invalid code: {code}"}}"#);
    let server = Scripted::with(&[&answer("400 Bad Request", &used)]).await;
    let client = server.client(Access::Code {
        credentials: credentials(),
        code: Secret::new(code.to_owned()),
        redirect_uri: "https://comments.example/oauth/cb".parse().unwrap(),
    });
    let error = client.read(&Position::start()).await.unwrap_err();
    assert_eq!(error.to_string(), "the server refused with 400: Invalid code: …");
    assert!(!format!("{error:?} {client:?}").contains(code));
    let request = server.requests().remove(0);
    let form = format!(
        "grant_type=authorization_code&code={code}&redirect_uri=https%3A%2F%2Fcomments.example%2Foauth%2Fcb"
    );
    assert!(request.contains(BASIC) && request.ends_with(&form), "{request}");
    // A code works once: it is not shown again.
    let again = client.read(&Position::start()).await;
    assert!(matches!(again, Err(ClientError::Ended)));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_visit_reads_padded_answers() {
    let scope = "bus:gazette.example channel:Zr4uQm81";
    let token = |number: u32| {
        ok(&format!(
            r#"/* */ f({{"token_type":"Bearer","access_token":"AA{number}","expires_in":"3600","scope":"{scope}","refresh_token":"AR{number}"}});"#
        ))
    };
    let refused = ok(r#"f({"error":"invalid_request","error_description":"invalid token"});"#);
    let over = answer(
        "403 Forbidden",
        r#"{"error":"invalid_request","error_description":"invalid token"}"#,
    );
    let server =
        Scripted::with(&[&token(1), &over, &token(2), &page(&[], "", false), &over, &refused])
            .await;
    let client = server.client(Access::Visit("gazette.example".parse().unwrap()));
    assert_eq!(client.channel().await.unwrap().unwrap().as_str(), "Zr4uQm81");
    let read = client.read(&Position::start()).await.unwrap();
    // Rule: backplane §16 row 36 — a client bears a nextURL without since
    assert_eq!(read.next, Position::start());
    // A padded refusal has the status 200.
    assert!(matches!(client.read(&Position::start()).await, Err(ClientError::Ended)));
    let requests = server.requests();
    let expected = [
        "GET /v2/token?callback=f&bus=gazette.example\n",
        "GET /v2/messages?block=0\nauthorization: Bearer AA1\n",
        "GET /v2/token?callback=f&refresh_token=AR1\n",
        "GET /v2/messages?block=0\nauthorization: Bearer AA2\n",
        "GET /v2/messages?block=0\nauthorization: Bearer AA2\n",
        "GET /v2/token?callback=f&refresh_token=AR2\n",
    ];
    assert_eq!(requests, expected);
}

#[tokio::test]
async fn many_calls_ask_for_one_token() {
    // Rule: backplane §9.5 — calls that need a token at one time make one request for it
    let server = Scripted::start(|_, request| {
        let is_token = request.starts_with("POST /v2/token");
        Some(if is_token { ok(TOKEN) } else { page(&[], "?since=x-1", false) })
    })
    .await;
    let client = server.client(grants());
    let start = Position::start();
    let reads = futures::future::join_all((0..20).map(|_| client.read(&start))).await;
    assert!(reads.iter().all(Result::is_ok));
    let requests = server.requests();
    let tokens = requests.iter().filter(|request| request.starts_with("POST /v2/token")).count();
    assert_eq!((tokens, requests.len()), (1, 21));
}

#[tokio::test]
async fn a_stream_bears_what_goes_wrong() {
    let whole = page(&["2024-a", "2024-b"], "?since=2024-b", true);
    let half = whole.split_once("2024-b").unwrap().0;
    let busy =
        "HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let server = Scripted::with(&[
        &ok(TOKEN),
        half,
        &ok("<html>a proxy's page</html>"),
        &page(&["2024-a", "2024-b"], "?since=2024-b", true),
        busy,
        &page(&[], "?since=2024-b", false),
        &page(&["2024-c"], "?since=2024-c", false),
    ])
    .await;
    let mut stream = server.client(grants()).stream(Position::start());
    for id in ["2024-a", "2024-b", "2024-c"] {
        let message = timeout(PATIENCE, stream.next()).await.unwrap().unwrap();
        assert_eq!((message.id(), message.sticky), (id, true));
    }
    let asked: Vec<_> = server
        .requests()
        .iter()
        .skip(1)
        .map(|request| request.lines().next().unwrap().to_owned())
        .collect();
    let (start, behind) = ("GET /v2/messages?block=25", "GET /v2/messages?block=25&since=2024-b");
    assert_eq!(asked, [start, start, start, behind, behind, behind]);
    // From now on connections break. That is reported when it has gone on for long enough.
    let broken = timeout(PATIENCE, stream.next()).await.unwrap();
    assert!(matches!(broken, Err(ClientError::Lost(_))), "{broken:?}");
    assert_eq!(server.requests().len(), 7 + 3);
    assert_eq!(stream.position(), &Position::after("2024-c"));
}

#[tokio::test]
async fn nothing_goes_to_another_server() {
    let other = Scripted::with(&[]).await;
    let there = format!(
        "HTTP/1.1 307 There\r\nLocation: {}/v2/token\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        other.url
    );
    let next = format!("{}/v2/messages?since=x-1", other.url);
    let elsewhere = ok(&format!(r#"{{"nextURL":"{next}","messages":[],"moreMessages":false}}"#));
    let own = page(&[], "?since=x-1", false);
    let server = Scripted::with(&[&there, &ok(TOKEN), &elsewhere, &own]).await;
    let client = server.client(grants());
    let redirected = client.read(&Position::start()).await;
    assert!(matches!(redirected, Err(ClientError::Refused(refusal)) if refusal.status == 307));
    let page = client.read(&Position::start()).await.unwrap();
    client.read(&page.next).await.unwrap();
    assert!(server.requests()[3].starts_with("GET /v2/messages?block=0&since=x-1\n"));
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn answers_have_a_bound() {
    let server = Scripted::with(&[&ok(&" ".repeat(2000))]).await;
    let settings = Settings { answer_max: 1000, ..settings() };
    let client = Client::new(Server::parse(&server.url).unwrap(), grants(), settings).unwrap();
    let long = client.read(&Position::start()).await;
    assert!(matches!(long, Err(ClientError::TooLong(1000))), "{long:?}");
}

#[tokio::test]
async fn a_1_x_client_sends_lists_and_reads_frames() {
    let frame = r#"[{"id":"2024-03-09T14:05:21.338Z-0Ck3WdT7yR","channel_name":"5b0f","message":{"source":"https://comments.example/","type":"identity/login","sticky":true,"payload":{"n":12345678901234567890123}},"more":1}]"#;
    let server = Scripted::with(&[&ok(""), &ok(frame), &ok(frame)]).await;
    let client = V1Client::new(Server::parse(&server.url).unwrap(), V1Path::default(), &settings());
    let client =
        client.unwrap().with_user("commentsco".parse().unwrap(), "quiet-harbor-7".to_owned());
    let (bus, channel) = ("gazette.example".parse().unwrap(), "5b0f".parse().unwrap());
    let source = "https://comments.example/".parse().unwrap();
    let posts = [Post::new("comment/posted".parse().unwrap(), &json!({"n": 3})).unwrap()];
    client.post(&bus, &channel, &source, &posts).await.unwrap();
    let since = Select { since: Some("2024-03-09T14:05:21.337Z-q8Zt0LxV2m"), only_sticky: true };
    let frames = client.channel(&bus, &channel, since).await.unwrap();
    assert_eq!(frames[0].message.payload.get(), r#"{"n":12345678901234567890123}"#);
    client.bus(&bus, Select::default()).await.unwrap();
    let basic = "authorization: Basic Y29tbWVudHNjbzpxdWlldC1oYXJib3ItNw==";
    let body = r#"[{"source":"https://comments.example/","type":"comment/posted","sticky":false,"payload":{"n":3}}]"#;
    let expected = [
        format!("POST /v1.2/bus/gazette.example/channel/5b0f\n{basic}\ncontent-type: application/json\n{body}"),
        "GET /v1.2/bus/gazette.example/channel/5b0f?since=2024-03-09T14%3A05%3A21.337Z-q8Zt0LxV2m&sticky=true\n".to_owned(),
        format!("GET /v1.2/bus/gazette.example\n{basic}\n"),
    ];
    assert_eq!(server.requests(), expected);
}
