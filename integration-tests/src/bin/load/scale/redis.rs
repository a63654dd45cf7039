//! A Redis server of the tool's own, and what it tells of its work.
//!
//! Never here: what is kept in it.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread::JoinHandle,
    time::Duration,
};

use buswire_integration_tests::until;
use tempfile::TempDir;

/// When the server writes its append-only file through to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fsync {
    Always,
    Everysec,
}

impl Fsync {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Everysec => "everysec",
        }
    }
}

/// A running `redis-server`, killed when it is dropped.
pub(crate) struct Redis {
    process: Child,
    port: u16,
    /// Removed when the server has ended.
    _folder: TempDir,
}

/// Counters of the server since it started; differences are what something took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) cpu: Duration,
    /// Bytes of its append-only file.
    pub(crate) file: f64,
    pub(crate) received: f64,
    pub(crate) sent: f64,
    /// Bytes in use now, without its copy-on-write and what the allocator keeps.
    pub(crate) memory: f64,
}

impl Redis {
    /// One that keeps what it acknowledged, and whose file only grows.
    pub(crate) fn start(fsync: Fsync) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", fsync.name()])
            .args(["--auto-aof-rewrite-percentage", "0", "--maxclients", "10000", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed: apt-get install redis-server");
        let server = Self { process, port, _folder: folder };
        until("redis-server answers", || TcpStream::connect(("127.0.0.1", port)).ok().map(|_| ()));
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// What it has done so far.
    pub(crate) fn counters(&self) -> Counters {
        let info = self.info();
        let number = |name: &str| -> f64 {
            info.get(name).and_then(|text| text.parse().ok()).unwrap_or_default()
        };
        Counters {
            cpu: Duration::from_secs_f64(number("used_cpu_sys") + number("used_cpu_user")),
            file: number("aof_current_size"),
            received: number("total_net_input_bytes"),
            sent: number("total_net_output_bytes"),
            memory: number("used_memory"),
        }
    }

    fn info(&self) -> HashMap<String, String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"INFO\r\n").unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        reader.read_line(&mut head).unwrap();
        let length = head.trim().trim_start_matches('$').parse().expect("INFO is answered");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let body = String::from_utf8_lossy(&body);
        let fields = body.lines().filter_map(|line| line.split_once(':'));
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Counts the requests of its clients from here on. It is slower meanwhile.
    pub(crate) fn watch(&self) -> Watch {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let reader = BufReader::with_capacity(1 << 20, stream.try_clone().unwrap());
        let counting = std::thread::spawn(move || count(reader));
        Watch { stream, counting }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().map(|_| ()).unwrap_or_default();
    }
}

/// Requests that are being counted.
pub(crate) struct Watch {
    stream: TcpStream,
    counting: JoinHandle<usize>,
}

impl Watch {
    /// How many there were.
    pub(crate) fn end(self) -> usize {
        self.stream.shutdown(Shutdown::Both).unwrap();
        self.counting.join().unwrap()
    }
}

/// Lines of MONITOR that are requests of clients: what scripts do is marked `lua`.
fn count(mut reader: impl BufRead) -> usize {
    let mut line = Vec::new();
    let mut requests = 0;
    while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
        let is_of_script = line.windows(6).take(40).any(|bytes| bytes == b"0 lua]");
        requests += usize::from(line.contains(&b'[') && !is_of_script);
        line.clear();
    }
    requests
}
