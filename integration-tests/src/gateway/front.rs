//! What stands before several gateways and sends each request to any of them.
//!
//! HAProxy of Debian. Its choice is a seeded one, so that a run can be had again as far as requests come
//! in the same order. Never here: the gateways.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
};

use buswire_testkit::free_port;
use tempfile::TempDir;

use super::Bound;
use crate::wait::until;

/// What goes to one gateway together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// Each HTTP request and each call, also those of one connection.
    #[default]
    Requests,
    /// Each connection, whose bytes arrive as they were sent: for what HTTP proxies answer themselves,
    /// and for TLS.
    Connections,
}

/// A server that is not there: connections to it are refused, and go elsewhere.
const NOWHERE: &str = "127.0.0.1:1";

/// HAProxy. Killed when dropped.
#[derive(Debug)]
pub(super) struct Front {
    process: Child,
    folder: TempDir,
    bound: Bound,
}

impl Front {
    /// Starts it before `gateways` that are nowhere yet.
    pub(super) fn start(gateways: usize, balance: Balance, seed: u64) -> Self {
        // A port that was free may be taken before HAProxy has it.
        let started = (0..10).find_map(|_| Self::try_start(gateways, balance, seed));
        started.expect("HAProxy starts: apt-get install haproxy")
    }

    fn try_start(gateways: usize, balance: Balance, seed: u64) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [http, admin, ops, mdp] = [(); 4].map(|()| format!("127.0.0.1:{}", free_port()));
        let bound = Bound { http, admin, ops, mdp: format!("tcp://{mdp}") };
        let choice = format!(
            "math.randomseed({seed})\n\
             core.register_fetches('any', function() return 'g' .. math.random({gateways}) end)\n"
        );
        fs::write(folder.path().join("choice.lua"), choice).expect("a file is written");
        let config = folder.path().join("haproxy.cfg");
        fs::write(&config, configuration(&folder, &bound, gateways, balance))
            .expect("a file is written");
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&config).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("the log is shared")).stderr(log);
        let mut process = command.spawn().expect("haproxy is installed: apt-get install haproxy");
        let socket = folder.path().join("control");
        let is_up = until("HAProxy starts or ends", || {
            let ended = process.try_wait().expect("it can be asked").is_some();
            (ended || UnixStream::connect(&socket).is_ok()).then_some(!ended)
        });
        if !is_up {
            let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            assert!(log.contains("in use"), "HAProxy does not start: {log}");
        }
        is_up.then_some(Self { process, folder, bound })
    }

    /// Where it listens, as long as it lives.
    pub(super) fn bound(&self) -> &Bound {
        &self.bound
    }

    /// Sends to the gateway `number` from now on.
    pub(super) fn lead(&self, number: usize, to: &Bound) {
        for (section, address) in [
            ("http", to.http.as_str()),
            ("admin", &to.admin),
            ("ops", &to.ops),
            ("mdp", to.mdp.trim_start_matches("tcp://")),
        ] {
            self.set(section, number, address);
            self.control(&format!("set server {section}/g{} state ready", number + 1));
        }
    }

    /// Sends nothing to the gateway `number`: its ports may be another's soon.
    pub(super) fn forget(&self, number: usize) {
        for section in ["http", "admin", "ops", "mdp"] {
            self.control(&format!("set server {section}/g{} state maint", number + 1));
            self.set(section, number, NOWHERE);
        }
    }

    fn set(&self, section: &str, number: usize, address: &str) {
        let (host, port) = address.rsplit_once(':').expect("an address has a port");
        let answer =
            self.control(&format!("set server {section}/g{} addr {host} port {port}", number + 1));
        let is_done = answer.contains("changed") || answer.contains("no need to change");
        assert!(is_done, "HAProxy does not lead {section} to {address}: {answer}");
    }

    fn control(&self, command: &str) -> String {
        let socket = UnixStream::connect(self.folder.path().join("control"));
        let mut socket = socket.expect("HAProxy can be spoken to");
        writeln!(socket, "{command}").expect("it reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.process.kill().unwrap_or_default();
        self.process.wait().map(|_| ()).unwrap_or_default();
    }
}

fn configuration(folder: &TempDir, bound: &Bound, gateways: usize, balance: Balance) -> String {
    let path = folder.path().display();
    let servers = |text: &mut String, options: &str| {
        for number in 1..=gateways {
            writeln!(text, "    server g{number} {NOWHERE} {options}").expect("text grows");
        }
    };
    let mut text = format!(
        "global\n    nbthread 1\n    noreuseport\n    stats socket {path}/control mode 600 level admin\n    \
         lua-load {path}/choice.lua\n    \
         # Longer than the longest head that a gateway reads.\n    tune.bufsize 200000\n\
         defaults\n    timeout connect 5s\n    timeout client 1h\n    timeout server 1h\n    \
         # What could not connect goes to another gateway; what was sent is never sent again.\n    \
         retries 3\n    option redispatch 1\n    option abortonclose\n"
    );
    let (http, grpc) = match balance {
        Balance::Requests => ("mode http\n    http-reuse never", "proto h2"),
        Balance::Connections => ("mode tcp", ""),
    };
    let mdp = bound.mdp.trim_start_matches("tcp://");
    for (section, address, mode, options) in [
        ("http", bound.http.as_str(), http, ""),
        ("admin", &bound.admin, http, grpc),
        ("ops", &bound.ops, http, ""),
        ("mdp", mdp, "mode tcp", ""),
    ] {
        let choice = "balance random\n    use-server %[lua.any] if TRUE";
        writeln!(text, "listen {section}\n    bind {address}\n    {mode}\n    {choice}")
            .expect("text grows");
        servers(&mut text, options);
    }
    text
}
