//! Where a broker is, with which keys it is reached, and how patiently it is asked.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use buswire_mdp::{
    Client, ClientBuilder, ClientCurve, ClientError, Correlation, Retries, tcp_endpoint,
    wire::Version,
};
use buswire_message::Secret;
use clap::{Args, ValueEnum};
use tokio::time::Instant;

use super::Failure;

/// Where the broker is.
#[derive(Clone, Debug, Args)]
pub struct At {
    /// Host of the broker
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port of the broker
    #[arg(long, default_value_t = 5555)]
    port: u16,
    /// Address of the broker as ZeroMQ writes it, in place of host and port; once for each of
    /// several brokers
    #[arg(long = "endpoint", value_name = "ENDPOINT", conflicts_with_all = ["host", "port"])]
    endpoints: Vec<String>,
    #[command(flatten)]
    keys: Keys,
}

/// Keys for a broker that asks for them.
#[derive(Clone, Debug, Args)]
pub struct Keys {
    /// File with the broker's public CURVE key
    #[arg(long, value_name = "FILE", requires = "curve_secret_file")]
    curve_server_file: Option<PathBuf>,
    /// File with the own secret CURVE key, made by `buswire mdp keygen`; FILE.pub has the public one
    #[arg(long, value_name = "FILE", requires = "curve_server_file")]
    curve_secret_file: Option<PathBuf>,
}

impl At {
    /// The endpoints, once their host has been found.
    pub(super) async fn endpoints(&self) -> Result<Vec<String>, Failure> {
        if !self.endpoints.is_empty() {
            return Ok(self.endpoints.clone());
        }
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        // ZeroMQ looks names up in the background and says nothing when there is no such host.
        match tokio::net::lookup_host((host, self.port)).await {
            Ok(_) => Ok(vec![tcp_endpoint(&self.host, self.port)]),
            Err(error) => {
                let why = format!("can't find the host {:?}: {error}", self.host);
                Err(Failure::Failed(format!("{why}; give --host a name or an address")))
            }
        }
    }

    /// The keys, if there are any.
    pub(super) fn curve(&self) -> Result<Option<ClientCurve>, Failure> {
        let (Some(server), Some(secret)) =
            (&self.keys.curve_server_file, &self.keys.curve_secret_file)
        else {
            return Ok(None);
        };
        let public = public_path(secret);
        let [server_key, public_key, secret_key] = [
            read_key("--curve-server-file", server)?,
            read_key("--curve-secret-file", &public)?,
            read_key("--curve-secret-file", secret)?,
        ];
        let keys = ClientCurve::from_z85(
            server_key.expose().trim(),
            public_key.expose().trim(),
            secret_key.expose().trim(),
        );
        keys.map(Some).ok_or_else(|| {
            let names = [server, &public, secret].map(|path| path.display().to_string());
            Failure::Failed(format!("not each of {} holds a key in Z85", names.join(", ")))
        })
    }
}

/// Where the public key of the secret one in `secret` is.
pub(super) fn public_path(secret: &Path) -> PathBuf {
    let mut path = secret.as_os_str().to_owned();
    path.push(".pub");
    path.into()
}

/// Reads the text of a file, which may be a secret.
pub(super) fn read_key(option: &str, path: &Path) -> Result<Secret<String>, Failure> {
    std::fs::read_to_string(path).map(Secret::new).map_err(|error| {
        Failure::Failed(format!("{option}: can't read {}: {error}", path.display()))
    })
}

/// A version of the protocol.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ProtocolVersion {
    /// 7/MDP: one reply.
    #[value(name = "0.1")]
    V01,
    /// 18/MDP: a reply in parts.
    #[value(name = "0.2")]
    V02,
}

impl From<ProtocolVersion> for Version {
    fn from(version: ProtocolVersion) -> Self {
        match version {
            ProtocolVersion::V01 => Self::V01,
            ProtocolVersion::V02 => Self::V02,
        }
    }
}

/// Whom to ask, and how patiently.
#[derive(Clone, Debug, Args)]
pub struct Asking {
    #[command(flatten)]
    at: At,
    /// How long to wait for the answer, in milliseconds
    #[arg(long, default_value_t = 3000, value_name = "MS")]
    timeout: u64,
    /// Ask again up to N times; each try gets an equal share of the timeout. The service may then do
    /// the work more than once
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    retries: u32,
    /// Protocol version; 0.2 with --stream, else 0.1
    #[arg(long, value_name = "VERSION")]
    mdp: Option<ProtocolVersion>,
    /// Send no frame by which answers find their requests, for brokers that do not return it
    #[arg(long)]
    plain: bool,
}

/// A client, and how much of the time is left.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) left: Duration,
}

impl Asking {
    /// Connects. A version is used unless another was asked for.
    pub(super) async fn connect(&self, version: Version) -> Result<Connected, Failure> {
        let start = Instant::now();
        let timeout = Duration::from_millis(self.timeout);
        let endpoints = self.at.endpoints().await?;
        let brokers = u32::try_from(endpoints.len()).unwrap_or(u32::MAX).max(1);
        let try_timeout = timeout / self.retries.saturating_add(1);
        let mut builder = ClientBuilder::default()
            .endpoints(endpoints)
            .version(self.mdp.map_or(version, Version::from))
            .retries(Retries { try_timeout, ..Retries::from(self.retries) })
            .broker_patience(try_timeout)
            .wait_for_connection(timeout / brokers);
        if self.plain {
            builder = builder.correlation(Correlation::Plain);
        }
        if let Some(curve) = self.at.curve()? {
            builder = builder.curve(curve);
        }
        let client = builder.connect_async().await.map_err(|error| {
            let hint = matches!(error, ClientError::NotConnected(_)).then_some(
                "does a broker run there, and do the keys fit? buswire mdp broker starts one",
            );
            Failure::new(&error, hint)
        })?;
        Ok(Connected { client, left: timeout.saturating_sub(start.elapsed()) })
    }
}

/// Why there is no answer.
pub(super) fn unanswered(error: &ClientError, client: &Client, service: &str) -> Failure {
    let hint = format!("is a worker of {service} connected to {}?", client.endpoint());
    Failure::new(error, matches!(error, ClientError::Timeout).then_some(&hint))
}
