//! A Redis server of a test's own.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use buswire_store::redis::{RedisAddress, RedisConfig};
use tempfile::TempDir;

/// How long a server may take to start. Reached only when it does not.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server on a free port, killed when it is dropped.
pub(crate) struct RedisServer {
    process: Child,
    pub(crate) port: u16,
    options: Vec<String>,
    pub(crate) directory: Arc<TempDir>,
}

impl RedisServer {
    /// Starts a server that keeps what it acknowledges, with more options.
    pub(crate) async fn start(options: &[&str]) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let options: Vec<_> = options.iter().map(|&option| option.to_owned()).collect();
        let process = spawn(port, directory.path(), &options);
        let server = Self { process, port, options, directory };
        server.answers().await;
        server
    }

    /// Kills it, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again after it was killed.
    pub(crate) async fn restart(&mut self) {
        self.process = spawn(self.port, self.directory.path(), &self.options);
        self.answers().await;
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig::new(RedisAddress::parse(&self.url()).unwrap())
    }

    /// Sends one command and gives what `redis-cli` prints.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(arguments).output();
        String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
    }

    async fn answers(&self) {
        let answers = async {
            while self.cli(&["ping"]) != "PONG" {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answers).await.expect("redis-server answers");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn spawn(port: u16, directory: &Path, options: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--appendonly", "yes", "--dir"])
        .arg(directory)
        .args(options)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}
