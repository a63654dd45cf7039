//! A server with small test operations, and raw HTTP to it.
#![allow(dead_code, reason = "every test binary uses a part of it")]

pub(crate) mod tap;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buswire_belay::{
    BcapError, BcapValue, BusPublishTarget, CapServer, Config, GrantRequest, Granted, Invocation,
    Label, Limits, Members, Method, MethodSet, NameSet, Operation, Subject, TargetError,
};
use buswire_store::{Store, memory::MemoryStore};
use buswire_testkit::{SeededEntropy, VirtualClock};
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

pub(crate) const BASE: &str = "https://gw.example";

/// Answers what it gets; reads `channel` and `type` of it as its subject; has a target
/// `{"channel"?, "methods"?}`.
#[derive(Debug, Default)]
pub(crate) struct Echo {
    pub(crate) invoked: AtomicUsize,
}

impl Operation for Echo {
    fn check_target(&self, target: &BcapValue) -> Result<(), TargetError> {
        let members = target.as_object().ok_or(TargetError::NotAnObject)?;
        if members.iter().all(|(name, _)| name == "channel" || name == "methods") {
            Ok(())
        } else {
            Err(TargetError::UnknownMember)
        }
    }

    fn methods(&self, target: &BcapValue) -> MethodSet {
        let named = target.as_object().and_then(|members| members.get("methods"));
        named.and_then(BcapValue::as_array).map_or(MethodSet::ALL, |names| {
            names.iter().filter_map(|name| Method::parse(name.as_str()?)).collect()
        })
    }

    fn reach(&self, target: &BcapValue) -> Option<NameSet> {
        NameSet::parse([target.as_object()?.get("channel")?.as_str()?])
    }

    fn subject(
        &self,
        _: &BcapValue,
        _: Method,
        data: Option<&BcapValue>,
    ) -> Result<Subject, BcapError> {
        let members = data.and_then(BcapValue::as_object);
        let text = |name| members.and_then(|members| members.get(name)?.as_str());
        let list = |name| text(name).map(str::to_owned).into_iter().collect();
        Ok(Subject { channels: list("channel"), types: list("type") })
    }

    fn invoke(
        &self,
        cx: Invocation,
        method: Method,
        data: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        self.invoked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            Ok(match method {
                Method::Get => Some(cx.target().clone()),
                Method::Post => data,
                Method::Put | Method::Delete => None,
            })
        })
    }
}

/// A named handler: GET gives its arguments, which are objects.
#[derive(Debug)]
pub(crate) struct Args;

impl Operation for Args {
    fn check_target(&self, target: &BcapValue) -> Result<(), TargetError> {
        let args = target.as_array().unwrap_or_default();
        let good = args.iter().all(|arg| arg.as_object().is_some());
        if good { Ok(()) } else { Err(TargetError::NotAnObject) }
    }

    fn methods(&self, _: &BcapValue) -> MethodSet {
        MethodSet::GET
    }

    fn invoke(
        &self,
        cx: Invocation,
        _: Method,
        _: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        Box::pin(async move { Ok(Some(cx.target().clone())) })
    }
}

/// An [`Echo`] with the target and the methods of `bus.publish`.
#[derive(Debug)]
struct Publish(Arc<Echo>);

impl Operation for Publish {
    fn check_target(&self, target: &BcapValue) -> Result<(), TargetError> {
        BusPublishTarget::parse(target).map(drop)
    }

    fn methods(&self, _: &BcapValue) -> MethodSet {
        MethodSet::POST
    }

    fn subject(
        &self,
        target: &BcapValue,
        method: Method,
        data: Option<&BcapValue>,
    ) -> Result<Subject, BcapError> {
        self.0.subject(target, method, data)
    }

    fn invoke(
        &self,
        cx: Invocation,
        method: Method,
        data: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        self.0.invoke(cx, method, data)
    }
}

/// POST waits for ever, GET too; both only read. A permit is given when one waits.
#[derive(Debug)]
pub(crate) struct Wait {
    pub(crate) waiting: Semaphore,
}

impl Operation for Wait {
    fn check_target(&self, _: &BcapValue) -> Result<(), TargetError> {
        Ok(())
    }

    fn methods(&self, _: &BcapValue) -> MethodSet {
        self.reading_methods()
    }

    fn reading_methods(&self) -> MethodSet {
        MethodSet::of(&[Method::Get, Method::Post])
    }

    fn invoke(
        &self,
        _: Invocation,
        _: Method,
        _: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        self.waiting.add_permits(1);
        Box::pin(std::future::pending())
    }
}

/// Breaks every rule.
#[derive(Debug)]
pub(crate) struct Broken;

impl Operation for Broken {
    fn check_target(&self, _: &BcapValue) -> Result<(), TargetError> {
        Ok(())
    }

    fn methods(&self, _: &BcapValue) -> MethodSet {
        MethodSet::ALL
    }

    fn invoke(
        &self,
        _: Invocation,
        method: Method,
        data: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        Box::pin(async move {
            match method {
                Method::Get => Ok(Some(Members::new().with("@", "x").into())),
                Method::Put | Method::Delete => Ok(Some(BcapValue::Null)),
                Method::Post => match data.as_ref().and_then(BcapValue::as_u64) {
                    Some(502) => Err(BcapError::BadGateway),
                    Some(503) => Err(BcapError::Unavailable { retry_after_secs: 7 }),
                    Some(504) => Err(BcapError::Timeout),
                    _ => panic!("the test asked for it"),
                },
            }
        })
    }
}

pub(crate) struct World {
    pub(crate) server: CapServer,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: VirtualClock,
    pub(crate) echo: Arc<Echo>,
    pub(crate) wait: Arc<Wait>,
    tasks: JoinSet<()>,
    address: SocketAddr,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|config| config).await
    }

    pub(crate) async fn with(change: impl FnOnce(Config) -> Config) -> Self {
        let store = Arc::new(MemoryStore::new());
        Self::over(store, VirtualClock::default(), change(Config::new(BASE).unwrap()), 1).await
    }

    pub(crate) async fn over(
        store: Arc<dyn Store>,
        clock: VirtualClock,
        config: Config,
        seed: u64,
    ) -> Self {
        let entropy = Arc::new(SeededEntropy::new(seed));
        let server = CapServer::new(Arc::clone(&store), Arc::new(clock.clone()), entropy, config);
        let echo = Arc::new(Echo::default());
        let wait = Arc::new(Wait { waiting: Semaphore::new(0) });
        server.register("test.echo", echo.clone()).unwrap();
        server.register("test.wait", wait.clone()).unwrap();
        server.register("test.broken", Arc::new(Broken)).unwrap();
        server.register("bus.publish", Arc::new(Publish(echo.clone()))).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = server.router().into_make_service_with_connect_info::<SocketAddr>();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { server, store, clock, echo, wait, tasks, address }
    }

    pub(crate) async fn grant(&self, kind: &str, target: &str, limits: &str) -> Granted {
        let request = GrantRequest::parse(kind, target, limits, "").unwrap();
        self.server.grant(request).await.unwrap()
    }

    pub(crate) async fn wrap(&self, cap: &buswire_belay::Bcap, limits: &str) -> Granted {
        let id = self.server.local_id(cap).unwrap();
        let limits: Limits = buswire_belay::parse_limits(limits).unwrap();
        self.server.wrap(id.expose(), limits, Label::default()).await.unwrap()
    }

    /// The URL of a capability where this server really is.
    pub(crate) fn url_of(&self, cap: &buswire_belay::Bcap) -> String {
        format!("http://{}{}", self.address, path_of(cap.expose()))
    }

    /// Sends bytes and reads until the server closes.
    pub(crate) async fn raw(&self, bytes: &str) -> Answer {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(bytes.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            Answer::parse(&String::from_utf8(answer).unwrap())
        };
        tokio::time::timeout(Duration::from_secs(20), exchange).await.unwrap()
    }

    /// A request with the headers that a browser sends, on a connection of its own.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let length = match body.len() {
            0 => String::new(),
            n => format!("Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {n}\r\n"),
        };
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: evil.example\r\nOrigin: https://app.example\r\n\
             Connection: close\r\n{length}\r\n{body}"
        ))
        .await
    }

    /// A request to the URL of a capability.
    pub(crate) async fn call(&self, method: &str, cap: &buswire_belay::Bcap, body: &str) -> Answer {
        self.send(method, path_of(cap.expose()), body).await
    }
}

/// The path of a URL of the server.
pub(crate) fn path_of(url: &str) -> &str {
    url.strip_prefix(BASE).unwrap()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        Self { status, headers: headers.collect(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The same without the date, which changes.
    pub(crate) fn comparable(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "date");
        self.headers.sort();
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Fails unless the answer is the failure with this status and message.
    #[track_caller]
    pub(crate) fn is_failure(&self, status: u16, message: &str) {
        assert_eq!(self.status, status, "{self:?}");
        let body = format!(r#"{{"error":{{"status":{status},"message":"{message}"}}}}"#);
        assert_eq!(self.body, body);
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("access-control-allow-origin"), Some("*"));
    }
}
