//! A program that hands out revocable links to a counter of its own, with no gateway around it.
//!
//! ```text
//! cargo run -p buswire-belay --example belay_server
//! ```
//!
//! It grants a capability, invokes it by HTTP as any holder would, hands on a narrower one, and takes
//! everything back.

use std::{
    error::Error,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use buswire_belay::{
    BcapError, BcapValue, CapServer, Config, GrantRequest, Invocation, Label, Method, MethodSet,
    Operation, TargetError, parse_limits,
};
use buswire_store::{
    memory::MemoryStore,
    system::{SystemClock, SystemEntropy},
};
use futures::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// GET reads the counter, POST adds one and answers what it then is.
#[derive(Debug, Default)]
struct Counter(AtomicU64);

impl Operation for Counter {
    fn check_target(&self, target: &BcapValue) -> Result<(), TargetError> {
        // There is one counter, so there is nothing to name.
        match target.as_object() {
            Some(members) if members.is_empty() => Ok(()),
            Some(_) => Err(TargetError::UnknownMember),
            None => Err(TargetError::NotAnObject),
        }
    }

    fn methods(&self, _target: &BcapValue) -> MethodSet {
        MethodSet::of(&[Method::Get, Method::Post])
    }

    fn invoke(
        &self,
        _cx: Invocation,
        method: Method,
        _data: Option<BcapValue>,
    ) -> BoxFuture<'_, Result<Option<BcapValue>, BcapError>> {
        Box::pin(async move {
            let added = u64::from(method == Method::Post);
            Ok(Some((self.0.fetch_add(added, Ordering::Relaxed) + added).into()))
        })
    }
}

/// Grants, invokes, wraps and revokes; answers the status line and body of each request.
pub(crate) async fn run() -> Result<Vec<String>, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = CapServer::new(
        Arc::new(MemoryStore::new()),
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
        Config::new(&format!("http://{address}"))?,
    );
    server.register("counter", Arc::new(Counter::default()))?;
    let mut tasks = JoinSet::new();
    let app = server.router();
    tasks.spawn(async move { axum::serve(listener, app).await });

    let granted = server.grant(GrantRequest::parse("counter", "{}", "{}", "mine")?).await?;
    let id = server.local_id(&granted.cap).ok_or("the capability is ours")?;
    let read_only = parse_limits(r#"{"readOnly":true}"#)?;
    let lent = server.wrap(id.expose(), read_only, "lent to Ann".parse::<Label>()?).await?;

    let mut seen = Vec::new();
    for (method, cap) in [("POST", &granted.cap), ("GET", &lent.cap), ("POST", &lent.cap)] {
        seen.push(request(address, method, cap.expose()).await?);
    }
    server.revoke(&granted.handle).await?;
    seen.push(request(address, "GET", lent.cap.expose()).await?);
    server.close().await?;
    Ok(seen)
}

async fn request(address: SocketAddr, method: &str, url: &str) -> Result<String, Box<dyn Error>> {
    let path = url.strip_prefix(&format!("http://{address}")).ok_or("the URL is ours")?;
    let mut stream = TcpStream::connect(address).await?;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.lines().next().unwrap_or_default();
    let body = answer.rsplit("\r\n\r\n").next().unwrap_or_default();
    Ok(format!("{status}: {body}"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    for line in run().await? {
        #[expect(clippy::print_stdout, reason = "this is what the example is there to show")]
        {
            println!("{line}");
        }
    }
    Ok(())
}
