//! The composition root: which doors there are, and what each is given.
//!
//! | module | does |
//! |---|---|
//! | `compose` | makes the doors and joins them: a new door is added there |
//! | `settings` | the configuration of each crate, made of the gateway's own |
//! | `keys` | keys that are made once and kept in the store |
//!
//! Never here: a socket, a signal.

mod compose;
mod keys;
mod settings;
mod simplepush;

use std::{error::Error, fmt, net::SocketAddr, sync::Arc};

use axum::Router;
use buswire_bus::Buses;
use buswire_message::{Clock, Entropy, Secret, Tracer};
use buswire_store::Store;
use futures::future::BoxFuture;
use url::Url;

use crate::{admin::ports::ListenerView, config::Config, ops::Health, tasks::Tasks};

/// What every door is made of.
#[derive(Clone, Debug)]
pub struct Platform {
    /// Where state is kept.
    pub store: Arc<dyn Store>,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where unpredictable bytes come from.
    pub entropy: Arc<dyn Entropy>,
    /// Gives work its place in traces.
    pub tracer: Tracer,
    /// The token of administrators.
    pub admin_token: Arc<Secret<String>>,
    /// The keys of Belay: a line each, the oldest first.
    pub belay_keys: Arc<Secret<String>>,
    /// How the world reaches the public listener; its path is `/`.
    pub public_url: Url,
    /// Where in its life the process is.
    pub health: Health,
    /// The gateway's own listeners, by name.
    pub bound: Vec<(&'static str, SocketAddr)>,
}

impl Platform {
    /// What this gateway is called among those that share its store.
    fn name(&self, config: &Config) -> String {
        config.gateway_name.clone().unwrap_or_else(|| {
            let system = rustix::system::uname();
            let host = system.nodename().to_string_lossy();
            match self.bound.iter().find(|(name, _)| *name == "http") {
                Some((_, address)) => format!("{host}:{}", address.port()),
                None => host.into_owned(),
            }
        })
    }

    /// Every address that the gateway listens on.
    fn listeners(&self, mdp: &[String], peers: Option<String>) -> Vec<ListenerView> {
        let own = self.bound.iter().map(|(name, address)| (*name, address.to_string()));
        let mdp = mdp.iter().map(|endpoint| ("mdp", endpoint.clone()));
        let peers = peers.map(|endpoint| ("mdp.peers", endpoint));
        own.chain(mdp).chain(peers).map(|(name, address)| ListenerView { name, address }).collect()
    }
}

/// How a door closes its long conversations. Called once, when no further requests come in; what has
/// not ended within `shutdown_grace` is cut off.
pub type Drain = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// Takes over what of a configuration that was read again needs no restart: [`RELOADED`].
pub type Reload = Arc<dyn Fn(Config) -> BoxFuture<'static, ()> + Send + Sync>;

/// The settings that a [`Reload`] takes over.
pub const RELOADED: [&str; 5] = [
    "admin.tls.roles",
    "mdp.curve.allowed_keys",
    "mdp.curve.allow_any",
    "mdp.access",
    "mdp.key_rights",
];

/// One front door.
pub struct Door {
    /// What it is called in the log.
    pub name: &'static str,
    /// Its paths on the public listener.
    pub routes: Router,
    /// How it closes its long conversations, if it has any.
    pub drain: Option<Drain>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why the doors could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct BuildError {
    what: &'static str,
    source: Box<dyn Error + Send + Sync>,
}

impl BuildError {
    /// `what` could not be made, because of `source`.
    pub fn new(what: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what, source: source.into() }
    }

    /// What the operator can do, if that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self.what {
            "mdp.listen" => {
                "stop the process that uses it, or choose another with --set mdp.listen='[\"tcp://HOST:PORT\"]'"
            }
            "belay.keys" => "copy data_dir/belay.keys from the gateway that wrote the store",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// What seals texts for one purpose, made of the keys of Belay.
///
/// # Errors
///
/// [`BuildError`] if the text holds no keys.
#[cfg(feature = "acme")]
pub(crate) fn seal_keys(
    belay_keys: &Secret<String>,
    purpose: &str,
) -> Result<buswire_belay::SealKeys, BuildError> {
    let none = || BuildError::new("belay.keys", keys::KeyError::NotAKey);
    let keys = keys::parse(belay_keys).map_err(|error| BuildError::new("belay.keys", error))?;
    buswire_belay::SealKeys::derived(&keys, purpose).ok_or_else(none)
}

/// Everything that is served.
pub struct App {
    buses: Buses,
    doors: Vec<Door>,
    admin: Option<Router>,
    mdp_endpoints: Vec<String>,
    mdp_peers: Option<String>,
    reload: Reload,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("doors", &self.names()).finish_non_exhaustive()
    }
}

impl App {
    /// Makes the buses and the doors that `config` asks for, over `platform`. What must run in the
    /// background goes to `tasks`.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if something can't be made.
    ///
    /// # Cancel safety
    ///
    /// Safe to drop; the tasks that were spawned end when `tasks` shuts down.
    pub async fn build(
        config: &Config,
        platform: &Platform,
        tasks: &Tasks,
    ) -> Result<Self, BuildError> {
        compose::compose(config, platform, tasks).await
    }

    /// The buses that everything goes through.
    pub const fn buses(&self) -> &Buses {
        &self.buses
    }

    /// Adds a door.
    pub fn add(&mut self, door: Door) {
        self.doors.push(door);
    }

    /// What the public listener serves.
    pub fn public(&self) -> Router {
        self.doors.iter().fold(Router::new(), |all, door| all.merge(door.routes.clone()))
    }

    /// What the admin listener serves; `None` if there is nothing to administer.
    pub fn admin(&self) -> Option<Router> {
        self.admin.clone()
    }

    /// The names of the doors.
    pub fn names(&self) -> Vec<&'static str> {
        self.doors.iter().map(|door| door.name).collect()
    }

    /// Where the MDP broker is bound.
    pub fn mdp_endpoints(&self) -> &[String] {
        &self.mdp_endpoints
    }

    /// Where other gateways ask the MDP broker, if they may.
    pub fn mdp_peers(&self) -> Option<&str> {
        self.mdp_peers.as_deref()
    }

    /// How what changed in a configuration is taken over.
    pub fn reload(&self) -> Reload {
        Arc::clone(&self.reload)
    }

    /// How the doors close their long conversations.
    pub fn drains(&mut self) -> Vec<Drain> {
        self.doors.iter_mut().filter_map(|door| door.drain.take()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use buswire_message::Retention;
    use buswire_store::memory::MemoryStore;
    use buswire_testkit::{SeededEntropy, VirtualClock};

    use super::*;
    use crate::config::{Inputs, load};

    fn config(buses: &str) -> Config {
        let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let free = r#"["tcp://127.0.0.1:0"]"#;
        let arguments = vec![set("buses", buses), set("mdp.listen", free)];
        load(&Inputs { arguments, ..Inputs::default() }).unwrap().config
    }

    #[tokio::test]
    async fn declared_buses_exist_and_keep_the_settings_they_have() {
        let clock = Arc::new(VirtualClock::default());
        let entropy = Arc::new(SeededEntropy::new(1));
        let store = Arc::new(MemoryStore::new());
        let platform = Platform {
            health: Health::new(Tasks::new(), store.clone()),
            store,
            tracer: Tracer::new(clock.clone(), entropy.clone()),
            clock,
            entropy,
            admin_token: Arc::new(Secret::new("t".to_owned())),
            belay_keys: Arc::new(Secret::new("A".repeat(43))),
            public_url: Url::parse("http://127.0.0.1:1").unwrap(),
            bound: Vec::new(),
        };
        for (declaration, expect) in [
            (r#"[{name = "a", retention = "5m"}]"#, Duration::from_secs(300)),
            (r#"[{name = "a", retention = "9m"}, {name = "b"}]"#, Duration::from_secs(300)),
        ] {
            let tasks = Tasks::new();
            let app = App::build(&config(declaration), &platform, &tasks).await.unwrap();
            let bus = app.buses().get(&"a".parse().unwrap()).await.unwrap().unwrap();
            assert_eq!(bus.retention.default_time(), expect);
            assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, 0);
        }
        let tasks = Tasks::new();
        let app = App::build(&config("[]"), &platform, &tasks).await.unwrap();
        let bus = app.buses().get(&"b".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!(bus.retention, Retention::default());
        assert_eq!(tasks.shutdown(Duration::from_secs(5)).await, 0);
    }
}
