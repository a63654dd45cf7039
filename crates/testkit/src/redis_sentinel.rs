//! A Redis sentinel of a test's own.
//!
//! Never here: the servers that it watches.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::redis_server::{RedisServer, cli, free_port, until};

/// A sentinel that watches one master, which it calls `main`. Killed when it is dropped.
///
/// Its methods block, and panic where a test could not go on.
#[derive(Debug)]
pub struct RedisSentinel {
    process: Child,
    port: u16,
    _directory: TempDir,
}

impl RedisSentinel {
    /// Starts a sentinel that is sure by itself when the master is down, after 0.3 s. `lines` are added
    /// to its file. Waits until it knows `replicas`.
    pub fn watch(master: &RedisServer, replicas: &[&RedisServer], lines: &str) -> Self {
        let sentinel = Self::of(master.port(), lines);
        for replica in replicas {
            master.until("the sentinel knows the replica", || sentinel.knows(replica));
        }
        sentinel
    }

    /// The same for the master at a port of 127.0.0.1. Waits until it answers.
    pub fn of(master: u16, lines: &str) -> Self {
        Self::start(&format!(
            "bind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master} 1\n\
             sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 1000\n{lines}"
        ))
    }

    /// Watches the server at `host`, which others reach there too. It is sure by itself when the master is
    /// down, after `down_after`, and speaks to others from 127.0.3.1. Waits until it answers.
    pub fn apart(host: &str, master: &RedisServer, down_after: Duration) -> Self {
        let (master, down_after) = (master.port(), down_after.as_millis());
        Self::start(&format!(
            "bind 127.0.0.1 127.0.3.1\nbind-source-addr 127.0.3.1\n\
             sentinel monitor main {host} {master} 1\n\
             sentinel down-after-milliseconds main {down_after}\nsentinel failover-timeout main 3000\n"
        ))
    }

    fn start(lines: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let file = directory.path().join("sentinel.conf");
        let port = free_port();
        fs::write(&file, format!("port {port}\n{lines}")).expect("a file can be written");
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").stdout(Stdio::null());
        let process = command.spawn().expect("redis-server is installed: apt-get install redis");
        let sentinel = Self { process, port, _directory: directory };
        until("the sentinel answers", || sentinel.cli(&["ping"]) == "PONG");
        sentinel
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    fn knows(&self, replica: &RedisServer) -> bool {
        self.cli(&["sentinel", "replicas", "main"]).contains(&replica.port().to_string())
    }

    /// Sends one command and gives what `redis-cli` prints.
    pub fn cli(&self, arguments: &[&str]) -> String {
        cli(self.port, arguments)
    }
}

impl Drop for RedisSentinel {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().map(|_| ()).unwrap_or_default();
    }
}
