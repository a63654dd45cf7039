//! The typed settings of the gateway itself. Never here: those of a door.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use buswire_message::Secret;
use buswire_store::redis::{Durability, RedisAddress, RedisConfig, RedisIdentity, RedisTls};
use url::Url;

use super::{
    acme::{AcmeConfig, acme},
    declared,
    reader::Reader,
    value::{ListenAddress, Network},
};
use crate::admin::Role;

/// The engine of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreConfig {
    /// Forgets everything at exit.
    Memory,
    /// One directory; `None` is `data_dir`.
    Embedded(Option<PathBuf>),
    /// A Redis or Valkey server that gateways share.
    Redis(Box<RedisConfig>),
}

/// What `store.url` says.
enum StoreUrl {
    Memory,
    Embedded(Option<PathBuf>),
    Redis(RedisAddress),
}

impl StoreUrl {
    fn parse(text: &str) -> Result<Self, String> {
        // The text may hold a password, so it is in no message.
        match text.split_once(':') {
            Some(("memory", "")) => Ok(Self::Memory),
            Some(("embedded", "")) => Ok(Self::Embedded(None)),
            Some(("embedded", path)) => Ok(Self::Embedded(Some(PathBuf::from(path)))),
            Some(("redis" | "rediss" | "redis+cluster" | "redis+sentinel", _)) => {
                RedisAddress::parse(text).map(Self::Redis).map_err(|error| error.to_string())
            }
            _ => Err("is not embedded:, embedded:PATH, memory: or redis://HOST".to_owned()),
        }
    }
}

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM file with the chain.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// PEM file with the authorities of client certificates; `None` if none are asked for.
    pub client_ca: Option<PathBuf>,
    /// PEM file with the lists of client certificates that were revoked; `None` if there are none.
    pub client_crl: Option<PathBuf>,
}

/// Where the certificate of the public listener comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpTls {
    /// Files.
    Files(TlsFiles),
    /// An ACME server.
    Acme(AcmeConfig),
}

/// The public listener.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where it listens.
    pub listen: ListenAddress,
    /// How the world reaches it; `None` is derived from the listener.
    pub public_url: Option<Url>,
    /// Its certificate; `None` is plain HTTP.
    pub tls: Option<HttpTls>,
    /// Whether requests without TLS are refused.
    pub require_tls: bool,
    /// How long browsers are to come over TLS only; zero if they are not told.
    pub hsts: Duration,
    /// Whose forwarding headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// What a client may ask of it.
    pub limits: ConnectionLimits,
}

/// What a client may ask of a listener. Every field has its reason in `docs/configuration.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once; further ones wait in the accept queue of the operating system.
    pub connections_max: u32,
    /// To the end of the first request head.
    pub header_timeout: Duration,
    /// From the end of a response to the end of the next request head (HTTP/1.1).
    pub idle_timeout: Duration,
    /// To the end of a request body.
    pub body_timeout: Duration,
    /// For a TLS handshake.
    pub handshake_timeout: Duration,
    /// Bytes per request body.
    pub body_max: usize,
    /// Bytes per request head.
    pub head_max: usize,
    /// Requests at once on one HTTP/2 connection.
    pub streams_max: u32,
    /// Connections at once from one address.
    pub address: AddressLimit,
    /// How long a client may take nothing of what is written to it.
    pub write_timeout: Duration,
    /// Bytes of all request bodies at once.
    pub bodies_max: usize,
    /// Whether an HTTP/2 client that takes nothing of an answer that is there is given up: not where
    /// answers are streams that may have nothing to say for hours.
    pub answers_end: bool,
}

/// How many connections one address may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressLimit {
    /// So many; 0 for no limit.
    pub connections_max: u32,
    /// Those that stand for many clients.
    pub exempt: Vec<Network>,
}

/// The admin listener.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where it listens.
    pub listen: ListenAddress,
    /// The bearer token; `None` if it is generated.
    pub token: Option<Secret<String>>,
    /// Its certificate; `None` is plain HTTP.
    pub tls: Option<TlsFiles>,
    /// The roles of names in client certificates.
    pub certificate_roles: BTreeMap<String, Role>,
    /// Connections at once.
    pub connections_max: u32,
    /// How long a record of the audit log is kept.
    pub audit_kept: Duration,
    /// The most records of the audit log.
    pub audit_records: u32,
}

/// The operations listener.
#[derive(Clone, Debug)]
pub struct OpsConfig {
    /// Where it listens.
    pub listen: ListenAddress,
    /// Its certificate; `None` is plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Connections at once.
    pub connections_max: u32,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged, as `tracing_subscriber::EnvFilter` reads it.
    pub filter: String,
}

/// Both files of a certificate, or none; one alone is a problem. Those of clients need them.
fn tls(
    reader: &mut Reader<'_>,
    [cert_key, key_key]: [&'static str; 2],
    client_keys: Option<[&'static str; 2]>,
) -> Option<TlsFiles> {
    let [client_ca, client_crl] =
        client_keys.map_or([const { None }; 2], |keys| keys.map(|key| reader.path(key)));
    if let (None, Some(_), Some([ca, crl])) = (&client_ca, &client_crl, client_keys) {
        reader.problem(crl, format!("needs {ca}"));
    }
    match (reader.path(cert_key), reader.path(key_key)) {
        (Some(cert), Some(key)) => Some(TlsFiles { cert, key, client_ca, client_crl }),
        (Some(_), None) => {
            reader.problem(key_key, format!("is missing, {cert_key} is set"));
            None
        }
        (None, Some(_)) => {
            reader.problem(cert_key, format!("is missing, {key_key} is set"));
            None
        }
        (None, None) => {
            if let (Some(_), Some([key, _])) = (client_ca, client_keys) {
                reader.problem(key, format!("needs {cert_key} and {key_key}"));
            }
            None
        }
    }
}

/// An `http:` or `https:` URL that names a host alone.
pub(super) fn bare_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not an absolute URL: {error}"))?;
    let bare = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if bare { Ok(url) } else { Err("is not http(s)://HOST[:PORT] without a path".to_owned()) }
}

pub(super) fn store(reader: &mut Reader<'_>) -> Option<StoreConfig> {
    let url = reader.checked("store.url", StoreUrl::parse);
    let password = reader.secret("store.redis.password");
    let prefix = reader.checked("store.redis.prefix", |text| {
        let known = RedisConfig::is_prefix(text).then(|| text.into());
        known.ok_or_else(|| "does not have 1 to 64 of a-z A-Z 0-9 . _ -".to_owned())
    });
    let durability = if reader.chosen("store.redis.durability", "warn") {
        Durability::Warn
    } else {
        Durability::Strict
    };
    let connect_timeout = reader.time("store.redis.connect_timeout");
    let response_timeout = reader.time("store.redis.response_timeout");
    let patience = reader.time("store.redis.patience");
    let concurrency = usize::try_from(reader.count("store.redis.concurrency"));
    let waiting = usize::try_from(reader.count("store.redis.waiting"));
    let waiting_bytes_max = reader.size("store.redis.waiting_bytes");
    let tls = redis_tls(reader);
    Some(match url? {
        StoreUrl::Memory => StoreConfig::Memory,
        StoreUrl::Embedded(directory) => StoreConfig::Embedded(directory),
        StoreUrl::Redis(address) => StoreConfig::Redis(Box::new(RedisConfig {
            tls,
            prefix: prefix?,
            durability,
            connect_timeout,
            response_timeout,
            patience,
            concurrency: concurrency.unwrap_or(usize::MAX),
            waiting_max: waiting.unwrap_or(usize::MAX),
            waiting_bytes_max,
            ..RedisConfig::new(match password {
                Some(password) => address.with_password(password),
                None => address,
            })
        })),
    })
}

fn redis_tls(reader: &mut Reader<'_>) -> RedisTls {
    let ca = reader.path("store.redis.tls.ca");
    let files = tls(reader, ["store.redis.tls.cert", "store.redis.tls.key"], None);
    let identity = files.map(|files| RedisIdentity { certificate: files.cert, key: files.key });
    RedisTls { ca, identity }
}

pub(super) fn http(reader: &mut Reader<'_>) -> Option<HttpConfig> {
    let address: Option<ListenAddress> = reader.parsed("http.listen");
    let loopback = address.as_ref().is_some_and(ListenAddress::is_loopback);
    let require_tls = reader.flag_if_set("http.require_tls").unwrap_or(!loopback);
    let public_url = reader.checked("http.public_url", bare_url);
    let files = tls(reader, ["http.tls.cert", "http.tls.key"], None);
    let tls = match (files, acme(reader)) {
        (Some(_), Some(_)) => {
            reader.problem("http.acme.domains", "can't be set beside http.tls.cert: choose one");
            None
        }
        (Some(files), None) => Some(HttpTls::Files(files)),
        (None, acme) => acme.map(HttpTls::Acme),
    };
    let hsts = reader.time("http.hsts");
    let trusted_proxies = reader.list("http.trusted_proxies");
    let limits = ConnectionLimits {
        connections_max: reader.count("http.connections_max"),
        header_timeout: reader.time("http.header_timeout"),
        idle_timeout: reader.time("http.idle_timeout"),
        body_timeout: reader.time("http.body_timeout"),
        handshake_timeout: reader.time("http.tls.handshake_timeout"),
        body_max: reader.size("http.body_max"),
        head_max: reader.size("http.head_max"),
        streams_max: reader.count("http.streams_max"),
        address: AddressLimit {
            connections_max: reader.count("http.address_connections_max"),
            exempt: trusted_proxies.clone(),
        },
        write_timeout: reader.time("http.write_timeout"),
        bodies_max: reader.size("http.bodies_max"),
        answers_end: true,
    };
    if limits.bodies_max < limits.body_max {
        reader.problem("http.bodies_max", "is less than http.body_max: no such body would fit");
    }
    Some(HttpConfig {
        listen: address?,
        public_url,
        tls,
        require_tls,
        hsts,
        trusted_proxies,
        limits,
    })
}

pub(super) fn admin(reader: &mut Reader<'_>) -> Option<AdminConfig> {
    let address = reader.parsed("admin.listen");
    let token = reader.secret("admin.token");
    let tls = tls(
        reader,
        ["admin.tls.cert", "admin.tls.key"],
        Some(["admin.tls.client_ca", "admin.tls.client_crl"]),
    );
    let certificate_roles = declared::certificate_roles(reader);
    let checks = tls.as_ref().is_some_and(|files| files.client_ca.is_some());
    if !certificate_roles.is_empty() && !checks {
        reader.problem("admin.tls.roles", "needs admin.tls.client_ca");
    }
    let connections_max = reader.count("admin.connections_max");
    let audit_kept = reader.time("admin.audit_kept");
    let audit_records = reader.count("admin.audit_records");
    Some(AdminConfig {
        listen: address?,
        token,
        tls,
        certificate_roles,
        connections_max,
        audit_kept,
        audit_records,
    })
}

pub(super) fn ops(reader: &mut Reader<'_>) -> Option<OpsConfig> {
    let address = reader.parsed("ops.listen");
    let tls = tls(reader, ["ops.tls.cert", "ops.tls.key"], None);
    let connections_max = reader.count("ops.connections_max");
    Some(OpsConfig { listen: address?, tls, connections_max })
}

pub(super) fn log(reader: &mut Reader<'_>) -> Option<LogConfig> {
    let format = reader.checked("log.format", |text| match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is not text or json".to_owned()),
    });
    let filter = reader.checked("log.filter", |text| {
        crate::telemetry::log::check_filter(text)
            .map_err(|error| format!("is not a filter: {error}"))?;
        Ok(text.to_owned())
    });
    Some(LogConfig { format: format?, filter: filter? })
}
