//! Starts the real binary and speaks to it over raw sockets.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::{
    fs,
    io::{Read as _, Write as _},
    mem,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// How long a test waits for something that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A command of the real binary, without any environment but what the test gives.
pub(crate) fn buswire(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_buswire"));
    command.args(arguments).env_clear();
    command
}

/// Runs it to its end.
pub(crate) fn output(arguments: &[&str]) -> Output {
    buswire(arguments).output().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Waits until `condition` gives something.
pub(crate) fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited too long for {what}");
        // Only paces the check of the condition; nothing is taken for granted after it.
        thread::sleep(Duration::from_millis(5));
    }
}

/// A running gateway. It is killed when dropped, and its log is shown when the test fails.
pub(crate) struct Gateway {
    child: Option<Child>,
    pub(crate) directory: TempDir,
    pub(crate) ready: Value,
}

impl Gateway {
    /// Starts `buswire serve` on free ports over the memory store, with further `settings`.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::start_with(settings, &[])
    }

    /// The same with environment variables.
    pub(crate) fn start_with(settings: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start_as(buswire(&["serve"]), settings, environment)
    }

    /// The same by a `command` that becomes `buswire serve`.
    pub(crate) fn start_as(
        mut command: Command,
        settings: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ready_file = directory.path().join("ready.json");
        command.arg("--ready-file").arg(&ready_file);
        let data_dir = format!("data_dir={}", directory.path().join("data").display());
        let base = [
            "store.url=memory:",
            "http.listen=127.0.0.1:0",
            "admin.listen=127.0.0.1:0",
            "ops.listen=127.0.0.1:0",
            "mdp.listen=tcp://127.0.0.1:0",
            "log.filter=debug",
        ];
        for setting in
            base.iter().copied().chain([data_dir.as_str()]).chain(settings.iter().copied())
        {
            command.args(["--set", setting]);
        }
        let log = fs::File::create(directory.path().join("log")).unwrap();
        command.envs(environment.iter().copied()).stderr(log).stdout(Stdio::null());
        let mut gateway =
            Self { child: Some(command.spawn().unwrap()), directory, ready: Value::Null };
        gateway.ready = wait_for("the ready file", || {
            if let Some(status) = gateway.child.as_mut().unwrap().try_wait().unwrap() {
                panic!("the gateway ended with {status}");
            }
            serde_json::from_str(&fs::read_to_string(&ready_file).ok()?).ok()
        });
        gateway
    }

    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        self.ready[listener].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn connect(&self, listener: &str) -> TcpStream {
        let stream = TcpStream::connect(self.address(listener)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends `request` and reads until the other end closes.
    pub(crate) fn exchange(&self, listener: &str, request: &str) -> String {
        let mut stream = self.connect(listener);
        stream.write_all(request.as_bytes()).unwrap();
        read_to_end(&mut stream)
    }

    /// The answer to a GET.
    pub(crate) fn get(&self, listener: &str, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        self.exchange(listener, &request)
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) fn log(&self) -> String {
        read_log(self.directory.path())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Runs a command of an administrator with the token `t`, which the gateway must have.
    pub(crate) fn administer(&self, arguments: &[&str]) -> Output {
        let url = format!("http://{}", self.address("admin"));
        buswire(arguments).args(["--admin", &url, "--token", "t"]).output().unwrap()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().unwrap().try_wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn ended(self) -> (ExitStatus, String) {
        let (status, log, _directory) = self.ended_keeping_files();
        (status, log)
    }

    /// Waits for its end and keeps its files.
    pub(crate) fn ended_keeping_files(mut self) -> (ExitStatus, String, TempDir) {
        let mut child = self.child.take().unwrap();
        let status = wait_for("the end of the gateway", || child.try_wait().unwrap());
        let log = self.log();
        (status, log, mem::replace(&mut self.directory, tempfile::tempdir().unwrap()))
    }

    /// Sends SIGTERM and waits for a clean end.
    pub(crate) fn terminate(self) -> String {
        self.signal("TERM");
        let (status, log) = self.ended();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone = child.kill();
            let _gone = child.wait();
            if thread::panicking() {
                eprintln!("--- log of the gateway ---\n{}", read_log(self.directory.path()));
            }
        }
    }
}

fn read_log(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).unwrap_or_default()
}

/// Reads until the other end closes, or resets.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _reset = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads one response head.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the connection was closed");
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}
