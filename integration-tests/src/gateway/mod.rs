//! The built gateway: one process, or several that share a Redis server behind a proxy.
//!
//! A test is written for "the gateway". With `MATRIX_FLEET=3` that is three processes, and each
//! request goes to any of them; what holds for one has to hold for all together. A test that is about a
//! single process says so, and why: [`Gateway::single`].

mod front;
mod metrics;
mod process;
mod report;

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use buswire_testkit::RedisServer;
use tempfile::TempDir;

pub use self::{front::Balance, report::Single};
use self::{front::Front, process::Process};
use crate::client::curl;

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

/// How many processes a gateway is, unless a test says: `MATRIX_FLEET`, or one.
pub fn fleet_size() -> usize {
    number("MATRIX_FLEET", 1)
}

/// What the choices of the proxy begin with: `MATRIX_SEED`, or 1.
fn seed() -> u64 {
    number("MATRIX_SEED", 1)
}

fn number<T: std::str::FromStr>(variable: &str, default: T) -> T {
    let text = std::env::var(variable).ok();
    let number = text.map(|text| {
        text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}"))
    });
    number.unwrap_or(default)
}

/// Where a gateway listens; where the proxy does, if there are several.
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
#[derive(Debug)]
pub struct GatewayBuilder {
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    file: String,
    balance: Balance,
    single: Option<Single>,
    processes: usize,
}

impl Default for GatewayBuilder {
    fn default() -> Self {
        Self {
            settings: Vec::new(),
            environment: Vec::new(),
            file: String::new(),
            balance: Balance::default(),
            single: None,
            processes: fleet_size(),
        }
    }
}

impl GatewayBuilder {
    /// Sets one key on the command line, of every process.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.into(), value.into()));
        self
    }

    /// Sets a variable of the environment of every process.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Adds lines to the configuration file, which all processes read.
    #[must_use]
    pub fn file(mut self, toml: &str) -> Self {
        self.file.push_str(toml);
        self
    }

    /// One process, since the test is about what one process does.
    #[must_use]
    pub fn single(self, why: Single) -> Self {
        Self { single: Some(why), processes: 1, ..self }
    }

    /// Sends whole connections to one process, not each request to any.
    #[must_use]
    pub fn by_connection(mut self) -> Self {
        self.balance = Balance::Connections;
        self
    }

    /// Keeps the address of the administration when it is started again.
    #[must_use]
    pub fn steady_admin(self) -> Self {
        if self.processes > 1 {
            return self;
        }
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port").to_string();
        self.set("admin.listen", &address)
    }

    /// So many processes, whatever the environment says.
    #[must_use]
    pub fn fleet(mut self, processes: usize) -> Self {
        self.processes = processes;
        self
    }

    /// Starts it in a new folder and waits until it is ready.
    pub fn start(self) -> Gateway {
        report::started(self.processes, self.single);
        if self.processes > 1 {
            for key in ["store.url", "http.listen", "admin.listen", "data_dir"] {
                let is_set = self.settings.iter().any(|(set, _)| set == key);
                assert!(!is_set, "{key} is each process's own: Gateway::single says why");
            }
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("buswire.toml"), &self.file).expect("the file is written");
        let processes = (0..self.processes).map(|number| Process::new(folder.path(), number));
        let processes: Vec<_> = processes.collect();
        let mut settings = Vec::new();
        let fleet = (self.processes > 1).then(|| {
            let server = RedisServer::start(&[]);
            let front = Front::start(self.processes, self.balance, seed());
            share_secrets(&processes);
            settings.push(("store.url".to_owned(), server.url()));
            // The URLs that a process hands out lead to any. A test may set another one.
            settings.push(("http.public_url".to_owned(), format!("http://{}", front.bound().http)));
            Fleet { front, server }
        });
        settings.extend(self.settings);
        let environment = self.environment;
        let mut gateway = Gateway { folder, settings, environment, processes, fleet };
        gateway.start();
        gateway
    }
}

/// Puts the same admin token and the same keys of Belay into each folder of data.
fn share_secrets(processes: &[Process]) {
    let secret = || {
        let mut bytes = [0; 32];
        let mut source = fs::File::open("/dev/urandom").expect("randomness");
        std::io::Read::read_exact(&mut source, &mut bytes).expect("randomness");
        URL_SAFE_NO_PAD.encode(bytes)
    };
    for (name, secret) in [("admin.token", secret()), ("belay.keys", secret())] {
        for process in processes {
            fs::create_dir_all(process.data()).expect("a folder is made");
            let own = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            fs::set_permissions(process.data(), own).expect("a folder is its owner's alone");
            let file = process.data().join(name);
            fs::write(&file, &secret).expect("a file is written");
            let own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            fs::set_permissions(&file, own).expect("a file is its owner's alone");
        }
    }
}

/// What several processes have in common.
#[derive(Debug)]
struct Fleet {
    front: Front,
    server: RedisServer,
}

/// A running gateway. Killed when dropped; its log is printed if the test fails.
#[derive(Debug)]
pub struct Gateway {
    folder: TempDir,
    settings: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    processes: Vec<Process>,
    fleet: Option<Fleet>,
}

impl Gateway {
    /// A gateway with defaults on free ports.
    pub fn spawn() -> Self {
        Self::builder().start()
    }

    /// A gateway with settings.
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder::default()
    }

    /// A gateway of one process, since the test is about what one process does.
    pub fn single(why: Single) -> GatewayBuilder {
        Self::builder().single(why)
    }

    /// Sets a variable of the environment from the next start on; an empty value takes it away.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.environment.push((name.into(), value.into()));
        }
    }

    /// Starts those of its processes that do not run, with their data, on free ports. Those of the proxy
    /// stay the same.
    pub fn start(&mut self) {
        let config = self.path("buswire.toml");
        let several = self.processes.len() > 1;
        let stopped: Vec<_> =
            (0..self.processes.len()).filter(|at| !self.is_running(*at)).collect();
        assert!(!stopped.is_empty(), "it is running");
        for at in &stopped {
            let mut settings = self.settings.clone();
            if several {
                settings.insert(0, ("gateway_name".to_owned(), format!("g{}", at + 1)));
            }
            let environment = self.environment.clone();
            self.process(*at).start(&config, &settings, &environment);
        }
        for at in stopped {
            let bound = self.process(at).wait();
            if let Some(fleet) = &self.fleet {
                fleet.front.lead(at, &bound);
            }
        }
    }

    fn process(&mut self, at: usize) -> &mut Process {
        self.processes.get_mut(at).expect("a process of the gateway")
    }

    fn is_running(&self, at: usize) -> bool {
        self.processes.get(at).is_some_and(|process| process.pid().is_some())
    }

    /// How many processes it is.
    pub fn size(&self) -> usize {
        self.processes.len()
    }

    /// Where it listens; where the proxy does, if it is several processes.
    pub fn bound(&self) -> &Bound {
        match &self.fleet {
            Some(fleet) => fleet.front.bound(),
            None => self.bound_at(0),
        }
    }

    /// Where one of its processes listens.
    pub fn bound_at(&self, at: usize) -> &Bound {
        self.processes.get(at).expect("a process of the gateway").bound()
    }

    /// The server that its processes share, if they are several.
    pub fn redis(&self) -> Option<&RedisServer> {
        self.fleet.as_ref().map(|fleet| &fleet.server)
    }

    /// The URL of a path on the public listener.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.bound().http)
    }

    /// A file in its folder. `data` is that of its first process.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Its process id, if it is one process.
    pub fn pid(&self) -> u32 {
        assert_eq!(self.size(), 1, "several processes have several ids");
        self.pids().next().unwrap_or_default()
    }

    fn pids(&self) -> impl Iterator<Item = u32> {
        self.processes.iter().filter_map(Process::pid)
    }

    /// Sends a signal by name to each of its processes.
    pub fn signal(&self, name: &str) {
        self.pids().for_each(|pid| signal(pid, name));
    }

    /// The resident memory of its largest process, in KiB.
    pub fn resident_kib(&self) -> u64 {
        let resident = |pid| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            kib.expect("a process has resident memory")
        };
        self.pids().map(resident).max().expect("it is running")
    }

    /// Its metrics as they are exposed; if it is several processes, the sums of theirs.
    pub fn metrics(&self) -> String {
        let running = self.processes.iter().filter(|process| process.pid().is_some());
        let scrape = |process: &Process| {
            curl(&format!("http://{}/metrics", process.bound().ops)).send().body
        };
        metrics::sums(running.map(scrape))
    }

    /// Runs an administration command against it.
    pub fn command(&self, arguments: &[&str]) -> Output {
        self.command_at(&self.bound().admin, arguments)
    }

    /// Runs an administration command that must succeed against each of its processes, and returns what all
    /// print: for what is each one's own.
    pub fn admin_each(&self, arguments: &[&str]) -> String {
        let each = self.processes.iter().map(|process| {
            let output = self.command_at(&process.bound().admin, arguments);
            assert!(output.status.success(), "{arguments:?} failed: {output:?}\n{}", self.log());
            String::from_utf8(output.stdout).expect("it prints text")
        });
        each.collect::<String>().trim_end().to_owned()
    }

    fn command_at(&self, admin: &str, arguments: &[&str]) -> Output {
        Command::new(binary())
            .args(arguments)
            .args(["--admin", &format!("http://{admin}")])
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

    /// Kills all of it as `kill -9` does.
    pub fn kill(&mut self) {
        self.processes.iter_mut().for_each(Process::kill);
        (0..self.size()).for_each(|at| self.forget(at));
    }

    /// Kills one of its processes as `kill -9` does. The proxy finds out by itself.
    pub fn kill_one(&mut self, at: usize) {
        self.process(at).kill();
        self.forget(at);
    }

    /// Takes its data away while it does not run: what is in its folder, or in the server that its
    /// processes share.
    pub fn lose_data(&self) {
        match self.redis() {
            Some(server) => assert_eq!(server.cli(&["flushall"]), "OK"),
            None => fs::remove_dir_all(self.path("data")).expect("its data goes"),
        }
    }

    /// Asks all of it to stop with SIGTERM and waits until it has; the status of a process that failed, if
    /// one did.
    pub fn terminate(&mut self) -> ExitStatus {
        let running: Vec<_> = (0..self.size()).filter(|at| self.is_running(*at)).collect();
        self.processes.iter().filter(|it| it.pid().is_some()).for_each(Process::ask_to_stop);
        let ended: Vec<_> = running.into_iter().map(|at| self.process(at).ended()).collect();
        (0..self.size()).for_each(|at| self.forget(at));
        let failed = ended.iter().find(|status| !status.success());
        *failed.or(ended.first()).expect("it is running")
    }

    /// Asks one of its processes to stop with SIGTERM and waits until it has.
    pub fn terminate_one(&mut self, at: usize) -> ExitStatus {
        self.process(at).ask_to_stop();
        let status = self.process(at).ended();
        self.forget(at);
        status
    }

    fn forget(&self, at: usize) {
        if let Some(fleet) = &self.fleet {
            fleet.front.forget(at);
        }
    }

    /// What it logged; all processes write one log.
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
        self.processes.clear();
        if std::thread::panicking() {
            eprintln!("--- log of the gateway ---\n{}", self.log());
        }
    }
}
