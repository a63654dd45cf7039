//! Clients that are not ours: curl, Python programs, and bytes on a socket.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, sync_channel},
};

use serde_json::Value;

use crate::{
    gateway::signal,
    wait::{DEADLINE, until},
};

/// An HTTP answer as curl showed it.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The header section, as sent.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.body))
    }

    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// A curl command under construction.
#[derive(Debug)]
pub struct Curl(Command);

/// Begins a curl command for `url`.
pub fn curl(url: &str) -> Curl {
    let mut command = Command::new("curl");
    let seconds = DEADLINE.as_secs().to_string();
    command.args(["--silent", "--show-error", "--include", "--max-time", &seconds, url]);
    Curl(command)
}

impl Curl {
    /// Adds arguments to the command line.
    #[must_use]
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.0.args(arguments);
        self
    }

    /// Sets the method.
    #[must_use]
    pub fn method(self, method: &str) -> Self {
        self.args(&["--request", method])
    }

    /// Adds a header.
    #[must_use]
    pub fn header(self, header: &str) -> Self {
        self.args(&["--header", header])
    }

    /// Sends a body as it is, as JSON.
    #[must_use]
    pub fn json(self, body: &str) -> Self {
        self.header("Content-Type: application/json").args(&["--data-binary", body])
    }

    /// Runs it.
    pub fn send(mut self) -> Reply {
        let output = self.0.output().expect("curl is installed: apt-get install curl");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "curl failed: {stderr} {:?}", self.0);
        let mut text = String::from_utf8(output.stdout).expect("the answer is text");
        // A `100 Continue` comes before the answer proper.
        while text.starts_with("HTTP/1.1 1") {
            text = text.split_once("\r\n\r\n").map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        }
        let (headers, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = headers.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status in {headers}"));
        Reply { status, headers: headers.to_owned(), body: body.to_owned() }
    }
}

/// Sends bytes to `address` and returns everything that comes back until the peer closes.
pub fn raw(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("the gateway accepts");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
    // The peer may refuse and close before it has read everything; its answer still counts.
    stream.write_all(bytes).unwrap_or_default();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map(|_| ()).unwrap_or_default();
    answer
}

/// A program that reads and writes lines. Killed when dropped.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

/// Starts `integration-tests/py/NAME.py` with the interpreter of `BUSWIRE_PYTHON`, or `python3`.
pub fn python(name: &str, arguments: &[&str]) -> Peer {
    let interpreter = std::env::var("BUSWIRE_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = format!("{}/py/{name}.py", env!("CARGO_MANIFEST_DIR"));
    Peer::start(Command::new(&interpreter).arg("-u").arg(script).args(arguments))
}

impl Peer {
    /// Starts a program.
    pub fn start(command: &mut Command) -> Self {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child =
            started.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (send, lines) = sync_channel(1024);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, stdin, lines }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop with SIGTERM and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        signal(self.pid(), "TERM");
        until("the program ends after SIGTERM", || self.child.try_wait().expect("it can be asked"))
    }

    /// The next line that it prints.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).unwrap_or_else(|error| {
            panic!("the peer printed nothing ({error}); is its package installed? see README.md")
        })
    }

    /// The next line, as JSON.
    pub fn json(&self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("not JSON ({error}): {line}"))
    }

    /// Gives it a line.
    pub fn say(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").expect("the peer reads");
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().map(|_| ()).expect("it ends");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(|_| ()).unwrap_or_default();
    }
}
