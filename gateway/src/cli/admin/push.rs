//! `buswire push`.

mod listen;

use std::io::Write;

use buswire_message::Secret;
use buswire_proto::v1::{self, push_service_client::PushServiceClient};
use clap::Subcommand;
use serde_json::json;

pub use self::listen::ListenArgs;
use super::{
    connection::{Connection, call},
    error::CliError,
    password::secret,
};

/// Commands about SimplePush endpoints.
#[derive(Debug, Subcommand)]
pub enum PushCommand {
    /// Raises the version of the channel behind an endpoint and prints the version
    #[command(disable_version_flag = true)]
    Notify {
        /// The URL that the device handed out
        #[arg(value_parser = secret)]
        endpoint: Secret<String>,
        /// The version; left to the gateway if it is not given
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=i64::MAX as u64))]
        version: Option<u64>,
    },
    /// Registers channels as a device does, prints their endpoints and every version that arrives
    Listen(ListenArgs),
}

impl PushCommand {
    pub(super) async fn run(
        self,
        connection: &Connection,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let (endpoint, version) = match self {
            // It speaks with the public door and needs no token.
            Self::Listen(args) => return listen::run(args, connection.output(), out).await,
            Self::Notify { endpoint, version } => (endpoint, version),
        };
        let mut client = PushServiceClient::new(connection.open().await?);
        let request = call(v1::NotifyRequest { endpoint: endpoint.expose().clone(), version });
        let version = client.notify(request).await?.into_inner().version;
        let output = connection.output();
        Ok(output.done(out, &version.to_string(), &["version"], &[json!(version)])?)
    }
}
