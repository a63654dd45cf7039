//! The built broker alone, and programs that run beside it.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::gateway::binary;

/// The root of the repository.
pub fn root() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/..").into()
}

/// A program that runs until it is dropped.
#[derive(Debug)]
pub struct Running(Child);

impl Running {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(|_| ()).unwrap_or_default();
    }
}

/// `buswire mdp broker` on a free port.
#[derive(Debug)]
pub struct Broker {
    /// What it printed when it was ready, the last line excluded.
    pub endpoint: String,
    _process: Running,
}

impl Broker {
    /// Starts it and waits until it says that it is ready.
    pub fn spawn() -> Self {
        let mut command = Command::new(binary());
        command.args(["mdp", "broker", "--port", "0"]).stdout(Stdio::piped());
        let mut process = Running::start(&mut command);
        let out = process.0.stdout.take().expect("stdout is piped");
        let mut lines = BufReader::new(out).lines().map_while(Result::ok);
        let endpoint = lines.next().expect("it prints where it listens");
        assert_eq!(lines.next().as_deref(), Some("Broker Started"));
        Self { endpoint, _process: process }
    }

    /// The port that it listens on.
    pub fn port(&self) -> &str {
        self.endpoint.rsplit(':').next().expect("an endpoint has a port")
    }
}

/// The Python interpreter of `BUSWIRE_PYTHON`, or `python3`, with the library of `clients/python`.
pub fn python_client() -> Command {
    let mut command =
        Command::new(std::env::var("BUSWIRE_PYTHON").unwrap_or_else(|_| "python3".into()));
    command.env("PYTHONPATH", root().join("clients/python/src"));
    command
}

/// Node, which finds the library of `clients/js`.
pub fn node_client() -> Command {
    let folder = root().join("clients/js");
    let installed = folder.join("node_modules/zeromq").exists();
    assert!(installed, "install what it needs first: npm ci --ignore-scripts in clients/js");
    let mut command = Command::new("node");
    command.current_dir(folder);
    command
}
