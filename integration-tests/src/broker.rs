//! The built broker alone, and programs that use the libraries of `clients`.

use std::{path::PathBuf, process::Command};

use crate::{client::Peer, gateway::binary};

/// The root of the repository.
pub fn root() -> PathBuf {
    concat!(env!("CARGO_MANIFEST_DIR"), "/..").into()
}

/// `buswire mdp broker` on a free port. Killed when dropped.
#[derive(Debug)]
pub struct Broker {
    /// Where it listens.
    pub endpoint: String,
    _process: Peer,
}

impl Broker {
    /// Starts it and waits until it says that it is ready.
    pub fn spawn() -> Self {
        let process = Peer::start(Command::new(binary()).args(["mdp", "broker", "--port", "0"]));
        let endpoint = process.line();
        assert_eq!(process.line(), "Broker Started");
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

/// Node in `clients/js`, whose library it finds.
pub fn node_client() -> Command {
    let folder = root().join("clients/js");
    let is_installed = folder.join("node_modules/zeromq").exists();
    assert!(is_installed, "install what it needs: npm ci --ignore-scripts in clients/js");
    let mut command = Command::new("node");
    command.current_dir(folder);
    command
}
