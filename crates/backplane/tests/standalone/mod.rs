//! The example server as a process, and where examples are.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

/// The built example of this name.
pub(crate) fn example(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let binary = this.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(
        binary.exists(),
        "{} is missing: cargo build -p buswire-backplane --all-features --examples",
        binary.display()
    );
    binary
}

/// The example server as a process; it ends when this is dropped.
pub(crate) struct Standalone {
    child: Child,
    /// The line that it prints.
    pub(crate) ready: Value,
}

impl Standalone {
    pub(crate) fn start() -> Self {
        let binary = example("backplane_server");
        let mut child =
            Command::new(binary).arg("127.0.0.1:0").stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, ready: serde_json::from_str(&line).unwrap() }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.ready["address"].as_str().unwrap())
    }

    pub(crate) fn user(&self) -> String {
        self.pair("user", "password")
    }

    pub(crate) fn client(&self) -> String {
        self.pair("client_id", "client_secret")
    }

    fn pair(&self, name: &str, secret: &str) -> String {
        format!("{}:{}", self.ready[name].as_str().unwrap(), self.ready[secret].as_str().unwrap())
    }

    /// The clean end: it is asked to stop and exits 0.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to kill.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}
