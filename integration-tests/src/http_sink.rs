//! An HTTP server that remembers what routes deliver to it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Instant,
};

use serde_json::Value;

/// A message that came.
#[derive(Clone, Debug)]
pub struct Taken {
    /// The path that it was posted to.
    pub path: String,
    /// The payload of the message, a number.
    pub payload: u64,
    /// When it came.
    pub at: Instant,
}

/// An HTTP server that remembers what is posted to it.
#[derive(Debug)]
pub struct HttpSink {
    port: u16,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl HttpSink {
    /// Serves on a free port of 127.0.0.1.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("the port is known").port();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&taken);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let noted = Arc::clone(&noted);
                thread::spawn(move || while take_request(&stream, &noted).is_some() {});
            }
        });
        Self { port, taken }
    }

    /// The sink of a route that is called `name`.
    pub fn uri(&self, name: &str) -> String {
        format!("cap:http://127.0.0.1:{}{}{}", self.port, Self::path(name), "x".repeat(40))
    }

    /// What the path of that sink begins with.
    pub fn path(name: &str) -> String {
        format!("/cap/{name}-")
    }

    /// What came so far, in order.
    pub fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What came so far for the route that is called `name`, in order.
    pub fn taken_by(&self, name: &str) -> Vec<Taken> {
        let path = Self::path(name);
        self.taken().into_iter().filter(|taken| taken.path.starts_with(&path)).collect()
    }
}

/// Reads one request, notes it and answers it; `None` when the connection ends.
fn take_request(stream: &TcpStream, noted: &Mutex<Vec<Taken>>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request).ok().filter(|bytes| *bytes > 0)?;
    let path = request.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        length =
            line.strip_prefix("content-length:").map_or(Some(length), |n| n.trim().parse().ok())?;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body: Value = serde_json::from_slice(&body).ok()?;
    let payload = body.get("value")?.get("payload")?.as_u64()?;
    #[expect(clippy::disallowed_methods, reason = "a test measures real time")]
    let at = Instant::now();
    noted.lock().unwrap_or_else(PoisonError::into_inner).push(Taken { path, payload, at });
    let mut writer = stream;
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"value\":1}";
    writer.write_all(answer.as_bytes()).ok()
}
