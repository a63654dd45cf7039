//! Chromium, driven from outside.

use std::{
    io::{BufRead as _, BufReader},
    net::TcpListener,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

use thirtyfour::{ChromiumLikeCapabilities as _, DesiredCapabilities, WebDriver};

use crate::wait::until;

/// A program that prints a line with something we need. Ended when dropped, with everything that it
/// started: it leads a process group.
#[derive(Debug)]
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let kill = |signal| Command::new("kill").args([signal, "--", &group]).status().is_ok();
        assert!(kill("-TERM") || std::thread::panicking(), "the group can be signalled");
        until("the program ends", || self.0.try_wait().ok().flatten());
    }
}

/// Starts `command` and returns it with the first line of its output that `find` takes.
pub fn start(mut command: Command, find: impl Fn(&str) -> Option<String>) -> (Running, String) {
    let started = try_start(&mut command, find);
    started.unwrap_or_else(|| panic!("{command:?} ended without saying it"))
}

/// The same; `None` if the program ends without such a line.
fn try_start(
    command: &mut Command,
    find: impl Fn(&str) -> Option<String>,
) -> Option<(Running, String)> {
    let mut child =
        command.stdout(Stdio::piped()).process_group(0).spawn().unwrap_or_else(|error| {
            panic!("{command:?} does not start ({error}): apt-get install chromium chromium-driver")
        });
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let running = Running(child);
    let found = lines.by_ref().map_while(Result::ok).find_map(|line| find(&line));
    // Reading goes on, so that the program never waits for us.
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
    Some((running, found?))
}

/// A browser with one window.
pub async fn chromium() -> (Running, WebDriver) {
    // A port that chromedriver chooses for itself is free for IPv6 and may be taken for IPv4; one that
    // we choose may be taken before it gets there.
    let (driver, port) = until("chromedriver has a port", || {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={}", free.expect("a free port").port()));
        try_start(&mut command, |line| {
            let port = line.strip_suffix('.')?.rsplit_once("on port ")?.1;
            Some(port.to_owned())
        })
    });
    let mut capabilities = DesiredCapabilities::chrome();
    for argument in [
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1120,1000",
    ] {
        capabilities.add_arg(argument).expect("an argument");
    }
    let url = format!("http://127.0.0.1:{port}");
    (driver, WebDriver::new(url, capabilities).await.expect("Chromium starts"))
}
