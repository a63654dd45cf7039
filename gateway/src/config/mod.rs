//! Configuration: what the operator wrote becomes what the program uses, or a list of all that is
//! wrong with it.
//!
//! | module | does |
//! |---|---|
//! | `schema`, `settings`, `door_settings` | one description per setting: key, kind, default, prose |
//! | `layers` | defaults < file < environment < `--set`, with the source of each value (figment) |
//! | `reader`, `value` | typed reading that collects every problem |
//! | `gateway`, `acme`, `telemetry`, `doors`, `simplepush`, `declared` | the typed configuration |
//! | `print`, `reference` | `buswire check-config` and `docs/configuration.md` |
//!
//! Nothing here opens a socket or a store. The environment is handed in. Never here: a type of a
//! protocol crate; the composition root makes those of the plain values.

mod acme;
mod declared;
mod door_settings;
mod doors;
mod gateway;
mod layers;
mod peers;
mod print;
mod problem;
mod reader;
mod reference;
mod relay;
mod schema;
mod settings;
mod simplepush;
mod telemetry;
mod value;

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use buswire_message::Retention;

pub(crate) use self::value::{is_loopback, print_size, print_time, reachable};
pub use self::{
    acme::{AcmeConfig, AcmeDomain, Contact},
    declared::{
        AccessDeclaration, BusDeclaration, KeyRights, RouteDeclaration, RouteStart,
        ServiceDeclaration, SinkAddress,
    },
    doors::{
        BackplaneConfig, BelayConfig, BridgeConfig, CurveConfig, CurvePublicKey, Dialect,
        EgressSettings, Endpoint, MdpConfig, TitanicConfig,
    },
    gateway::{
        AddressLimit, AdminConfig, ConnectionLimits, HttpConfig, HttpTls, LogConfig, LogFormat,
        OpsConfig, StoreConfig, TlsFiles,
    },
    layers::Inputs,
    peers::{PeersConfig, PeersListen},
    print::{ShownSetting, ShownValue},
    problem::{ConfigError, Problem, Source},
    reference::reference,
    relay::RelaySettings,
    simplepush::{
        ExtraChannels, MissingChannels, SimplePushConfig, SimplePushRates, VersionPolicy,
        WakeUpNetwork,
    },
    telemetry::OtlpConfig,
    value::{ListenAddress, Network},
};
use self::{layers::RawConfig, reader::Reader};

/// Everything the process is told, valid by construction.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of the embedded store and of the admin token.
    pub data_dir: PathBuf,
    /// File that says where the listeners are bound.
    pub ready_file: Option<PathBuf>,
    /// What this gateway is called among those that share its store.
    pub gateway_name: Option<String>,
    /// How long stopping may take, in all.
    pub shutdown_grace: Duration,
    /// How long requests are still welcome while the gateway says already that it is not ready.
    pub shutdown_delay: Duration,
    /// The engine of the store.
    pub store: StoreConfig,
    /// The public listener.
    pub http: HttpConfig,
    /// The admin listener.
    pub admin: AdminConfig,
    /// The operations listener.
    pub ops: OpsConfig,
    /// The log.
    pub log: LogConfig,
    /// The way of spans to a collector; `None` if none are sent.
    pub otlp: Option<OtlpConfig>,
    /// Backplane.
    pub backplane: BackplaneConfig,
    /// SimplePush.
    pub simplepush: SimplePushConfig,
    /// The MDP broker.
    pub mdp: MdpConfig,
    /// Belay.
    pub belay: BelayConfig,
    /// The relay of Belay; `None` if it is off.
    pub relay: Option<RelaySettings>,
    /// The bridge.
    pub bridge: BridgeConfig,
    /// Buses that must exist.
    pub buses: Vec<BusDeclaration>,
    /// Routes that must exist.
    pub routes: Vec<RouteDeclaration>,
    /// Every setting as it may be shown, in the order of the documentation.
    pub shown: Vec<ShownSetting>,
}

/// A configuration with the sources of its values.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the program uses.
    pub config: Config,
    raw: RawConfig,
}

impl Loaded {
    /// The configuration in force as a file, with the source of each value and without secrets.
    pub fn print(&self) -> String {
        print::print(&self.raw)
    }

    /// The keys whose values differ between `self` and `other`.
    pub fn changed(&self, other: &Self) -> Vec<&'static str> {
        schema::all()
            .map(|setting| setting.key)
            .filter(|key| {
                let value =
                    |loaded: &'_ Self| loaded.raw.values.get(key).map(|it| it.value.clone());
                value(self) != value(other)
            })
            .collect()
    }
}

/// Makes a configuration of its layers.
///
/// Reads the file and the secret files that `inputs` name; nothing else is touched.
///
/// # Errors
///
/// [`ConfigError`] with every problem: of a layer, of a key, of a value, and of values that do not
/// go together.
pub fn load(inputs: &Inputs) -> Result<Loaded, ConfigError> {
    let (raw, problems) = layers::merge(inputs);
    let (config, problems, _) = extract(&raw, problems);
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, raw }),
        _ => Err(ConfigError::new(problems)),
    }
}

/// Reads every setting. Without problems there is a configuration.
fn extract(
    raw: &RawConfig,
    problems: Vec<Problem>,
) -> (Option<Config>, Vec<Problem>, BTreeSet<&'static str>) {
    let mut reader = Reader::new(raw, problems);
    let config = read(&mut reader, raw);
    let (problems, read) = reader.finish();
    (config, problems, read)
}

fn read(reader: &mut Reader<'_>, raw: &RawConfig) -> Option<Config> {
    let data_dir = reader.path("data_dir");
    let ready_file = reader.path("ready_file");
    let gateway_name = reader.checked("gateway_name", |name| {
        let is_name = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
        is_name
            .then(|| name.to_owned())
            .ok_or_else(|| "has 1 to 64 printable characters".to_owned())
    });
    let shutdown_grace = reader.time("shutdown_grace");
    let shutdown_delay = reader.time("shutdown_delay");
    if shutdown_delay > shutdown_grace {
        reader.problem("shutdown_delay", "is longer than shutdown_grace, of which it is a part");
    }
    let store = gateway::store(reader);
    let http = gateway::http(reader);
    let admin = gateway::admin(reader);
    let ops = gateway::ops(reader);
    let log = gateway::log(reader);
    let otlp = telemetry::otlp(reader);
    let backplane = doors::backplane(reader);
    let is_shared = matches!(store, Some(StoreConfig::Redis(_)));
    let simplepush = simplepush::simplepush(reader, is_shared);
    let mdp = doors::mdp(reader, is_shared);
    let belay = doors::belay(reader);
    let relay = relay::relay(reader);
    let bridge = doors::bridge(reader);
    let orders = matches!(http.as_ref().and_then(|http| http.tls.as_ref()), Some(HttpTls::Acme(_)));
    if orders && matches!(store, Some(StoreConfig::Memory)) {
        reader.problem("http.acme.domains", "needs a store that outlives the process: with store.url memory: each start would order another certificate");
    }
    let usual = backplane.as_ref().map_or_else(Retention::default, |door| door.retention);
    let buses = declared::buses(reader, usual);
    let routes = declared::routes(reader);
    Some(Config {
        data_dir: data_dir?,
        gateway_name,
        ready_file,
        shutdown_grace,
        shutdown_delay,
        store: store?,
        http: http?,
        admin: admin?,
        ops: ops?,
        log: log?,
        otlp,
        backplane: backplane?,
        simplepush,
        mdp,
        belay,
        relay,
        bridge,
        buses,
        routes,
        shown: print::shown(raw),
    })
}
