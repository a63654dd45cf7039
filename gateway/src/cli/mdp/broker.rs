//! `buswire mdp broker`.

use std::{path::PathBuf, time::Duration};

use buswire_mdp::{
    AllowedKeys, Broker, BrokerConfig, BrokerHandle, CurveConfig, CurveSecret, StartError,
    core::{AddressMode, CoreConfig, DuplicateReady, PartialPolicy},
    tcp_endpoint,
    wire::Dialects,
};
use clap::{Args, ValueEnum};
use tokio::signal::unix::{Signal, SignalKind};

use super::{Failure, StopSignals, at::read_key, catch, say};
use crate::{
    config::{LogConfig, LogFormat},
    telemetry::log,
};

/// Options of `mdp broker`.
#[derive(Clone, Debug, Args)]
pub struct BrokerArgs {
    /// Host to listen on [default: 127.0.0.1]
    #[arg(value_name = "HOST", conflicts_with = "host")]
    first: Option<String>,
    /// Port to listen on; 0 takes any that is free [default: 5555]
    #[arg(value_name = "PORT", conflicts_with = "port")]
    second: Option<u16>,
    /// As HOST
    #[arg(long)]
    host: Option<String>,
    /// As PORT
    #[arg(long)]
    port: Option<u16>,
    /// Listen at this address, as ZeroMQ writes it, in place of host and port; may be repeated
    #[arg(long, value_name = "ENDPOINT", conflicts_with_all = ["first", "second", "host", "port"])]
    bind: Vec<String>,
    /// Let workers connect at this address instead, and clients at the others only; may be repeated
    #[arg(long, value_name = "ENDPOINT")]
    worker_bind: Vec<String>,
    /// Say nothing but errors
    #[arg(long, conflicts_with = "verbose")]
    silent: bool,
    /// Log what happens, on standard error
    #[arg(long)]
    verbose: bool,
    /// Listen beyond this machine, in clear and for anybody
    #[arg(long)]
    insecure: bool,
    /// How long to wait for answers in hand when the broker stops, in milliseconds
    #[arg(long, default_value_t = 5000, value_name = "MS")]
    drain: u64,
    #[command(flatten)]
    curve: BrokerCurve,
    #[command(flatten)]
    tunables: Tunables,
}

/// Who may connect.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "CURVE")]
pub struct BrokerCurve {
    /// File with the broker's secret CURVE key, made by `buswire mdp keygen`
    #[arg(long = "curve-secret-file", value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Public key of a client or worker that may connect, or `any`; may be repeated
    #[arg(long = "curve-allow", value_name = "KEY", requires = "secret_file")]
    keys: Vec<String>,
    /// File with public keys of those who may connect, one a line; read again at SIGHUP
    #[arg(long = "curve-allow-file", value_name = "FILE", requires = "secret_file")]
    keys_file: Option<PathBuf>,
}

impl BrokerCurve {
    fn config(&self) -> Result<Option<CurveConfig>, Failure> {
        let Some(path) = &self.secret_file else {
            return Ok(None);
        };
        if self.keys.is_empty() && self.keys_file.is_none() {
            let line =
                "say who may connect: --curve-allow KEY, --curve-allow any or --curve-allow-file";
            return Err(Failure::Failed(line.to_owned()));
        }
        let text = read_key("--curve-secret-file", path)?;
        let secret = CurveSecret::from_z85(text.expose().trim()).ok_or_else(|| {
            Failure::Failed(format!("--curve-secret-file: {} holds no key in Z85", path.display()))
        })?;
        Ok(Some(CurveConfig { secret, allowed: self.allowed()? }))
    }

    fn allowed(&self) -> Result<AllowedKeys, Failure> {
        if self.keys.iter().any(|key| key == "any") {
            return Ok(AllowedKeys::Any);
        }
        let file = self.keys_file.as_deref();
        let file = file.map(|path| read_key("--curve-allow-file", path)).transpose()?;
        let lines = file.iter().flat_map(|text| text.expose().lines()).map(str::trim);
        let keys = self.keys.iter().map(String::as_str);
        let keys = keys.chain(lines.filter(|line| !line.is_empty()));
        AllowedKeys::from_z85(keys).ok_or_else(|| {
            Failure::Failed("--curve-allow: one of the keys is none in Z85".to_owned())
        })
    }
}

/// Bounds and times of the broker (MDP §12.6). Without an option the library's default holds.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Tunables")]
pub struct Tunables {
    /// A worker hears of the broker at least this often [default: 1000]
    #[arg(long, value_name = "MS")]
    heartbeat_interval: Option<u64>,
    /// An idle worker that is silent for this long is gone [default: 7500]
    #[arg(long, value_name = "MS")]
    worker_expiry: Option<u64>,
    /// A worker may work on one request for this long [default: 900000]
    #[arg(long, value_name = "MS")]
    busy_timeout: Option<u64>,
    /// A request may wait for a worker for this long [default: 60000]
    #[arg(long, value_name = "MS")]
    request_ttl: Option<u64>,
    /// A request is handed out this often in total; 1 for work that must not be done twice [default:
    /// 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_attempts: Option<u32>,
    /// Requests that may wait for one service [default: 10000]
    #[arg(long, value_name = "N")]
    queue_limit: Option<usize>,
    /// Bytes of all requests in hand [default: 256 MiB]
    #[arg(long, value_name = "BYTES")]
    queue_bytes: Option<usize>,
    /// Requests in hand of one client [default: 10000]
    #[arg(long, value_name = "N")]
    in_flight_limit: Option<usize>,
    /// Frames of one message [default: 1024]
    #[arg(long, value_name = "N")]
    max_frames: Option<usize>,
    /// Bytes of one frame [default: 64 MiB]
    #[arg(long, value_name = "BYTES")]
    max_frame_size: Option<u32>,
    /// Services that are remembered [default: 10000]
    #[arg(long, value_name = "N")]
    max_services: Option<usize>,
    /// A service without use is remembered for this long [default: 300000]
    #[arg(long, value_name = "MS")]
    service_idle: Option<u64>,
    /// What workers get as the address of the client
    #[arg(long, value_name = "MODE", default_value = "token")]
    address_mode: Addresses,
    /// What a second READY of a worker means
    #[arg(long, value_name = "WHAT", default_value = "disconnect")]
    duplicate_ready: Duplicates,
    /// What becomes of PARTIALs for a client of 0.1
    #[arg(long = "partial-to-0.1", value_name = "WHAT", default_value = "concatenate")]
    partials: Partials,
    /// Understand peers of this implementation too; may be repeated
    #[arg(long, value_name = "NAME")]
    dialect: Vec<ExtraDialect>,
    /// Answer mmi.services, mmi.workers and mmi.stats
    #[arg(long)]
    mmi_extensions: bool,
}

/// An implementation that departs from the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExtraDialect {
    /// The Python package, with its own codes for clients of 0.2.
    Majortomo,
    /// The C library, which packs header and command into one frame.
    Zproto,
}

/// What workers get as the address of the client.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Addresses {
    /// A token that hides the client.
    Token,
    /// The client's routing id.
    Identity,
}

/// What a second READY of a worker means.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Duplicates {
    /// A violation.
    Disconnect,
    /// A sign of life.
    Refresh,
}

/// What becomes of PARTIALs for a client of 0.1.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Partials {
    /// They come in front of the last frames.
    Concatenate,
    /// They are dropped.
    Drop,
}

/// Replaces what was given.
fn set<T, U: From<T>>(place: &mut U, value: Option<T>) {
    if let Some(value) = value {
        *place = value.into();
    }
}

impl Tunables {
    fn core(&self) -> CoreConfig {
        let mut core = CoreConfig::default();
        let time = |ms: Option<u64>| ms.map(Duration::from_millis);
        set(&mut core.heartbeat_interval, time(self.heartbeat_interval));
        set(&mut core.worker_expiry, time(self.worker_expiry));
        set(&mut core.request_ttl, time(self.request_ttl));
        set(&mut core.service_idle, time(self.service_idle));
        set(&mut core.default_policy.busy_timeout, time(self.busy_timeout));
        set(&mut core.default_policy.attempts_max, self.max_attempts);
        set(&mut core.default_policy.queue_max, self.queue_limit);
        set(&mut core.held_bytes_max, self.queue_bytes);
        set(&mut core.per_client_max, self.in_flight_limit);
        set(&mut core.services_max, self.max_services);
        set(&mut core.wire.frames_max, self.max_frames);
        core.address_mode = match self.address_mode {
            Addresses::Token => AddressMode::Token,
            Addresses::Identity => AddressMode::Identity,
        };
        core.duplicate_ready = match self.duplicate_ready {
            Duplicates::Disconnect => DuplicateReady::Disconnect,
            Duplicates::Refresh => DuplicateReady::Refresh,
        };
        core.partial_policy = match self.partials {
            Partials::Concatenate => PartialPolicy::Concatenate,
            Partials::Drop => PartialPolicy::Drop,
        };
        core.wire.dialects = Dialects {
            majortomo: self.dialect.contains(&ExtraDialect::Majortomo),
            zproto: self.dialect.contains(&ExtraDialect::Zproto),
        };
        core.mmi_extensions = self.mmi_extensions;
        core
    }
}

impl BrokerArgs {
    fn endpoints(&self) -> Vec<String> {
        if !self.bind.is_empty() {
            return self.bind.clone();
        }
        let host = self.first.as_deref().or(self.host.as_deref()).unwrap_or("127.0.0.1");
        vec![tcp_endpoint(host, self.second.or(self.port).unwrap_or(5555))]
    }

    fn log(&self) -> LogConfig {
        let filter = match (self.silent, self.verbose) {
            (true, _) => "error",
            (_, true) => "debug",
            (false, false) => "warn",
        };
        LogConfig { format: LogFormat::Text, filter: filter.to_owned() }
    }
}

pub(super) async fn run(args: BrokerArgs) -> Result<(), Failure> {
    log::init(&args.log()).map_err(|error| Failure::new(&error, None))?;
    let mut config = BrokerConfig {
        endpoints: args.endpoints(),
        worker_endpoints: args.worker_bind.clone(),
        core: args.tunables.core(),
        curve: args.curve.config()?,
        insecure_public: args.insecure,
        ..BrokerConfig::default()
    };
    set(&mut config.frame_bytes_max, args.tunables.max_frame_size);
    let (stop, hangup) = (StopSignals::catch()?, catch(SignalKind::hangup())?);
    let broker = Broker::start(config).map_err(|error| {
        let hint = match error {
            StartError::InUse(_) | StartError::Bind { .. } => {
                Some("choose another HOST, PORT or --bind")
            }
            StartError::PublicWithoutCurve(_) => Some("that is --curve-secret-file, or --insecure"),
            _ => None,
        };
        Failure::new(&error, hint)
    })?;
    if !args.silent {
        let workers =
            if args.worker_bind.is_empty() { Vec::new() } else { broker.worker_endpoints() };
        for endpoint in broker.endpoints().into_iter().chain(workers) {
            say(format!("{endpoint}\n").as_bytes())?;
        }
        say(b"Broker Started\n")?;
    }
    tokio::select! {
        () = stop.wait() => {}
        () = reload(&broker, &args.curve, hangup) => {}
    }
    broker.shutdown(Duration::from_millis(args.drain)).await;
    Ok(())
}

/// Reads the keys of those who may connect again at each SIGHUP. Keys that can't be read change
/// nothing.
async fn reload(broker: &BrokerHandle, curve: &BrokerCurve, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        match curve.allowed() {
            Ok(keys) => broker.allow(keys).await,
            Err(failure) => drop(failure.report()),
        }
    }
}
