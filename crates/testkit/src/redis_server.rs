//! A Redis server of a test's own.
//!
//! Never here: what is kept in it.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::Authority;

/// How long a server may take to start. Reached only when it does not.
const PATIENCE: Duration = Duration::from_secs(30);

/// A `redis-server` on a free port, which keeps what it acknowledges. Killed when it is dropped.
///
/// Its methods block, and panic where a test could not go on.
#[derive(Debug)]
pub struct RedisServer {
    process: Child,
    port: u16,
    options: Vec<String>,
    directory: TempDir,
}

impl RedisServer {
    /// Starts a server with more options, as `--maxmemory 4mb`, and waits until it answers.
    pub fn start(options: &[&str]) -> Self {
        let port = free_port();
        let directory = tempfile::tempdir().expect("a temporary folder");
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        let process = spawn(port, &directory, &options);
        let server = Self { process, port, options, directory };
        server.wait();
        server
    }

    /// Starts a cluster of three masters without replicas, and waits until they serve.
    pub fn cluster() -> [Self; 3] {
        let nodes = [0; 3].map(|_: i32| Self::node(&[]));
        let addresses = nodes.each_ref().map(|node| format!("127.0.0.1:{}", node.port));
        join(&nodes, &addresses, &[]);
        nodes
    }

    /// Starts a cluster of three masters with a replica each, as [`cluster`](Self::cluster) does. A node
    /// that is silent for two seconds is taken for dead, and its replica takes over.
    pub fn cluster_with_replicas() -> [Self; 6] {
        let nodes = [0; 6].map(|_: i32| Self::node(&["--cluster-node-timeout", "2000"]));
        let addresses = nodes.each_ref().map(|node| format!("127.0.0.1:{}", node.port));
        join(&nodes, &addresses, &["--cluster-replicas", "1"]);
        let is_in_step = |node: &Self| {
            let info = node.cli(&["info", "replication"]);
            info.contains("master_link_status:up")
                || (info.contains("role:master") && info.contains("connected_slaves:1"))
        };
        for node in &nodes {
            node.until("every master has its replica", || is_in_step(node));
        }
        nodes
    }

    /// Starts a cluster of three masters that speak TLS, to each other too, and show what `authority`
    /// issues to them. What is given with each node is its port with TLS.
    pub fn tls_cluster(authority: &Authority) -> [(Self, u16); 3] {
        let shown = authority.issue("node", "IP:127.0.0.1", 2);
        let nodes = [0; 3].map(|_: i32| {
            let port = free_port();
            let mut options = shown.redis_options(&authority.ca(), port);
            for option in ["--tls-cluster", "yes", "--tls-auth-clients", "no"] {
                options.push(option.to_owned());
            }
            let options: Vec<_> = options.iter().map(String::as_str).collect();
            (Self::node(&options), port)
        });
        let addresses = nodes.each_ref().map(|(_, port)| format!("127.0.0.1:{port}"));
        let [(first, port), ..] = &nodes;
        let (port, ca) = (port.to_string(), authority.ca().display().to_string());
        // Port and TLS of the first are what `redis-cli` takes for all.
        let create =
            ["-p", &port, "--tls", "--cacert", &ca, "--cluster", "create", "--cluster-yes"];
        let create: Vec<_> =
            create.into_iter().chain(addresses.iter().map(String::as_str)).collect();
        first.cli(&create);
        for (node, _) in &nodes {
            node.until_it_serves();
        }
        nodes
    }

    fn node(options: &[&str]) -> Self {
        let port = free_port().to_string();
        Self::start(&[&["--cluster-enabled", "yes", "--cluster-port", &port], options].concat())
    }

    fn until_it_serves(&self) {
        self.until("the cluster serves", || {
            self.cli(&["cluster", "info"]).contains("cluster_state:ok")
        });
    }

    /// Makes what sentinels name `main` and what may take its place: a master on 127.0.2.1 and replicas
    /// on 127.0.2.2 and so on, each of which speaks to the others from its own address. More options
    /// are given to all.
    pub fn replicated(count: u8, options: &[&str]) -> Vec<Self> {
        let start = |number: u8, more: &[&str]| {
            let own = format!("127.0.2.{number}");
            let place = ["--bind", "127.0.0.1", &own, "--bind-source-addr", &own];
            Self::start(&[&place[..], options, more].concat())
        };
        let master = start(1, &[]);
        let port = master.port.to_string();
        let mut servers = vec![master];
        for number in 2..=count {
            let replica = start(number, &["--replicaof", "127.0.2.1", &port]);
            replica.until("the replica is in step", || replica.is_in_step());
            servers.push(replica);
        }
        servers
    }

    /// Whether it is a replica whose master it hears.
    pub fn is_in_step(&self) -> bool {
        self.cli(&["info", "replication"]).contains("master_link_status:up")
    }

    /// Whether it takes writes.
    pub fn is_master(&self) -> bool {
        self.cli(&["info", "replication"]).contains("role:master")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Options for its next start, in place of those that it was started with.
    pub fn set_options(&mut self, options: &[&str]) {
        self.options = options.iter().map(|&option| option.to_owned()).collect();
    }

    /// Bytes of the newest of its append-only files.
    pub fn log_bytes(&self) -> u64 {
        fs::metadata(self.log_file()).expect("the file is there").len()
    }

    /// Cuts the end off the newest of its append-only files, as a loss of power does; while it is killed.
    pub fn cut_log(&self, bytes: u64) {
        let file = fs::File::options().write(true).open(self.log_file());
        file.and_then(|file| file.set_len(bytes)).expect("the file can be cut");
    }

    fn log_file(&self) -> PathBuf {
        let files =
            fs::read_dir(self.directory.path().join("appendonlydir")).expect("it has files");
        let paths = files.map(|file| file.expect("its files can be listed").path());
        let mut logs: Vec<_> =
            paths.filter(|path| path.to_string_lossy().ends_with(".incr.aof")).collect();
        logs.sort();
        logs.pop().expect("it has an append-only file")
    }

    /// Removes everything that it kept, while it is killed.
    pub fn empty(&self) {
        fs::remove_dir_all(self.directory.path().join("appendonlydir")).expect("its files go");
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill().expect("it can be killed");
        self.process.wait().expect("it ends");
    }

    /// Starts it again after it was killed.
    pub fn restart(&mut self) {
        self.process = spawn(self.port, &self.directory, &self.options);
        self.wait();
    }

    /// Copies its files; to be called while it is killed, or with nothing to lose.
    pub fn snapshot(&self) -> TempDir {
        let copy = tempfile::tempdir().expect("a temporary folder");
        copy_files(&self.directory, &copy);
        copy
    }

    /// Puts files back that were copied, while it is killed.
    pub fn restore(&self, snapshot: &TempDir) {
        fs::remove_dir_all(self.directory.path().join("appendonlydir")).expect("its files go");
        copy_files(snapshot, &self.directory);
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Sends one command and gives what `redis-cli` prints.
    pub fn cli(&self, arguments: &[&str]) -> String {
        cli(self.port, arguments)
    }

    fn wait(&self) {
        self.until("redis-server answers", || self.cli(&["ping"]) == "PONG");
    }

    /// Waits until `holds`.
    pub fn until(&self, what: &str, holds: impl Fn() -> bool) {
        until(what, holds);
    }
}

/// Sends one command to the server or sentinel at `port`.
pub(crate) fn cli(port: u16, arguments: &[&str]) -> String {
    let mut command = Command::new("redis-cli");
    command.args(["-p", &port.to_string()]).args(arguments);
    let output = command.output().expect("redis-cli is installed: apt-get install redis");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Waits until `holds`.
pub(crate) fn until(what: &str, holds: impl Fn() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "a test measures real time")]
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // It may have been killed.
        self.process.kill().unwrap_or_default();
        self.process.wait().map(|_| ()).unwrap_or_default();
    }
}

/// Makes a cluster of nodes.
fn join(nodes: &[RedisServer], addresses: &[String], options: &[&str]) {
    let Some(first) = nodes.first() else { return };
    let create = ["--cluster", "create", "--cluster-yes"];
    let addresses = addresses.iter().map(String::as_str);
    let create: Vec<_> =
        create.into_iter().chain(addresses).chain(options.iter().copied()).collect();
    first.cli(&create);
    for node in nodes {
        node.until_it_serves();
    }
}

/// A port that was free just now, and that the system gives to nobody who does not ask for it: a
/// connection of somebody else would take it before it is used. Another one at each call.
pub fn free_port() -> u16 {
    /// Nodes of a cluster listen at a port that is 10,000 higher, too.
    const PORTS: std::ops::Range<u32> = 10_000..20_000;
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let count = PORTS.end - PORTS.start;
    // Processes begin at different ones.
    let begin = std::process::id().wrapping_mul(64);
    let next = || begin.wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed)) % count;
    let ports = (0..count).map(|_| u16::try_from(PORTS.start + next()).expect("below 20,000"));
    let mut free = ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("a free port")
}

fn spawn(port: u16, directory: &TempDir, options: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        // Others speak to it from addresses of their own, all of this machine.
        .args(["--protected-mode", "no", "--appendonly", "yes", "--dir"])
        .arg(directory.path())
        .args(options)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed: apt-get install redis")
}

/// The append-only file is a folder of files.
fn copy_files(from: &TempDir, to: &TempDir) {
    let folder = to.path().join("appendonlydir");
    fs::create_dir_all(&folder).expect("a folder can be made");
    for file in fs::read_dir(from.path().join("appendonlydir")).expect("it has files") {
        let file = file.expect("its files can be listed");
        fs::copy(file.path(), folder.join(file.file_name())).expect("a file can be copied");
    }
}
