//! People who look on: a console that is open, a terminal that asks.
//!
//! Never here: what they look at.

use std::{
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use buswire_integration_tests::{Gateway, binary};

/// How often a console asks for what it shows.
const EVERY: Duration = Duration::from_secs(1);
/// What the views of a console ask for.
const VIEWS: [&str; 6] = [
    "SystemService/GetStatus",
    "ActivityService/GetActivity",
    "RouteService/ListRoutes",
    "PushService/GetPushStatus",
    "BrokerService/ListServices",
    "CapabilityService/ListCapabilities",
];
/// Shows each message as it comes.
const STREAM: &str = "MessageService/Subscribe";

/// Whom to ask, and as whom.
pub(super) struct Target {
    admin: String,
    token: String,
}

impl Target {
    pub(super) fn of(gateway: &Gateway) -> Self {
        Self { admin: gateway.bound().admin.clone(), token: gateway.admin_token() }
    }

    fn console(&self, call: &str, request: &str) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--no-buffer", "--header"]);
        curl.arg(format!("Authorization: Bearer {}", self.token));
        curl.args(["--header", "X-Buswire-Console: 1", "--json", request]);
        curl.arg(format!("http://{}/console/api/{call}", self.admin));
        curl.stdout(Stdio::null());
        curl
    }

    fn routes(&self) -> Command {
        let mut list = Command::new(binary());
        list.args(["route", "list", "--admin", &format!("http://{}", self.admin)]);
        list.env("BUSWIRE_ADMIN_TOKEN", &self.token).stdout(Stdio::null());
        list
    }
}

/// How a gateway is watched.
#[derive(Clone, Copy, Debug)]
pub(super) enum Watch {
    /// A console asks for all that it shows, and a terminal lists the routes, every second.
    Console,
    /// A console shows each message as it comes.
    Stream,
}

impl Watch {
    pub(super) const ALL: [Self; 2] = [Self::Console, Self::Stream];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Console => "console and admin API asked every second",
            Self::Stream => "messages streamed to a console",
        }
    }

    /// Watches while `work` is done.
    pub(super) fn during<T>(self, target: &Target, work: impl FnOnce() -> T) -> T {
        match self {
            Self::Stream => {
                let wanted = r#"{"scope":"bus:from.example","since":"now"}"#;
                let _stream = Curl(target.console(STREAM, wanted).spawn().unwrap());
                work()
            }
            Self::Console => {
                let over = AtomicBool::new(false);
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        while !over.load(Ordering::Relaxed) {
                            let views = VIEWS.iter().map(|view| target.console(view, "{}"));
                            for mut asking in views.chain([target.routes()]) {
                                let status = asking.status().unwrap();
                                assert!(status.success(), "{status}");
                            }
                            std::thread::park_timeout(EVERY);
                        }
                    });
                    let done = work();
                    over.store(true, Ordering::Relaxed);
                    done
                })
            }
        }
    }
}

/// Ended when dropped.
struct Curl(Child);

impl Drop for Curl {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(|_| ()).unwrap_or_default();
    }
}
