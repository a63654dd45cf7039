//! The servers that are measured: ours, the two floors, and nginx with nchan.

use buswire_integration_tests::Gateway;
use tempfile::NamedTempFile;

use super::socket::Socket;
use crate::{
    nginx::{self, Nginx},
    stats::Floor,
};

/// What nchan does for a client and for its application server.
const LOCATIONS: &str = "\
    location ~ ^/sub/(.+)$ { nchan_subscriber websocket; nchan_channel_id $1; \
    nchan_subscriber_first_message newest; }\n\
    location ~ ^/pub/(.+)$ { nchan_publisher; nchan_channel_id $1; nchan_message_buffer_length 1; }";

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contestant {
    Buswire,
    /// Holds WebSockets and writes a frame for each PUT.
    Bare,
    /// The same, after an `fdatasync` of whatever waits.
    Durable,
    /// Debian's nginx with nchan, which stores nothing durably.
    Nchan,
}

impl Contestant {
    pub(super) const ALL: [Self; 4] = [Self::Buswire, Self::Bare, Self::Durable, Self::Nchan];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Buswire => "Buswire",
            Self::Bare => "bare floor",
            Self::Durable => "durable floor",
            Self::Nchan => "nginx+nchan",
        }
    }

    pub(super) fn is_installed(self) -> bool {
        self != Self::Nchan || nginx::is_installed()
    }
}

/// What keeps a server running.
enum Running {
    Gateway(Box<Gateway>),
    Floor {
        floor: Floor,
        /// Removed when the floor ends.
        _file: Option<NamedTempFile>,
    },
    Nginx(Nginx),
}

/// A running server.
pub(super) struct Server {
    contestant: Contestant,
    running: Running,
}

impl Server {
    pub(super) fn start(contestant: Contestant) -> Self {
        let running = match contestant {
            Contestant::Buswire => Running::Gateway(Box::new(gateway())),
            Contestant::Bare => Running::Floor { floor: Floor::start(&["push"]), _file: None },
            Contestant::Durable => {
                // Where the gateway keeps its data too.
                let file = NamedTempFile::new().unwrap();
                let path = file.path().display().to_string();
                Running::Floor { floor: Floor::start(&["push", &path]), _file: Some(file) }
            }
            Contestant::Nchan => Running::Nginx(Nginx::start(LOCATIONS)),
        };
        Self { contestant, running }
    }

    pub(super) fn address(&self) -> &str {
        match &self.running {
            Running::Gateway(gateway) => &gateway.bound().http,
            Running::Floor { floor, .. } => &floor.address,
            Running::Nginx(nginx) => &nginx.address,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        match &self.running {
            Running::Gateway(gateway) => gateway.pid(),
            Running::Floor { floor, .. } => floor.pid(),
            Running::Nginx(nginx) => nginx.pid(),
        }
    }

    /// A connected client and the path of its endpoint.
    pub(super) async fn client(&self, number: usize) -> (Socket, String) {
        if self.contestant == Contestant::Nchan {
            let path = format!("/sub/{number}");
            let socket = Socket::open(self.address(), &path, number).await;
            return (socket, format!("/pub/{number}"));
        }
        let mut socket = Socket::open(self.address(), "/push", number).await;
        socket.hello().await;
        let path = socket.register(number).await;
        (socket, path)
    }

    /// Whether clients acknowledge what they are told.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.contestant != Contestant::Nchan
    }

    /// The request that publishes a version.
    pub(super) fn publish(&self, path: &str, version: u64) -> Vec<u8> {
        let body = format!("version={version}");
        let method = if self.contestant == Contestant::Nchan { "POST" } else { "PUT" };
        format!(
            "{method} {path} HTTP/1.1\r\nHost: load\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// A gateway that takes every connection that the machine has files for.
fn gateway() -> Gateway {
    let most = "300000";
    Gateway::builder()
        .set("http.connections_max", most)
        .set("simplepush.connections_max", most)
        .start()
}
