//! A network between clients and the gateway that can be cut.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Carries connections from an address that stays the same to wherever the gateway is. Needs a runtime of
/// several threads where tests wait without yielding.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    route: Arc<Mutex<Route>>,
    _accepting: JoinSet<()>,
}

/// Where connections go; cancelling it ends those that are open.
#[derive(Debug, Default)]
struct Route {
    target: Option<String>,
    cut: CancellationToken,
}

impl Relay {
    /// A relay that goes nowhere yet: connections are closed as soon as they are opened.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        let route: Arc<Mutex<Route>> = Arc::default();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&route)));
        Self { address, route, _accepting: accepting }
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Carries to this address from now on; connections that are open end.
    pub fn connect(&self, target: &str) {
        self.change(Some(target.to_owned()));
    }

    /// Ends all connections and lets none through.
    pub fn cut(&self) {
        self.change(None);
    }

    fn change(&self, target: Option<String>) {
        let new = Route { target, cut: CancellationToken::new() };
        let mut route = self.route.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *route, new).cut.cancel();
    }
}

async fn accept(listener: TcpListener, route: Arc<Mutex<Route>>) {
    let connections = TaskTracker::new();
    while let Ok((near, _)) = listener.accept().await {
        let (target, cut) = {
            let route = route.lock().unwrap_or_else(PoisonError::into_inner);
            (route.target.clone(), route.cut.clone())
        };
        if let Some(target) = target {
            connections.spawn(cut.run_until_cancelled_owned(carry(near, target)));
        }
    }
}

async fn carry(mut near: TcpStream, target: String) {
    if let Ok(mut far) = TcpStream::connect(target).await {
        // It ends when either side does, in whatever way.
        copy_bidirectional(&mut near, &mut far).await.map(|_| ()).unwrap_or_default();
    }
}
