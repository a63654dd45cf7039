//! One end of a tunnel (Belay §9) whose other end is a process, one message a line.

use std::{
    collections::HashMap,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use buswire_belay::{
    Members, Serialisation, WireLimits, decode,
    instance::{Failure, Interface, PublicInterface, WireResult},
};
use futures::{FutureExt as _, future::BoxFuture};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::{Mutex as AsyncMutex, oneshot},
    task::JoinSet,
};

/// A process with an instance.
pub(crate) struct Peer {
    stdin: AsyncMutex<ChildStdin>,
    next: AtomicU64,
    pending: Mutex<HashMap<u64, oneshot::Sender<WireResult>>>,
    served: Mutex<Vec<PublicInterface>>,
    tasks: Mutex<JoinSet<()>>,
    _child: Child,
}

impl std::fmt::Debug for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peer")
    }
}

impl Peer {
    /// Starts the peer with a library; what its outpost holds.
    pub(crate) async fn start(library: &Path) -> (Arc<Self>, Members) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/languages/peer.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .env("BELAY_CLIENT", library)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node is installed: apt-get install nodejs");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next_line().await.unwrap().expect("an outpost");
        let message: Value = serde_json::from_str(&first).unwrap();
        assert_eq!(message["op"], "outpost");
        let text = message["outpostData"].as_str().unwrap();
        let outpost = decode(text.as_bytes(), WireLimits::default()).unwrap().unwrap();
        let peer = Arc::new(Self {
            stdin: AsyncMutex::new(child.stdin.take().unwrap()),
            next: AtomicU64::new(1000),
            pending: Mutex::default(),
            served: Mutex::default(),
            tasks: Mutex::default(),
            _child: child,
        });
        let reader = Arc::clone(&peer).read(lines);
        peer.tasks.lock().unwrap().spawn(reader);
        (peer, outpost.as_object().unwrap().clone())
    }

    /// Answers the peer's invocations of this one's capabilities.
    pub(crate) fn serve(&self, server: PublicInterface) {
        self.served.lock().unwrap().push(server);
    }

    async fn read(self: Arc<Self>, mut lines: Lines<BufReader<ChildStdout>>) {
        while let Some(line) = lines.next_line().await.unwrap() {
            let message: Value = serde_json::from_str(&line).unwrap();
            let tx = message["txId"].as_u64();
            let data = message["data"].as_str().map(str::to_owned);
            match message["op"].as_str() {
                Some("invoke") => {
                    let answer = Arc::clone(&self).answer(tx.unwrap(), message, data);
                    self.tasks.lock().unwrap().spawn(answer);
                }
                Some("response") => {
                    let pending = self.pending.lock().unwrap().remove(&tx.unwrap()).unwrap();
                    let failed = message["type"] == "failure";
                    let result =
                        if failed { Err(Failure::from_json(&message["data"])) } else { Ok(data) };
                    // Whoever asked may have given up.
                    drop(pending.send(result));
                }
                other => panic!("{other:?}"),
            }
        }
        // The peer is gone; nobody waits for it.
        self.pending.lock().unwrap().clear();
    }

    async fn answer(self: Arc<Self>, tx: u64, message: Value, data: Option<String>) {
        let (ser, method) = (message["ser"].as_str().unwrap(), message["method"].as_str().unwrap());
        let servers = self.served.lock().unwrap().clone();
        let mut result = Err(Failure::of_status(404));
        for server in servers {
            result = server.invoke(ser, method, data.clone()).await;
            if !matches!(&result, Err(failure) if failure.status() == 404) {
                break;
            }
        }
        let mut message = json!({"op": "response", "txId": tx});
        match result {
            Ok(data) => {
                message["type"] = "success".into();
                if let Some(data) = data {
                    message["data"] = data.into();
                }
            }
            Err(failure) => {
                message["type"] = "failure".into();
                message["data"] = serde_json::to_value(&failure).unwrap();
            }
        }
        self.say(&message).await;
    }

    async fn say(&self, message: &Value) {
        let mut stdin = self.stdin.lock().await;
        stdin.write_all(format!("{message}\n").as_bytes()).await.unwrap();
        stdin.flush().await.unwrap();
    }
}

impl Interface for Peer {
    fn invoke<'a>(
        &'a self,
        serialisation: &'a str,
        method: &'a str,
        data: Option<String>,
    ) -> BoxFuture<'a, WireResult> {
        async move {
            assert!(matches!(Serialisation::parse(serialisation), Some(Serialisation::Urn { .. })));
            let tx = self.next.fetch_add(1, Ordering::SeqCst);
            let (sender, answer) = oneshot::channel();
            self.pending.lock().unwrap().insert(tx, sender);
            let mut message =
                json!({"op": "invoke", "txId": tx, "ser": serialisation, "method": method});
            if let Some(data) = data {
                message["data"] = data.into();
            }
            self.say(&message).await;
            answer.await.unwrap()
        }
        .boxed()
    }
}
