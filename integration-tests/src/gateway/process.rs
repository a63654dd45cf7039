//! One `buswire serve` as a process.
//!
//! Never here: what several of them share.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

use serde_json::Value;

use super::{Bound, binary, signal};
use crate::wait::until;

/// A gateway's process, running or not. Killed when dropped.
#[derive(Debug)]
pub(super) struct Process {
    data: PathBuf,
    ready: PathBuf,
    log: PathBuf,
    child: Option<Child>,
    bound: Option<Bound>,
}

impl Process {
    /// The process `number` of a test, counted from 0, whose files are in `folder`. All write one log.
    pub(super) fn new(folder: &Path, number: usize) -> Self {
        let named = |name: &str| match number {
            0 => folder.join(name),
            _ => folder.join(format!("{name}-{}", number + 1)),
        };
        let (data, ready) = (named("data"), named("ready.json"));
        Self { data, ready, log: folder.join("log"), child: None, bound: None }
    }

    /// Starts it on free ports; [`Self::wait`] waits until it is ready.
    pub(super) fn start(
        &mut self,
        config: &Path,
        settings: &[(String, String)],
        environment: &[(String, String)],
    ) {
        assert!(self.child.is_none(), "it is running");
        fs::remove_file(&self.ready).unwrap_or_default();
        let log = File::options().create(true).append(true).open(&self.log).expect("a log");
        let mut command = Command::new(binary());
        command.arg("serve").arg("--config").arg(config);
        command.arg("--ready-file").arg(&self.ready);
        let data_dir = format!("data_dir={}", self.data.display());
        let ports = [
            data_dir.as_str(),
            "http.listen=127.0.0.1:0",
            "admin.listen=127.0.0.1:0",
            "ops.listen=127.0.0.1:0",
            "mdp.listen=[\"tcp://127.0.0.1:0\"]",
        ];
        for setting in ports {
            command.args(["--set", setting]);
        }
        for (key, value) in settings {
            command.args(["--set", &format!("{key}={value}")]);
        }
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let stderr = log.try_clone().expect("the log is shared");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(stderr).spawn();
        self.child = Some(child.expect("the gateway starts"));
    }

    /// Waits until it is ready, and says where it listens.
    pub(super) fn wait(&mut self) -> Bound {
        let child = self.child.as_mut().expect("it was started");
        let (ready, log) = (&self.ready, &self.log);
        let bound = until("the gateway is ready", || {
            if let Some(status) = child.try_wait().expect("the gateway can be asked") {
                let log = fs::read_to_string(log).unwrap_or_default();
                panic!("the gateway ended with {status}:\n{log}");
            }
            let text = fs::read_to_string(ready).ok()?;
            serde_json::from_str::<Value>(&text).ok()
        });
        let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
        let field = |name: &str| bound.get(name).map(text).unwrap_or_default();
        let mdp = bound.get("mdp").and_then(|mdp| mdp.get(0)).map(text).unwrap_or_default();
        let bound = Bound { http: field("http"), admin: field("admin"), mdp, ops: field("ops") };
        self.bound = Some(bound.clone());
        bound
    }

    /// Where it listens, or listened.
    pub(super) fn bound(&self) -> &Bound {
        self.bound.as_ref().expect("it was started")
    }

    /// The folder of its data.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// Its process id, while it was not ended by the test.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kills it as `kill -9` does, if it runs.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
        }
    }

    /// Asks it to stop with SIGTERM; [`Self::ended`] waits until it has.
    pub(super) fn ask_to_stop(&self) {
        signal(self.pid().expect("it is running"), "TERM");
    }

    /// Waits for its end.
    pub(super) fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it is running");
        until("the gateway ends after SIGTERM", || child.try_wait().expect("it can be asked"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap_or_default();
            child.wait().map(|_| ()).unwrap_or_default();
        }
    }
}
