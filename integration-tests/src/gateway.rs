//! The built gateway as a process.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::wait::until;

/// The built `buswire`: `BUSWIRE_BIN`, or the one in the folder of this executable or above it.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("BUSWIRE_BIN") {
        return path.into();
    }
    let program = std::env::current_exe().expect("a program knows where it is");
    let folders = program.ancestors().skip(1).take(2);
    let binary = folders.map(|folder| folder.join("buswire")).find(|binary| binary.exists());
    binary.expect("build it first: cargo build --package buswire")
}

/// Where a gateway listens.
#[derive(Clone, Debug)]
pub struct Bound {
    /// `127.0.0.1:port` of the public listener.
    pub http: String,
    /// `127.0.0.1:port` of the administration.
    pub admin: String,
    /// `tcp://127.0.0.1:port` of the first MDP endpoint.
    pub mdp: String,
    /// `127.0.0.1:port` of health and metrics.
    pub ops: String,
}

/// What to start a gateway with.
#[derive(Debug, Default)]
pub struct GatewayBuilder {
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    file: String,
}

impl GatewayBuilder {
    /// Sets one key on the command line.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Adds lines to the configuration file.
    #[must_use]
    pub fn file(mut self, toml: &str) -> Self {
        self.file.push_str(toml);
        self
    }

    /// Starts it in a new folder and waits until it is ready.
    pub fn start(self) -> Gateway {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("buswire.toml"), &self.file).expect("the file is written");
        let (settings, environment) = (self.settings, self.environment);
        let mut gateway = Gateway { folder, settings, environment, child: None, bound: None };
        gateway.start();
        gateway
    }
}

/// A running gateway. Killed when dropped; its log is printed if the test fails.
#[derive(Debug)]
pub struct Gateway {
    folder: TempDir,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    child: Option<Child>,
    bound: Option<Bound>,
}

impl Gateway {
    /// A gateway with defaults on free ports.
    pub fn spawn() -> Self {
        GatewayBuilder::default().start()
    }

    /// A gateway with settings.
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder::default()
    }

    /// Sets a variable of its environment from its next start on; an empty value takes it away.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.environment.push((name.into(), value.into()));
        }
    }

    /// Starts it again, with its data, on free ports.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it is running");
        let ready = self.path("ready.json");
        fs::remove_file(&ready).unwrap_or_default();
        let log = File::options().create(true).append(true).open(self.path("log")).expect("a log");
        let mut command = Command::new(binary());
        command.arg("serve").arg("--config").arg(self.path("buswire.toml"));
        command.arg("--ready-file").arg(&ready);
        let data_dir = format!("data_dir={}", self.path("data").display());
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
        for (key, value) in &self.settings {
            command.args(["--set", &format!("{key}={value}")]);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let stderr = log.try_clone().expect("the log is shared");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(stderr).spawn();
        let mut child = child.expect("the gateway starts");
        let bound = until("the gateway is ready", || {
            if let Some(status) = child.try_wait().expect("the gateway can be asked") {
                panic!("the gateway ended with {status}:\n{}", self.log());
            }
            let text = fs::read_to_string(&ready).ok()?;
            serde_json::from_str::<Value>(&text).ok()
        });
        let text = |value: &Value| value.as_str().map(str::to_owned).unwrap_or_default();
        let field = |name: &str| bound.get(name).map(text).unwrap_or_default();
        let mdp = bound.get("mdp").and_then(|mdp| mdp.get(0)).map(text).unwrap_or_default();
        self.bound =
            Some(Bound { http: field("http"), admin: field("admin"), mdp, ops: field("ops") });
        self.child = Some(child);
    }

    /// Where it listens.
    pub fn bound(&self) -> &Bound {
        self.bound.as_ref().expect("it is running")
    }

    /// The URL of a path on the public listener.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.bound().http)
    }

    /// A file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map(Child::id).unwrap_or_default()
    }

    /// Runs an administration command against it.
    pub fn command(&self, arguments: &[&str]) -> Output {
        Command::new(binary())
            .args(arguments)
            .args(["--admin", &format!("http://{}", self.bound().admin)])
            .args(["--token-file".as_ref(), self.path("data/admin.token").as_os_str()])
            .output()
            .expect("the command runs")
    }

    /// Runs an administration command that must succeed, and returns what it prints.
    pub fn admin(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?} failed: {stderr}\n{}", self.log());
        String::from_utf8(output.stdout).expect("it prints text").trim_end().to_owned()
    }

    /// The token of administrators.
    pub fn admin_token(&self) -> String {
        let token = std::fs::read_to_string(self.path("data/admin.token"));
        token.expect("the gateway wrote its admin token").trim().to_owned()
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
        }
    }

    /// Asks it to stop with SIGTERM and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it is running");
        signal(child.id(), "TERM");
        until("the gateway ends after SIGTERM", || child.try_wait().expect("it can be asked"))
    }

    /// What it logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The folder of its data.
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }
}

/// Sends a signal by name.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(status.is_ok_and(|status| status.success()), "kill -{name} {pid} works");
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap_or_default();
            child.wait().map(|_| ()).unwrap_or_default();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the gateway ---\n{}", self.log());
        }
    }
}
